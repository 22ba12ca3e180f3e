"""What a person sees of a running training: a line of progress, curves, pictures, and an early end on NaN."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from nemo_ext.corpus.progress import clock
from nemo_ext.errors import NemoExtError
from nemo_ext.training import pictures


def _losses(trainer: Trainer, prefix: str) -> dict[str, float]:
    found = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith(prefix)}
    return {k: v for k, v in found.items() if not k.endswith(("_step", "_epoch"))}


def _frames(batch: Any) -> int:
    lens = getattr(batch, "mel_lens", None)
    return int(lens.sum()) if lens is not None else batch.mel.shape[0] * batch.mel.shape[2]


class NanGuard(Callback):  # type: ignore[misc]
    """Ends the training at the first loss that is no number, and names the batch."""

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Look at the loss of every step."""
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if loss is None or bool(torch.isfinite(torch.as_tensor(loss)).all()):
            return
        losses = _losses(trainer, "train/")
        bad = [k.removeprefix("train/") for k, v in losses.items() if not math.isfinite(v)]
        ids = ", ".join(batch.ids[:8]) + (f" and {len(batch.ids) - 8} more" if len(batch.ids) > 8 else "")
        raise NemoExtError(
            f"the loss is no number at step {trainer.global_step} ({', '.join(bad) or 'loss'}; epoch "
            f"{trainer.current_epoch}, batch {batch_idx}, utterances {ids}): look at those recordings, or lower "
            "model.optim.lr; the last checkpoint is untouched"
        )


class Watch(Callback):  # type: ignore[misc]
    """Progress with losses, speed and time left; ``metrics.jsonl`` and ``curves.png``; pictures and audio."""

    def __init__(self, out: Path, log_every: int) -> None:
        self.out, self.log_every = out, log_every
        self._screen = sys.stderr.isatty()
        self._preview_batch: Any = None

    # ---------------------------------------------------------------- progress

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the clocks."""
        self._first_step, self._started = trainer.global_step, time.monotonic()
        self._frames, self._said = 0, self._started
        self._metrics = (self.out / "metrics.jsonl").open("a", encoding="utf-8") if trainer.is_global_zero else None

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ARG002
        batch: Any,
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Count, write and say."""
        self._frames += _frames(batch)
        step, now = trainer.global_step, time.monotonic()
        last = step >= trainer.max_steps
        if step % self.log_every == 0 or last:
            self._write(step, _losses(trainer, "train/"))
        if now - self._said >= (0.5 if self._screen else 10.0) or last:
            self._said = now
            self._say(trainer, now, last)

    def _say(self, trainer: Trainer, now: float, last: bool) -> None:
        if not trainer.is_global_zero:
            return
        step, elapsed = trainer.global_step, now - self._started
        speed = (step - self._first_step) / max(elapsed, 1e-9)
        losses = _losses(trainer, "train/")
        shown = "  ".join(f"{k.removeprefix('train/')} {v:.3f}" for k, v in losses.items())
        left = "done" if last else f"{clock((trainer.max_steps - step) / max(speed, 1e-9))} left"
        line = (
            f"step {step}/{trainer.max_steps}, {100 * step // max(trainer.max_steps, 1)} %  {shown}  "
            f"{speed:.2f} steps/s  {self._frames / max(elapsed, 1e-9):,.0f} frames/s  {left}"
        )
        print(
            f"\r{line}\x1b[K" if self._screen else line, end="\n" if last or not self._screen else "", file=sys.stderr
        )
        sys.stderr.flush()

    def _write(self, step: int, values: dict[str, float]) -> None:
        if self._metrics is not None and values:
            self._metrics.write(json.dumps({"step": step, **{k: round(v, 6) for k, v in values.items()}}) + "\n")
            self._metrics.flush()

    # -------------------------------------------------------- curves, pictures

    def on_validation_batch_start(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Keep the first batch: its first utterance is what the pictures show."""
        if batch_idx == 0:
            self._preview_batch = batch

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validation losses, curves, and what the model shows of itself."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        self._write(trainer.global_step, _losses(trainer, "val/"))
        pictures.draw_curves(self.out / "metrics.jsonl", self.out / "curves.png")
        if self._preview_batch is not None and trainer.loggers:
            preview = pl_module.preview(self._preview_batch)
            pictures.send(trainer.loggers, preview, pl_module.mel_spec, trainer.global_step)
        self._preview_batch = None

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Close the file and leave the screen's last line whole."""
        if getattr(self, "_metrics", None) is not None:
            self._metrics.close()  # type: ignore[union-attr]
            self._metrics = None
