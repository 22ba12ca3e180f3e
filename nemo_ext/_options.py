"""The fields of a config dataclass as options of the command line: dotted names, kinds, units, help."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

_NOUNS = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}


@dataclasses.dataclass(frozen=True)
class Option:
    """One leaf of a config dataclass."""

    name: str  # dotted: trainer.max_steps
    kind: Any  # its type
    default: Any
    help: str = ""
    unit: str = ""
    verbatim: bool = False  # taken as typed, never read by Hydra's grammar
    path: bool = False  # verbatim, and a leading ~ is the home folder
    choices: tuple[str, ...] = ()

    @property
    def free(self) -> bool:
        """Whether any key may stand below it (a plain dict)."""
        return typing.get_origin(self.kind) in (dict, Mapping) or self.kind in (dict, Any)

    @property
    def wants(self) -> str:
        """What it takes, in words: 'a number'."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = _without_none(self.kind)
        if typing.get_origin(kind) in (list, tuple):
            return "a list such as [a,b]"
        return _NOUNS.get(kind, "another kind of value")


def describe(cls: type, prefix: str = "") -> dict[str, Option]:
    """The leaves of the dataclass ``cls`` by dotted name, in order."""
    found: dict[str, Option] = {}
    hints = typing.get_type_hints(cls)
    for f in dataclasses.fields(cls):
        kind, name = hints[f.name], prefix + f.name
        inner = _without_none(kind)
        if isinstance(inner, type) and dataclasses.is_dataclass(inner):
            found |= describe(inner, name + ".")
            continue
        default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
        found[name] = Option(name, kind, default, **f.metadata)
    return found


def _without_none(kind: Any) -> Any:
    """``T`` of ``T | None``; anything else as it is."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        rest = [k for k in typing.get_args(kind) if k is not type(None)]
        return rest[0] if len(rest) == 1 else kind
    return kind
