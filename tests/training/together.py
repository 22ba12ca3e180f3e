"""Run by the tests, once or by torchrun in several processes: trainings, one after the other.

Arguments: the command lines as JSON; for a process that is to fail: its rank, the step, how (``error``, ``kill`` or
``save``, when it writes model.nemo).
"""

import json
import os
import signal
import sys
from pathlib import Path

from nemo_ext.cli import main
from nemo_ext.errors import NemoExtError
from nemo_ext.training import run
from nemo_ext.training.watch import Watch


def failing_save(*_):
    raise NemoExtError("this rank has had enough")


def fail_at(rank: int, step: int, how: str) -> None:
    """The process ``rank`` fails in that step: by an error that we tell, or as if its machine had gone."""
    if how == "save":
        run._save = failing_save
        return
    before = Watch.on_train_batch_end

    def failing(self, trainer, *others):
        before(self, trainer, *others)
        if trainer.global_rank == rank and trainer.global_step == step:
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise NemoExtError("this rank has had enough")

    Watch.on_train_batch_end = failing


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
