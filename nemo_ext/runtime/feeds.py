"""What a graph is given, checked before a backend sees it: the same line whatever the backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.runtime.cuda import DeviceArray
from nemo_ext.runtime.session import Feeds, Limits, Port

Array = TypeVar("Array", bound=np.ndarray | DeviceArray)


def check_feeds(
    inputs: Sequence[Port], feeds: Mapping[str, Array], what: str, limits: Limits | None = None
) -> dict[str, Array]:
    """``feeds`` in the graph's order, contiguous where they are the host's; ``what``: the graph's name, for the error.

    Raises:
        NemoExtError: an input is missing, unknown, of another type, or of a shape that the graph does not take, or that
            is outside an engine's ``limits``.
    """
    names = [port.name for port in inputs]
    for name in feeds:
        if name not in names:
            raise NemoExtError(f"{what} has no input '{name}'{nearest(name, names) or '; its inputs: ' + _list(names)}")
    lengths: dict[str, tuple[int, str]] = {}  # named axis -> its length, and the input that said so first
    checked: dict[str, Array] = {}
    for port in inputs:
        if port.name not in feeds:
            raise NemoExtError(f"{what}: the input '{port.name}' is missing: give {port}")
        given = feeds[port.name]
        if not isinstance(given, np.ndarray | DeviceArray) or given.dtype.name != port.dtype:
            found = given.dtype.name if isinstance(given, np.ndarray | DeviceArray) else type(given).__name__
            raise NemoExtError(f"{what}: the input '{port.name}' is {found}, and the graph takes {port.dtype}")
        if len(given.shape) != len(port.shape):
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
        ready: Any = np.ascontiguousarray(given) if isinstance(given, np.ndarray) else given
        checked[port.name] = ready
    if outside := beyond(limits or {}, checked):
        raise NemoExtError(f"{what}: {outside}: give it in smaller parts, or export again with larger profiles")
    return checked


def beyond(limits: Limits, feeds: Mapping[str, Any]) -> str:
    """Which of ``feeds`` has a shape outside an engine's ``limits``, in words; empty where none has."""
    for name, (least, largest) in limits.items():
        shape = getattr(feeds.get(name), "shape", ())
        if len(shape) == len(least) and any(not a <= n <= b for a, n, b in zip(least, shape, largest, strict=True)):
            return f"the input '{name}' has shape {shape}, and the engine takes {least} to {largest}"
    return ""


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
