"""What a person sees of a training, and the end of one whose loss is no number."""

import json
import re

import numpy as np
import pytest
import torch

from nemo_ext.corpus.manifest import load_corpus
from nemo_ext.data import dataset
from nemo_ext.errors import NemoExtError
from nemo_ext.training import pictures, run, watch
from nemo_ext.training.pictures import read_metrics
from nemo_ext.training.spikes import SpikeGuard
from nemo_ext.types import MelSpec, Preview


@pytest.fixture
def bad(espeak_corpus, monkeypatch):
    """Id of an utterance whose pitch is no number somewhere."""
    name = load_corpus(espeak_corpus).train[7].id
    before = dataset.AcousticDataset.__getitem__

    def poisoned(self, index):
        item = before(self, index)
        if item.id == name:
            item.pitch_normalized[3] = np.nan
        return item

    monkeypatch.setattr(dataset.AcousticDataset, "__getitem__", poisoned)
    return name


def test_a_recording_that_breaks_the_loss_is_named(toy, tmp_path, bad):
    said = rf"no number at step \d+ \(.*pitch.*epoch 0, batch \d+; {bad} hold values that are no numbers\): take"
    with pytest.raises(NemoExtError, match=said) as raised:
        toy(tmp_path / "run", "trainer.max_steps=40", model="fastpitch")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run" / "model.nemo").exists()


def test_losses_that_are_looked_at_later_name_the_same_batch(toy, tmp_path, bad, monkeypatch, capfd):
    """As on a GPU, where a look is a wait: when it is time, before the end, and when something else ends it."""
    step = rf"no number at step (\d+) \(.*epoch 0, batch (\d+); {bad} hold values"
    with pytest.raises(NemoExtError, match=step) as raised:
        toy(tmp_path / "at once", "trainer.max_steps=40", model="fastpitch")
    at_once = re.search(step, str(raised.value))
    for name, at in (("in time", 12), ("in the end", 1000)):
        monkeypatch.setattr(run, "_looks", lambda options, at=at: (at,))
        with pytest.raises(NemoExtError, match=step) as raised:
            toy(tmp_path / name, "trainer.max_steps=24", model="fastpitch")
        found = re.search(step, str(raised.value))
        assert found.groups() == at_once.groups()
        last = read_metrics(tmp_path / name / "metrics.jsonl")["train/lr"][0][-1]
        assert last == min(at, 24) - 1  # the look comes before the losses of that step are written
    capfd.readouterr()
    with pytest.raises(NemoExtError, match="weights are no numbers after step 12"):
        toy(tmp_path / "at a checkpoint", "trainer.max_steps=24", "trainer.checkpoint_every=12", model="fastpitch")
    assert re.search(step, capfd.readouterr().err).groups() == at_once.groups()


def test_a_step_in_parts_is_looked_at_once(toy, tmp_path, monkeypatch):
    looks, look = [], watch.NanGuard._look
    monkeypatch.setattr(run, "_looks", lambda options: (2,))
    monkeypatch.setattr(watch.NanGuard, "_look", lambda *own: looks.append(own[1].global_step) or look(*own))
    toy(tmp_path / "run", "trainer.max_steps=5", "trainer.accumulate=3", model="fastpitch")
    assert looks == [2, 4, 5, 5, 5]  # and before the validation, and in the end


def test_a_loss_that_runs_away_names_the_batch(toy, tmp_path):
    wild = ("model.optim.lr=1e30", "model.optim.sched=null", "model.gradient_clip=1e30", "trainer.checkpoint_every=1")
    with pytest.raises(NemoExtError, match=r"no numbers? (at|after) step \d+ .*lower model\.optim\.lr") as raised:
        toy(tmp_path / "run", *wild, "trainer.max_steps=40")
    assert "\n" not in str(raised.value)
    for path in (tmp_path / "run" / "checkpoints").glob("*.ckpt"):
        state = torch.load(path, weights_only=True)["state_dict"]
        assert all(torch.isfinite(v).all() for v in state.values())


def test_progress_tells_losses_speed_and_time_left(toy, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(watch, "_IN_LOG", 0.0)
    toy(tmp_path / "run", "trainer.max_steps=4", "trainer.val_every=2")
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("step ")]
    assert " ".join(line.split(",")[0].split()[1] for line in lines) == "1/4 2/4 2 3/4 4/4 4"
    for said in ("25 %", "loss ", "mel ", "steps/s", "frames/s", "left"):
        assert said in lines[0]
    assert "validation  mel " in lines[2]
    assert lines[4].endswith("done")


def test_a_batch_that_is_taken_in_parts_is_told_as_one(toy, told, tmp_path, monkeypatch):
    """Once a step, with the loss of the whole batch, to the logs and to those who look for spikes."""
    seen: list[tuple[int, torch.Tensor, list[str]]] = []
    look = SpikeGuard.look

    def noted(self):
        seen.extend(self._pending)
        return look(self)

    monkeypatch.setattr(SpikeGuard, "look", noted)
    more = ("trainer.max_steps=4", "model.dropout=0.0", "model.attention_dropout=0.0")
    toy(tmp_path / "whole", *more, model="fastpitch")
    whole, seen = seen, []
    toy(tmp_path / "parts", *more, "trainer.accumulate=2", model="fastpitch")
    rows, expected = told(tmp_path / "parts"), told(tmp_path / "whole")
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        assert row == pytest.approx(wanted, rel=1e-4)
    for (step, loss, ids), (same, wanted, of) in zip(seen, whole, strict=True):
        assert step == same
        assert float(loss) == pytest.approx(float(wanted), rel=1e-4)
        assert sorted(ids) == sorted(of)


def test_metrics_are_cut_back_to_the_step_that_is_resumed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [{"step": s, "train/loss": float(s)} for s in range(1, 6)]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows) + '{"step": 6, "train/lo')
    assert read_metrics(path)["train/loss"][0] == [1, 2, 3, 4, 5]
    watch.cut_metrics(path, 3)
    assert read_metrics(path) == {"train/loss": ([1, 2, 3], [1.0, 2.0, 3.0])}
    watch.cut_metrics(tmp_path / "none.jsonl", 3)
    assert not (tmp_path / "none.jsonl").exists()


def test_curves_are_a_picture(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    pictures.draw_curves(metrics, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    rows = [{"step": s, "train/loss": 100.0 / s, "val/loss": 120.0 / s, "train/pitch": 0.1} for s in range(1, 50)]
    metrics.write_text("".join(json.dumps(r) + "\n" for r in rows))
    pictures.draw_curves(metrics, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.glob(".*")] == []


def test_a_preview_becomes_pictures_and_sounds():
    mel = np.random.default_rng(0).normal(-5, 2, (80, 30)).astype(np.float32)
    preview = Preview({"predicted": mel}, {"soft": np.eye(5, 30, dtype=np.float32)}, {"pitch": np.r_[0.0, 200, 210]})
    drawn = pictures.images(preview)
    assert set(drawn) == {"mel/predicted", "alignment/soft", "curve/pitch"}
    assert all(image.shape[2] == 3 and image.dtype == np.uint8 and image.std() > 1 for image in drawn.values())
    heard = pictures.sounds(preview, MelSpec())
    assert [(name, len(audio)) for name, audio in heard.items()] == [("predicted, Griffin-Lim", 30 * 256)]


def test_weights_and_biases_by_one_override(toy, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    out = tmp_path / "run"
    toy(out, "trainer.max_steps=4", "trainer.val_every=2", "logger=wandb", "logger.tensorboard=false")
    (kept,) = (out / "logs" / "wandb").glob("offline-run-*/*.wandb")
    assert kept.stat().st_size > 1000
    assert {p.suffix for p in kept.parent.rglob("files/media/**/*") if p.is_file()} == {".png", ".wav"}


def test_without_weights_and_biases_it_says_what_to_install(toy, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(NemoExtError, match="logger=wandb needs Weights & Biases: pip install wandb"):
        toy(tmp_path / "run", "logger=wandb")


def test_the_logs_hold_pictures_and_nothing_of_the_users_repository(tiny_acoustic):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = tiny_acoustic.parent / "logs"
    log = EventAccumulator(str(logs), size_guidance={"images": 0, "audio": 0})
    log.Reload()
    tags = log.Tags()
    assert {"mel/target", "mel/predicted", "alignment/soft", "alignment/hard", "curve/pitch"} <= set(tags["images"])
    assert {"audio/predicted, Griffin-Lim", "audio/target, Griffin-Lim"} == set(tags["audio"])
    assert {"train/mel", "train/lr", "val/mel"} <= set(tags["scalars"])
    assert {p.name.split(".")[0] for p in logs.iterdir()} == {"events", "hparams", "cmd-args"}
