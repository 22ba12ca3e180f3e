"""Our own speaker encoder: it trains through the job, comes back the same, and tells speakers apart."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from nemo_ext import _nemo
from nemo_ext.audio import io
from nemo_ext.config import compose, conf_dir
from nemo_ext.corpus.manifest import load_corpus, write_manifest
from nemo_ext.errors import NemoExtError
from nemo_ext.evaluation.speakers import separation
from nemo_ext.models.speaker.encoders import speaker_encoder
from nemo_ext.models.speaker.model import SpeakerModel
from nemo_ext.training.pictures import read_metrics
from nemo_ext.training.run import train
from nemo_ext.types import CropBatch, MelSpec


def make(**changes):
    """A toy encoder of three speakers from the shipped YAML."""
    torch.manual_seed(0)
    cfg = OmegaConf.merge(
        OmegaConf.load(conf_dir() / "model/speaker.yaml"),
        OmegaConf.load(conf_dir() / "model/size/speaker_tiny.yaml"),
        {"channels": 16, "attention_channels": 8, "embedding": 12},
    )
    cfg.mel = dataclasses.asdict(MelSpec())
    cfg.voices = [{"name": name} for name in ("ada", "ben", "cleo")]
    return SpeakerModel(OmegaConf.merge(cfg, changes))


def make_batch(speech):
    pieces = torch.stack([speech[i * 4000 : i * 4000 + 11025] for i in range(4)])
    return CropBatch(["a", "b", "c", "d"], pieces, torch.tensor([0, 1, 2, 0]), 4 * 44)


def test_shapes_and_unit_length(speech):
    model, batch = make().eval(), make_batch(speech)
    found = model.embeddings(batch.audio, torch.full((4,), batch.audio.shape[1]))
    assert found.shape == (4, 12)
    assert model.embedding_size == 12
    assert torch.allclose(found.norm(dim=1), torch.ones(4), atol=1e-5)
    assert model.speakers == ["ada", "ben", "cleo"]


def test_every_parameter_gets_a_finite_gradient(speech):
    model = make()
    loss, plain, accuracy = model._learn(make_batch(speech))
    assert loss > plain
    assert 0 <= accuracy <= 1
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_what_is_validated_is_the_loss_without_its_margin(speech):
    model = make(margin=0.0).eval()
    with torch.no_grad():
        loss, plain, _ = model._learn(make_batch(speech))
    assert plain.item() == pytest.approx(loss.item(), rel=1e-4)


def test_its_logits_are_cosines_and_stocks_are_not(speech):
    """Why the loss is ours: larger directions of the speakers change stock NeMo's logits, and not what is learned."""
    model, batch = make().eval(), make_batch(speech)
    lens = torch.full((4,), batch.audio.shape[1])
    with torch.no_grad():
        before, stock_before = model._learn(batch)[0], model(input_signal=batch.audio, input_signal_length=lens)[0]
        model.decoder.final.weight.mul_(10.0)
        after, stock_after = model._learn(batch)[0], model(input_signal=batch.audio, input_signal_length=lens)[0]
    assert after == pytest.approx(before.item(), rel=1e-5)
    assert torch.allclose(stock_after, 10 * stock_before, rtol=1e-4)


def test_nemo_round_trip_is_exact(tmp_path, speech):
    model = make().eval()
    path = _nemo.save(model, tmp_path / "model.nemo")
    restored = _nemo.restore(path)
    assert type(restored) is SpeakerModel
    assert restored.speakers == model.speakers
    assert restored.mel_spec == model.mel_spec
    batch = make_batch(speech)
    lens = torch.full((4,), batch.audio.shape[1])
    with torch.no_grad():
        assert torch.equal(restored.embeddings(batch.audio, lens), model.embeddings(batch.audio, lens))


def options(corpus, out, *more):
    line = ["model=speaker", "size=tiny", f"corpus={corpus}", f"out={out}", "trainer.measure_seconds=0"]
    line += ["trainer.threads=1", "trainer.log_every=1", "trainer.val_every=1000", "logger.tensorboard=false"]
    return compose("train", [*line, *more])


def rewritten(corpus, out, parts, **changes):
    """A corpus folder of the same recordings, split as ``parts`` says."""
    shutil.copy(corpus.dir / "corpus.yaml", out / "corpus.yaml")
    for name, part in parts.items():
        rows = [dataclasses.replace(u, audio_filepath=str(corpus.audio_path(u)), **changes) for u in part]
        write_manifest(out / f"{name}.jsonl", rows)
    return out


@pytest.fixture(scope="module")
def split(espeak_corpus, tmp_path_factory):
    """The two voices of the espeak corpus; a third of their recordings is kept for validation."""
    corpus = load_corpus(espeak_corpus)
    rows = sorted(corpus.utterances, key=lambda u: u.id)
    parts = {"train": [u for i, u in enumerate(rows) if i % 3], "val": rows[::3]}
    return rewritten(corpus, tmp_path_factory.mktemp("split"), parts)


@pytest.fixture(scope="module")
def trained(split, tmp_path_factory):
    """An encoder that has heard the two voices for a moment, in two runs."""
    out = tmp_path_factory.mktemp("speaker") / "run"
    train(options(split, out, "trainer.max_steps=20"))
    return train(options(split, out, "trainer.max_steps=24"))


def test_the_job_teaches_it_and_resumes(trained):
    losses = read_metrics(trained.parent / "metrics.jsonl")
    assert {"train/loss", "train/accuracy", "val/loss", "val/accuracy"} <= set(losses)
    steps, values = losses["train/loss"]
    assert steps == list(range(1, 25))
    assert np.mean(values[-5:]) < 0.5 * np.mean(values[:5])
    assert not (trained.parent / "features").exists()


def test_it_tells_recordings_it_has_not_heard_apart(trained, split):
    corpus, encoder = load_corpus(split), speaker_encoder(str(trained))
    found = np.stack([encoder.embed(*io.read_mono(corpus.audio_path(u))) for u in corpus.val])
    told = separation(found, [u.speaker for u in corpus.val])
    assert told.same > told.different + 0.2
    assert told.equal_error_rate < 0.2


def test_a_corpus_of_one_speaker_teaches_nothing(espeak_corpus, tmp_path):
    corpus = load_corpus(espeak_corpus)
    rewritten(corpus, tmp_path, {"train": corpus.train, "val": corpus.val}, speaker="ada")
    with pytest.raises(NemoExtError, match="has the speaker 'ada' only, and an encoder learns to tell speakers apart"):
        train(options(tmp_path, tmp_path / "run"))
