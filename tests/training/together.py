"""Run by the tests, once or by torchrun in several processes: trainings, one after the other.

Arguments: the command lines as JSON; for a process that is to fail: its rank, the step, and how:

- ``error`` or ``kill``: after that step, by an error that we tell, or as if its machine had gone
- ``save``: when it writes model.nemo
- ``stale``: its disk shows it that step's checkpoint as the newest
- ``nan``: its part of that step's batch holds values that are no numbers, and losses are looked at every five steps
"""

import json
import os
import signal
import sys
from pathlib import Path

from nemo_ext.cli import main
from nemo_ext.errors import NemoExtError
from nemo_ext.training import checkpoints, run
from nemo_ext.training.watch import NanGuard, Watch


def fail_at(rank: int, step: int, how: str) -> None:
    """The process ``rank`` fails in that step."""
    mine, before = int(os.environ["RANK"]) == rank, Watch.on_train_batch_end

    def failing(self, trainer, *others):
        before(self, trainer, *others)
        if mine and trainer.global_step == step:
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            enough()

    def poison(self, trainer, model, batch, batch_idx):
        if mine and trainer.global_step == step - 1:
            batch.pitch_normalized.fill_(float("nan"))

    if how == "save":
        run._save = enough
    elif how == "stale" and mine:
        checkpoints.newest = lambda folder: (folder / f"step={step}.ckpt", [])
    elif how == "nan":
        run._looks, NanGuard.on_train_batch_start = lambda options: (5,), poison
    elif how in ("error", "kill"):
        Watch.on_train_batch_end = failing


def enough(*_) -> None:
    raise NemoExtError("this rank has had enough")


if __name__ == "__main__":
    lines, *failure = sys.argv[1:]
    if failure:
        fail_at(int(failure[0]), int(failure[1]), failure[2])
    for line in json.loads(lines):
        status = main(["train", *line])
        if status:
            sys.exit(status)
        out = next(option.removeprefix("out=") for option in line if option.startswith("out="))
        assert (Path(out) / "model.nemo").is_file(), "a process is done before the model is written"
