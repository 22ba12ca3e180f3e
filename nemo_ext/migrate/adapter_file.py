"""Files of NeMo's ``save_adapters``: torch's pickle of weights beside one of OmegaConf's objects.

Read as a stranger's: OmegaConf's objects are rebuilt as inert stand-ins, of which only plain values are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nemo_ext import torch_file
from nemo_ext.errors import NemoExtError
from nemo_ext.untrusted import open_regular

# Whose classes may stand in an adapter file. They are replaced by stand-ins all the same.
_INERT = ("omegaconf.", "typing.", "collections.", "builtins.", "__builtin__.", "nemo.")


class _StandIn:
    """In place of any class that an adapter file names: takes a state and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


class _Bag(dict[Any, Any]):
    """In place of ``collections.defaultdict``."""

    def __init__(self, *_: Any) -> None:
        super().__init__()


def read_adapters(path: str | Path) -> tuple[dict[str, list[dict[str, Tensor]]], dict[str, Any]]:
    """What NeMo's ``save_adapters`` wrote: for each ``parts:name`` the weights in the model's order, and the settings.

    Raises:
        NemoExtError: no such file, or another kind of file, or one that names code.
    """
    path = Path(path).expanduser()
    with open_regular(path, "adapter file") as file:
        torch_file.foreign_names(file, str(path))  # refuses what is no such file
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception as error:
        raise NemoExtError(f"{path} is no file of save_adapters, or a damaged one: copy it again") from error
    foreign = [name for name in named if not name.startswith(_INERT)]
    if foreign:
        raise NemoExtError(f"{path} names '{foreign[0]}', which no adapter file of NeMo's does: it is not loaded")
    stand_ins: list[Any] = [(type("StandIn", (_StandIn,), {}), name) for name in named if "defaultdict" not in name]
    stand_ins += [(_Bag, name) for name in named if "defaultdict" in name]
    try:
        with torch.serialization.safe_globals(stand_ins):
            found = torch.load(path, map_location="cpu", weights_only=True)
        settings = _plain(found.pop("__cfg__"))
        states = {str(name): [_tensors(state) for state in states] for name, states in found.items()}
    except Exception as error:
        raise NemoExtError(
            f"{path} is no file of save_adapters ({_first_line(error)}): give one that NeMo wrote"
        ) from error
    if not isinstance(settings, dict):
        raise NemoExtError(f"{path} has no settings of its adapters: give a file that NeMo's save_adapters wrote")
    return states, settings


def _plain(node: Any, depth: int = 0) -> Any:
    """Containers and values from OmegaConf's objects, by way of their stand-ins."""
    if depth > 20:
        raise ValueError("nested too deeply")
    if isinstance(node, _StandIn):
        return _plain(node.state["_content"] if "_content" in node.state else node.state.get("_val"), depth + 1)
    if isinstance(node, Mapping):
        return {str(k): _plain(v, depth + 1) for k, v in node.items()}
    if isinstance(node, list | tuple):
        return [_plain(v, depth + 1) for v in node]
    return node


def _tensors(state: Any) -> dict[str, Tensor]:
    if not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError("it holds something else than weights")
    return {str(k): v for k, v in state.items()}


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    # torch goes on to advise that the file be loaded with what it may run
    return text.splitlines()[0].partition(" In PyTorch")[0][:160] if text else type(error).__name__
