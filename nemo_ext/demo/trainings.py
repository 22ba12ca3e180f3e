"""Two trainings side by side, each the job ``nemo-ext train`` in a process of its own with its share of the cores.

A small model gains little from a second thread, so two at once are done sooner than one after the other.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from nemo_ext.errors import NemoExtError
from nemo_ext.machine import cores

POLL_SECONDS = 1.0
STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Training:
    """One call of ``nemo-ext train``."""

    name: str  # what a person calls it
    out: Path
    options: Sequence[str]

    @property
    def log(self) -> Path:
        """What the training prints."""
        return self.out.with_name(f"{self.out.name}.log")

    def steps(self) -> tuple[int, int]:
        """Steps done and steps planned; 0 planned while it has not begun."""
        plan, metrics = self.out / "plan.json", self.out / "metrics.jsonl"
        if not (plan.is_file() and metrics.is_file()):
            return 0, 0
        rows = metrics.read_text(encoding="utf-8").splitlines()
        done = max((json.loads(row)["step"] for row in rows[-2:] if row.endswith("}")), default=0)
        return int(done), int(json.loads(plan.read_text(encoding="utf-8"))["max_steps"])

    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """Every logged loss over the steps. Steps that a resumed run made again count as it made them."""
        by_step: dict[int, dict[str, float]] = {}
        before = -1
        for row in (self.out / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
            values = json.loads(row)
            step = int(values.pop("step"))
            if step < before:
                by_step = {s: v for s, v in by_step.items() if s < step}
            by_step.setdefault(step, {}).update(values)
            before = step
        found: dict[str, list[tuple[float, float]]] = {}
        for step in sorted(by_step):
            for name, value in by_step[step].items():
                found.setdefault(name, []).append((float(step), float(value)))
        return found


def train_side_by_side(trainings: Sequence[Training], progress: Callable[[float, str, float | None], None]) -> None:
    """Run all ``trainings`` at once and wait; a finished one is left alone, a begun one goes on.

    ``progress`` is told the share done, a line about it, and the seconds left where they can be told.

    Raises:
        NemoExtError: one of them failed; the others are stopped, with a checkpoint.
    """
    running: list[tuple[Training, subprocess.Popen[bytes]]] = []
    began, first = time.monotonic(), {t.name: t.steps()[0] for t in trainings}
    with _terminating():
        try:
            for training in trainings:
                running.append((training, _start(training, len(trainings))))
            while any(process.poll() is None for _, process in running):
                time.sleep(POLL_SECONDS)
                _raise_failure(running)
                _report(trainings, first, time.monotonic() - began, progress)
            _raise_failure(running)
        finally:
            _stop([process for _, process in running])


def _report(
    trainings: Sequence[Training],
    first: dict[str, int],
    gone: float,
    progress: Callable[[float, str, float | None], None],
) -> None:
    shares, words, left = [], [], []
    for training in trainings:
        done, planned = training.steps()
        shares.append(done / planned if planned else 0.0)
        words.append(f"{training.name} step {done}/{planned}" if planned else f"{training.name} getting ready")
        if planned and done > first[training.name]:
            left.append((planned - done) * gone / (done - first[training.name]))
    known = max(left) if len(left) == len(trainings) else None
    progress(min(shares), ", ".join(words), known)


def _raise_failure(running: Sequence[tuple[Training, subprocess.Popen[bytes]]]) -> None:
    for training, process in running:
        if process.poll():
            lines = training.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            reason = next(
                (line for line in reversed(lines) if line.startswith("nemo-ext:")), (lines or ["no word"])[-1]
            )
            reason = reason.removeprefix("nemo-ext: ")
            raise NemoExtError(f"training {training.name} failed: {reason}; all it said is in {training.log}")


def _start(training: Training, siblings: int) -> subprocess.Popen[bytes]:
    threads = max(1, cores() // siblings)
    command = [sys.executable, "-m", "nemo_ext", "train", *training.options, f"out={training.out}"]
    training.out.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    with training.log.open("ab") as log:
        # a session of its own: Ctrl-C reaches the parent alone, which then stops its children in order
        return subprocess.Popen(
            [*command, f"trainer.threads={threads}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask those that still run to write a checkpoint and leave; end those that do not."""
    left = [process for process in processes if process.poll() is None]
    for process in left:
        process.terminate()
    until = time.monotonic() + STOP_SECONDS
    for process in left:
        try:
            process.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _terminating() -> Iterator[None]:
    """While children run, SIGTERM unwinds the stack instead of leaving them behind."""

    def leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise SystemExit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not the main thread: whoever runs us there handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
