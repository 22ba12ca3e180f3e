"""Padding is the model's own padding token: what a padded batch costs is what stock NeMo computes of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from nemo.collections.tts.models import FastPitchModel
from nemo.core.classes.common import typecheck

from nemo_ext import _nemo
from nemo_ext.corpus.manifest import Corpus
from nemo_ext.data.features import FeatureStore
from nemo_ext.data.loaders import acoustic_loaders, in_order
from nemo_ext.data.prepare import base_voices
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.text.tokens import PAD
from nemo_ext.training.objective import ObjectiveMetrics
from nemo_ext.types import BaseVoice, Batch
from tests.models.acoustic.test_fastpitch import make, stock_model

WEIGHTS = {"mel": 1.0, "duration": 0.1, "pitch": 0.1, "energy": 0.1, "align": 1.0, "bin": 1.0}
THEIRS = {"mel": "mel", "duration": "dur", "pitch": "pitch", "energy": "energy", "align": "ctc", "bin": "bin"}


def model_of(where: str, voices: list[BaseVoice], folder: Path) -> Any:
    """A toy FastPitch whose padding token stands first, last, or where stock NeMo's tokenizer has it."""
    if where == "stock":
        stock_model(len(voices)).save_to(str(folder / "stock.nemo"))
        model = _nemo.restore(folder / "stock.nemo")
        model.voices = voices
        model.losses = dataclasses.replace(model.losses, **WEIGHTS)
        return model.eval()
    text = TextFrontend(TextConfig(alphabet="chars", g2p="graphemes", normalize=False)).config
    others = [symbol for symbol in text.symbols if symbol != PAD]
    text.symbols = [PAD, *others] if where == "first" else [*others, PAD]
    return make(voices, text=dataclasses.asdict(text), losses=WEIGHTS).eval()


def only(batch: Batch, row: int) -> Batch:
    """One utterance of ``batch``, without padding."""
    tokens, frames, at = int(batch.token_lens[row]), int(batch.mel_lens[row]), slice(row, row + 1)
    return dataclasses.replace(
        batch,
        ids=batch.ids[at],
        tokens=batch.tokens[at, :tokens],
        token_lens=batch.token_lens[at],
        mel=batch.mel[at, :, :frames],
        mel_lens=batch.mel_lens[at],
        pitch_normalized=batch.pitch_normalized[at, :frames],
        energy=batch.energy[at, :frames],
        attn_prior=batch.attn_prior[at, :frames, :tokens],
        voice_ids=batch.voice_ids[at],
    )


def stock_losses(model: Any, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Every term that stock NeMo's own ``training_step`` logs, long after its warm-up."""
    logged: dict[str, float] = {}
    model.ds_class = "nemo.collections.tts.data.text_to_speech_dataset.TextToSpeechDataset"
    given_mels = {"preprocessor": lambda input_signal, length: (input_signal, length)}  # they are made already
    monkeypatch.setattr(model, "_modules", {**model._modules, **given_mels})
    monkeypatch.setattr(type(model), "current_epoch", 10**6)
    monkeypatch.setattr(model, "log", lambda name, value: logged.setdefault(name, float(value)))
    given = {
        "audio": batch.mel,
        "audio_lens": batch.mel_lens,
        "text": batch.tokens,
        "text_lens": batch.token_lens,
        "align_prior_matrix": batch.attn_prior,
        "pitch": batch.pitch_normalized,
        "energy": batch.energy,
        "speaker_id": batch.voice_ids,
    }
    with torch.no_grad(), typecheck.disable_checks():
        FastPitchModel.training_step(model, given, 0)
    return {ours: logged[f"t_{theirs}_loss"] for ours, theirs in THEIRS.items()}


@pytest.mark.parametrize(("where", "pad"), [("first", 0), ("last", 39), ("stock", 43)])
def test_every_loss_of_a_padded_batch_is_stocks(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, pad: int
) -> None:
    store = FeatureStore(corpus.dir)
    corpus.train, corpus.val = corpus.train[:1] + corpus.train[-3:], corpus.val
    voices = base_voices(corpus.utterances, store)
    model = model_of(where, voices, tmp_path)
    train, val = acoustic_loaders(corpus, model.frontend, voices, store, 10**5)
    (batch,) = train
    assert model.fastpitch.encoder.padding_idx == pad
    assert len(batch.ids) == 4
    behind = torch.arange(batch.tokens.shape[1])[None] >= batch.token_lens[:, None]
    assert behind.sum() >= 20
    assert bool((batch.tokens[behind] == pad).all())
    for other in (*val, *in_order(train, 10**5)):
        behind = torch.arange(other.tokens.shape[1])[None] >= other.token_lens[:, None]
        assert bool((other.tokens[behind] == pad).all())
    with torch.no_grad():
        ours, _, _ = model.learn(batch)
    # stock reads a little of the padding behind a text, ours does not; a wrong padding token costs far more than that
    for name, value in stock_losses(model, batch, monkeypatch).items():
        assert float(ours[name]) == pytest.approx(value, rel=0.05), name
    # without padding they are the same, each utterance alone, weighed by what it has of what a term is the mean of
    alone = [stock_losses(model, only(batch, row), monkeypatch) for row in range(4)]
    for name in THEIRS:
        weights = {"mel": batch.mel_lens, "bin": batch.mel_lens, "align": torch.ones(4)}.get(name, batch.token_lens)
        expected = sum(float(w) * losses[name] for w, losses in zip(weights, alone, strict=True)) / float(weights.sum())
        assert float(ours[name]) == pytest.approx(expected, rel=1e-3), name


def test_sentences_that_are_measured_are_padded_as_the_model_pads(corpus: Corpus, tmp_path: Path) -> None:
    store = FeatureStore(corpus.dir)
    voices = base_voices(corpus.utterances, store)
    model = model_of("last", voices, tmp_path)
    metrics = ObjectiveMetrics(1, 1)
    assert metrics._choose(acoustic_loaders(corpus, model.frontend, voices, store, 10**5)[1].dataset, model)
    batch = metrics._given
    assert [int(n) for n in (batch.tokens != model.vocab.pad).sum(1)] == batch.token_lens.tolist()
