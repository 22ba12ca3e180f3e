"""Measures of an alignment tell one that was learned from one that was not, and from one that collapsed."""

import dataclasses

import numpy as np
import pytest
import torch

from nemo_ext import _nemo
from nemo_ext.config import compose
from nemo_ext.training import health
from nemo_ext.training.build import build
from nemo_ext.training.pictures import read_metrics


def learned(frames: int = 300, tokens: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Sharp, uneven in pace: as of a model that reads well."""
    draw = np.random.default_rng(0)
    durations = draw.multinomial(frames - 2 * tokens, draw.dirichlet(np.full(tokens, 2.0))) + 2
    path = np.repeat(np.arange(tokens), durations)
    attention = np.full((frames, tokens), 0.1 / tokens, np.float32)
    attention[np.arange(frames), path] += 0.9
    return attention, durations


def stuck(frames: int = 300, tokens: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Every frame listens to the last token, and the path gives it all it can."""
    attention = np.full((frames, tokens), 0.01 / tokens, np.float32)
    attention[:, -1] += 0.99
    return attention, np.r_[np.ones(tokens - 1, np.int64), frames - tokens + 1]


def test_a_learned_alignment_is_left_in_peace() -> None:
    found = health.Alignments.of(*learned())
    assert found.diagonality > 0.8
    assert found.focus == pytest.approx(0.9, abs=0.01)
    assert found.coverage == 1.0
    assert found.collapsed == 0.0
    assert found.trouble() == ""


def test_a_collapsed_one_is_called_so() -> None:
    found = health.Alignments.of(*stuck())
    assert found.diagonality < 0.4
    assert found.focus > 0.9  # which alone would have praised it
    assert found.coverage == 0.0
    assert found.collapsed > 0.95
    assert "collapsed" in found.trouble()
    assert "\n" not in found.trouble()


def test_an_even_spread_is_as_the_docstrings_say() -> None:
    even = np.full((600, 100), 0.01, np.float32)
    assert health.diagonality(even) == pytest.approx(0.42, abs=0.01)
    assert health.focus_rate(even) == pytest.approx(0.01)
    last = np.zeros((600, 100), np.float32)
    last[:, -1] = 1.0
    assert health.diagonality(last) == pytest.approx(0.25, abs=0.01)


def test_too_many_tokens_for_the_speech_are_called_so() -> None:
    attention, durations = learned()
    squeezed = np.where(np.arange(40) % 5 < 3, 1, durations)
    assert "last a single frame" in health.Alignments.of(attention, squeezed).trouble()


def test_short_texts_may_have_a_long_token() -> None:
    attention, durations = np.eye(2, dtype=np.float32).repeat([10, 90], axis=0), np.array([10, 90])
    assert health.coverage(attention, durations) == 1.0


def measured(model, loader) -> health.Alignments:
    model.eval()
    with torch.no_grad():
        return health.mean([m for batch in loader for m in health.each(model.learn(batch)[2], batch)])


def test_a_real_model_before_and_while_it_learns(options, espeak_corpus, tiny_acoustic, tmp_path) -> None:
    """The prior alone is diagonal: only the focus tells that nothing has been learned."""
    built = build(compose("train", [o for o in options(tmp_path) if "model" not in o] + ["size=tiny"]))
    before, after = measured(built.model, built.val), measured(_nemo.restore(tiny_acoustic), built.val)
    assert before.diagonality > 0.9
    assert before.focus < 0.3
    assert "vague" in before.trouble()
    assert after.focus > before.focus


def test_it_is_logged_at_each_validation_and_warns_from_some_step_on(toy, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.setattr(health, "_GRACE", 4)
    toy(tmp_path / "run", "trainer.max_steps=4", "trainer.val_every=2", model="fastpitch")
    told = [line for line in capfd.readouterr().err.splitlines() if "WARNING" in line]
    assert len(told) == 1
    assert told[0].startswith("step 4, WARNING: the alignment")
    found = read_metrics(tmp_path / "run" / "metrics.jsonl")
    for name in dataclasses.fields(health.Alignments):
        steps, values = found[f"val/align_{name.name}"]
        assert steps == [2, 4]
        assert all(0 <= v <= 1 for v in values)
