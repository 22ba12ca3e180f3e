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
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib import metadata
from types import MappingProxyType, ModuleType
from typing import Any

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
# Packages that are named at import and run when anything of them is used, and the classes that importers take from them
# by name: each has a stand-in.
_AT_FIRST_USE: dict[str, tuple[str, ...]] = {
    "datasets": (),
    "matplotlib.pyplot": (),
    "pandas": (),
    "sacremoses": ("MosesDetokenizer",),
    "scipy.ndimage": (),
    "scipy.signal": (),
    "scipy.stats": (),
    "torch._dynamo": ("OptimizedModule",),
    "wandb": (),
}
_OF_ITSELF = ("__all__", "__version__")  # what people ask a package for; Python asks for other names like these


class _Later(importlib.abc.Loader):
    """Makes a package without running it, until it is asked for a name that it does not import from a module."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._begun = False

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """The module as its own loader makes it."""
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Run nothing yet."""
        find = self._finding(module)

        def found(name: str) -> Any:
            missing = AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            if name.startswith("__") and name not in _OF_ITSELF:
                raise missing
            if not self._begun and (there := find(name)) is not None:
                return there
            self.run(module)
            if name not in vars(module):
                raise missing
            return vars(module)[name]

        vars(module)["__getattr__"] = found

    def run(self, module: ModuleType) -> None:
        """Run the package itself, if nobody has begun to."""
        if self._begun:
            return
        self._begun = True
        try:
            self._loader.exec_module(module)
        except BaseException:
            self._begun = False
            raise

    def _finding(self, module: ModuleType) -> Callable[[str], Any]:
        """What finds a name of ``module`` in a module that it imports or has, or None."""
        imported, whole = self._imported(module.__name__)

        def find(name: str) -> Any:
            inside = f"{module.__name__}.{name}"
            if inside in sys.modules or importlib.machinery.PathFinder.find_spec(inside, module.__path__):
                return importlib.import_module(inside)
            if name in imported:
                source, there = imported[name]
                return getattr(importlib.import_module(source), there)
            return next((vars(m)[name] for m in map(importlib.import_module, whole) if name in vars(m)), None)

        return find

    def _imported(self, package: str) -> tuple[dict[str, tuple[str, str]], list[str]]:
        """What the package's ``__init__`` imports from other modules: the name, the module, its name there.

        And the modules of which it imports every name.
        """
        found: dict[str, tuple[str, str]] = {}
        whole: list[str] = []
        for line in ast.walk(ast.parse(self._loader.get_source(package) or "")):
            if isinstance(line, ast.ImportFrom):
                source = importlib.util.resolve_name("." * line.level + (line.module or ""), package)
                found |= {a.asname or a.name: (source, a.name) for a in line.names if source != package}
                whole += [source] if found.pop("*", None) else []
        return found, whole


class _AtFirstUse(_Later):
    """Makes a package without running it, until it is asked for more than the classes that have a stand-in.

    Python's own LazyLoader runs a module as soon as anybody walks through all that are imported, as ``inspect`` does.
    """

    def __init__(self, loader: Any, stand_ins: Collection[str] = ()) -> None:
        super().__init__(loader)
        self._stand_ins = stand_ins

    def _finding(self, module: ModuleType) -> Callable[[str], Any]:
        def real(name: str) -> Any:
            self.run(module)
            return vars(module)[name]

        stand_ins: dict[str, Any] = {name: _stand_in(module, name, partial(real, name)) for name in self._stand_ins}
        if module.__name__ == "torch._dynamo":
            stand_ins["disable"] = partial(_disabled, module)
        return stand_ins.get


def _stand_in(module: ModuleType, name: str, real: Callable[[], Any]) -> type:
    """A class in place of ``module``'s class ``name``, which is imported by ``real`` when one is made.

    Whatever is an instance or a subclass of the class itself is one of its stand-in: none is before the module has run.
    """

    class StandIn(type):
        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            return real()(*args, **kwargs)

        def __instancecheck__(cls, instance: Any) -> bool:
            return name in vars(module) and isinstance(instance, real())

        def __subclasscheck__(cls, subclass: type) -> bool:
            return subclass is cls or (name in vars(module) and issubclass(subclass, real()))

    return StandIn(name, (), {"__module__": module.__name__})


def _disabled(dynamo: ModuleType, function: Callable[..., Any], *given: Any, **settings: Any) -> Callable[..., Any]:
    """``function``, which torch's compiler is to leave alone: nothing is compiled before ``dynamo`` has run."""
    left_alone = None

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal left_alone
        if "disable" not in vars(dynamo):
            return function(*args, **kwargs)
        left_alone = left_alone or vars(dynamo)["disable"](function, *given, **settings)
        return left_alone(*args, **kwargs)

    return call


class _There(importlib.abc.Loader):
    """Hands out a module that was imported while it was being looked for."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:  # noqa: ARG002
        """The module that is there."""
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        """It has run; Python has just put another spec into it."""
        module.__spec__ = self._spec


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, packages: Collection[str], at_first_use: Mapping[str, Collection[str]]) -> None:
        self._loaders: dict[str, Callable[[Any], _Later]] = dict.fromkeys(packages, _Later)
        self._loaders |= {name: partial(_AtFirstUse, stand_ins=given) for name, given in at_first_use.items()}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The package's own place, with a loader that waits."""
        package = sys.modules.get(fullname.rpartition(".")[0])
        waiting = getattr(getattr(package, "__spec__", None), "loader", None)
        if package is not None and isinstance(waiting, _AtFirstUse):
            waiting.run(package)  # its modules expect it to have run
            if fullname in sys.modules:
                return importlib.machinery.ModuleSpec(fullname, _There(sys.modules[fullname]))
        if fullname not in self._loaders:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = self._loaders[fullname](spec.loader)
        return spec


def defer(packages: Collection[str], at_first_use: Mapping[str, Collection[str]] = MappingProxyType({})) -> None:
    """Import of ``packages`` what is asked for, and those of ``at_first_use`` when they are used.

    The latter name the classes that have a stand-in until then. Packages that are imported already stay as they are.
    """
    sys.meta_path.insert(0, _Finder(packages, at_first_use))


def before_nemo() -> None:
    """Defer what NeMo and Lightning import and we do not use; to be called before either is imported."""
    if os.environ.get("NEMO_EXT_EAGER") or "nemo" in sys.modules:
        return
    defer(_PACKAGES, _AT_FIRST_USE)
    package = vars(importlib.import_module("torchmetrics"))
    # what its submodules and Lightning ask it for before any metric is used
    package.setdefault("_logger", logging.getLogger("torchmetrics"))
    package.setdefault("__version__", metadata.version("torchmetrics"))
