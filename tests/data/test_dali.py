"""DALI's loaders give what the torch loaders give."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from nemo_ext.audio import io
from nemo_ext.audio.loudness import rms_db
from nemo_ext.audio.mel import log_mel, log_mel_without_torch
from nemo_ext.corpus.manifest import Corpus, load_corpus, write_manifest
from nemo_ext.data.augment import Augment
from nemo_ext.data.dali import DaliLoader, dali_acoustic_loader, dali_vocoder_loaders
from nemo_ext.data.dali_graph import Graph
from nemo_ext.data.features import FeatureStore
from nemo_ext.data.loaders import acoustic_loaders, vocoder_loaders
from nemo_ext.data.prepare import base_voices
from nemo_ext.data.recordings import Recording
from nemo_ext.errors import NemoExtError
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.text.tokens import PAD, built_symbols
from nemo_ext.types import Batch, MelSpec, SegmentBatch
from tests.audio.test_flac import piped

FRAMES, SIZE, SEED = 16, 4, 5
CLOSE = 1e-3  # in the log-mel


def acoustic(corpus: Corpus, **options: Any) -> tuple[Any, Any]:
    store = FeatureStore(corpus.dir)
    config = TextConfig(alphabet="chars", g2p="graphemes", normalize=False, languages=["en"])
    others = [symbol for symbol in built_symbols(config) if symbol != PAD]
    frontend = TextFrontend(dataclasses.replace(config, symbols=[*others, PAD]))  # padding that is not zero
    return acoustic_loaders(corpus, frontend, base_voices(corpus.utterances, store), store, 800, seed=SEED, **options)


def vocoder(corpus: Corpus, frames: int = FRAMES, **options: Any) -> tuple[Any, Any]:
    return vocoder_loaders(corpus, FeatureStore(corpus.dir), frames, SIZE, seed=SEED, **options)


def dali_vocoder(corpus: Corpus, frames: int = FRAMES, **options: Any) -> tuple[DaliLoader, DaliLoader]:
    return dali_vocoder_loaders(corpus, options.pop("spec", MelSpec()), frames, SIZE, seed=SEED, **options)


def at_epoch(loader: Any, epoch: int, skip: int = 0) -> list[Any]:
    loader.batch_sampler.set_epoch(epoch)
    loader.batch_sampler.skip = skip
    return list(loader)


def alike(ours: Any, theirs: Any, near: tuple[str, ...]) -> bool:
    """Whether two batches are the same; those fields that are named, within CLOSE."""

    def equal(name: str) -> bool:
        a, b = getattr(ours, name), getattr(theirs, name)
        if name in near:
            return a.shape == b.shape and torch.allclose(a, b, rtol=CLOSE, atol=CLOSE)
        return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b

    return type(ours) is type(theirs) and all(equal(field.name) for field in dataclasses.fields(ours))


def same(ours: list[Any], theirs: list[Any]) -> bool:
    """To the last bit."""
    return len(ours) == len(theirs) > 0 and all(alike(a, b, ()) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("frames", [FRAMES, 150])  # most utterances are longer, or shorter
def test_segments_are_those_of_the_torch_loader(corpus: Corpus, frames: int) -> None:
    for ours, theirs in zip(dali_vocoder(corpus, frames), vocoder(corpus, frames), strict=True):
        assert len(ours) == len(theirs)
        for epoch in (0, 1):
            pairs = list(zip(at_epoch(ours, epoch), at_epoch(theirs, epoch), strict=True))
            assert len(pairs) == len(ours)
            for a, b in pairs:
                assert isinstance(a, SegmentBatch)
                assert a.ids == b.ids
                assert torch.equal(a.audio, b.audio)
                assert a.mel.shape == b.mel.shape
                assert (a.mel - b.mel).abs().max() <= CLOSE
    assert any((batch.mel == np.float32(np.log(1e-5))).any() for batch in ours) == (frames == 150)


def test_utterances_are_those_of_the_torch_loader(corpus: Corpus) -> None:
    for theirs in acoustic(corpus):
        ours = dali_acoustic_loader(theirs)
        assert ours.dataset is theirs.dataset
        assert len(ours) == len(theirs)
        for epoch in (0, 1):
            for a, b in zip(at_epoch(ours, epoch), at_epoch(theirs, epoch), strict=True):
                assert isinstance(a, Batch)
                assert alike(a, b, near=("mel", "energy"))
                assert (a.mel - b.mel).abs().max() <= CLOSE
                for row, length in enumerate(a.mel_lens.tolist()):
                    assert not a.mel[row, :, length:].any()
                    assert not a.energy[row, length:].any()


def test_what_dali_makes_is_not_read(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = dali_acoustic_loader(acoustic(corpus)[0])
    monkeypatch.setattr(FeatureStore, "load", lambda *_: pytest.fail("a mel was read"))
    assert len(list(loader)) == len(loader)


def test_threads_change_nothing(corpus: Corpus) -> None:
    one, two = (dali_vocoder(corpus, threads=n)[0] for n in (1, 2))
    assert same(list(one), list(two))
    assert same(list(one), list(one))


def test_a_resumed_epoch_goes_on_with_the_next_batch(corpus: Corpus) -> None:
    for loader in (dali_vocoder(corpus)[0], dali_acoustic_loader(acoustic(corpus)[0])):
        whole = at_epoch(loader, 3)
        assert same(at_epoch(loader, 3, skip=1), whole[1:])
        assert same(at_epoch(loader, 3), whole)


def test_an_iteration_may_be_left_and_two_may_run_at_once(corpus: Corpus) -> None:
    """Lightning leaves an epoch where max_steps ends it, and asks every loader for an iterator to see if it can."""
    loader = dali_vocoder(corpus)[0]
    whole = list(loader)
    iter(loader)
    assert same(list(itertools.islice(loader, 2)), whole[:2])
    woven = [batch for pair in zip(loader, loader, strict=True) for batch in pair]
    assert same(woven[::2], whole)
    assert same(woven[1::2], whole)


def test_ranks_share_an_epoch_as_in_the_torch_loader(corpus: Corpus) -> None:
    for rank in (0, 1):
        place = {"rank": rank, "world_size": 2}
        pairs = [
            (dali_vocoder(corpus, **place)[0], vocoder(corpus, **place)[0]),
            (dali_acoustic_loader(acoustic(corpus, **place)[0]), acoustic(corpus, **place)[0]),
        ]
        for ours, theirs in pairs:
            assert len(ours) == len(theirs)
            near = ("mel", "energy")  # what a part counts for in its batch is among the rest
            assert all(alike(a, b, near) for a, b in zip(ours, theirs, strict=True))


def test_a_corpus_without_validation(corpus: Corpus) -> None:
    corpus.train, corpus.val = corpus.utterances, []
    assert list(dali_vocoder(corpus)[1]) == []
    assert list(dali_acoustic_loader(acoustic(corpus)[1])) == []


def test_batches_stay_as_they_were_while_others_are_made(corpus: Corpus) -> None:
    kept = [(batch, batch.mel.clone(), batch.audio.clone()) for batch in dali_vocoder(corpus)[0]]
    assert all(torch.equal(batch.mel, mel) and torch.equal(batch.audio, audio) for batch, mel, audio in kept)


# --------------------------------------------------------------------------- mel


def heard(path: Path, spec: MelSpec, segment_frames: int | None = None, first: int = 0) -> list[np.ndarray]:
    """Log-mel ``(n_mels, T_mel)``, and the audio of a segment or the energy of all, of the recording at ``path``."""
    graph, recording = Graph(spec, segment_frames), Recording.at_rate(path, spec.sample_rate)
    length = graph.length(segment_frames or spec.frames(recording.samples))
    data, begin = recording.around(first * spec.hop_length - graph.margin(), length)
    given = [[data], [np.array([begin], np.int32)], [np.array([length], np.int32)]]
    mel, other = graph.build(lambda: given, 1).run()
    return [graph.log_mel(torch.tensor(np.array(mel.at(0)))[None])[0].numpy(), np.array(other.at(0))]


SPECS = [
    MelSpec(),
    MelSpec(sample_rate=24000, n_fft=2048, hop_length=300, win_length=1200, n_mels=100, f_max=12000.0),
    MelSpec(sample_rate=44100, n_fft=2048, hop_length=512, win_length=2048, n_mels=128, f_max=22050.0),
    MelSpec(n_fft=512, hop_length=400, win_length=400, n_mels=40, f_min=50.0),  # a hop reaches over half a window
    MelSpec(mag_power=2.0),
    MelSpec(mag_power=1.3, log_guard=1e-3),
]


@pytest.mark.parametrize("spec", SPECS)
def test_every_mel_spec(spec: MelSpec, speech: torch.Tensor, tmp_path: Path) -> None:
    path = io.write(tmp_path / "a.wav", speech.numpy(), spec.sample_rate)
    audio, _ = io.read_mono(path)
    mel, energy = heard(path, spec)
    assert mel.shape == log_mel_without_torch(audio, spec).shape
    assert np.abs(mel - log_mel_without_torch(audio, spec)).max() <= CLOSE
    assert np.abs(mel - log_mel(audio, spec)).max() <= CLOSE
    last = mel.shape[1] - 20
    for first in (0, 3, last):
        part, segment = heard(path, spec, 20, first)
        wanted = np.zeros(20 * spec.hop_length, np.float32)
        there = audio[first * spec.hop_length :][: len(wanted)]
        wanted[: len(there)] = there
        assert np.array_equal(segment, wanted)
        assert np.abs(part - mel[:, first : first + 20]).max() <= 1e-6
    assert energy.shape == (mel.shape[1],)


def test_real_speech_within_a_thousandth_of_the_definition(corpora: Path | None, espeak_corpus: Path) -> None:
    """Against the mel in float64: torch's float32 is itself up to 1.2e-3 from that."""
    folder = corpora / "ljspeech_mini/wavs" if corpora else espeak_corpus / "audio"
    for path in sorted(folder.glob("*.wav"))[:12]:
        audio, _ = io.read_mono(path)
        assert np.abs(heard(path, MelSpec())[0] - log_mel_without_torch(audio, MelSpec())).max() <= CLOSE


@pytest.mark.parametrize(
    ("name", "subtype", "channels"),
    [
        ("a.flac", "PCM_16", 1),
        ("a.ogg", "VORBIS", 1),
        ("a.wav", "PCM_24", 1),
        ("a.wav", "PCM_16", 2),
        ("a.wav", "ULAW", 1),
    ],
)
def test_other_kinds_of_recordings(
    name: str, subtype: str, channels: int, speech: torch.Tensor, tmp_path: Path
) -> None:
    scaled = np.stack([speech.numpy(), 0.5 * speech.numpy()][:channels], 1)
    soundfile.write(tmp_path / name, scaled, 22050, subtype)
    mono, _ = io.read_mono(tmp_path / name)
    mel, segment = heard(tmp_path / name, MelSpec(), 32, 7)
    assert np.allclose(segment, mono[7 * 256 : 39 * 256], rtol=0, atol=1e-6)
    assert np.abs(mel - log_mel_without_torch(mono, MelSpec())[:, 7:39]).max() <= CLOSE


@pytest.mark.parametrize("rate", [22050, 44100])
def test_an_inverted_channel_takes_nothing_away(rate: int, speech: torch.Tensor, tmp_path: Path) -> None:
    """DALI's own mixing is the mean, which leaves silence."""
    mono = speech.numpy()
    soundfile.write(tmp_path / "a.wav", np.stack([mono, -mono], 1), rate)
    soundfile.write(tmp_path / "b.wav", mono, rate)
    mixed, alone = (heard(tmp_path / name, MelSpec(), 32, 7) for name in ("a.wav", "b.wav"))
    assert np.allclose(mixed[1], alone[1], rtol=0, atol=1e-4)
    assert np.abs(mixed[0] - alone[0]).max() <= CLOSE


def test_a_flac_without_a_length_is_heard_to_its_end(speech: torch.Tensor, tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(piped(speech.numpy()))
    last = len(speech) // 256 - 40
    _, segment = heard(tmp_path / "a.flac", MelSpec(), 32, last)
    assert np.allclose(segment, speech.numpy()[last * 256 : (last + 32) * 256], rtol=0, atol=1e-4)


@pytest.mark.parametrize("rate", [44100, 48000, 16000])
def test_another_rate_is_resampled(rate: int, speech: torch.Tensor, tmp_path: Path) -> None:
    """Against soxr; and segments lie where they lie in the whole utterance."""
    import soxr

    path = io.write(tmp_path / "a.wav", 0.9 * soxr.resample(speech.numpy(), 22050, rate), rate)
    given, _ = io.read_mono(path)
    wanted = soxr.resample(given, rate, 22050)
    recording = Recording.at_rate(path, 22050)
    assert abs(recording.samples - len(wanted)) <= 1
    whole, _ = heard(path, MelSpec())
    mel, segment = heard(path, MelSpec(), 32, 9)
    assert np.abs(mel - whole[:, 9:41]).max() <= 1e-6
    assert np.abs(segment - wanted[9 * 256 : 41 * 256]).max() < 0.01
    frames = min(whole.shape[1], wanted.size // 256 + 1) - 4
    off = np.abs(whole[:70, 4:frames] - log_mel(wanted, MelSpec())[:70, 4:frames])
    assert off.mean() < 0.01


def test_a_corpus_of_another_rate_needs_no_other_copy(corpus: Corpus) -> None:
    train, _ = dali_vocoder(corpus, spec=MelSpec(sample_rate=16000))
    batch = next(iter(train))
    assert batch.audio.shape == (SIZE, FRAMES * 256)
    frames = [MelSpec().frames(io.info(corpus.audio_path(u)).samples * 160 // 220) for u in corpus.train]
    assert np.abs(train.dataset.frames - frames).max() <= 1


# ------------------------------------------------------------------- augmentation


def test_gain_makes_quieter_and_is_a_function_of_seed_epoch_and_name(corpus: Corpus) -> None:
    loader, plain = dali_vocoder(corpus, augment=Augment(gain_db=12.0))[0], dali_vocoder(corpus)[0]
    first, again, other = (at_epoch(loader, epoch) for epoch in (2, 2, 3))
    assert same(first, again)
    factors = []
    for changed, clean in zip(first, at_epoch(plain, 2), strict=True):
        assert changed.ids == clean.ids
        factor = changed.audio.norm(dim=1) / clean.audio.norm(dim=1)
        assert torch.allclose(changed.audio, clean.audio * factor[:, None], atol=1e-6)
        factors += (20 * factor.log10()).tolist()
    assert -12.0 <= min(factors) < -8.0
    assert -4.0 < max(factors) <= 1e-3
    assert not same(first, other)
    resumed = at_epoch(loader, 2, skip=1)
    assert same(resumed, first[1:])


def test_a_mel_and_its_energy_are_of_the_quieter_audio(corpus: Corpus) -> None:
    theirs = acoustic(corpus)[0]
    ours = dali_acoustic_loader(theirs, augment=Augment(gain_db=20.0))
    for a, b in zip(ours, theirs, strict=True):
        factor = a.energy.norm(dim=1) / b.energy.norm(dim=1)
        assert (factor < 1.0).all()
        assert torch.allclose(a.energy, b.energy * factor[:, None], rtol=1e-3, atol=1e-3)
        loud = (b.mel.exp() > 0.05) & (b.mel != 0)  # padding is 0
        assert torch.allclose(a.mel[loud], (b.mel + factor.log()[:, None, None])[loud], atol=0.02)
        assert torch.equal(a.pitch_normalized, b.pitch_normalized)


def test_noise_is_in_the_mel_and_not_in_the_audio(corpus: Corpus) -> None:
    loader, plain = dali_vocoder(corpus, augment=Augment(noise_db=-40.0))[0], dali_vocoder(corpus)[0]
    for changed, clean in zip(loader, plain, strict=True):
        assert torch.equal(changed.audio, clean.audio)
        assert (changed.mel - clean.mel).mean() > 0.1
    assert same(list(loader), list(loader))


def test_each_sample_has_noise_of_its_own_at_the_level_that_was_asked_for() -> None:
    augment = Augment(noise_db=-40.0)
    one, again, other = (augment.noise(1, 2, name, 20_000) for name in ("a", "a", "b"))
    assert np.array_equal(one, again)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.05
    assert abs(np.corrcoef(one, augment.noise(1, 3, "a", 20_000))[0, 1]) < 0.05
    assert rms_db(one) == pytest.approx(-40.0, abs=0.2)


def test_validation_is_never_changed(corpus: Corpus) -> None:
    changed = Augment(gain_db=12.0, noise_db=-40.0)
    assert same(list(dali_vocoder(corpus, augment=changed)[1]), list(dali_vocoder(corpus)[1]))


# -------------------------------------------------------------------------- errors


def test_without_dali_the_extra_is_named(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(NemoExtError, match=r"pip install 'nemo_ext\[dali\]', or take loader=torch"):
        dali_vocoder(corpus)


def test_nothing_of_dali_is_imported_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    for name in ("nemo_ext.data.dali", "nemo_ext.data.dali_graph"):
        monkeypatch.delitem(sys.modules, name)
        importlib.import_module(name)


def test_a_recording_that_is_gone_or_damaged_is_named(corpus: Corpus) -> None:
    spoiled = corpus.audio_path(corpus.train[3])
    flac = spoiled.with_suffix(".flac")
    soundfile.write(flac, *soundfile.read(spoiled))
    corpus.train[3].audio_filepath = str(flac.relative_to(corpus.dir))
    loader = dali_vocoder(corpus)[0]
    assert len(list(loader)) == len(loader)
    data = flac.read_bytes()
    flac.write_bytes(b"no audio at all" + data[15:])
    with pytest.raises(NemoExtError, match=f"{flac.name} cannot be read as audio: "):
        list(loader)
    flac.unlink()
    with pytest.raises(NemoExtError, match=f"no recording at .*{flac.name}"):
        list(loader)
    soundfile.write(spoiled, soundfile.read(spoiled)[0], 44100)  # which DALI itself resamples
    corpus.train[3].audio_filepath = str(spoiled.relative_to(corpus.dir))
    loader = dali_vocoder(corpus)[0]
    spoiled.write_bytes(b"no audio at all" + spoiled.read_bytes()[15:])
    with pytest.raises(NemoExtError, match=f"{spoiled.name} cannot be decoded by DALI: .*; make the corpus again"):
        list(loader)
    spoiled.unlink()
    with pytest.raises(NemoExtError, match=f"no recording at .*{spoiled.name}"):
        dali_vocoder(corpus)


@pytest.mark.parametrize(
    ("augment", "said"),
    [
        (Augment(gain_db=-3.0), "augment.gain_db=-3: give 0"),
        (Augment(gain_db=float("nan")), "augment.gain_db=nan"),
        (Augment(noise_db=3.0), "augment.noise_db=3: give -140 to -6 dBFS"),
    ],
)
def test_an_augmentation_that_makes_no_sense(corpus: Corpus, augment: Augment, said: str) -> None:
    with pytest.raises(NemoExtError, match=said):
        dali_vocoder(corpus, augment=augment)


def test_what_only_the_other_can_do_is_said(corpus: Corpus) -> None:
    with pytest.raises(NemoExtError, match="is for vocoders"):
        dali_acoustic_loader(acoustic(corpus)[0], augment=Augment(noise_db=-50.0))
    with pytest.raises(NemoExtError, match="n_fft=1025: DALI's filters need an even one"):
        list(dali_vocoder(corpus, spec=MelSpec(n_fft=1025))[0])


def test_real_corpora_of_one_utterance(corpus: Corpus, tmp_path: Path) -> None:
    write_manifest(corpus.dir / "train.jsonl", corpus.train[:1])
    alone = load_corpus(corpus.dir)
    ours, theirs = dali_vocoder(alone)[0], vocoder(alone)[0]
    assert [batch.ids for batch in ours] == [batch.ids for batch in theirs]
