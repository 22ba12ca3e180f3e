"""What every backend offers: a graph with named, typed inputs and outputs that runs on arrays. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nemo_ext.errors import NemoExtError

Feeds = Mapping[str, np.ndarray]
Shape = tuple[int, ...]
Limits = Mapping[str, tuple[Shape, Shape]]  # input -> its least and its largest shape


@dataclass(frozen=True)
class Port:
    """An input or an output of a graph."""

    name: str
    dtype: str  # numpy's name: float32, int64
    shape: tuple[int | str, ...]  # a name where the length is free: ("B", "T_text"); "" where it has none

    def __str__(self) -> str:
        """``text int64 (B, T_text)``; an axis of any length that has no name is ``?``."""
        return f"{self.name} {self.dtype} ({', '.join(str(axis) or '?' for axis in self.shape)})"

    def to_json(self) -> dict[str, Any]:
        """For bundle.json."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Port:
        """What ``to_json`` made."""
        shape = tuple(n if isinstance(n, int) else str(n) for n in value["shape"])
        return cls(str(value["name"]), str(value["dtype"]), shape)


def named_axes(found: Sequence[Port], told: Sequence[Port], what: str) -> list[Port]:
    """The ports that a backend ``found``, whose axes have no names there, with those of the graph's own ports.

    ``told``: the graph's, as bundle.json has them; empty where nobody tells. ``what``: whose ports, for the error.

    Raises:
        NemoExtError: the graph has others.
    """
    if not told:
        return list(found)
    ours, graph = ({port.name: port for port in ports} for ports in (found, told))
    other = ours.keys() ^ graph.keys() | {n for n in ours.keys() & graph.keys() if not _agree(ours[n], graph[n])}
    if other:
        raise NemoExtError(f"{what} belongs to another graph ({', '.join(sorted(other))}): export the bundle again")

    def named(port: Port) -> Port:
        axes = zip(port.shape, graph[port.name].shape, strict=True)
        return Port(port.name, port.dtype, tuple(n if isinstance(n, int) else name for n, name in axes))

    return [named(port) for port in found]


def _agree(one: Port, other: Port) -> bool:
    """Whether they can be the same port; an axis that is free in one of them may have any length in the other."""
    if (one.dtype, len(one.shape)) != (other.dtype, len(other.shape)):
        return False
    return all(isinstance(a, str) or isinstance(b, str) or a == b for a, b in zip(one.shape, other.shape, strict=True))


@dataclass(frozen=True)
class EngineFile:
    """A TensorRT engine of a graph. What is left out is read from the file's name, which tells less of the version."""

    path: Path
    library: str | None = None  # tensorrt, tensorrt_rtx
    version: str | None = None
    built_for: str | None = None  # "sm90", or "any"


class Session(Protocol):
    """A graph that has been read by a backend and is ready to run."""

    backend: str  # what a person reads: "ONNX Runtime 1.32.0, CPU"
    limits: Limits  # of an engine, which takes no other shapes; empty for a graph

    @property
    def inputs(self) -> Sequence[Port]:
        """What the graph takes."""
        ...

    @property
    def outputs(self) -> Sequence[Port]:
        """What it gives."""
        ...

    def run(self, feeds: Feeds, wanted: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """The outputs ``wanted`` (all where None) for ``feeds``, every input of the graph by name.

        Raises:
            NemoExtError: an input is missing, of another type, or of a shape that the graph or engine does not take.
        """
        ...
