"""What a training will need, said before it starts: disk, memory, and time by a short measurement."""

from __future__ import annotations

import copy
import os
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from nemo_ext.corpus.progress import clock
from nemo_ext.errors import NemoExtError

WARM_UP, MEASURED = 2, 5  # steps
_LOGS = 50e6  # bytes: pictures, audio, metrics
_GIB = 2**30


@dataclass(frozen=True)
class Needs:
    """What a training will need."""

    seconds_per_step: float
    steps: int  # still to do
    parameters: int
    memory: int  # bytes, the most that this process held while it was measured
    disk: int  # bytes still to be written
    free: int  # bytes on that disk

    def __str__(self) -> str:
        return (
            f"{self.parameters / 1e6:.1f}M parameters; about {clock(self.steps * self.seconds_per_step)} for "
            f"{self.steps} steps ({1 / self.seconds_per_step:.2f} steps/s measured), {self.memory / _GIB:.1f} GiB of "
            f"memory, {self.disk / _GIB:.2f} GiB of disk ({self.free / _GIB:.0f} GiB free)"
        )


class _Clock(Callback):  # type: ignore[misc]
    """Seconds of each step, loading included."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.at.append(time.perf_counter())


def seconds_per_step(model: LightningModule, loader: Any, new_trainer: Callable[..., Trainer]) -> float:
    """Mean time of a few real steps on another model of the same configuration; ``model`` is left as it was."""
    steps = _Clock()
    twin = type(model)(copy.deepcopy(model.cfg))  # NeMo's models cannot be twin
    trainer = new_trainer(
        max_steps=WARM_UP + MEASURED,
        callbacks=[steps],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    twin.set_trainer(trainer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(twin, loader)
    counted = steps.at[min(WARM_UP, len(steps.at) - 1) - 1 :]
    return (counted[-1] - counted[0]) / max(len(counted) - 1, 1)


def assess(model: LightningModule, seconds: float, steps: int, out: Path, keep: int, training_parameters: int) -> Needs:
    """What ``steps`` more steps of ``model`` need.

    Raises:
        NemoExtError: the disk has less room than that.
    """
    parameters = sum(p.numel() for p in model.parameters())
    checkpoint = 4 * 3 * (parameters + training_parameters)  # weights and Adam's two moments, float32
    written = sum(path.stat().st_size for path in (out / "checkpoints").glob("step=*.ckpt"))
    # one more than is kept is there while the newest is written
    disk = int(max((keep + 1) * checkpoint + 2 * 4 * parameters + _LOGS - written, 0))
    free = shutil.disk_usage(out).free
    if free < disk:
        raise NemoExtError(
            f"the disk of {out} has {free / _GIB:.2f} GiB free and this training writes about {disk / _GIB:.2f} GiB: "
            f"free {(disk - free) / _GIB:.2f} GiB, or lower trainer.keep_checkpoints"
        )
    return Needs(seconds, steps, parameters + training_parameters, _most_memory(), disk, free)


def _most_memory() -> int:
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
