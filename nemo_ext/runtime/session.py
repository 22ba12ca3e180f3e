"""What every backend offers: a graph with named, typed inputs and outputs that runs on arrays. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Feeds = Mapping[str, np.ndarray]


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


class Session(Protocol):
    """A graph that has been read by a backend and is ready to run."""

    backend: str  # what a person reads: "ONNX Runtime 1.32.0, CPU"

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
