"""How fast a training runs: steps and frames a second, time left, the GPU's memory, model-FLOP utilisation."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.distributed.tensor import DTensor

from nemo_ext.training import flops

_GIB = 2**30


@dataclass(frozen=True)
class Rates:
    """Speed over about the last minute."""

    steps: float  # a second
    frames: float  # mel frames a second, over all processes
    memory: float = 0.0  # GiB, the most that torch has held on this GPU; 0: no GPU
    utilisation: float | None = None  # model FLOPs a second as a share of what the device can; None: not known

    def seconds_left(self, steps: int) -> float:
        """Time that so many steps will take."""
        return steps / max(self.steps, 1e-9)

    def __str__(self) -> str:
        told = f"{self.steps:.2f} steps/s  {self.frames:,.0f} frames/s"
        told += f"  {self.memory:.1f} GiB" if self.memory else ""
        return told + (f"  {100 * self.utilisation:.1f} % of peak FLOPs" if self.utilisation is not None else "")

    def logged(self) -> dict[str, float]:
        """By the names of metrics."""
        named = {"train/frames_per_second": self.frames, "train/steps_per_second": self.steps}
        named |= {"train/gpu_gib": self.memory} if self.memory else {}
        return named | ({"train/utilisation": self.utilisation} if self.utilisation is not None else {})


class Speedometer:
    """Counts steps and frames without asking the GPU to wait; reads the clock when it is asked for the rates."""

    def __init__(self) -> None:
        self._frames: Any = 0  # a tensor where the lengths lie: to read it is to wait
        self._passed: deque[tuple[float, int, float]] = deque(maxlen=13)  # when, step, frames
        self._flops_a_frame: float | None = None  # of a training step; None: not known yet, 0: not to be known

    def start(self, step: int) -> None:
        """The clock begins now."""
        self._passed.append((time.monotonic(), step, 0.0))

    def count(self, batch: Any) -> None:
        """A step was made on ``batch``."""
        self._frames = self._frames + _frames(batch)

    def weigh(self, model: Any, batch: Any) -> None:
        """Count the operations of a step once, on ``batch``, where the device's peak is known: a forward pass more."""
        if self._flops_a_frame is not None:
            return
        known = flops.peak_flops(model.device) is not None and not any(
            isinstance(p, DTensor) for p in model.parameters()
        )
        self._flops_a_frame = flops.step_flops(model, batch) / float(_frames(batch)) if known else 0.0

    @property
    def since(self) -> float:
        """Seconds since the rates were last asked for."""
        return time.monotonic() - self._passed[-1][0]

    def rates(self, trainer: Trainer) -> Rates:
        """Speed since the oldest of the last dozen times that this was asked."""
        now, step, frames = time.monotonic(), trainer.global_step, float(self._frames) * trainer.world_size
        then, first_step, first_frames = self._passed[0]
        self._passed.append((now, step, frames))
        elapsed, device = max(now - then, 1e-9), trainer.strategy.root_device
        memory = torch.cuda.max_memory_allocated() / _GIB if device.type == "cuda" else 0.0
        counted = (self._flops_a_frame or 0.0) * (frames - first_frames) / trainer.world_size
        used = flops.utilisation(counted, elapsed, flops.peak_flops(device))
        return Rates((step - first_step) / elapsed, (frames - first_frames) / elapsed, memory, used)


def _frames(batch: Any) -> Any:
    """Mel frames of ``batch``; a tensor where their lengths are one."""
    if hasattr(batch, "frames"):
        return int(batch.frames)
    lens = getattr(batch, "mel_lens", None)
    return lens.sum() if lens is not None else batch.mel.shape[0] * batch.mel.shape[2]
