"""What older releases wrote to disk, read as a stranger's file: nothing in it is run, nothing is unpacked to a disk.

A ``.nemo`` file is a tar, packed or not, of ``model_config.yaml``, ``model_weights.ckpt`` and artifacts such as
dictionaries. A file of ``save_adapters`` is torch's pickle of weights beside one of OmegaConf's objects; those are
rebuilt as inert stand-ins, of which only plain values are read.
"""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
import yaml
from torch import Tensor

from nemo_ext.errors import NemoExtError

_CONFIG, _WEIGHTS = "model_config.yaml", "model_weights.ckpt"
_MOST_WEIGHTS = 8 << 30  # bytes
_MOST_OF_ANOTHER = 256 << 20  # bytes of a configuration or an artifact
_MOST_NODES = 100_000  # of a configuration, its aliases written out
# ${a.b} refers to another key; ${name:...} calls a function of OmegaConf's, which may read the environment, and its
# name may be put together: ${oc.${x}:...}
_CALL = re.compile(r"\$\{[^}]*(:|\$\{)")
# Whose classes may stand in an adapter file. They are replaced by stand-ins all the same.
_INERT = ("omegaconf.", "typing.", "collections.", "builtins.", "__builtin__.", "nemo.")


@dataclass
class Checkpoint:
    """A ``.nemo`` file in memory."""

    path: Path
    config: dict[str, Any]  # plain containers; ${} as written
    weights: dict[str, Tensor]
    artifacts: dict[str, bytes]  # by their name in the archive

    @property
    def version(self) -> str:
        """The NeMo release that wrote it."""
        return str(self.config.get("nemo_version") or "of unknown version")


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The checkpoint in the ``.nemo`` file at ``path``.

    Raises:
        NemoExtError: there is none, it is damaged, too large, or holds what no NeMo writes.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise NemoExtError(f"no checkpoint at {path}: give the path of a .nemo file of an older release")
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                if not member.isdir():
                    name = _name(member, path)
                    files[name] = _bytes(archive, member, path)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise NemoExtError(f"{path} is no .nemo file, or a damaged one: copy it again") from error
    for needed in (_CONFIG, _WEIGHTS):
        if needed not in files:
            raise NemoExtError(
                f"{path} holds no {needed}, so it is no checkpoint of one model: give a whole .nemo file"
            )
    config = _config(files.pop(_CONFIG), path)
    return Checkpoint(path, config, _weights(files.pop(_WEIGHTS), path), files)


def _name(member: tarfile.TarInfo, path: Path) -> str:
    name = PurePosixPath(member.name)
    if not member.isreg() or member.issparse() or name.is_absolute() or ".." in name.parts:
        raise NemoExtError(
            f"{path} holds '{member.name}', which no NeMo writes (a link, a device, or a place outside): "
            "it is not read; get the file from a source you trust"
        )
    return str(name)


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> bytes:
    most = _MOST_WEIGHTS if PurePosixPath(member.name).name == _WEIGHTS else _MOST_OF_ANOTHER
    if member.size > most:
        raise NemoExtError(
            f"{path}: '{member.name}' has {member.size >> 20} MiB, more than any model's: it is not read"
        )
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def _config(text: bytes, path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(text)
        _check(config, path)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise NemoExtError(f"{path}: its {_CONFIG} cannot be read: copy the file again") from error
    if isinstance(config, dict) and isinstance(config.get("model"), dict):
        config = config["model"]  # as NeMo does
    if not isinstance(config, dict):
        raise NemoExtError(f"{path}: its {_CONFIG} is no configuration of a model")
    return config


def check_resolved(config: Any, path: Path) -> None:
    """Refuse references that are left when all are followed: a text can be put together so that it is one.

    Raises:
        NemoExtError: there is one.
    """
    for node in _nodes(config):
        if isinstance(node, str) and "${" in node:
            raise NemoExtError(
                f"{path}: its {_CONFIG} puts '{node[:60]}' together, which would be followed again: it is not loaded"
            )


def _check(config: Any, path: Path) -> None:
    """Refuse calls of OmegaConf's functions, and a small text whose aliases make it a huge configuration."""
    for seen, node in enumerate(_nodes(config), 1):
        if seen > _MOST_NODES:
            raise NemoExtError(f"{path}: its {_CONFIG} is larger than any model's: it is not read")
        if isinstance(node, str) and _CALL.search(node):
            raise NemoExtError(
                f"{path}: its {_CONFIG} has '{node[:60]}', which asks for a function to be called: it is not loaded"
            )


def _nodes(config: Any) -> Iterator[Any]:
    """Every key and value of nested containers."""
    left = [config]
    while left:
        node = left.pop()
        yield node
        if isinstance(node, Mapping):
            left += [*node.keys(), *node.values()]
        elif isinstance(node, Sequence) and not isinstance(node, str | bytes):
            left += node


def _weights(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch has many ways to say so, and advises to load it all the same
        raise NemoExtError(
            f"{path}: its weights are none, or not weights only: it is damaged, or it would run code, and is not loaded"
        ) from error
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise NemoExtError(f"{path}: its {_WEIGHTS} holds something else than weights by name")
    return {str(k): v for k, v in found.items()}


# ------------------------------------------------------------------ adapter files


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
    if not path.is_file():
        raise NemoExtError(f"no adapters at {path}: give a .pt file that NeMo's save_adapters wrote")
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
