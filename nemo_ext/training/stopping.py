"""A stop that loses nothing: signals become the end of the training after the step in hand, on all ranks at once.

A stop may be asked of one process only (a scheduler that signals one node, Ctrl-C in one terminal), and must come after
the same step everywhere, or the others wait for ever. So the processes vote. The vote is one integer over gloo between
the processors, and is read one step later: it neither waits for the GPU nor, as a rule, for the other processes.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import distributed

REQUEUE = 85  # exit status: saved, and to be started again. scripts/slurm/train.sbatch knows it
# What a process may be asked by, the weakest first: of several that are asked differently, the strongest counts.
_SIGNALS = (signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """Somebody asked the run to stop (Ctrl-C, SIGTERM, SIGHUP, SIGUSR1); its checkpoint is written."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(number, step)
        self.number, self.step = number, step

    @property
    def exit_status(self) -> int:
        """REQUEUE for SIGUSR1, by which a cluster asks; otherwise what shells report, 128 and the signal's number."""
        return REQUEUE if self.number == signal.SIGUSR1 else 128 + self.number


class StopSignals:
    """Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 as a wish to stop, which all processes come to agree on."""

    def __init__(self) -> None:
        self._asked: int | None = None
        self._before: dict[int, Any] = {}
        self._group: Any = None  # gloo, over all processes; None: there is one only
        self._vote: tuple[torch.Tensor, Any] | None = None  # of the step before, and its work

    def listen(self) -> None:
        """Turn the signals into a stop after the step in hand."""
        if threading.current_thread() is threading.main_thread():
            self._before = self._take()

    def listen_again(self) -> None:
        """Take the signals back from whoever took them since ``listen``."""
        if self._before:
            self._take()

    def unlisten(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _take(self) -> dict[int, Any]:
        # nohup has a process ignore its terminal's end, which is to stay so
        heard = [n for n in _SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
        return {n: signal.signal(n, self._ask) for n in heard}

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """A second Ctrl-C ends at once. A scheduler's signals often come twice, or one behind the other."""
        if self._asked in (signal.SIGINT, signal.SIGTERM) and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = self._asked or number

    def begin(self) -> None:
        """Set up the vote; every process calls this, once all have found each other."""
        if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
            self._group = distributed.new_group(backend="gloo")

    def agreed(self, last: bool) -> int | None:
        """The signal that ends the training after this step; every process asks once a step, and hears the same.

        Among several processes it is heard one step after the one in which it came. ``last``: there will be no step
        after this one, so that nobody is left with a vote that the others do not cast.
        """
        if self._group is None:
            return self._asked
        decided = self._counted()
        if not decided and not last:
            mine = torch.tensor(1 + _SIGNALS.index(signal.Signals(self._asked)) if self._asked else 0)
            self._vote = mine, distributed.all_reduce(mine, distributed.ReduceOp.MAX, self._group, async_op=True)
        return _SIGNALS[decided - 1] if decided else None

    def _counted(self) -> int:
        if self._vote is None:
            return 0
        total, work = self._vote
        work.wait()
        self._vote = None
        return int(total)


@contextmanager
def requeued_at_once() -> Iterator[None]:
    """Before and after the steps, when nothing is to be saved, SIGUSR1 ends the process with ``REQUEUE``.

    What is being written then (features, ``model.nemo``) is written beside its place, and begun again the next time.
    """

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise SystemExit(REQUEUE)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGUSR1, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
