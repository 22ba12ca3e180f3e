"""A loss far above what it has been names its batch, while the training goes on.

One bad recording (a wrong text, a cut word) shows as a step whose loss jumps out of the rest. Which step that was, and
who was in it, is worth knowing before the weights have taken it in fifty times.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from nemo_ext.console import tell
from nemo_ext.training.watch import cut_metrics, listed, loss_of

_HISTORY, _ENOUGH = 200, 40  # steps: that are remembered, and before which nothing is judged
# For normally distributed losses 3.5 would do (Iglewicz and Hoaglin); batches differ by more than chance.
_FAR = 8.0
_LARGER = 1.5  # and at least so many times the median: where losses hardly vary, a small step is far


def robust_z(value: float, history: Sequence[float]) -> float:
    """How many robust standard deviations ``value`` lies above the median of ``history``.

    ``0.6745 (x - median) / MAD``, the modified z-score of Iglewicz and Hoaglin, "How to Detect and Handle Outliers"
    (1993): median and median absolute deviation, which the outliers looked for do not move.
    """
    median = float(np.median(history))
    spread = float(np.median(np.abs(np.asarray(history) - median)))
    return 0.6745 * (value - median) / max(spread, 1e-6 * abs(median), 1e-12)


@dataclass(frozen=True)
class Spike:
    """A step whose loss is far above those before it."""

    step: int
    loss: float
    median: float
    z: float
    ids: list[str]  # utterances of its batch

    def __str__(self) -> str:
        return (
            f"step {self.step}, WARNING: its loss of {self.loss:.3g} is far above the {self.median:.3g} before "
            f"({self.z:.0f} robust deviations); its batch: {listed(self.ids)}. Names that come again: listen to them"
        )


class SpikeGuard(Callback):
    """Looks at the losses every ``every`` steps, all at once, so that no step waits for the GPU; names the worst.

    Each process looks at its own part of the batches. What it finds is said, logged as ``train/spike_z``, and kept
    with the utterances' ids in ``out/spikes.jsonl`` (``spikes-<rank>.jsonl``).
    """

    def __init__(self, out: Path, every: int) -> None:
        self.out, self.every = out, every
        self._losses: deque[float] = deque(maxlen=_HISTORY)
        self._pending: list[tuple[int, torch.Tensor, list[str]]] = []
        self._parts: list[tuple[torch.Tensor, list[str]]] = []  # of a step
        self._seen_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """What an earlier run found beyond the step it is resumed from is found again."""
        self._seen_step = trainer.global_step
        cut_metrics(self._path(trainer), trainer.global_step)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: Any,
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Remember the loss where it is; look at it when it is time."""
        loss = loss_of(outputs)
        if loss is None:
            return
        self._parts.append((torch.as_tensor(loss).detach().float(), list(batch.ids)))
        if trainer.global_step == self._seen_step:  # a part of a step: gradients are still added up
            return
        self._seen_step = trainer.global_step
        whole = torch.stack([part for part, _ in self._parts]).sum()  # Lightning has divided each by their number
        self._pending.append((self._seen_step, whole, list(dict.fromkeys(i for _, ids in self._parts for i in ids))))
        self._parts = []
        if trainer.global_step % self.every == 0 or trainer.global_step >= trainer.max_steps:
            found = self.look()
            if found is not None:
                self._tell(trainer, found)

    def look(self) -> Spike | None:
        """The farthest of the steps since the last look, if any is far."""
        losses = torch.stack([loss.reshape(()) for _, loss, _ in self._pending]).tolist() if self._pending else []
        worst: Spike | None = None
        for (step, _, ids), loss in zip(self._pending, losses, strict=True):
            if len(self._losses) >= _ENOUGH and np.isfinite(loss):
                z, median = robust_z(loss, self._losses), float(np.median(self._losses))
                if z > _FAR and loss > _LARGER * median and (worst is None or z > worst.z):
                    worst = Spike(step, loss, median, z, ids)
            if np.isfinite(loss):
                self._losses.append(loss)
        self._pending = []
        return worst

    def _path(self, trainer: Trainer) -> Path:
        return self.out / ("spikes.jsonl" if trainer.is_global_zero else f"spikes-{trainer.global_rank}.jsonl")

    def _tell(self, trainer: Trainer, spike: Spike) -> None:
        tell(spike, error=True)
        row = {"step": spike.step, "loss": spike.loss, "median": spike.median, "z": spike.z, "ids": spike.ids}
        with self._path(trainer).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        for logger in trainer.loggers:
            logger.log_metrics({"train/spike_z": spike.z}, spike.step)
