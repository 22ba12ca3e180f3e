"""The one exception whose message is written for the person at the keyboard."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NemoExtError(Exception):
    """Something the user can put right.

    The message is one line: it names the thing and the remedy. The command line prints it without a traceback and exits
    with status 1. Line breaks in it become blanks: names and texts in it come from files that anybody may have written.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(" ".join(str(message).splitlines()))


class UsageError(NemoExtError):
    """A command line that cannot be meant: an unknown job or option, or a value of the wrong kind. Exit status 2."""


class NothingToSpeak(NemoExtError):
    """A text with nothing in it that can be spoken; ``unknown``: the characters that no table knows, with positions."""

    def __init__(self, message: str, unknown: Iterable[tuple[str, int]] = ()) -> None:
        super().__init__(message)
        self.unknown = list(unknown)


def nearest(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the known word closest to ``word``, or an empty string."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{matches[0]}'?" if matches else ""
