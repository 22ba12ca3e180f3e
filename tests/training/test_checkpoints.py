"""Checkpoints are whole or not there; a resumed run goes on as if it had never stopped."""

import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nemo_ext import _nemo
from nemo_ext.errors import NemoExtError
from nemo_ext.training import checkpoints
from nemo_ext.training.chance import Chance
from nemo_ext.training.pictures import read_metrics
from nemo_ext.training.watch import Watch


def losses(out: Path) -> dict[int, float]:
    return dict(zip(*read_metrics(out / "metrics.jsonl")["train/loss"], strict=True))


def names(out: Path) -> list[str]:
    return sorted(p.name for p in (out / "checkpoints").iterdir() if p.name != "untrained.nemo")


@contextmanager
def stopped_at(step: int, number: int, callback: type = Watch):
    """The process gets that signal while the training inside is in that step, right after the hook of ``callback``."""
    before = callback.on_train_batch_end

    def interrupted(self, trainer, *others):
        before(self, trainer, *others)
        if trainer.global_step == step:
            os.kill(os.getpid(), number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callback, "on_train_batch_end", interrupted)
        yield


@pytest.mark.parametrize(("model", "stops"), [("fastpitch", (4, 5)), ("vocos", (6,))])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(toy, tmp_path, model, stops, capfd):
    """The same losses, step by step, in the middle of an epoch and at its end: data, dropout, optimizer, schedule."""
    more = ("trainer.max_steps=11", "trainer.val_every=5")
    toy(tmp_path / "whole", *more, model=model)
    for stop in stops:
        out = tmp_path / f"stopped at {stop}"
        with pytest.raises(SystemExit) as end, stopped_at(stop, signal.SIGTERM):
            toy(out, *more, model=model)
        assert end.value.code == 128 + signal.SIGTERM
        assert f"stopped at step {stop}, which is saved" in capfd.readouterr().err
        assert names(out) == [f"step={stop}.ckpt"]
        assert max(losses(out)) == stop
        assert _nemo.restore(out).origin == f"{out.name}/model.nemo"  # it can be listened to
        toy(out, *more, model=model)
        assert f"resuming from step {stop} of 11" in capfd.readouterr().err
        assert losses(out) == losses(tmp_path / "whole")


def test_random_numbers_are_of_a_seed_a_step_and_a_part_of_it():
    def drawn(seed: int, step: int, part: int = 0) -> float:
        trainer = SimpleNamespace(accumulate_grad_batches=2, global_step=step, global_rank=0)
        Chance(seed).on_train_batch_start(trainer, None, None, part)
        return torch.rand(1).item()

    assert drawn(0, 3) == drawn(0, 3)
    assert len({drawn(0, 3), drawn(0, 4), drawn(1, 3), drawn(0, 3, 1)}) == 4


def test_the_epochs_above_end_where_they_are_stopped(toy, tmp_path):
    """The steps at which the test above stops lie on both sides of the end of an epoch, and at it."""
    toy(tmp_path / "run", "trainer.max_steps=6", model="fastpitch")
    held = checkpoints.read(tmp_path / "run" / "checkpoints" / "step=6.ckpt")
    assert held["epoch"] >= 1
    assert 6 - held["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["completed"] in (4, 5)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (3, 1)])
def test_a_resumed_run_may_take_its_batches_in_another_number_of_parts(toy, tmp_path, monkeypatch, before, after):
    """Every step has the utterances it would have had, and validations come when they would have come."""
    heard: dict[int, set[str]] = {}
    start = Chance.on_train_batch_start

    def noted(self, trainer, pl_module, batch, batch_idx):
        heard.setdefault(trainer.global_step, set()).update(batch.ids)
        start(self, trainer, pl_module, batch, batch_idx)

    monkeypatch.setattr(Chance, "on_train_batch_start", noted)
    more = ("trainer.max_steps=11", "trainer.val_every=5")
    toy(tmp_path / "whole", *more, model="fastpitch")
    whole = dict(heard)
    heard.clear()
    with pytest.raises(SystemExit), stopped_at(7, signal.SIGTERM):
        toy(tmp_path / "run", *more, f"trainer.accumulate={before}", model="fastpitch")
    toy(tmp_path / "run", *more, f"trainer.accumulate={after}", model="fastpitch")
    assert heard == whole
    assert list(heard) == list(range(11))
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")["val/loss"][0] == [5, 10]


def test_a_stop_that_comes_after_the_saver_had_its_turn_is_saved_with_the_next_step(toy, tmp_path):
    """Where Lightning's own handler would end the run with nothing saved."""
    with pytest.raises(SystemExit), stopped_at(3, signal.SIGTERM, checkpoints.Checkpoints):
        toy(tmp_path / "run", "trainer.max_steps=9")
    assert names(tmp_path / "run") == ["step=4.ckpt"]


def test_ctrl_c_saves_first(toy, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stopped_at(3, signal.SIGINT):
        toy(tmp_path / "run", "trainer.max_steps=9")
    assert names(tmp_path / "run") == ["step=3.ckpt"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_killed_run_goes_on_with_the_same_command(toy, options, tmp_path, capfd):
    out = tmp_path / "run"
    more = ("trainer.checkpoint_every=10", "trainer.max_steps=100000")
    line = [sys.executable, "-m", "nemo_ext", "train", *options(out, *more)]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}) as run:
        until = time.monotonic() + 300
        while time.monotonic() < until and checkpoints.newest(out / "checkpoints")[0] is None and run.poll() is None:
            time.sleep(0.05)
        run.send_signal(signal.SIGKILL)
        run.communicate()
    found, _ = checkpoints.newest(out / "checkpoints")
    assert found is not None
    step = checkpoints.step_of(found)
    before = losses(out)
    assert step % 10 == 0
    assert max(before) - step <= 10  # what was lost
    toy(out, f"trainer.max_steps={step + 12}")
    assert f"resuming from step {step} of {step + 12}" in capfd.readouterr().err
    after = losses(out)
    assert list(after) == list(range(1, step + 13))
    assert all(after[s] == before[s] for s in range(1, step + 1))
    again = [after[s] for s in range(step + 1, step + 13)]
    assert sum(again) / len(again) < 1.1 * sum(before[s] for s in range(step - 9, step + 1)) / 10


def test_a_full_disk_is_one_line_and_keeps_what_was_there(toy, finished, capfd):
    """A real failure of a real write: the process may write no file as large as a checkpoint."""
    before = {p.name: p.read_bytes() for p in (finished / "checkpoints").iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))  # Python ignores SIGXFSZ: the write fails
    try:
        with pytest.raises(NemoExtError, match=r"step=12\.ckpt could not be written \(File too large\)") as raised:
            toy(finished, "trainer.max_steps=12")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "make room" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert {p.name: p.read_bytes() for p in (finished / "checkpoints").iterdir()} == before
    toy(finished, "trainer.max_steps=12")
    assert "resuming from step 8 of 12" in capfd.readouterr().err
    assert names(finished) == ["step=12.ckpt", "step=8.ckpt"]


def test_a_device_without_room_is_told_from_other_errors(tmp_path):
    with pytest.raises(NemoExtError, match="No space left on device"):
        checkpoints.WholeFiles().save_checkpoint({"x": torch.zeros(100_000)}, _link(tmp_path / "step=1.ckpt"))
    assert not list(tmp_path.glob("*.ckpt"))
    with pytest.raises((TypeError, pickle.PicklingError, AttributeError)):
        checkpoints.WholeFiles().save_checkpoint({"x": lambda: 0}, tmp_path / "step=2.ckpt")
    assert not list(tmp_path.glob(".*"))


def _link(path: Path) -> Path:
    """A place whose neighbour, where the file is written first, is the device that is always full."""
    path.with_name(f".writing-{path.name}").symlink_to("/dev/full")
    return path


def test_a_damaged_checkpoint_falls_back_to_the_one_before(toy, finished, capfd):
    last = finished / "checkpoints" / "step=8.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    (finished / "checkpoints" / ".writing-step=9.ckpt").write_bytes(b"killed while it wrote")
    toy(finished, "trainer.max_steps=10")
    said = capfd.readouterr().err
    assert "step=8.ckpt is damaged" in said
    assert "resuming from step 4 of 10" in said
    assert list(losses(finished)) == list(range(1, 11))
    assert names(finished) == ["step=10.ckpt", "step=8.ckpt"]


@pytest.mark.parametrize(("rank", "left"), [("0", []), ("1", [".writing-step=9.ckpt"])])
def test_what_a_killed_run_left_is_taken_away_by_one_process(tmp_path, monkeypatch, rank, left):
    monkeypatch.setenv("RANK", rank)
    (tmp_path / ".writing-step=9.ckpt").write_bytes(b"killed while it wrote")
    checkpoints.Checkpoints(tmp_path, 10, 2, None)
    assert [p.name for p in tmp_path.iterdir()] == left


def test_a_flipped_bit_is_damage(finished):
    last = finished / "checkpoints" / "step=8.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    found, notes = checkpoints.newest(finished / "checkpoints")
    assert found == finished / "checkpoints" / "step=4.ckpt"
    assert len(notes) == 1


def test_nothing_but_damage_is_refused(toy, finished):
    for path in (finished / "checkpoints").iterdir():
        path.write_bytes(b"")
    with pytest.raises(NemoExtError, match=r"every checkpoint in .* is damaged: delete them to start again"):
        toy(finished, "trainer.max_steps=10")


def test_a_checkpoint_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    torch.save({"state_dict": Evil()}, tmp_path / "step=3.ckpt")
    with pytest.raises(NemoExtError, match=r"names 'posix\.system', which may run code"):
        checkpoints.read(tmp_path / "step=3.ckpt")
    assert not (tmp_path / "ran").exists()


def test_a_larger_max_steps_stretches_the_schedule(toy, finished):
    """Rate and moments at step 16 of 16 are those of a training that was to have 16 steps from the start."""
    ended = read_metrics(finished / "metrics.jsonl")["train/lr"][1][-1]
    toy(finished, "trainer.max_steps=16")
    rates = read_metrics(finished / "metrics.jsonl")["train/lr"][1]
    assert len(rates) == 16
    assert rates[9] > 10 * ended  # in the middle of the decay; the first step after a resume has the rate it stopped at
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] == pytest.approx(ended)
    held = checkpoints.read(finished / "checkpoints" / "step=16.ckpt")
    assert {int(m["step"]) for m in held["optimizer_states"][0]["state"].values()} == {16}
