"""Reading files that somebody else may have written: within limits, regular files only, and nothing in them is run.

Everything that enters from a disk (a manifest, a voice, a bundle's description, a table of a corpus) is read through
here. What comes out is plain data; `number`, `whole_number` and `string` then check single values where they come in.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from nemo_ext.errors import NemoExtError

MOST_TEXT = 256 << 20  # bytes of a text file: a manifest of a million utterances has about as many
_MOST_LINE = 1 << 20  # bytes of one line
MOST_NODES = 100_000  # of a YAML document, its aliases written out
_LONGEST_PLAIN = 4096  # characters of a value without quotes: a number of more takes seconds to be read
_LARGEST = 1 << 63
_PLAIN = (dict, list, str, int, float, bool, type(None))
_MOST_DEPTH = 60  # of nested containers


def open_regular(path: str | Path, what: str = "file") -> BinaryIO:
    """The regular file at ``path``, opened to read bytes.

    A FIFO would wait for ever and a device has no end, so both are refused before anything is read.

    Raises:
        NemoExtError: it is missing, may not be read, or is a folder, a FIFO or a device.
    """
    path = Path(path)
    try:
        # Without O_NONBLOCK, opening a FIFO that nobody writes to does not come back.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError as error:
        raise NemoExtError(f"no {what} at {path}: give the path of one that is there") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise NemoExtError(f"{what} {str(path)!r} cannot be opened: {reason}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NemoExtError(f"{path} is no regular file (a folder, a pipe or a device): give the path of a {what}")
    return os.fdopen(descriptor, "rb")


def read_bytes(path: str | Path, most: int = MOST_TEXT, what: str = "file") -> bytes:
    """The content of the regular file at ``path``, of ``most`` bytes at most.

    Raises:
        NemoExtError: as `open_regular`, or it is larger.
    """
    with open_regular(path, what) as file:
        try:
            said = min(os.fstat(file.fileno()).st_size, most)  # a file under /proc says 0
            content = file.read(said + 1)  # not most + 1: so much would be allocated, and given back
            content += file.read(most + 1 - len(content)) if len(content) > said else b""
        except OSError as error:
            raise NemoExtError(f"{what} {path} cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise NemoExtError(f"{path} has more than {_size(most)}, more than any {what} has: it is not read")
    return content


def read_text(path: str | Path, most: int = MOST_TEXT, what: str = "file") -> str:
    """The UTF-8 text in the file at ``path``, without a byte order mark.

    Raises:
        NemoExtError: as `read_bytes`, or it is not UTF-8.
    """
    content = read_bytes(path, most, what)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise NemoExtError(f"{path}, line {line}: not UTF-8; save the {what} as UTF-8") from error


def read_lines(path: str | Path, most: int = MOST_TEXT, what: str = "file") -> list[str]:
    """The lines of the UTF-8 text file at ``path``, without their ends (LF or CRLF), an empty last one left out.

    Only line feeds end a line: other separators of Unicode's may stand within a text.

    Raises:
        NemoExtError: as `read_text`, or a line is longer than 1 MiB.
    """
    lines = [line.removesuffix("\r") for line in read_text(path, most, what).split("\n")]
    for number, line in enumerate(lines, 1):
        if len(line) > _MOST_LINE:
            raise NemoExtError(f"{path}, line {number}: longer than {_size(_MOST_LINE)}; this is no {what}")
    return lines[:-1] if lines and not lines[-1] else lines


def read_json(path: str | Path, most: int = MOST_TEXT, what: str = "file") -> Any:
    """The JSON document in the file at ``path``.

    Raises:
        NemoExtError: as `read_text` and `parse_json`.
    """
    return parse_json(read_text(path, most, what), str(path))


def read_yaml(path: str | Path, most: int = 4 << 20, what: str = "file") -> Any:
    """The YAML document in the file at ``path``, as plain containers.

    Raises:
        NemoExtError: as `read_text` and `parse_yaml`.
    """
    return parse_yaml(read_text(path, most, what), str(path))


def parse_json(text: str, where: str) -> Any:
    """The JSON document ``text``; ``where`` names its source in messages.

    NaN and infinity are no JSON, and no value here may be one.

    Raises:
        NemoExtError: it is no JSON, nested too deeply, or holds a number without a finite value.
    """
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise NemoExtError(f"{where}: not valid JSON ({_first_line(error)})") from error


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def parse_yaml(text: str, where: str) -> Any:
    """The YAML document ``text`` as plain containers; ``where`` names its source in messages.

    Aliases are counted as often as they stand, so that a short text cannot become a huge document.

    Raises:
        NemoExtError: it is no YAML, names a tag that builds objects, is nested too deeply or is too large.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_nesting(yaml.parse(text, Loader=loader), where)
        document = yaml.load(text, Loader=loader)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise NemoExtError(f"{where}: not valid YAML ({_first_line(error)})") from error
    _check_plain(document, where)
    return document


def _check_nesting(events: Iterator[Any], where: str) -> None:
    """Refuse a deep document while it is being parsed: composing one recurses, and takes seconds to fail."""
    import yaml

    depth = 0
    for seen, event in enumerate(events):
        if isinstance(event, yaml.ScalarEvent):
            _check_scalar(event, where)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_DEPTH:
            raise NemoExtError(f"{where}: nested more than {_MOST_DEPTH} deep: it is not read")
        if seen > 4 * MOST_NODES:
            raise NemoExtError(f"{where}: more than {MOST_NODES} values: it is not read")


def _check_scalar(event: Any, where: str) -> None:
    """Refuse what is costly while a document is put together, before its size can be counted: merging, long numbers."""
    if event.tag == "tag:yaml.org,2002:merge" or (event.value == "<<" and event.implicit[0]):
        raise NemoExtError(f"{where}: it merges tables (<<), which is not read: write them out")
    if event.implicit[0] and len(event.value) > _LONGEST_PLAIN:
        raise NemoExtError(
            f"{where}: a plain value of {len(event.value)} characters, longer than any: put it in quotes"
        )


def _check_plain(document: Any, where: str) -> None:
    """Refuse a document of more than 100,000 values, those met twice counted twice, and values that are not plain.

    Pairs and ordered maps come as tuples, which others take for lists and look into; sets, bytes and dates are none of
    ours either.
    """
    for seen, node in enumerate(nodes(document), 1):
        if seen > MOST_NODES:
            raise NemoExtError(f"{where}: more than {MOST_NODES} values, aliases written out: it is not read")
        if type(node) not in _PLAIN:
            raise NemoExtError(f"{where}: it holds a {type(node).__name__}, and only plain values are read")


def nodes(document: Any) -> Iterator[Any]:
    """Every key and value of nested containers, the document itself first."""
    left = [document]
    while left:
        node = left.pop()
        yield node
        if isinstance(node, Mapping):
            left += [*node.keys(), *node.values()]
        elif isinstance(node, list | tuple | set):
            left += node


def number(value: Any, where: str, least: float = -math.inf, most: float = math.inf) -> float:
    """``value`` as a finite number from ``least`` to ``most``; ``where`` names it in messages.

    Raises:
        NemoExtError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NemoExtError(f"{where} is {shown(value)}, not a number")
    if isinstance(value, int) and abs(value) >= _LARGEST:
        raise NemoExtError(f"{where} is a number beyond any that is meant")
    if not math.isfinite(value) or not least <= value <= most:
        raise NemoExtError(f"{where}={shown(value)} is outside {_range(least, most)}")
    return float(value)


def whole_number(value: Any, where: str, least: float = -math.inf, most: float = math.inf) -> int:
    """``value`` as a whole number from ``least`` to ``most``; ``where`` names it in messages.

    Raises:
        NemoExtError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise NemoExtError(f"{where} is {shown(value)}, not a whole number")
    if abs(value) >= _LARGEST or not least <= value <= most:
        raise NemoExtError(f"{where}={shown(value)} is outside {_range(least, most)}")
    return value


def string(value: Any, where: str, most: int = 10_000) -> str:
    """``value`` as a text of ``most`` characters at most; ``where`` names it in messages.

    Raises:
        NemoExtError: it is something else.
    """
    if not isinstance(value, str):
        raise NemoExtError(f"{where} is {shown(value)}, not a text")
    if len(value) > most:
        raise NemoExtError(f"{where} has {len(value)} characters, more than {most}")
    return value


def inside(folder: str | Path, name: Any, where: str) -> Path:
    """The path of ``name`` in ``folder``, which it may not leave: not by ``..``, an absolute path, or a symbolic link.

    Raises:
        NemoExtError: it is no relative path, or leads out.
    """
    text = string(name, where, 4096)
    pure = PurePosixPath(text)
    if not text or "\0" in text or pure.is_absolute() or ".." in pure.parts:
        raise NemoExtError(f"{where}: {shown(text)} leads out of {folder}: only files below it are read")
    path = Path(folder) / text
    try:
        led = path.resolve().is_relative_to(Path(folder).resolve())
    except (OSError, RuntimeError):  # a loop of links
        led = False
    if not led:
        raise NemoExtError(f"{where}: {shown(text)} leads out of {folder} by a link: only files below it are read")
    return path


def shown(value: Any) -> str:
    """``value`` as a message shows it: short, and on one line."""
    try:
        text = repr(value)
    except ValueError:  # Python writes out no number of thousands of digits
        text = f"a {type(value).__name__} too large to write out"
    return text if len(text) <= 60 else text[:57] + "..."


def _range(least: float, most: float) -> str:
    if math.isinf(most):
        return f"{least:g} and above"
    if math.isinf(least):
        return f"{most:g} and below"
    return f"{least:g} to {most:g}"


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count} bytes"


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:120] if text else type(error).__name__
