"""Styles in the FastPitch: nothing changes without them, they change what it says, their names stay in the file."""

from __future__ import annotations

import dataclasses
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from nemo_ext import _nemo
from nemo_ext.corpus.manifest import load_corpus
from nemo_ext.errors import NemoExtError
from nemo_ext.types import Batch
from tests.models.acoustic.test_fastpitch import make, make_batch

STYLE = {"style": {"tokens": 5, "size": 16, "width": 16}, "style_names": ["anger", "neutral", "sadness"]}


def styled(**changes: Any) -> Any:
    """A toy FastPitch with style, whose two voices have statistics and labels as a training gives them."""
    model = make(**STYLE, **changes)
    statistics = torch.stack([torch.full((2, 80), -4.0), torch.full((2, 80), 1.5)], dim=1)
    model.style.bank.describe(statistics, torch.tensor([[4, 4, 2], [3, 3, 0]]))
    return model.eval()


def labelled(model: Any, seed: int = 0) -> Batch:
    return dataclasses.replace(make_batch(model, seed), style_ids=torch.tensor([0, 1, 2]))


def say(model: Any, batch: Batch, **more: Any) -> torch.Tensor:
    voice = torch.stack([model.voice_vector("ada")] * 3)
    mel: torch.Tensor = model.predict_mel(
        batch.tokens, batch.token_lens, voice, durations=torch.full_like(batch.tokens, 4), **more
    ).mel
    return mel


def test_without_style_the_model_and_its_file_are_as_ever(tmp_path: Path) -> None:
    plain, with_style = make().eval(), styled()
    state = with_style.state_dict()
    assert not [name for name in plain.state_dict() if name.startswith("style")]
    for name, weight in plain.state_dict().items():  # styles take no random number from what was there before
        assert torch.equal(weight, state[name]), name
    batch = make_batch(plain)
    assert torch.equal(say(plain, batch), say(with_style, batch))
    path = _nemo.save(plain, tmp_path / "plain.nemo")
    with tarfile.open(path) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    keys = yaml.safe_load((tmp_path / "out" / "model_config.yaml").read_text())
    assert not {"style", "style_names"} & set(keys)
    restored = _nemo.restore(path)
    assert restored.style is None
    assert restored.style_size == 0
    assert restored.base_voice("ada").styles == {}
    assert restored.base_voice("ada").mel_stats is None


def test_zeros_are_no_style_exactly_and_others_are_heard() -> None:
    model = styled()
    batch = make_batch(model)
    without = say(model, batch)
    assert torch.equal(say(model, batch, style=torch.zeros(3, 16)), without)
    one = torch.randn(1, 16).expand(3, -1)
    assert (say(model, batch, style=one) - without).abs().max() > 1e-3
    mixed = say(model, batch, style=torch.stack([one[0], torch.zeros(16), 2 * one[0]]))
    torch.testing.assert_close(mixed[0], say(model, batch, style=one)[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed[1], without[1], atol=1e-5, rtol=0)


def test_style_and_speaker_are_learned_from_the_batch_and_every_parameter_with_them() -> None:
    model = styled().train()
    losses, _, _ = model.learn(labelled(model))
    assert {"style", "speaker"} <= set(losses)
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert model.style.project.weight.grad.abs().max() > 0


def test_an_adapted_voice_hears_styles_without_asking_who_speaks() -> None:
    """Its rows of the base's statistics do not exist: references are centred on themselves, nothing is classified."""
    model = styled()
    batch = dataclasses.replace(labelled(model), voice_ids=torch.tensor([7, 7, 7]))
    voice = torch.stack([model.voice_vector("ben")] * 3).requires_grad_()
    losses, _, _ = model.learn(batch, voice=voice)
    assert not {"style", "speaker"} & set(losses)
    torch.stack(list(losses.values())).sum().backward()
    assert voice.grad is not None
    assert torch.isfinite(voice.grad).all()


def test_a_given_style_is_taken_instead_of_the_batchs_own() -> None:
    model = styled()
    batch = labelled(model)
    with torch.no_grad():
        own, _, _ = model.learn(batch)
        given, _, _ = model.learn(batch, style=model.style.of_batch(batch))
        none, _, _ = model.learn(batch, style=torch.zeros(3, 16))
    assert float(given["mel"]) == pytest.approx(float(own["mel"]), rel=1e-6)
    assert float(none["mel"]) != pytest.approx(float(own["mel"]), rel=1e-4)


def test_named_styles_are_means_and_come_back_from_the_file_exactly(tmp_path: Path) -> None:
    model = styled()
    assert model.named_styles() == {}
    batches = [labelled(model, seed) for seed in range(2)]
    before = model.weights_hash()
    model.style.name_styles(batches)
    assert model.weights_hash() == before  # a voice made for this model stays one of it
    vectors = [model.style.of_batch(batch) for batch in batches]
    ada = model.base_voice("ada")
    assert set(ada.styles) == {"anger", "neutral", "sadness"}
    np.testing.assert_allclose(ada.styles["anger"], ((vectors[0][0] + vectors[1][0]) / 2).detach().numpy(), atol=1e-6)
    # ben never spoke in anger: he has ada's
    assert np.array_equal(model.base_voice("ben").styles["anger"], ada.styles["anger"])
    assert ada.mel_stats is not None
    assert ada.mel_stats.shape == (2, 80)
    restored = _nemo.restore(_nemo.save(model, tmp_path / "styled.nemo"))
    assert restored.weights_hash() == before
    for name in ("ada", "ben"):
        old, new = model.base_voice(name), restored.base_voice(name)
        assert old.styles.keys() == new.styles.keys()
        for style in old.styles:
            assert np.array_equal(old.styles[style], new.styles[style])
        assert np.array_equal(old.mel_stats, new.mel_stats)
    assert {k: v.tolist() for k, v in restored.named_styles().items()} == {
        k: v.tolist() for k, v in model.named_styles().items()
    }


def test_a_recording_gives_a_style_and_a_bad_one_is_one_line(speech: torch.Tensor) -> None:
    model, audio = styled(), speech.numpy()
    alone = model.style_vector_from(audio)
    assert alone.shape == (16,)
    assert np.isfinite(alone).all()
    known = model.style_vector_from(audio, model.base_voice("ada"))
    assert np.abs(known - alone).max() > 1e-4
    # louder is the same style, as far as the guard under the logarithm lets it be
    np.testing.assert_allclose(model.style_vector_from(audio * 0.5), alone, atol=0.02)
    with pytest.raises(NemoExtError, match=r"reference of 0\.10 s is too short: give at least 0\.5 s"):
        model.style_vector_from(audio[:2205])
    with pytest.raises(NemoExtError, match="no voiced speech in the style reference"):
        model.style_vector_from(np.zeros(22050, np.float32))


def test_what_a_model_cannot_do_is_one_line() -> None:
    plain, model = make().eval(), styled()
    batch = make_batch(model)
    for ask in (
        lambda: say(plain, batch, style=torch.zeros(3, 16)),
        lambda: plain.style_vector_from(np.zeros(22050, np.float32)),
        lambda: plain.style_from_tokens([1.0]),
    ):
        with pytest.raises(NemoExtError, match=r"trained without styles: .* model/style=gst"):
            ask()
    with pytest.raises(NemoExtError, match="style of 7 values does not fit this model, which takes 16"):
        say(model, batch, style=torch.zeros(3, 7))
    with pytest.raises(NemoExtError, match="2 token weights, and this model has 5 style tokens"):
        model.style_from_tokens([0.5, 0.5])


def test_training_hears_the_corpus_and_names_its_styles(espeak_corpus: Path, tmp_path: Path) -> None:
    """From the manifest's labels to the names in model.nemo, through the job."""
    from nemo_ext.config import compose
    from nemo_ext.data.features import FeatureStore
    from nemo_ext.training.run import train

    options = ["model=fastpitch", "size=tiny", "model/style=gst", f"corpus={espeak_corpus}", f"out={tmp_path}/run"]
    options += ["model.width=32", "model.feedforward_width=32", "model.predictor_width=32", "model.style.width=16"]
    options += ["trainer.max_steps=2", "trainer.val_every=2", "trainer.measure_seconds=0", "frames_per_batch=1500"]
    model = _nemo.restore(train(compose("train", options)))
    corpus = load_corpus(espeak_corpus)
    styles = sorted({u.style for u in corpus.train if u.style})
    assert styles
    assert list(model.named_styles()) == styles
    voice = model.base_voice(model.voices[0].name)
    assert list(voice.styles) == styles
    store = FeatureStore(corpus.dir)
    mels = [store.load(u).mel for u in corpus.train if u.speaker == voice.name]
    assert voice.mel_stats is not None
    np.testing.assert_allclose(voice.mel_stats[0], np.concatenate(mels, 1).mean(1), atol=1e-3)
    np.testing.assert_allclose(voice.mel_stats[1], np.concatenate(mels, 1).std(1), atol=1e-3)
    logged = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert any("val/style" in line for line in logged)
