"""Packages whose ``__init__`` imports all that they have, of which only what is asked for is imported.

``nemo.collections.tts`` and its like import every model of NeMo when one is wanted, and torchmetrics every metric with
transformers and scipy, which takes half of the time before a first sound. Here such a package starts empty (PEP 562):
a name that its ``__init__`` would import from a module is imported from that module when it is asked for, and any
other has the ``__init__`` run after all, so that nothing is missing for whoever uses NeMo beside us. Packages that are
only named at import are loaded at their first use, by `importlib.util.LazyLoader`. ``NEMO_EXT_EAGER=1`` in the
environment switches both off.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import logging
import os
import sys
from collections.abc import Collection, Sequence
from importlib import metadata
from types import ModuleType
from typing import Any

_AS_A_WHOLE = ("wandb", "pandas", "datasets", "matplotlib.pyplot", "scipy.signal")
_PACKAGES = (
    "nemo.collections.tts",
    "nemo.collections.tts.models",
    "nemo.collections.tts.data",
    "nemo.collections.tts.losses",
    "nemo.collections.asr",
    "nemo.collections.asr.models",
    "nemo.collections.asr.data",
    "nemo.collections.asr.modules",
    "nemo.collections.asr.losses",
    "nemo.collections.audio",
    "nemo.collections.audio.models",
    "nemo.collections.audio.data",
    "nemo.collections.audio.modules",
    "nemo.collections.audio.losses",
    "nemo.collections.common",
    "nemo.collections.common.tokenizers",
    "nemo.collections.common.data",
    "nemo_text_processing",
    "nemo_text_processing.text_normalization",
    "nemo.collections.asr.parts.utils",
    "nemo.collections.asr.parts.mixins",
    "nemo.collections.asr.parts.submodules",
    "nemo.collections.asr.parts.preprocessing",
    "nemo.collections.asr.parts.context_biasing",
    "nemo.collections.common.parts",
    "torchmetrics",
    "torchmetrics.functional",
    "torchmetrics.utilities",
    "torchmetrics.wrappers",
)
_OF_ITSELF = ("__all__", "__version__")  # what people ask a package for; Python asks for other names like these


class _Later(importlib.abc.Loader):
    """Makes a package without running it, until it is asked for a name that it does not import from a module."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """The module as its own loader makes it."""
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Run nothing yet."""
        imported, begun = self._imported(module.__name__), False

        def found(name: str) -> Any:
            nonlocal begun
            missing = AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            if name.startswith("__") and name not in _OF_ITSELF:
                raise missing
            inside = f"{module.__name__}.{name}"
            if inside in sys.modules or importlib.machinery.PathFinder.find_spec(inside, module.__path__):
                return importlib.import_module(inside)
            if name in imported:
                source, there = imported[name]
                return getattr(importlib.import_module(source), there)
            if not begun:
                begun = True
                self._loader.exec_module(module)
            if name not in vars(module):
                raise missing
            return vars(module)[name]

        vars(module)["__getattr__"] = found

    def _imported(self, package: str) -> dict[str, tuple[str, str]]:
        """What the package's ``__init__`` imports from other modules: the name, the module, its name there."""
        found: dict[str, tuple[str, str]] = {}
        for line in ast.walk(ast.parse(self._loader.get_source(package) or "")):
            if isinstance(line, ast.ImportFrom):
                source = importlib.util.resolve_name("." * line.level + (line.module or ""), package)
                found |= {a.asname or a.name: (source, a.name) for a in line.names if source != package}
        return found


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, packages: Collection[str], whole: Collection[str]) -> None:
        self._packages, self._whole = frozenset(packages), frozenset(whole)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The package's own place, with a loader that waits."""
        if fullname not in self._packages | self._whole:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            later = _Later if fullname in self._packages else importlib.util.LazyLoader
            spec.loader = later(spec.loader)
        return spec


def defer(packages: Collection[str], whole: Collection[str] = ()) -> None:
    """Import of ``packages`` what is asked for, and ``whole`` ones at their first use.

    Those that are imported already stay as they are.
    """
    sys.meta_path.insert(0, _Finder(packages, whole))


def before_nemo() -> None:
    """Defer what NeMo and Lightning import and we do not use; to be called before either is imported."""
    if os.environ.get("NEMO_EXT_EAGER") or "nemo" in sys.modules:
        return
    defer(_PACKAGES, _AS_A_WHOLE)
    package = vars(importlib.import_module("torchmetrics"))
    # what its submodules and Lightning ask it for before any metric is used
    package.setdefault("_logger", logging.getLogger("torchmetrics"))
    package.setdefault("__version__", metadata.version("torchmetrics"))
