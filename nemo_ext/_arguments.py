"""What a person typed after ``nemo-ext JOB``: verbatim texts set aside, names checked, the rest read by Hydra."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nemo_ext._options import Option
from nemo_ext.errors import UsageError, nearest

_KEY = re.compile(r"\+{0,2}[A-Za-z_][\w./@-]*(\[\d+\])*")


@dataclass(frozen=True)
class Group:
    """A choice among the YAML files of one folder under conf/."""

    name: str
    default: str | None  # None: nothing chosen; a text with ${} follows other groups
    choices: tuple[str, ...]


@dataclass
class Typed:
    """What a person typed, sorted by what becomes of it."""

    verbatim: dict[str, str] = field(default_factory=dict)
    choices: dict[str, str | None] = field(default_factory=dict)
    values: list[tuple[str, Any, bool]] = field(default_factory=list)  # key, value, may be new


def read(overrides: Sequence[str], known: dict[str, Option], chosen: dict[str, Group]) -> Typed:
    """Sort ``overrides`` by the options ``known`` and the groups that can be ``chosen`` from; later ones win.

    Raises:
        UsageError: an argument that is none, an unknown name or choice, a value that Hydra cannot read, a sweep.
    """
    typed = Typed()
    names = [*known, *chosen]
    for argument in overrides:
        key, equals, text = argument.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise UsageError(_not_an_option(argument, names))
        name = key.lstrip("+")
        if name in known and known[name].verbatim:
            typed.verbatim[name] = text
            continue
        if name not in chosen:
            _check_name(name, known, names)
        value = _hydra_value(name, f"{name}={text}")
        if name in chosen and not isinstance(value, dict):
            typed.choices[name] = _choice(chosen[name], value)
        else:
            typed.values.append((name, value, key.startswith("+")))
    return typed


def _not_an_option(argument: str, names: Iterable[str]) -> str:
    shown = argument if len(argument) <= 40 else argument[:40] + "..."
    word = argument.lstrip("-").partition("=")[0]
    if argument.startswith("-"):
        hint = nearest(word, names)
        return f"'{shown}' is not an option: options are written NAME=VALUE, without dashes{hint}"
    hint = nearest(word, names) if " " not in word else ""
    return f"'{shown}' is not an option: write NAME=VALUE, and quotes around a value with blanks{hint}"


def _check_name(name: str, known: dict[str, Option], names: Iterable[str]) -> None:
    """Refuse a name that can be no option. What stands below a free-form option is checked once it is composed."""
    plain = re.sub(r"\[\d+\]", "", name)
    if plain in known or any(k.startswith(plain + ".") for k in known):
        return
    if any(o.free and plain.startswith(o.name + ".") for o in known.values()):
        return
    raise UsageError(f"unknown option '{name}='{suggest(name, names) or '; --help lists the options'}")


def suggest(name: str, known: Iterable[str]) -> str:
    """`nearest` for dotted names: among its neighbours first, then anything with such a last part."""
    known = list(known)
    parent, _, last = name.rpartition(".")
    for candidates in ([k for k in known if k.rpartition(".")[0] == parent], known):
        by_last_part = {k.rpartition(".")[2]: k for k in reversed(candidates)}
        found = difflib.get_close_matches(last, by_last_part, n=1, cutoff=0.5)
        if found:
            return f"; did you mean '{by_last_part[found[0]]}'?"
    return ""


def _hydra_value(name: str, override: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(override)
        swept = parsed.is_sweep_override()
    # ValueError: of numbers of thousands of digits, which Python does not read; RecursionError: of lists within lists
    except (HydraException, ValueError, RecursionError) as error:
        text = override.partition("=")[2]
        text = text if len(text) <= 200 else f"{text[:60]}..."
        raise UsageError(f"{name}= cannot be read: put the value in quotes of its own, {name}='\"{text}\"'") from error
    if swept:
        raise UsageError(
            f"{name}= holds several values: one run takes one; a list is written '{name}=[a,b]', "
            f"and a text with commas {name}='\"a, b\"'"
        )
    return parsed.value()


def _choice(group: Group, value: Any) -> str | None:
    if value is None and group.default is None:
        return None
    if str(value) not in group.choices:
        raise UsageError(
            f"{group.name}={value} is not one of {', '.join(group.choices)}{nearest(str(value), group.choices)}"
        )
    return str(value)
