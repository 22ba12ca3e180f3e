"""The sentences that a model speaks while it trains: always the same, nearer to the recordings when it is better."""

import pytest
import torch

from nemo_ext import _nemo
from nemo_ext.config import compose
from nemo_ext.training.build import build
from nemo_ext.training.objective import ObjectiveMetrics
from nemo_ext.training.pictures import read_metrics

MEASURES = {"val/mcd", "val/f0_cents", "val/length_error"}


def measured(metrics: ObjectiveMetrics, model, loader) -> dict[str, float]:
    model.eval()
    if metrics._given is None:
        assert metrics._choose(loader.dataset, model)
    return metrics._measured(metrics._speak(model), model)


@pytest.fixture(scope="module")
def loader(options, tmp_path_factory):
    line = [o for o in options(tmp_path_factory.mktemp("objective")) if not o.startswith("model")]
    return build(compose("train", [*line, "size=tiny"])).val


def test_it_is_logged_now_and_then(toy, tmp_path) -> None:
    more = ("trainer.max_steps=6", "trainer.val_every=2", "trainer.objective_every=2")
    toy(tmp_path / "run", *more, model="fastpitch")
    found = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert found["val/mel"][0] == [2, 4, 6]
    assert found["val/length_error"][0] == [4]
    assert found["val/mcd"][0] == [4]
    assert all(v > 0 for v in found["val/mcd"][1])


def test_a_recordings_own_mel_has_no_distortion(tiny_acoustic, loader) -> None:
    model, metrics = _nemo.restore(tiny_acoustic), ObjectiveMetrics(1, 1)
    spoken = measured(metrics, model, loader)
    assert set(spoken) == MEASURES
    own = metrics._measured([(s.mel, None) for s in metrics._sentences], model)
    assert own["val/mcd"] == pytest.approx(0.0, abs=1e-6)
    assert own["val/length_error"] == 0.0
    shorter = metrics._measured([(s.mel[:, : s.mel.shape[1] // 2], None) for s in metrics._sentences], model)
    assert shorter["val/length_error"] == pytest.approx(0.5, abs=0.02)
    assert own["val/f0_cents"] < 0.5 * spoken["val/f0_cents"]
    assert spoken["val/mcd"] > 1.0


def test_a_spoilt_model_is_farther_away(tiny_acoustic, loader) -> None:
    model, metrics = _nemo.restore(tiny_acoustic), ObjectiveMetrics(1, 1)
    before = measured(metrics, model, loader)
    assert measured(metrics, model, loader) == before  # the same sentences, the same figures
    with torch.no_grad():
        model.fastpitch.proj.weight.mul_(-1.0)
    assert measured(metrics, model, loader)["val/mcd"] > 1.2 * before["val/mcd"]


def test_the_budget_leaves_fewer_sentences_and_says_so(tiny_acoustic, loader, capfd) -> None:
    model, metrics = _nemo.restore(tiny_acoustic), ObjectiveMetrics(1, 1, count=2, budget=0.0)
    measured(metrics, model, loader)
    assert "objective metrics: 1 sentences from here on" in capfd.readouterr().err
    assert len(metrics._sentences) == 1
    measured(metrics, model, loader)
    assert capfd.readouterr().err == ""


def test_a_vocoder_reads_the_recordings_mels(toy, tmp_path) -> None:
    toy(tmp_path / "run", "trainer.max_steps=2", "trainer.val_every=2", "trainer.objective_every=1")
    found = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert found["val/mcd"][0] == [2]
    assert "val/length_error" not in found
