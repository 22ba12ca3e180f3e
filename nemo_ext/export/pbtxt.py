"""Protobuf's text format, as far as Triton's config.pbtxt needs it: written without protobuf's schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class Word(str):
    """A value of an enumeration, which stands without quotes."""

    __slots__ = ()


def pbtxt(message: Mapping[str, Any]) -> str:
    """``message`` as text: mappings are messages, lists are repeated fields; an empty list is left out."""
    return "".join(line + "\n" for line in _lines(message, ""))


def _lines(message: Mapping[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for key, value in message.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, Mapping):
                lines += [f"{indent}{key} {{", *_lines(one, indent + "  "), f"{indent}}}"]
            else:
                lines.append(f"{indent}{key}: {_scalar(one)}")
    return lines


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Word) or not isinstance(value, str):
        return str(value)
    return json.dumps(value, ensure_ascii=False)  # protobuf's escapes are a superset of JSON's, but for \/ and \u
