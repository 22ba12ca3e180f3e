"""Where the demo stands: which phases are done, what they took, and how long the rest will take."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nemo_ext import files
from nemo_ext.console import clock
from nemo_ext.errors import NemoExtError


class State:
    """Kept in ``demo.json`` of the demo's folder, so that the next run takes up where this one stopped."""

    def __init__(self, out: Path, settings: Mapping[str, Any], planned: Mapping[str, float]) -> None:
        """``settings``: what the results depend on. ``planned``: the phases in order, with seconds that each may take.

        Raises:
            NemoExtError: the folder holds a demo of other settings, or cannot be made.
        """
        self._path = out / "demo.json"
        self._planned = dict(planned)
        self._phase = ""
        self._phase_began = time.monotonic()
        self._last_line = 0.0
        self._screen = sys.stderr.isatty()
        try:
            out.mkdir(parents=True, exist_ok=True)
            self._kept: dict[str, Any] = {"settings": dict(settings), "phases": {}}
            if self._path.is_file():
                self._kept = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise NemoExtError(f"out={out} cannot hold the demo: {error}; give another out=") from error
        before = self._kept["settings"]
        changed = [f"{k}={before.get(k)} there, {v} now" for k, v in settings.items() if before.get(k) != v]
        if changed:
            raise NemoExtError(
                f"{out} holds a demo with other settings ({'; '.join(changed)}): give another out=, or delete it"
            )

    def done(self, phase: str) -> bool:
        """Whether ``phase`` was finished, now or in an earlier run."""
        return bool(self._kept["phases"].get(phase, {}).get("done"))

    def seconds(self, phase: str) -> float:
        """What ``phase`` took, all runs together."""
        return float(self._kept["phases"].get(phase, {}).get("seconds", 0.0))

    def processor_seconds(self, phase: str) -> float:
        """Processor time of ``phase``, its child processes included: what it took however busy the machine was."""
        return float(self._kept["phases"].get(phase, {}).get("processor_seconds", 0.0))

    def what(self, phase: str) -> str:
        """What ``phase`` noted of itself."""
        return str(self._kept["phases"].get(phase, {}).get("what", ""))

    @contextlib.contextmanager
    def phase(self, name: str, about: str) -> Iterator[dict[str, str]]:
        """Announce a phase, and keep what it took. What it writes under ``what`` in the dict is shown on the page."""
        self._phase, self._phase_began = name, time.monotonic()
        blank = {"seconds": 0.0, "processor_seconds": 0.0, "done": False, "what": ""}
        entry = self._kept["phases"].setdefault(name, blank)
        number = list(self._planned).index(name) + 1
        self._print(f"[{number}/{len(self._planned)}] {about}; about {clock(self._left(0.0))} left in all", end=True)
        noted: dict[str, str] = {}
        # an interrupted phase goes on, a finished one that is done again starts its clock anew
        before, worked = (0.0, 0.0) if entry["done"] else (entry["seconds"], entry["processor_seconds"])
        worked -= _processor_seconds()
        entry["done"] = False
        try:
            yield noted
            entry["done"] = True
        finally:
            entry["seconds"] = before + time.monotonic() - self._phase_began
            entry["processor_seconds"] = worked + _processor_seconds()
            entry["what"] = noted.get("what", entry["what"])
            self._save()

    def progress(self, share: float, about: str, left: float | None = None) -> None:
        """Say how far the phase has come: its share done, and the seconds ``left`` of it where they are known."""
        now = time.monotonic()
        if now - self._last_line < (0.5 if self._screen else 15.0):
            return
        self._last_line = now
        number = list(self._planned).index(self._phase) + 1
        remaining = self._left(share) if left is None else left + self._later()
        line = f"[{number}/{len(self._planned)}] {about}, {share:.0%}; about {clock(remaining)} left in all"
        self._print(line)

    def _left(self, share: float) -> float:
        """Seconds left of this phase and those after it."""
        gone = time.monotonic() - self._phase_began
        measured = gone / share * (1 - share) if share > 0.05 else self._planned[self._phase] - gone
        return max(measured, 0.0) + self._later()

    def _later(self) -> float:
        names = list(self._planned)
        later = names[names.index(self._phase) + 1 :]
        return sum(self._planned[name] for name in later if not self.done(name))

    def _print(self, line: str, end: bool = False) -> None:
        if self._screen:
            print(f"\r\033[K{line}", end="\n" if end else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def _save(self) -> None:
        with files.replacing(self._path) as beside:
            beside.write_text(json.dumps(self._kept, ensure_ascii=False, indent=1), encoding="utf-8")


def _processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
