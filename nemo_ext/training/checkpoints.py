"""Checkpoints that are whole or not there, and a stop that loses nothing."""

from __future__ import annotations

import os
import re
import signal
import threading
import zipfile
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from nemo_ext.errors import NemoExtError

_NAME = re.compile(r"step=(\d+)\.ckpt")


class Stopped(BaseException):
    """Somebody asked the run to stop (Ctrl-C, SIGTERM); its checkpoint is written."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(number, step)
        self.number, self.step = number, step


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest whole checkpoint in ``folder``, and a note for each newer one that is damaged."""
    notes = []
    for path in sorted(folder.glob("step=*.ckpt"), key=step_of, reverse=True):
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        except (OSError, zipfile.BadZipFile) as error:
            damaged = str(error)
        if damaged is None:
            return path, notes
        notes.append(f"{path.name} is damaged ({damaged}): the one before it is used")
    return None, notes


def step_of(path: Path) -> int:
    """Optimizer step in the name of a checkpoint."""
    found = _NAME.fullmatch(path.name)
    return int(found[1]) if found else -1


class Checkpoints(Callback):  # type: ignore[misc]
    """Writes ``step=N.ckpt`` every ``every`` steps, at the end, and when somebody asks the run to stop.

    Each is written beside its place and renamed, so that a full disk or a power cut leaves the one before it.
    """

    def __init__(self, folder: Path, every: int, keep: int) -> None:
        self.folder, self.every, self.keep = folder, every, keep
        self._asked: int | None = None
        self._before: dict[int, Any] = {}
        self._saved_step = -1

    def listen(self) -> None:
        """Turn Ctrl-C and SIGTERM into a stop after the step in hand; a second one ends at once."""
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.signal(n, self._ask) for n in (signal.SIGINT, signal.SIGTERM)}

    def unlisten(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._asked is not None:
            raise KeyboardInterrupt
        self._asked = number

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """A resumed run needs no second copy of what it was resumed from."""
        self._saved_step = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Write one when it is time, or when the run was asked to stop."""
        if trainer.global_step % self.every == 0 and trainer.global_step != self._saved_step:
            self.save(trainer)
        if self._asked is not None:
            self.save(trainer)
            raise Stopped(self._asked, trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """The last one: raising max_steps goes on from it."""
        self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write a checkpoint of now, and delete those beyond ``keep``.

        Raises:
            NemoExtError: the disk is full or not writable; what was there before is untouched.
        """
        step = trainer.global_step
        if step == self._saved_step:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step={step}.ckpt"
        beside = self.folder / f".writing-{os.getpid()}.ckpt"
        try:
            trainer.save_checkpoint(beside)
            if trainer.is_global_zero:
                os.replace(beside, path)
        except (OSError, RuntimeError) as error:
            # torch's writer turns a full disk into a RuntimeError about its own file format
            if isinstance(error, RuntimeError) and "PytorchStreamWriter" not in str(error):
                raise
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "the disk may be full"
            raise NemoExtError(
                f"checkpoint {path} could not be written ({reason}): free some space and start the same command again; "
                f"it goes on from step {max(self._saved_step, 0)}"
            ) from error
        finally:
            if trainer.is_global_zero:
                beside.unlink(missing_ok=True)
        self._saved_step = step
        if trainer.is_global_zero:
            whole = sorted(self.folder.glob("step=*.ckpt"), key=step_of)
            for old in whole[: -self.keep]:
                old.unlink()
