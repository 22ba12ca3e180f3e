"""A step whose loss is far from the rest is named with its utterances, once."""

import json
import types

import numpy as np
import pytest
import torch

from nemo_ext.corpus.manifest import load_corpus
from nemo_ext.data import dataset
from nemo_ext.training import spikes
from nemo_ext.training.spikes import SpikeGuard, robust_z


def test_the_robust_deviation_of_a_normal_distribution_is_the_common_one() -> None:
    draw = np.random.default_rng(0).normal(2.0, 0.5, 20_000)
    assert robust_z(3.5, list(draw)) == pytest.approx(3.0, abs=0.05)
    assert robust_z(3.5, [*draw, *[1e9] * 200]) == pytest.approx(3.0, abs=0.1)  # outliers before it do not hide it
    assert robust_z(2.0, [1.0] * 50) > 1e5  # no spread at all


def fed(guard: SpikeGuard, losses: list[float]) -> None:
    guard._pending = [(i + 1, torch.tensor(x), [f"utterance-{i + 1}"]) for i, x in enumerate(losses)]


def noise(count: int) -> list[float]:
    return list(np.random.default_rng(1).normal(1.0, 0.1, count))


def test_the_worst_of_an_interval_is_found_and_the_rest_is_not(tmp_path) -> None:
    guard = SpikeGuard(tmp_path, 100)
    fed(guard, [*noise(60), 4.0, *noise(5), 9.0, *noise(5)])
    found = guard.look()
    assert found is not None
    assert (found.step, found.ids, found.loss) == (67, ["utterance-67"], 9.0)
    assert "step 67, WARNING: its loss of 9 is far above the" in str(found)
    assert "utterance-67" in str(found)
    fed(guard, noise(100))
    assert guard.look() is None


@pytest.mark.parametrize("losses", [[1.0] * 10 + [50.0], [*noise(60), 1.45], [*noise(60), float("nan")], []])
def test_neither_the_first_steps_nor_ordinary_ones_are(tmp_path, losses) -> None:
    """1.45 is four deviations: batches differ. A loss that is no number ends the training, by another guard."""
    guard = SpikeGuard(tmp_path, 100)
    fed(guard, losses)
    assert guard.look() is None


def test_a_falling_loss_is_no_spike(tmp_path) -> None:
    guard = SpikeGuard(tmp_path, 100)
    fed(guard, [8.0 * 0.98**i + 0.05 * x for i, x in enumerate(noise(300))])
    assert guard.look() is None


def test_a_wrong_recording_is_named_while_the_training_goes_on(
    toy, espeak_corpus, tmp_path, monkeypatch, capfd
) -> None:
    monkeypatch.setattr(spikes, "_ENOUGH", 8)
    bad = load_corpus(espeak_corpus).train[7].id
    before = dataset.AcousticDataset.__getitem__
    calls = []

    def wrong(self, index):
        item = before(self, index)
        if item.id == bad:
            calls.append(index)
            if len(calls) > 2:  # it has become loud: the first epochs were good
                item.mel[:] += 40.0
        return item

    monkeypatch.setattr(dataset.AcousticDataset, "__getitem__", wrong)
    toy(tmp_path / "run", "trainer.max_steps=40", "trainer.log_every=5", model="fastpitch")
    (*_, said) = [line for line in capfd.readouterr().err.splitlines() if "far above" in line]
    rows = [json.loads(line) for line in (tmp_path / "run" / "spikes.jsonl").read_text().splitlines()]
    assert rows
    assert all(bad in row["ids"] for row in rows)
    assert f"step {rows[-1]['step']}, WARNING" in said
    assert len({(row["step"] - 1) // 5 for row in rows}) == len(rows)  # one an interval


def test_a_resumed_run_finds_again_what_comes_after(tmp_path) -> None:
    (tmp_path / "spikes.jsonl").write_text("".join(json.dumps({"step": s, "ids": []}) + "\n" for s in (3, 9)))
    SpikeGuard(tmp_path, 5).on_train_start(types.SimpleNamespace(global_step=6, is_global_zero=True), None)
    assert [json.loads(x)["step"] for x in (tmp_path / "spikes.jsonl").read_text().splitlines()] == [3]
