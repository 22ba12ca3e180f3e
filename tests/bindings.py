"""The names that each version of NVIDIA's bindings has, and real bindings held to another version's names.

bindings.json was read from the published wheels of tensorrt 10.12.0.36, 10.16.1.11 and 11.4.0.106 by
record_bindings.py. Their libraries cannot be installed from where the wheels are, so TensorRT-RTX, which can, does the
work behind their names: a call, a class or a flag that a version does not have is an AttributeError, as it is there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RECORDED: dict[str, dict[str, list[str]]] = json.loads(Path(__file__).with_suffix(".json").read_text())


class Names:
    """What a version has: ``check`` refuses the rest."""

    def __init__(self, version: str, names: dict[str, list[str]] | None = None) -> None:
        self.version, self._names = version, names or RECORDED[version]

    def known(self, owner: str) -> list[str]:
        """The names of a class; of the module, where ``owner`` is empty."""
        return self._names.get(owner, [])

    def check(self, owner: str, name: str) -> None:
        """Refuse ``name`` where the version has no such thing."""
        if name not in self.known(owner):
            raise AttributeError(f"tensorrt {self.version}: {owner or 'the module'} has no attribute '{name}'")


class Module:
    """``real`` bindings with the names of another version only."""

    def __init__(self, real: Any, names: Names) -> None:
        self.__dict__.update(_real=real, _names=names, __version__=names.version)

    def __getattr__(self, name: str) -> Any:
        self._names.check("", name)
        return _wrapped(getattr(self._real, name), self._names)


class Class:
    """A class of them; it can be called, and be a base."""

    def __init__(self, real: Any, names: Names) -> None:
        self._real, self._names = real, names

    def __getattr__(self, name: str) -> Any:
        self._names.check(self._real.__name__, name)
        return _wrapped(getattr(self._real, name), self._names)

    def __call__(self, *arguments: Any) -> Any:
        return _wrapped(self._real(*map(_bare, arguments)), self._names)

    def __mro_entries__(self, _: Any) -> tuple[Any, ...]:
        return (self._real,)


class Object:
    """An instance of one of them."""

    def __init__(self, real: Any, names: Names) -> None:
        self.__dict__.update(_real=real, _names=names)

    def __getattr__(self, name: str) -> Any:
        self._names.check(type(self._real).__name__, name)
        return _wrapped(getattr(self._real, name), self._names)

    def __setattr__(self, name: str, value: Any) -> None:
        self._names.check(type(self._real).__name__, name)
        setattr(self._real, name, _bare(value))

    def __int__(self) -> int:
        return int(self._real)

    def __bytes__(self) -> bytes:
        return bytes(self._real)


def _wrapped(value: Any, names: Names) -> Any:
    def call(*arguments: Any) -> Any:
        return _wrapped(value(*map(_bare, arguments)), names)

    if isinstance(value, type):
        return Class(value, names) if _theirs(value) else value
    if _theirs(type(value)):
        return Object(value, names)
    return call if callable(value) else value


def _bare(value: Any) -> Any:
    return value._real if isinstance(value, Object | Class) else value


def _theirs(cls: type) -> bool:
    return cls.__module__.startswith("tensorrt_rtx")
