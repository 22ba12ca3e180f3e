"""What a graph is given, checked before a backend sees it: the same line whatever the backend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.runtime.session import Feeds, Port


def check_feeds(inputs: Sequence[Port], feeds: Feeds, what: str) -> dict[str, np.ndarray]:
    """``feeds`` as contiguous arrays, in the graph's order; ``what``: the graph's name, for the error.

    Raises:
        NemoExtError: an input is missing, unknown, of another type or of a shape that the graph does not take.
    """
    names = [port.name for port in inputs]
    for name in feeds:
        if name not in names:
            raise NemoExtError(f"{what} has no input '{name}'{nearest(name, names) or '; its inputs: ' + _list(names)}")
    lengths: dict[str, tuple[int, str]] = {}  # named axis -> its length, and the input that said so first
    checked = {}
    for port in inputs:
        if port.name not in feeds:
            raise NemoExtError(f"{what}: the input '{port.name}' is missing: give {port}")
        given = feeds[port.name]
        if not isinstance(given, np.ndarray) or given.dtype.name != port.dtype:
            found = given.dtype.name if isinstance(given, np.ndarray) else type(given).__name__
            raise NemoExtError(f"{what}: the input '{port.name}' is {found}, and the graph takes {port.dtype}")
        if given.ndim != len(port.shape):
            raise NemoExtError(f"{what}: the input '{port.name}' has shape {given.shape}: give {port}")
        for axis, length in zip(port.shape, given.shape, strict=True):
            if isinstance(axis, int):
                if axis != length:
                    raise NemoExtError(f"{what}: the input '{port.name}' has shape {given.shape}: give {port}")
            elif axis and lengths.setdefault(axis, (length, port.name))[0] != length:
                first, other = lengths[axis]
                raise NemoExtError(
                    f"{what}: the input '{port.name}' has shape {given.shape}, so {axis} is {length}, and of "
                    f"'{other}' it is {first}"
                )
        checked[port.name] = np.ascontiguousarray(given)
    return checked


def check_wanted(outputs: Sequence[Port], wanted: Sequence[str] | None, what: str) -> list[str]:
    """Names of the outputs that are ``wanted``; all where None.

    Raises:
        NemoExtError: the graph has no such output.
    """
    names = [port.name for port in outputs]
    for name in wanted or ():
        if name not in names:
            raise NemoExtError(
                f"{what} has no output '{name}'{nearest(name, names) or '; its outputs: ' + _list(names)}"
            )
    return names if wanted is None else list(wanted)


def shapes(feeds: Feeds) -> str:
    """``text (1, 12), voice (1, 384)``: for an error."""
    return ", ".join(f"{name} {array.shape}" for name, array in feeds.items())


def first_line(error: Exception) -> str:
    """What a backend says of its failure, without the trace of its own calls."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
