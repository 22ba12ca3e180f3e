"""How far a TensorRT build has come: its phases have steps, and a step may be a phase of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Phases:
    """Whole per cent that are done, told to ``heard`` as they come. The builder calls from several threads."""

    def __init__(self, heard: Callable[[int], None]) -> None:
        self._heard = heard
        self._told = 0
        self._open: dict[str, _Phase] = {}
        self._lock = threading.Lock()

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """The phase ``name`` of ``steps`` steps has begun, as a part of the current step of ``parent``."""
        with self._lock:
            self._open[name] = _Phase(parent, max(1, steps))

    def step(self, name: str, step: int) -> None:
        """Step ``step`` of it, counted from 0, is done."""
        with self._lock:
            phase = self._open.get(name)
            if phase is not None:
                phase.done = max(phase.done, step + 1)
                self._tell(int(100 * self._fraction()))

    def finish(self, name: str) -> None:
        """It has ended, whether all its steps were told of or not."""
        with self._lock:
            phase = self._open.pop(name, None)
            if phase is not None and phase.parent is None:
                self._tell(100)

    def _fraction(self) -> float:
        """Of the phases without a parent; each open phase is as much of its parent's current step as is done of it."""
        shares = [self._share(name) for name, phase in self._open.items() if phase.parent not in self._open]
        return max(shares, default=0.0)

    def _share(self, name: str) -> float:
        phase = self._open[name]
        inner = max((self._share(n) for n, p in self._open.items() if p.parent == name), default=0.0)
        return min(1.0, (phase.done + min(inner, 0.99)) / phase.steps)

    def _tell(self, percent: int) -> None:
        if percent > self._told:
            more, self._told = percent - self._told, percent
            self._heard(more)
