"""Typed options for jobs, and the one place that composes the YAML under conf/."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(default: Any, help: str, unit: str = "", verbatim: bool = False) -> Any:
    """A field of a job's config dataclass, with what ``--help`` says of it.

    ``verbatim`` options (free text, names, paths) are taken as typed, before Hydra's grammar sees them.
    """
    metadata = {"help": help, "unit": unit, "verbatim": verbatim}
    if isinstance(default, list | dict | set):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)
