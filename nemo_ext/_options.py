"""The fields of a config dataclass as options of the command line: dotted names, kinds, units, help."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from nemo_ext.errors import NemoExtError, nearest

_Record = TypeVar("_Record")
_LARGEST = 1 << 63
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
    least: float | None = None  # of a number, and of each number in a list
    most: float | None = None
    above: float | None = None  # as `least`, but excluded

    def refuses(self, value: Any) -> str:
        """Why ``value``, which is of the right kind, cannot be meant: ``outside 0 to 1``; empty where it can."""
        wrong = next((n for n in _numbers(value) if self._outside(n)), None)
        if wrong is None:
            return ""
        if isinstance(wrong, int) and abs(wrong) >= _LARGEST:
            return "a number beyond any that is meant"
        return f"{wrong:g} is not a finite number" if not math.isfinite(wrong) else self.range

    def _outside(self, number: float) -> bool:
        # an option may be any number above or below something, but none is infinite, or too large for a float
        if (isinstance(number, int) and abs(number) >= _LARGEST) or not math.isfinite(number):
            return True
        return (
            (self.least is not None and number < self.least)
            or (self.most is not None and number > self.most)
            or (self.above is not None and number <= self.above)
        )

    @property
    def range(self) -> str:
        """Where its numbers may lie: ``outside 0 to 1``."""
        lower = self.least if self.least is not None else self.above
        if lower is None:
            return "not a number that is meant" if self.most is None else f"outside {self.most:.12g} and below"
        if self.most is None:
            return f"outside {lower:.12g} and above" if self.above is None else f"not above {lower:.12g}"
        return f"outside {lower:.12g} to {self.most:.12g}" + (
            f", {lower:.12g} excluded" if self.above is not None else ""
        )

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


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)


def out_of_range(instance: Any, where: str = "", known: Mapping[str, Option] | None = None) -> str:
    """The first option of ``instance`` whose number is not finite or outside its range, in one line; empty if none is.

    ``known``: its options where they are at hand; ``where`` is written before their names.
    """
    for name, option in (known or describe(type(instance))).items():
        value = _at(instance, name)
        if why := option.refuses(value):
            return (
                f"{where}{name}={_short(value)} is {why}{f' {option.unit}' if option.unit and 'outside' in why else ''}"
            )
    return ""


def _at(instance: Any, name: str) -> Any:
    for part in name.split("."):
        if instance is None:
            return None
        instance = getattr(instance, part)
    return instance


def conformed(cls: type[_Record], values: Any, where: str) -> _Record:
    """``values``, which a file gave, as an instance of the dataclass ``cls``: every key, kind and range checked.

    ``where`` names the source in messages. A method ``check()`` of ``cls`` is called in the end, for what two fields
    must be to each other.

    Raises:
        NemoExtError: no mapping, an unknown key, one that is missing, or a value of another kind or out of range.
    """
    if not isinstance(values, Mapping):
        raise NemoExtError(f"{where} is {_short(values)}, not a table of settings")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise NemoExtError(f"{where} has '{str(key)[:60]}', which is not known{nearest(str(key), fields)}")
    given = {}
    for name, f in fields.items():
        place = f"{where}: {name}"
        if name in values:
            given[name] = _of_kind(hints[name], values[name], place)
            limits = {k: v for k, v in f.metadata.items() if k in ("least", "most", "above", "unit")}
            if why := Option(name, hints[name], None, **limits).refuses(given[name]):
                raise NemoExtError(f"{place}={_short(given[name])} is {why}")
            choices = f.metadata.get("choices")
            if choices and given[name] is not None and given[name] not in choices:
                raise NemoExtError(f"{place}={_short(given[name])} is not one of {', '.join(choices)}")
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise NemoExtError(f"{where} has no '{name}'")
    made = cls(**given)
    check = getattr(made, "check", None)
    if callable(check):
        try:
            check()
        except NemoExtError as error:
            raise NemoExtError(f"{where}: {error}") from error
    return made


def _of_kind(kind: Any, value: Any, where: str) -> Any:
    """``value`` as one of the type ``kind``, where it is one."""
    inner = _without_none(kind)
    if value is None and inner is not kind:
        return None
    origin, arguments = typing.get_origin(inner), typing.get_args(inner)
    if inner is Any:
        return value
    if isinstance(inner, type) and dataclasses.is_dataclass(inner):
        return value if isinstance(value, inner) else conformed(inner, value, where)
    if origin is list and isinstance(value, list | tuple):
        return [_of_kind(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_of_kind(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _of_kind(arguments[1], item, f"{where}: {key[:60]}") for key, item in value.items()}
    if inner is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53:
        return float(value)
    if inner in _NOUNS and isinstance(value, inner) and not (inner is not bool and isinstance(value, bool)):
        return value
    wants = Option("", kind, None).wants
    raise NemoExtError(f"{where} is {_short(value)}, not {wants}")


def _short(value: Any) -> str:
    try:
        text = f"{value:g}" if isinstance(value, float) else str(value)
    except ValueError:  # Python writes out no number of thousands of digits
        text = f"a {type(value).__name__} too large to write out"
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."
