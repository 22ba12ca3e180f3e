"""A training that is killed, at any moment, ends where it would have ended."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from nemo_ext.config import compose
from nemo_ext.training import checkpoints
from nemo_ext.training.run import train

STEPS = 60
HIFIGAN = ["model=hifigan", "model.upsample_initial_channel=16", "model.segment_frames=8", "model.batch_size=2"]


def _train(line: list[str]) -> None:
    train(compose("train", line))


@pytest.fixture(scope="module")
def start():
    """Start a training in a process of its own; NeMo is imported once for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nemo_ext.training.run", "nemo_ext.models.acoustic.fastpitch", __name__])

    def started(line: list[str]) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=_train, args=(line,))
        process.start()
        return process

    return started


def lines_of(out: Path) -> int:
    metrics = out / "metrics.jsonl"
    return metrics.read_text(encoding="utf-8").count("\n") if metrics.is_file() else 0


def last(out: Path) -> dict:
    path, notes = checkpoints.newest(out / "checkpoints")
    assert (path.name, notes) == (f"step={STEPS}.ckpt", [])
    return checkpoints.read(path)


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.slow
@pytest.mark.parametrize(("model", "kills"), [("fastpitch", 20), ("hifigan", 5)])
def test_killed_at_random_points(options, start, told, tmp_path, model, kills):
    """Dropout is on. What stays equal, to the bit: weights, mean of the weights, optimizers, schedule, losses."""

    def line(out: Path) -> list[str]:
        asked = options(out, model="fastpitch")
        if model == "hifigan":
            asked = HIFIGAN + [o for o in asked if not o.startswith(("model", "text", "frames_per_batch"))]
        return [*asked, f"trainer.max_steps={STEPS}", "trainer.checkpoint_every=7", "trainer.ema=0.9"]

    straight = start(line(tmp_path / "straight"))
    straight.join()
    assert straight.exitcode == 0
    expected = last(tmp_path / "straight")
    draw = np.random.default_rng(0)
    stopped = []
    for number, point in enumerate(draw.choice(np.arange(1, STEPS), kills, replace=False)):
        out = tmp_path / f"killed-{number}"
        process = start(line(out))
        while lines_of(out) < point and process.is_alive():
            time.sleep(0.002)
        time.sleep(draw.uniform(0.0, 0.05))  # anywhere in a step, or while a checkpoint is written
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        stopped.append(lines_of(out))
        again = start(line(out))
        again.join()
        assert again.exitcode == 0
        found = last(out)
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "callbacks"):
            assert same(expected[part], found[part]), (part, point)
        assert told(out) == told(tmp_path / "straight")
    assert min(stopped) < STEPS  # killed, and not at its end already


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_costs_no_bit(options, start, tmp_path):
    def line(out: Path) -> list[str]:
        return [*options(out, model="fastpitch"), f"trainer.max_steps={STEPS}", "trainer.checkpoint_every=7"]

    for out in (tmp_path / "straight", tmp_path / "damaged"):
        process = start(line(out))
        if out.name == "damaged":
            while lines_of(out) < 30 and process.is_alive():
                time.sleep(0.002)
            os.kill(process.pid, signal.SIGKILL)
        process.join()
    newest, _ = checkpoints.newest(tmp_path / "damaged" / "checkpoints")
    newest.write_bytes(newest.read_bytes()[:-1000])
    before, notes = checkpoints.newest(tmp_path / "damaged" / "checkpoints")
    assert checkpoints.step_of(before) == checkpoints.step_of(newest) - 7
    assert notes[0].startswith(f"{newest.name} is damaged")  # that it is said, test_checkpoints.py shows
    again = start(line(tmp_path / "damaged"))
    again.join()
    assert again.exitcode == 0
    assert same(last(tmp_path / "straight")["state_dict"], last(tmp_path / "damaged")["state_dict"])
