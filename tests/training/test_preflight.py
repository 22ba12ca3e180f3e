"""What a training is said to need, against what it takes."""

import shutil

import pytest
import torch

from nemo_ext.config import compose
from nemo_ext.errors import NemoExtError
from nemo_ext.training import plan, preflight
from nemo_ext.training.build import build
from nemo_ext.training.preflight import Needs, Speed
from nemo_ext.training.run import train


def test_seconds_count_steps_validations_and_late_discriminators():
    speed = Speed(step=1.0, validation=10.0, late_step=3.0, late_from=6)
    assert speed.seconds(0, 4, val_every=5) == 4
    assert speed.seconds(0, 6, val_every=5) == 6 + 10
    assert speed.seconds(0, 10, val_every=5) == 6 + 4 * 3 + 2 * 10
    assert speed.seconds(8, 10, val_every=5) == 2 * 3 + 10
    assert Speed(step=0.5, validation=0.0).seconds(2, 10, val_every=5) == 4


@pytest.mark.parametrize("seconds", [0.0, 0.9, 1.0, 7.0, 100.0, 12345.0])
def test_steps_for_is_the_most_that_fits(seconds):
    speed = Speed(step=1.0, validation=2.5, late_step=3.0, late_from=20)
    steps = speed.steps_for(seconds, val_every=7)
    assert steps >= 1
    assert speed.seconds(0, steps + 1, 7) > seconds
    assert steps == 1 or speed.seconds(0, steps, 7) <= seconds


def test_disk_is_what_a_checkpoint_and_a_model_take(toy, options, finished):
    built = build(compose("train", options(finished)))
    checkpoint = (finished / "checkpoints" / "step=8.ckpt").stat().st_size
    model = (finished / "model.nemo").stat().st_size
    fresh = preflight.disk_needed(built.model, finished.parent, keep=2) - preflight._LOGS
    # a toy's files are half names and settings
    assert (3 * checkpoint + 3 * model) / 3 < fresh < 3 * checkpoint + 3 * model
    there = preflight.disk_needed(built.model, finished, keep=2) - preflight._LOGS
    assert there < fresh - checkpoint


def test_the_mean_of_the_weights_takes_room_in_every_checkpoint(toy, options, tmp_path):
    toy(tmp_path / "without", "trainer.max_steps=1")
    toy(tmp_path / "with", "trainer.max_steps=1", "trainer.ema=0.9")
    model = build(compose("train", options(tmp_path / "fresh"))).model
    told = [preflight.disk_needed(model, tmp_path, 2, mean) for mean in (False, True)]
    taken = [(tmp_path / k / "checkpoints" / "step=1.ckpt").stat().st_size for k in ("without", "with")]
    assert told[1] - told[0] == pytest.approx(3 * (taken[1] - taken[0]), rel=0.3)  # a toy's names take room


def test_what_is_measured_is_a_whole_step(options, tmp_path, monkeypatch):
    """Of so many parts as a batch is taken in."""
    monkeypatch.setattr(preflight, "_ENOUGH", 4)
    watches: list[preflight._Stopwatch] = []
    parts: list[int] = []
    end = preflight._Stopwatch.on_train_batch_end

    def counted(self, trainer, *others):
        watches.append(self)
        parts.append(trainer.accumulate_grad_batches)
        end(self, trainer, *others)

    monkeypatch.setattr(preflight._Stopwatch, "on_train_batch_end", counted)
    line = options(
        tmp_path, "trainer.accumulate=3", "trainer.max_steps=1", "trainer.measure_seconds=60", model="fastpitch"
    )
    train(compose("train", line))
    assert set(parts) == {3}
    assert len(parts) == 3 * (preflight._WARM_UP + 4)
    assert len(watches[0].at) == preflight._WARM_UP + 4
    kept = plan.load(tmp_path)
    assert kept is not None
    assert kept.measured_on["accumulate"] == 3


@pytest.mark.parametrize("model", ["vocos", "speaker"])
def test_what_cannot_be_taken_in_parts_is_refused(options, tmp_path, model):
    line = [o for o in options(tmp_path, "trainer.accumulate=2") if not o.startswith(("model", "size"))]
    with pytest.raises(NemoExtError, match=r"trainer\.accumulate is for acoustic models alone"):
        train(compose("train", [f"model={model}", "size=tiny", *line]))


def test_discriminators_count_before_they_are_made(options, tmp_path):
    without = build(compose("train", options(tmp_path)))
    adversarial = ("model.adversarial_from_step=5", "model.small_discriminators=true")
    late = build(compose("train", options(tmp_path, *adversarial)))
    assert late.model.discriminators is None
    made = sum(p.numel() for p in late.model.build_discriminators().parameters())
    assert made > 10_000
    assert preflight.parameters(late.model) == preflight.parameters(without.model) + made


def test_late_discriminators_are_measured_and_the_model_stays_as_it_was(toy, options, told, tmp_path, capfd):
    adversarial = ("model.adversarial_from_step=5", "model.small_discriminators=true")
    toy(tmp_path / "measured", *adversarial, "trainer.max_steps=7", "trainer.measure_seconds=0.5")
    assert "steps/s measured" in capfd.readouterr().err
    toy(tmp_path / "not", *adversarial, "trainer.max_steps=7")
    assert "time not measured, 7 steps" in capfd.readouterr().err
    assert told(tmp_path / "measured") == told(tmp_path / "not")
    speed = preflight_speed(tmp_path / "measured")
    assert speed.late_from == 5
    assert speed.late_step > speed.step > 0
    assert speed.validation > 0


def preflight_speed(out):
    kept = plan.load(out)
    assert kept is not None
    assert kept.speed is not None
    return kept.speed


def test_a_resumed_run_is_not_measured_again_on_the_same_machine(toy, tmp_path, monkeypatch):
    out = tmp_path / "run"
    toy(out, "trainer.max_steps=4", "trainer.measure_seconds=0.2")
    before = preflight_speed(out)
    monkeypatch.setattr(preflight, "measure", lambda *_: pytest.fail("measured again"))
    toy(out, "trainer.max_steps=6", "trainer.measure_seconds=0.2")
    assert preflight_speed(out) == before


def test_minutes_become_steps_and_stay(toy, tmp_path, capfd):
    out = tmp_path / "run"
    minutes = ("trainer.max_minutes=0.03", "trainer.measure_seconds=0.3")
    toy(out, *minutes)
    steps = preflight_speed(out).steps_for(1.8, val_every=1000)
    assert [p.name for p in (out / "checkpoints").glob("step=*")] == [f"step={steps}.ckpt"]
    capfd.readouterr()
    toy(out, *minutes)
    assert f"finished: {steps} of {steps} steps are done" in capfd.readouterr().err
    with pytest.raises(NemoExtError, match="needs a measurement"):
        toy(out, "trainer.max_minutes=0.03", "trainer.measure_seconds=0")


def test_too_little_disk_is_said_before_anything_starts(toy, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000_000))
    with pytest.raises(NemoExtError, match=r"0\.01 GiB free and this training writes .*: free .* GiB, or lower") as e:
        toy(tmp_path / "run", "trainer.max_steps=4")
    assert "\n" not in str(e.value)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_features_want_room_too(toy, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    with pytest.raises(NemoExtError, match="its features take about"):
        toy(tmp_path / "run", "trainer.max_steps=4", "features.mel.n_mels=40")


def test_gpu_memory_that_does_not_suffice_is_one_line(toy, tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(preflight, "_run", full)
    with pytest.raises(NemoExtError, match=r"does not fit into the GPU's memory: lower frames_per_batch"):
        toy(tmp_path / "run", "trainer.max_steps=4", "trainer.measure_seconds=0.2")


def test_the_line_that_is_shown():
    shown = str(Needs(90.0, 180, 1_900_000, 2**30, 2**29, 70 * 2**30))
    assert shown == (
        "1.9M parameters; about 1 min 30 s for 180 steps (2.00 steps/s measured), 1.0 GiB of memory, "
        "0.50 GiB of disk (70 GiB free)"
    )
