"""Files of ``torch.save``, read as a stranger's: tensors and plain values only, and nothing in them is run.

torch's own guard (``weights_only``) can be switched off by the environment and advises to load a file all the same, so
the pickle is looked through here first: it may name what a tensor is rebuilt with, and nothing else. Sizes are bounded
by the file's: no packed records, no tensor larger than what is stored of it.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from nemo_ext.errors import NemoExtError
from nemo_ext.untrusted import open_regular

_MOST_RECORDS = 200_000
_MOST_PICKLE = 64 << 20  # bytes; names, shapes and plain values, the tensors lie beside it
_STORAGES = ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
_ALLOWED = frozenset(
    {
        "collections OrderedDict",
        "torch Size",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_tensor_v2",
        *(f"torch {name}Storage" for name in _STORAGES),
    }
)
_TEXTS = ("SHORT_BINUNICODE", "BINUNICODE", "UNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING")


def read(path: str | Path, what: str = "checkpoint") -> Any:
    """What ``torch.save`` wrote to the file at ``path``, on the CPU: tensors and plain values in plain containers.

    Raises:
        NemoExtError: it is missing, damaged, of a format before torch 1.6, or names anything that a tensor is not made
            of, which might run code.
    """
    with open_regular(path, what) as file:
        return _read(file, str(path), what)


def weights(content: bytes | BinaryIO, where: str) -> dict[str, Tensor]:
    """The weights by name that ``torch.save`` wrote, ``content`` or a file; ``where`` names their source in messages.

    Raises:
        NemoExtError: as `read`, or it holds something else than tensors by name, one that is not finite, or one that
            is larger than what is stored of it.
    """
    found = _read(io.BytesIO(content) if isinstance(content, bytes) else content, where, "weights")
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise NemoExtError(f"{where} hold something else than weights by name: get the file from a source you trust")
    named = {str(name): tensor for name, tensor in found.items()}
    check_finite(named, where)
    return named


def check_finite(named: Mapping[str, Tensor], where: str) -> None:
    """
    Raises:
        NemoExtError: a tensor of ``named`` has NaN or infinity, or a number that is infinite in float32.
    """
    for name, tensor in named.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.float()).all()):
            raise NemoExtError(f"{where} are not finite ({name[:80]!r} has NaN or infinity): its training failed")


def foreign_names(file: Any, where: str) -> list[str]:
    """What the pickle in ``file`` names beside what a tensor is made of, as ``module name``.

    Raises:
        NemoExtError: it is no file of ``torch.save`` since torch 1.6, or a damaged one.
    """
    _check_records(file, where)
    return sorted({name for name in _globals(_pickle(file, where), where) if name not in _ALLOWED})


def _read(file: Any, where: str, what: str) -> Any:
    foreign = foreign_names(file, where)
    if foreign:
        module, _, name = foreign[0].partition(" ")
        raise NemoExtError(
            f"{where}: its {what} names '{module}.{name}'"[:200]
            + ", which may run code, so it is not loaded; get it from a source you trust"
        )
    file.seek(0)
    try:
        found = _plain(torch.load(file, map_location="cpu", weights_only=True))
        _check_tensors(found, where)
    except NemoExtError:
        raise
    except Exception as error:  # torch has many ways to say so, and advises to load it all the same
        raise NemoExtError(f"{where}: its {what} cannot be read, so it is damaged: copy it again") from error
    return found


def _check_records(file: Any, where: str) -> None:
    """Refuse what torch's own writer never makes: packed or doubled records, or more of them than any model has."""
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            records = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, RecursionError, EOFError) as error:
        raise NemoExtError(
            f"{where} is no file of torch.save since torch 1.6, or a damaged one: save it with a newer torch, or copy "
            "it again"
        ) from error
    names = {record.filename for record in records}
    if len(records) > _MOST_RECORDS or len(names) != len(records):
        raise NemoExtError(f"{where} has {len(records)} records, as torch writes none: it is not loaded")
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise NemoExtError(f"{where} has packed records, as torch writes none: it is not loaded")


def _pickle(file: Any, where: str) -> bytes:
    """The pickle as torch's own reader finds it, which may differ from what another reader of zip files finds."""
    file.seek(0)
    try:
        content: bytes = torch._C.PyTorchFileReader(file).get_record("data.pkl")
    except (RuntimeError, ValueError, OSError) as error:
        raise NemoExtError(f"{where} cannot be read, so it is damaged: copy it again") from error
    if len(content) > _MOST_PICKLE:
        raise NemoExtError(
            f"{where} describes its tensors in {len(content) >> 20} MiB, more than any model's: not loaded"
        )
    return content


def _globals(content: bytes, where: str) -> Iterator[str]:
    texts: list[str] = []  # those on the stack that the next STACK_GLOBAL takes
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in ("GLOBAL", "INST"):
                yield str(argument)
            elif opcode.name == "STACK_GLOBAL":
                # torch writes protocol 2, which has none; whoever does is not told apart by guessing at the stack
                yield " ".join(texts[-2:]) + " "
            elif opcode.name in ("EXT1", "EXT2", "EXT4"):
                yield "copyreg extension"
            elif opcode.name in _TEXTS:
                texts = [*texts[-1:], str(argument)]
    except (ValueError, IndexError, UnicodeDecodeError, OverflowError) as error:
        raise NemoExtError(f"{where} cannot be read, so it is damaged: copy it again") from error


def _plain(node: Any) -> Any:
    """``node`` with plain dicts in place of ordered ones, whose methods a pickle may have put others over."""
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in dict.items(node)}
    return type(node)(_plain(value) for value in node) if type(node) in (list, tuple) else node


def _check_tensors(found: Any, where: str) -> None:
    """Refuse a tensor that shows one stored number many times: a copy of it may exhaust the memory."""
    left, seen = [found], set()
    while left:
        node = left.pop()
        if isinstance(node, Tensor):
            if node.layout is not torch.strided or node.numel() * node.element_size() > node.untyped_storage().nbytes():
                raise NemoExtError(f"{where} has a tensor larger than what is stored of it: it is not loaded")
        elif isinstance(node, Mapping | list | tuple) and id(node) not in seen:
            seen.add(id(node))
            left += [*node.values()] if isinstance(node, Mapping) else [*node]
