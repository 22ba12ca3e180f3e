"""A ``.nemo`` file, read as a stranger's: nothing in it is run, and nothing is unpacked to a disk.

It is a tar, packed or not, of ``model_config.yaml``, ``model_weights.ckpt`` and artifacts such as dictionaries. Only
plain values come out: references to other keys (``${a.b}``) are followed here, calls of OmegaConf's functions, which
may read the environment, are refused.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from nemo_ext.errors import NemoExtError
from nemo_ext.untrusted import MOST_NODES, nodes, open_regular, parse_yaml, shown

if TYPE_CHECKING:  # whoever only reads the configuration needs no torch
    from torch import Tensor

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
_MOST_WEIGHTS = 1 << 30  # bytes: 268 million weights; the largest model here has a fifth
_MOST_HEADER = 1 << 20  # bytes
_MOST_CONFIG = 4 << 20  # bytes
_MOST_OF_ANOTHER = 256 << 20  # bytes of an artifact
_MOST_MEMBERS = 1000
_MOST_PACKED = 20  # times the size of the packed file: weights hardly shrink
_MOST_NUMBER = 2**31  # no size, rate or count of a model comes near it
_MOST_STEPS = 32  # of references that refer to references
_REFERENCE = re.compile(r"\$\{\s*([\w-]+(?:\.[\w-]+)*)\s*\}")


@dataclass
class NemoArchive:
    """A ``.nemo`` file in memory."""

    path: Path
    config: dict[str, Any]  # plain containers, references followed
    weights: dict[str, Tensor]
    artifacts: dict[str, bytes]  # by their name in the archive

    @property
    def target(self) -> str:
        """The path of the class that it is a model of."""
        return str(self.config.get("target") or "nameless")

    @property
    def version(self) -> str:
        """The NeMo release that wrote it."""
        return str(self.config.get("nemo_version") or "of unknown version")


def read(path: str | Path) -> NemoArchive:
    """The model in the ``.nemo`` file at ``path``, its weights on the CPU.

    Raises:
        NemoExtError: there is none, it is damaged, too large, holds what no NeMo writes, or would run code.
    """
    from nemo_ext import torch_file

    path = Path(path).expanduser().resolve()
    with _opened(path) as (archive, members):
        for needed in (CONFIG, WEIGHTS):
            if needed not in members:
                raise NemoExtError(f"{path} holds no {needed}, so it is no model: give a whole .nemo file")
        config = _config(_content(archive, members.pop(CONFIG), path), path)
        # where it lies: what is no file of torch's is refused before its bytes are in memory
        found = torch_file.weights(_weights(archive, members.pop(WEIGHTS), path), f"the weights in {path}")
        files = {name: _content(archive, member, path) for name, member in members.items()}
    return NemoArchive(path, config, found, files)


def read_config(path: str | Path) -> dict[str, Any]:
    """The configuration of the model in the ``.nemo`` file at ``path``, without its weights and without torch.

    Raises:
        NemoExtError: as `read`.
    """
    path = Path(path).expanduser().resolve()
    with _opened(path) as (archive, members):
        if CONFIG not in members:
            raise NemoExtError(f"{path} holds no {CONFIG}, so it is no model: give a whole .nemo file")
        return _config(_content(archive, members[CONFIG], path), path)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[tarfile.TarFile, dict[str, tarfile.TarInfo]]]:
    """The archive at ``path`` and the files in it by name."""
    damaged = NemoExtError(f"{path} cannot be restored: it is no .nemo file, or a damaged one; copy it again")
    with open_regular(path, "model") as file:
        try:
            reader = _Headers(file, path)
            with tarfile.open(fileobj=reader, mode="r:") as archive:
                members: dict[str, tarfile.TarInfo] = {}
                for count, member in enumerate(archive, 1):
                    if count > _MOST_MEMBERS:
                        raise NemoExtError(f"{path} holds more than {_MOST_MEMBERS} files, as no NeMo writes: not read")
                    if member.isdir():
                        continue
                    name = _name(member, path)
                    if name in members:
                        raise NemoExtError(f"{path} holds '{name[:80]}' twice, as no NeMo writes: it is not read")
                    most = {CONFIG: _MOST_CONFIG, WEIGHTS: _MOST_WEIGHTS}.get(name, _MOST_OF_ANOTHER)
                    if member.size > most:
                        raise NemoExtError(
                            f"{path}: '{name[:80]}' has {member.size >> 20} MiB, more than any model's: it is not read"
                        )
                    members[name] = member
                reader.most = None
                yield archive, members
        except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError, RecursionError) as error:
            raise damaged from error


class _Headers(io.RawIOBase):
    """A file of which no more than ``most`` bytes are read at once: a header of an archive may claim any size."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.packed = file.read(2) == b"\x1f\x8b"
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if self.packed:
            file = io.BufferedReader(_Bounded(gzip.GzipFile(fileobj=file), size * _MOST_PACKED, path))
        self._file, self._path = file, path
        self.most: int | None = _MOST_HEADER

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        if self.most is not None and not 0 <= size <= self.most:
            raise NemoExtError(f"{self._path} has a header of {size >> 20} MiB, as no NeMo writes: it is not read")
        return self._file.read(size)


class _Bounded(io.RawIOBase):
    """A packed file that is given up when it unpacks to more than ``most`` bytes."""

    def __init__(self, packed: gzip.GzipFile, most: int, path: Path) -> None:
        self._packed, self._most, self._path = packed, max(most, 1 << 20), path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._packed.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        place = offset if whence == io.SEEK_SET else self.tell() + offset
        if whence == io.SEEK_END or place > self._most:
            self._refuse()
        return self._packed.seek(place)

    def readinto(self, buffer: Any) -> int:
        if self._packed.tell() > self._most:
            self._refuse()
        content = self._packed.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _refuse(self) -> None:
        raise NemoExtError(f"{self._path} unpacks to over {_MOST_PACKED} times its size, as no model does: not read")


def _name(member: tarfile.TarInfo, path: Path) -> str:
    name = PurePosixPath(member.name)
    if not member.isreg() or member.issparse() or name.is_absolute() or ".." in name.parts:
        raise NemoExtError(
            f"{path} holds '{member.name[:80]}', which no NeMo writes (a link, a device, or a place outside): "
            "it is not read; get the file from a source you trust"
        )
    return str(name)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    content = file.read(member.size)
    if len(content) != member.size:
        raise NemoExtError(f"{path} cannot be restored: it is no .nemo file, or a damaged one; copy it again")
    return content


def _weights(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> BinaryIO:
    """The file of the weights where it lies in the archive; out of a packed one in memory, as it is read to and fro."""
    if archive.fileobj.packed:  # type: ignore[attr-defined]
        return io.BytesIO(_content(archive, member, path))
    file = archive.extractfile(member)
    assert file is not None
    file.seek(max(0, member.size - 1))
    file.read(1)  # tarfile's own error where the archive ends before
    file.seek(0)
    return file  # type: ignore[return-value]


# ------------------------------------------------------------------ configuration


def _config(content: bytes, path: Path) -> dict[str, Any]:
    where = f"{path}: its {CONFIG}"
    try:
        config = parse_yaml(content.decode("utf-8-sig"), where)
    except UnicodeDecodeError as error:
        raise NemoExtError(f"{where} is not UTF-8: copy the file again") from error
    if isinstance(config, dict) and isinstance(config.get("model"), dict):
        config = config["model"]  # as NeMo does
    if not isinstance(config, dict):
        raise NemoExtError(f"{where} is no configuration of a model")
    config = _resolved(config, where)
    for node in nodes(config):
        if isinstance(node, int | float) and not -_MOST_NUMBER < node < _MOST_NUMBER:
            raise NemoExtError(f"{where} has the number {shown(node)}, beyond any model's: it is not loaded")
        if isinstance(node, Mapping) and not all(isinstance(key, str) for key in node):
            raise NemoExtError(f"{where} has a key that is no name: it is not loaded")
    return config


def _resolved(config: dict[str, Any], where: str) -> dict[str, Any]:
    """``config`` with each ``${a.b}`` replaced by what it refers to.

    Its size is counted as it grows: references to references may make a short text a huge configuration.
    """
    followed = itertools.count()

    def follow(node: Any, steps: int) -> Any:
        if next(followed) > MOST_NODES:
            raise NemoExtError(f"{where} has more than {MOST_NODES} values, references followed: it is not loaded")
        if steps > _MOST_STEPS:
            raise NemoExtError(f"{where}: its references go in a circle, or too far: it is not loaded")
        if isinstance(node, Mapping):
            return {key: follow(value, steps) for key, value in node.items()}
        if isinstance(node, list):
            return [follow(value, steps) for value in node]
        if not isinstance(node, str) or "${" not in node:
            return node
        whole = _REFERENCE.fullmatch(node)
        if whole:
            return follow(look_up(whole[1]), steps + 1)
        return _REFERENCE.sub(lambda found: part(found[1], steps), _checked(node, where))

    def part(name: str, steps: int) -> str:
        value = follow(look_up(name), steps + 1)
        if not isinstance(value, str | int | float):
            raise NemoExtError(f"{where} puts '{name[:60]}' into a text, and it is none: it is not loaded")
        return str(value)[:1000]

    def look_up(name: str) -> Any:
        node: Any = config
        for key in name.split("."):
            node = node.get(key, _MISSING) if isinstance(node, Mapping) else _MISSING
        if node is _MISSING:
            raise NemoExtError(f"{where} refers to '{name[:60]}', which it does not have: it is not loaded")
        return node

    try:
        resolved: dict[str, Any] = follow(config, 0)
    except RecursionError as error:
        raise NemoExtError(f"{where}: its references go in a circle, or too far: it is not loaded") from error
    for text in nodes(resolved):
        if isinstance(text, str) and "${" in text:  # put together, or behind a backslash
            raise NemoExtError(f"{where} puts '{text[:60]}' together, which would be followed again: it is not loaded")
    return resolved


_MISSING = object()


def _checked(text: str, where: str) -> str:
    if "${" in _REFERENCE.sub("", text):
        raise NemoExtError(f"{where} has '{text[:60]}', which asks for a function to be called: it is not loaded")
    return text
