"""NVIDIA's two libraries under one roof: ``tensorrt`` 10.12 and later, 11.x, and ``tensorrt_rtx``.

Both bindings have the same names for what we do; what one of them lacks is asked for with ``hasattr`` where it is used.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nemo_ext import files
from nemo_ext.errors import NemoExtError, nearest

EXTRAS = {"tensorrt": "trt", "tensorrt_rtx": "trt-rtx"}  # a library's module -> the extra of ours that installs it
TITLES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
EARLIEST = (10, 12)  # of tensorrt: strong typing does there what it does in 11, the only typing that 11 has
_WRONG = ("ERROR", "INTERNAL_ERROR")
_loggers: dict[type, Any] = {}


@dataclass(frozen=True)
class Library:
    """One of the two, imported."""

    name: str  # tensorrt, tensorrt_rtx
    module: Any
    version: str  # "11.4.0.106"
    logger: Any
    heard: list[str] = field(repr=False)  # errors that the library logged, first to last

    def __str__(self) -> str:
        return f"{TITLES[self.name]} {self.version}"

    def why(self) -> str:
        """The first error logged since the last call, in one line; the later ones follow from it."""
        told = [" ".join(message.split()) for message in self.heard]
        self.heard.clear()
        return told[0] if told else "it gave no reason"


def load(name: str) -> Library:
    """The library called ``name``.

    Raises:
        NemoExtError: there is none of that name, it is not installed, cannot be loaded, or is too old.
    """
    if name not in EXTRAS:
        raise NemoExtError(f"'{name}' is no TensorRT: it is {' or '.join(EXTRAS)}{nearest(name, EXTRAS)}")
    install = f"pip install 'nemo_ext[{EXTRAS[name]}]'"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise NemoExtError(f"{name} is not installed: {install}") from error
    except (ImportError, OSError) as error:  # the bindings are there, the libraries that they load are not
        reason = str(error).strip().splitlines()[0]
        raise NemoExtError(f"{name} is installed but cannot be loaded ({reason}): {install}") from error
    version = str(module.__version__)
    if name == "tensorrt" and tuple(map(int, version.split(".")[:2])) < EARLIEST:
        raise NemoExtError(f"tensorrt {version} is too old, 10.12 is the earliest: {install}")
    logger = _logger(module)
    return Library(name, module, version, logger, logger.heard)


def cache_dir() -> Path:
    """Where timing and runtime caches are kept: under NEMO_EXT_CACHE, XDG_CACHE_HOME or ~/.cache."""
    named = os.environ.get("NEMO_EXT_CACHE")
    if named:
        return Path(named).expanduser() / "tensorrt"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nemo_ext" / "tensorrt"


def keep(path: Path, content: bytes | memoryview) -> None:
    """Write a cache, beside its place first. A cache that cannot be kept costs time and nothing else."""
    with contextlib.suppress(OSError), files.replacing(path) as beside:
        beside.write_bytes(content)


def _logger(module: Any) -> Any:
    """One for the process: while any builder lives, the libraries go on using the first one that they were given."""

    class Log(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.heard: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity.name in _WRONG:
                self.heard.append(message)

    base = Log.__mro__[1]
    if base not in _loggers:
        _loggers[base] = Log()
    return _loggers[base]
