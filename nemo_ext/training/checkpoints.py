"""Checkpoints that are whole or not there, a resume that goes on with the next batch, a stop that loses nothing.

Beside what Lightning keeps (weights, optimizers, schedule, counters), a checkpoint says where in its epoch the training
stood, by batches that were consumed. There is no state of random numbers to keep: they are a function of the step
(training/chance.py). Nothing in it needs pickled code, so reading one cannot run any.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import distributed
from torch.distributed.tensor import DTensor

from nemo_ext import torch_file
from nemo_ext.errors import NemoExtError
from nemo_ext.losses.ranks import together
from nemo_ext.model_files import newest, step_of
from nemo_ext.training import launch
from nemo_ext.training.launch import first_process
from nemo_ext.training.stopping import Stopped, StopSignals

__all__ = ["Checkpoints", "WholeFiles", "newest", "read", "step_of"]

_BESIDE = ".writing-"
# What a schedule's place is; its shape comes from the options, so that a larger max_steps stretches it.
_PLACE = ("last_epoch", "_step_count", "_last_lr")


def read(path: Path) -> dict[str, Any]:
    """A checkpoint on the CPU; tensors and plain values only, nothing in it is run.

    Raises:
        NemoExtError: it is damaged, or holds something else.
    """
    content = torch_file.read(path)
    if not isinstance(content, dict):
        raise NemoExtError(f"{path} is no checkpoint of a training: give one that nemo-ext train wrote")
    return content


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it: a full disk or a power cut leaves the one before it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:  # noqa: ARG002
        """Write ``checkpoint`` to ``path``.

        Raises:
            NemoExtError: the disk is full or not writable; what was there before is untouched.
        """
        path = Path(path)
        beside = path.with_name(f"{_BESIDE}{path.name}")
        # DictConfigs and classes, for Lightning's load_from_checkpoint; model.nemo holds the configuration as YAML.
        plain = {k: v for k, v in checkpoint.items() if k not in ("hyper_parameters", "hparams_name", "hparams_type")}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                torch.save(plain, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except (OSError, RuntimeError) as error:
            reason = _disk_error(error)
            if reason is None:
                raise
            raise NemoExtError(
                f"checkpoint {path} could not be written ({reason.strerror}): make room, and start the same command "
                "again; it goes on from the checkpoint before"
            ) from error
        finally:
            beside.unlink(missing_ok=True)

    def load_checkpoint(self, path: str | Path, map_location: Any = None) -> dict[str, Any]:  # noqa: ARG002
        """The checkpoint at ``path``, on the CPU."""
        return read(Path(path))


def _disk_error(error: BaseException | None) -> OSError | None:
    """The failed write behind ``error``: torch's writer answers one with a complaint about its own file format."""
    while error is not None:
        if isinstance(error, OSError):
            return error
        error = error.__cause__ or error.__context__
    return None


class Checkpoints(Callback):
    """Writes ``step=N.ckpt`` every ``every`` steps, at the end, and when somebody asks the run to stop."""

    def __init__(self, folder: Path, every: int, keep: int, order: Any) -> None:
        """``order``: the training batches' sampler, which can ``skip`` those that a resumed epoch has had."""
        self.folder, self.every, self.keep, self.order = folder, every, keep, order
        self.signals = StopSignals()
        self._saved_step = self._seen_step = -1
        for abandoned in folder.glob(f"{_BESIDE}*") if first_process() else ():  # by a run that was killed writing
            abandoned.unlink(missing_ok=True)

    # ------------------------------------------------------------------ saving

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Write one when it is time, or when the run was asked to stop.

        The last one, too, is written here and not at the end of training, where Lightning counts an epoch that
        ``max_steps`` cut short as finished.
        """
        step = trainer.global_step
        if step == self._seen_step:  # a part of a step: gradients are still added up
            return
        self._seen_step = step
        last = step >= trainer.max_steps
        asked = self.signals.agreed(last)
        if step % self.every == 0 or last or asked is not None:
            self._save(trainer, pl_module)
        if asked is not None:
            raise Stopped(asked, step)

    def _save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a checkpoint of now, and delete those beyond ``keep``."""
        step = trainer.global_step
        if step == self._saved_step:
            return
        for name, value in pl_module.named_parameters():
            here = value.to_local() if isinstance(value, DTensor) else value  # a share of it, where it is dealt out
            if not bool(torch.isfinite(here).all()):
                raise NemoExtError(
                    f"the weights are no numbers after step {step} ({name}): lower model.optim.lr or "
                    "trainer.gradient_clip; the checkpoint before is untouched"
                )
        trainer.save_checkpoint(self.folder / f"step={step}.ckpt")
        self._saved_step = step
        if trainer.is_global_zero:
            for old in sorted(self.folder.glob("step=*.ckpt"), key=step_of)[: -self.keep]:
                old.unlink(missing_ok=True)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Count the batch in hand as done.

        Lightning counts a batch only after its last hook, so that a checkpoint written in one would repeat it.
        """
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for part in ("total", "current"):
            progress[part]["completed"] = progress[part]["processed"]
        checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"] += 1

    # ---------------------------------------------------------------- resuming

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Go on with the next batch; the schedule keeps its place and takes its shape from the options."""
        self._saved_step = checkpoint["global_step"]
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        # counted in parts of a batch, of which there may have been more or fewer
        parts = progress["total"]["completed"] // max(checkpoint["global_step"], 1)
        for counts in (progress["total"], progress["current"]):
            counts |= {k: v // parts * trainer.accumulate_grad_batches for k, v in counts.items()}
        self.order.skip = progress["current"]["completed"]
        checkpoint["lr_schedulers"] = [
            {k: schedule[k] for k in _PLACE if k in schedule} for schedule in checkpoint["lr_schedulers"]
        ]

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """The signals come to us again, and a resumed training without a schedule takes the rate of its options.

        Lightning has put a handler of its own before ours. It ends training after the batch's last hook, so that a
        SIGTERM between our hook and its check would end the run without a checkpoint.

        Raises:
            NemoExtError: the processes have resumed from different checkpoints.
        """
        self.signals.listen_again()
        self.signals.begin()
        self._agree(trainer, pl_module.device)
        self._seen_step = trainer.global_step
        if trainer.global_step and not trainer.lr_scheduler_configs:  # a schedule sets the rate by itself
            for group in (g for optimizer in trainer.optimizers for g in optimizer.param_groups):
                group["lr"] = pl_module.cfg.optim.lr

    def _agree(self, trainer: Trainer, device: torch.device) -> None:
        """See that all processes go on from the same step: a shared disk may show one of them what was there before."""
        if not together():
            return
        ends = torch.tensor([trainer.global_step, -trainer.global_step], device=device)
        distributed.all_reduce(ends, distributed.ReduceOp.MAX)
        last, first = int(ends[0]), -int(ends[1])
        if first == last:
            return
        if trainer.is_global_zero:
            raise NemoExtError(
                f"the processes see different checkpoints in {self.folder} (some step {first}, some step {last}): the "
                "disk does not show all of them the newest yet; start the same command again in a minute"
            )
        launch.leave_it_to_another()
