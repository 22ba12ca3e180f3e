"""What a person sees of a running training: a line of progress, curves, pictures, and an early end on NaN."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import distributed

from nemo_ext.console import clock, printable
from nemo_ext.corpus.manifest import write_text
from nemo_ext.errors import NemoExtError
from nemo_ext.losses.ranks import together
from nemo_ext.training import launch, pictures
from nemo_ext.training.stopping import Stopped
from nemo_ext.training.throughput import Rates, Speedometer
from nemo_ext.untrusted import read_lines

_ON_SCREEN, _IN_LOG = 0.5, 5.0  # seconds between two lines of progress


def _losses(trainer: Trainer, prefix: str) -> dict[str, float]:
    found = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith(prefix)}
    return {k: v for k, v in found.items() if not k.endswith(("_step", "_epoch"))}


def loss_of(outputs: Any) -> Any:
    """The loss in what Lightning hands on of a training step; None where there is none."""
    return outputs["loss"] if isinstance(outputs, dict) else outputs


@dataclass(frozen=True)
class _Step:
    """What is kept of a step until its loss is looked at; tensors stay where they are."""

    number: int  # of the optimizer, when it was done
    epoch: int
    batch: int
    ids: list[str]
    fine: torch.Tensor  # () bool: the loss is a number
    bad: torch.Tensor  # (B,) bool: which utterances' own data are not


class NanGuard(Callback):
    """Ends the training at the first loss that is no number, and names the batch.

    To look at a loss is to wait for the GPU. There it looks at several at once, and keeps of each batch who was in it.
    """

    def __init__(
        self,
        rate: str = "model.optim.lr",
        left: str = "the last checkpoint is untouched",
        at: Sequence[int] = (1,),
    ) -> None:
        """
        Args:
            rate: the option that a person may lower.
            left: what there is now.
            at: it looks at steps that are multiples of one of these, and before validations and the end.
        """
        self.rate, self.left, self.at = rate, left, at
        self._unseen: list[_Step] = []
        self._seen_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Steps count from here."""
        self._seen_step = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Look at the loss, or remember it where it is."""
        loss, number = loss_of(outputs), trainer.global_step
        if loss is not None:
            fine = torch.isfinite(torch.as_tensor(loss)).all()
            if 1 in self.at and bool(fine):
                return
            place = (number, trainer.current_epoch, batch_idx)
            self._unseen.append(_Step(*place, list(batch.ids), fine, _bad(batch)))
        if 1 not in self.at and number == self._seen_step:  # a part of a step: gradients are still added up
            return
        self._seen_step = number
        if number >= trainer.max_steps or any(number % steps == 0 for steps in self.at):
            self._look(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look, for the GPU is waited for anyway."""
        self._look(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look: there will be no other time."""
        self._look(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """What ends the training may follow from a loss that was not looked at yet, weights that are no numbers say."""
        if isinstance(exception, NemoExtError | Stopped) and (first := self._first()) is not None:
            print(self._told(trainer, first), file=sys.stderr, flush=True)

    def _first(self) -> _Step | None:
        """The first step since the last look whose loss is no number."""
        steps, self._unseen = self._unseen, []
        fine = torch.stack([step.fine for step in steps]).tolist() if steps else []
        return next((step for step, is_fine in zip(steps, fine, strict=True) if not is_fine), None)

    def _look(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """
        Raises:
            NemoExtError: a loss is no number; of several processes, those tell it whose loss was the first.
        """
        first = self._first()
        if 1 not in self.at and together():
            # after the step with that loss the weights are none either, and so are the losses of the others' next batch
            number = torch.tensor(first.number if first else sys.maxsize, device=pl_module.device)
            distributed.all_reduce(number, distributed.ReduceOp.MIN)
            if int(number) < (first.number if first else sys.maxsize):
                launch.leave_it_to_another()
        if first is not None:
            raise NemoExtError(self._told(trainer, first))

    def _told(self, trainer: Trainer, step: _Step) -> str:
        now = _losses(trainer, "train/") if step.number == trainer.global_step else {}
        losses = [k.removeprefix("train/") for k, v in now.items() if not math.isfinite(v)]
        broken = [name for name, is_bad in zip(step.ids, step.bad.tolist(), strict=True) if is_bad]
        who = listed(broken or step.ids)
        why = f"{who} hold values that are no numbers" if broken else f"utterances {who}"
        remedy = "take them out of the corpus" if broken else f"look at those recordings, or lower {self.rate}"
        return (
            f"the loss is no number at step {step.number} ({', '.join(losses) or 'loss'}; epoch {step.epoch}, batch "
            f"{step.batch}; {why}): {remedy}; {self.left}"
        )


def _bad(batch: Any) -> torch.Tensor:
    """``(B,)`` bool, where the batch is: the utterances in whose own data something is NaN or infinite."""
    given = (getattr(batch, f.name) for f in dataclasses.fields(batch))
    values = [v for v in given if isinstance(v, torch.Tensor) and v.is_floating_point()]
    return torch.stack([~torch.isfinite(v).reshape(len(batch.ids), -1).all(1) for v in values]).any(0)


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
            line = printable(line)
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
    for line in read_lines(path, what="log of losses"):
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue
    write_text(path, "".join(f"{line}\n" for line in kept))
