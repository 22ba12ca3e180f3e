"""What a person sees of a running training: a line of progress, curves, pictures, and an early end on NaN."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from nemo_ext.corpus.manifest import write_text
from nemo_ext.corpus.progress import clock
from nemo_ext.errors import NemoExtError
from nemo_ext.training import pictures
from nemo_ext.training.throughput import Rates, Speedometer

_ON_SCREEN, _IN_LOG = 0.5, 5.0  # seconds between two lines of progress


def _losses(trainer: Trainer, prefix: str) -> dict[str, float]:
    found = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith(prefix)}
    return {k: v for k, v in found.items() if not k.endswith(("_step", "_epoch"))}


def loss_of(outputs: Any) -> Any:
    """The loss in what Lightning hands on of a training step; None where there is none."""
    return outputs["loss"] if isinstance(outputs, dict) else outputs


class NanGuard(Callback):
    """Ends the training at the first loss that is no number, and names the batch."""

    def __init__(self, rate: str = "model.optim.lr", left: str = "the last checkpoint is untouched") -> None:
        """``rate``: the option that a person may lower; ``left``: what there is now."""
        self.rate, self.left = rate, left

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Look at the loss of every step."""
        loss = loss_of(outputs)
        if loss is None or bool(torch.isfinite(torch.as_tensor(loss)).all()):
            return
        bad = [k.removeprefix("train/") for k, v in _losses(trainer, "train/").items() if not math.isfinite(v)]
        broken = _broken(batch)
        who = listed(broken or batch.ids)
        why = f"{who} hold values that are no numbers" if broken else f"utterances {who}"
        remedy = "take them out of the corpus" if broken else f"look at those recordings, or lower {self.rate}"
        raise NemoExtError(
            f"the loss is no number at step {trainer.global_step} ({', '.join(bad) or 'loss'}; epoch "
            f"{trainer.current_epoch}, batch {batch_idx}; {why}): {remedy}; {self.left}"
        )


def _broken(batch: Any) -> list[str]:
    """Ids of the utterances in whose own data something is NaN or infinite."""
    bad = torch.zeros(len(batch.ids), dtype=torch.bool)
    for f in dataclasses.fields(batch):
        value = getattr(batch, f.name)
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            bad |= ~torch.isfinite(value).reshape(len(batch.ids), -1).all(1).cpu()
    return [name for name, is_bad in zip(batch.ids, bad.tolist(), strict=True) if is_bad]


def listed(ids: list[str]) -> str:
    """The first eight of ``ids``, and how many more there are."""
    return ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")


class Watch(Callback):
    """Progress with losses, speed, time left; ``metrics.jsonl``, ``curves.png``; pictures and audio for the logger."""

    def __init__(self, out: Path, log_every: int, curves: bool = True) -> None:
        """``curves``: draw curves.png at each validation."""
        self.out, self.log_every, self.curves = out, log_every, curves
        self._screen = sys.stderr.isatty()
        self._preview_batch: Any = None
        self._speed = Speedometer()
        self._rates: Rates | None = None
        self._seen_step = 0

    # ---------------------------------------------------------------- progress

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the clocks."""
        self._speed.start(trainer.global_step)
        self._seen_step = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ARG002
        batch: Any,
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Count, write and say."""
        self._speed.weigh(pl_module, batch)
        self._speed.count(batch)
        step = trainer.global_step
        if step == self._seen_step:  # a part of a step: gradients are still added up
            return
        self._seen_step = step
        last = step >= trainer.max_steps
        if self._speed.since >= (_ON_SCREEN if self._screen else _IN_LOG) or last:
            self._rates = self._speed.rates(trainer)
            self._say(trainer, self._rates, last)
        if step % self.log_every == 0 or last:
            more = {"train/lr": float(trainer.optimizers[0].param_groups[0]["lr"])}  # of the next step
            more |= self._rates.logged() if self._rates else {}
            self._write(trainer, {**_losses(trainer, "train/"), **more})
            for logger in trainer.loggers:
                logger.log_metrics(more, step)

    def _say(self, trainer: Trainer, rates: Rates, last: bool) -> None:
        step = trainer.global_step
        shown = "  ".join(f"{k.removeprefix('train/')} {v:.3f}" for k, v in _losses(trainer, "train/").items())
        left = "done" if last else f"{clock(rates.seconds_left(trainer.max_steps - step))} left"
        self._print(
            trainer,
            f"step {step}/{trainer.max_steps}, {100 * step // max(trainer.max_steps, 1)} %  {shown}  {rates}  {left}",
            stays=last,
        )

    def _print(self, trainer: Trainer, line: str, stays: bool) -> None:
        if trainer.is_global_zero:
            end = "\n" if stays or not self._screen else ""
            print(f"\r{line}\x1b[K" if self._screen else line, end=end, file=sys.stderr, flush=True)

    def _write(self, trainer: Trainer, values: dict[str, float]) -> None:
        if trainer.is_global_zero and values:
            row = {"step": trainer.global_step, **{k: float(f"{v:.7g}") for k, v in values.items()}}
            with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

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

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Validation losses, curves, and what the model shows of itself."""
        if trainer.sanity_checking:
            return
        preview = None
        if self._preview_batch is not None and trainer.loggers:  # on every rank: weights may be dealt out to them
            preview = pl_module.preview(self._preview_batch)
        self._preview_batch = None
        if not trainer.is_global_zero:
            return
        losses = _losses(trainer, "val/")
        self._write(trainer, losses)
        shown = "  ".join(f"{k.removeprefix('val/')} {v:.3f}" for k, v in losses.items())
        self._print(trainer, f"step {trainer.global_step}, validation  {shown}", stays=True)
        if self.curves:
            pictures.draw_curves(self.out / "metrics.jsonl", self.out / "curves.png")
        if preview is not None:
            pictures.send(trainer.loggers, preview, pl_module.mel_spec, trainer.global_step)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Leave the screen's last line whole."""
        if self._screen:
            print(file=sys.stderr)


def cut_metrics(path: Path, step: int) -> None:
    """Take out of ``metrics.jsonl`` what was written after ``step``, and a last line that was cut short."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue
    write_text(path, "".join(f"{line}\n" for line in kept))
