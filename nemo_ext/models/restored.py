"""The tables in a model's configuration that are ours, checked where a file gave them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from nemo_ext._options import conformed
from nemo_ext.errors import NemoExtError
from nemo_ext.types import BaseVoice

_MOST_VOICES = 100_000


def check_tables(config: Mapping[str, Any], tables: Mapping[str, type], where: str) -> None:
    """Check each of ``tables`` that ``config`` has, key by key.

    Raises:
        NemoExtError: an unknown key, a value of another kind or out of its range.
    """
    for name, cls in tables.items():
        if config.get(name) is not None:
            conformed(cls, config[name], f"{where}: {name}")


def check_settings(config: Mapping[str, Any], cls: type, where: str) -> None:
    """Check the fields of the dataclass ``cls`` that ``config`` has; other keys are NeMo's own.

    Raises:
        NemoExtError: as `check_tables`.
    """
    names = {f.name for f in dataclasses.fields(cls)}
    conformed(cls, {key: value for key, value in config.items() if key in names}, where)


def check_voices(voices: Any, where: str) -> None:
    """Check a list of base voices.

    Raises:
        NemoExtError: no list, or something in it that is no voice.
    """
    if not isinstance(voices, list) or not 0 < len(voices) <= _MOST_VOICES:
        raise NemoExtError(f"{where}: voices is no list of at least one voice")
    for number, voice in enumerate(voices):
        conformed(BaseVoice, voice, f"{where}: voices[{number}]")
