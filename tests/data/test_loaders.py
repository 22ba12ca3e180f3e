from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from nemo_ext.corpus.build import build
from nemo_ext.corpus.config import CorpusConfig
from nemo_ext.corpus.manifest import Corpus, load_corpus
from nemo_ext.data.features import FeatureStore
from nemo_ext.data.loaders import acoustic_loaders, vocoder_loaders
from nemo_ext.data.prepare import base_voices
from nemo_ext.data.prior import beta_binomial_prior
from nemo_ext.errors import NemoExtError
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.types import Batch, MelSpec, SegmentBatch

BUDGET = 800  # frames: a few utterances a batch


def frontend(languages: tuple[str, ...] = ("en",)) -> TextFrontend:
    return TextFrontend(TextConfig(alphabet="chars", g2p="graphemes", normalize=False, languages=list(languages)))


def acoustic(corpus: Corpus, **options: Any) -> tuple[Any, Any]:
    store = FeatureStore(corpus.dir)
    return acoustic_loaders(corpus, frontend(), base_voices(corpus.utterances, store), store, BUDGET, **options)


def same(one: Any, other: Any) -> bool:
    def equal(a: Any, b: Any) -> bool:
        return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b

    names = [field.name for field in dataclasses.fields(one)]
    return all(equal(getattr(one, name), getattr(other, name)) for name in names)


def test_a_batch_is_padded_with_zeros(corpus: Corpus) -> None:
    store, text = FeatureStore(corpus.dir), frontend()
    by_id = {utterance.id: utterance for utterance in corpus.utterances}
    train, _ = acoustic(corpus)
    seen = []
    for batch in train:
        assert isinstance(batch, Batch)
        size, longest, longest_text = len(batch.ids), int(batch.mel_lens.max()), int(batch.token_lens.max())
        assert size * longest <= BUDGET
        assert batch.mel.shape == (size, 80, longest)
        assert batch.attn_prior.shape == (size, longest, longest_text)
        assert batch.tokens.dtype == batch.token_lens.dtype == batch.voice_ids.dtype == torch.long
        for row, name in enumerate(batch.ids):
            t, n = int(batch.mel_lens[row]), int(batch.token_lens[row])
            features = store.load(by_id[name])
            assert torch.equal(batch.mel[row, :, :t], torch.tensor(features.mel))
            assert torch.equal(batch.energy[row, :t], torch.tensor(features.energy))
            ids = text.encode(by_id[name].text, "en", by_id[name].normalized_text).ids
            assert torch.equal(batch.tokens[row, :n], torch.tensor(ids))
            assert torch.equal(batch.attn_prior[row, :t, :n], torch.tensor(beta_binomial_prior(n, t)))
            for padding in (
                batch.mel[row, :, t:],
                batch.pitch_normalized[row, t:],
                batch.energy[row, t:],
                batch.tokens[row, n:],
                batch.attn_prior[row, t:],
                batch.attn_prior[row, :, n:],
            ):
                assert not padding.any()
        seen += batch.ids
    assert sorted(seen) == sorted(utterance.id for utterance in corpus.train)


def test_spawned_workers_give_the_same_batches(corpus: Corpus) -> None:
    """Workers that stay alive hear of the epoch, and change nothing."""
    pairs = [
        (acoustic(corpus, seed=5)[0], acoustic(corpus, seed=5, workers=2)[0]),
        (
            vocoder_loaders(corpus, FeatureStore(corpus.dir), 16, 4, seed=5)[0],
            vocoder_loaders(corpus, FeatureStore(corpus.dir), 16, 4, seed=5, workers=1)[0],
        ),
    ]
    for inline, spawned in pairs:
        assert spawned.multiprocessing_context.get_start_method() == "spawn"
        epochs = []
        for number in (0, 1):
            for loader in (inline, spawned):
                loader.batch_sampler.set_epoch(number)
            epochs.append(list(inline))
            assert all(same(a, b) for a, b in zip(epochs[-1], spawned, strict=True))
        assert [batch.ids for batch in epochs[0]] != [batch.ids for batch in epochs[1]]


def test_validation_is_the_same_every_time(corpus: Corpus) -> None:
    for _, loader in (acoustic(corpus), vocoder_loaders(corpus, FeatureStore(corpus.dir), 16, 2)):
        first = list(loader)
        loader.batch_sampler.set_epoch(4)
        assert all(same(a, b) for a, b in zip(first, loader, strict=True))
        assert sorted(name for batch in first for name in batch.ids) == sorted(u.id for u in corpus.val)


def test_segments(corpus: Corpus) -> None:
    train, val = vocoder_loaders(corpus, FeatureStore(corpus.dir), 16, 4, val_segment_frames=50)
    for batch in train:
        assert isinstance(batch, SegmentBatch)
        assert batch.mel.shape == (4, 80, 16)
        assert batch.audio.shape == (4, 16 * 256)
        assert batch.audio.abs().max() <= 1.0
    frames = sum(FeatureStore(corpus.dir).entry(utterance).frames for utterance in corpus.train)
    assert len(train) == pytest.approx(frames / 16 / 4, rel=0.1)  # an epoch is as long as the corpus
    assert next(iter(val)).mel.shape[2] == 50


def test_a_corpus_without_validation(corpus: Corpus) -> None:
    corpus.train, corpus.val = corpus.utterances, []
    for _, loader in (acoustic(corpus), vocoder_loaders(corpus, FeatureStore(corpus.dir))):
        assert list(loader) == []


def test_batches_go_to_a_device(corpus: Corpus) -> None:
    batch = next(iter(acoustic(corpus)[0]))
    assert batch.to("meta").mel.is_meta
    assert batch.to("meta").ids == batch.ids


@pytest.mark.parametrize(
    ("device", "waits"), [("cuda:1", False), (torch.device("cuda"), False), (0, False), ("cpu", True)]
)
def test_only_on_the_way_to_a_gpu_nobody_waits(corpus: Corpus, device: object, waits: bool) -> None:
    """What torch is asked for; where the tensor would go, there is nothing here."""
    asked = []

    class Ask(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is torch.Tensor.to:
                asked.append((args[1], kwargs["non_blocking"]))
                return args[0]
            return function(*args, **(kwargs or {}))

    batch = next(iter(acoustic(corpus)[0]))
    with Ask():
        batch.to(device)
    assert asked
    assert set(asked) == {(device, not waits)}


@pytest.mark.parametrize(
    ("name", "recipe", "language"), [("ljspeech_mini", "ljspeech", "en"), ("vctk_mini", "vctk", "en")]
)
def test_real_speech(
    name: str, recipe: str, language: str, corpora: Path | None, corpus: Corpus, tmp_path: Path
) -> None:
    """From the publisher's files to batches; without real speech, the espeak corpus."""
    if corpora is not None:
        source = str(corpora / name)
        build(CorpusConfig(recipe=recipe, source=source, out=str(tmp_path / name), language=language, processes=1))
        corpus = load_corpus(tmp_path / name)
    store = FeatureStore(corpus.dir)
    voices = base_voices(corpus.utterances, store)
    train, val = acoustic_loaders(corpus, frontend((language,)), voices, store, 6000)
    batches = [*train, *val]
    assert sum(len(batch.ids) for batch in batches) == len(corpus.utterances)
    assert {int(i) for batch in batches for i in batch.voice_ids} == set(range(len(voices)))
    assert all(60 < voice.pitch_mean < 350 and 10 < voice.pitch_std < 120 for voice in voices)
    for batch in batches:
        assert batch.mel.isfinite().all()
        assert batch.mel.min() >= torch.tensor(MelSpec().log_guard).log() - 1e-4
        assert (batch.mel_lens >= batch.token_lens).all()
        stats = torch.tensor([[voices[i].pitch_mean, voices[i].pitch_std] for i in batch.voice_ids])
        hz = (batch.pitch_normalized * stats[:, 1:] + stats[:, :1])[batch.pitch_normalized != 0]
        assert 64.9 < hz.min() < hz.max() < 600.1


def test_what_is_drawn_for_an_utterance_follows_from_seed_and_epoch(corpus: Corpus) -> None:
    """However many share its batch; a validation draws the same every time."""

    def drawn(loaders: list[Any], epoch: int) -> dict[str, float]:
        found: dict[str, float] = {}
        for loader in loaders:
            loader.batch_sampler.set_epoch(epoch)
            for batch in loader:
                assert batch.drawn is not None
                found |= dict(zip(batch.ids, batch.drawn.tolist(), strict=True))
        return found

    alone = [acoustic(corpus, seed=1)[0]]
    shared = [acoustic(corpus, seed=1, rank=rank, world_size=2)[0] for rank in range(2)]
    first = drawn(alone, 0)
    assert all(0.0 <= value < 1.0 for value in first.values())
    assert len(set(first.values())) == len(corpus.train)
    assert drawn(shared, 0) == first
    assert drawn(alone, 1) == drawn(shared, 1) != first
    assert drawn([acoustic(corpus, seed=2)[0]], 0) != first
    validation = acoustic(corpus)[1]
    assert drawn([validation], 0) == drawn([validation], 5)


def test_less_than_no_processes(corpus: Corpus) -> None:
    with pytest.raises(NemoExtError, match=r"trainer\.workers=-1: it must be at least 0"):
        acoustic(corpus, workers=-1)
