"""How far long work has come, and when it will be done."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Mapping
from types import TracebackType

# What moves the cursor, colours, rings, or turns the order of letters round: C0 but tab and line feed, DEL, C1, marks
# of direction, separators of lines, halves of letters.
_MOVING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def printable(text: str) -> str:
    """``text`` as a terminal may show it: whatever steers it is written out, ``\\x1b[31m``.

    Names and texts come from files that anybody may have written.
    """
    return _MOVING.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def tell(*parts: object, sep: str = " ", end: str = "\n", error: bool = False) -> None:
    """Print ``parts``, names and texts of others among them; ``error``: to standard error, at once."""
    line = printable(sep.join(map(str, parts)))
    print(line, end=end, file=sys.stderr if error else sys.stdout, flush=error)


def tell_next(job: str, options: Mapping[str, object]) -> None:
    """Print the command that people type next, on standard error; options that are empty are left out."""
    words = [shlex.quote(f"{name}={value}") for name, value in options.items() if value]
    tell("next: nemo-ext", job, *words, error=True)


class Progress:
    """``what: 120/600, 20 %, 12 s left`` on standard error: a moving line on a screen, a line now and then in a log."""

    def __init__(self, total: int, what: str) -> None:
        self.total, self.what = total, what
        self.done = 0
        self._start = time.monotonic()
        self._last = self._start
        self._screen = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None and self.done:
            self._say(end=True)
        elif self._screen:
            print(file=sys.stderr)

    def step(self, count: int = 1) -> None:
        """``count`` more are done."""
        self.done += count
        now = time.monotonic()
        if now - self._last >= (0.2 if self._screen else 10.0) and self.done < self.total:
            self._last = now
            self._say()

    def _say(self, end: bool = False) -> None:
        elapsed = time.monotonic() - self._start
        if end:
            tail = f"in {clock(elapsed)}"
        else:
            tail = f"{clock(elapsed / self.done * (self.total - self.done))} left" if self.done else ""
        line = f"{printable(self.what)}: {self.done}/{self.total}, {100 * self.done // max(1, self.total)} %, {tail}"
        if self._screen:
            print(f"\r{line:<78}", end="\n" if end else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)


def loading() -> None:
    """Say on standard error that PyTorch and NeMo are about to be imported, which takes seconds, if they still are."""
    if "nemo" not in sys.modules:
        print("loading PyTorch and NeMo ...", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """``8 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
