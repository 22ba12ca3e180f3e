"""Files and folders that appear whole or not at all, and what killed processes have left of them.

Whatever is written stands beside its place first, under a name of ours, and is renamed at the end. While it is being
written its process holds a lock on it, which the system takes back when the process dies: `sweep` removes what nobody
holds. It needs no process numbers, which come twice where containers share a disk; on a file system without locks it
removes nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

_OURS = re.compile(r"\.(writing|old)-[0-9a-f]{8}-(.+)", re.DOTALL)
_LONGEST = 200  # of a name's 255 bytes, which leaves room for what is put before it


def _beside(path: Path, kind: str = "writing") -> Path:
    name = path.name.encode()[-_LONGEST:].decode(errors="ignore")  # its end: writers look at the suffix
    return path.with_name(f".{kind}-{uuid.uuid4().hex[:8]}-{name}")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """An empty file beside ``path`` to write to; at the end it takes the place of ``path``. Folders above are made.

    After an error, nothing is left of it and what was at ``path`` is untouched.

    Raises:
        OSError: it cannot be made or moved.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _held(_beside(path), lambda beside: os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)) as beside:
        yield beside
        os.replace(beside, path)


@contextlib.contextmanager
def workspace(path: Path) -> Iterator[Path]:
    """An empty folder beside ``path``, removed at the end unless it was moved away.

    Raises:
        OSError: it cannot be made.
    """

    def make(beside: Path) -> int:
        beside.mkdir(parents=True)
        return os.open(beside, os.O_RDONLY)

    with _held(_beside(path), make) as beside:
        yield beside


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside ``path`` to fill; at the end it takes the place of ``path``, which goes only then.

    Raises:
        OSError: it cannot be made or moved; what was at ``path`` is there again.
    """
    old = _beside(path, "old")
    try:
        with workspace(path) as beside:
            yield beside
            with _locked(path) if path.exists() else contextlib.nullcontext():
                if path.exists():
                    os.replace(path, old)
                os.replace(beside, path)
    finally:
        if old.exists() and not path.exists():  # stopped between the two, by Ctrl-C as well
            os.replace(old, path)
        shutil.rmtree(old, ignore_errors=True)


def sweep(*folders: Path) -> None:
    """Remove what killed processes have left in ``folders``; a folder that they had moved aside is put back."""
    for folder in folders:
        with contextlib.suppress(OSError):
            for entry in [entry for entry in os.scandir(folder) if not entry.is_symlink()]:
                found = _OURS.fullmatch(entry.name)
                if found:
                    with contextlib.suppress(OSError), _locked(Path(entry.path), wait=False):
                        _remove(Path(entry.path), found[1], found[2])


def _remove(left: Path, kind: str, name: str) -> None:
    place = left.with_name(name)
    if kind == "old" and not place.exists():
        os.replace(left, place)
    elif left.is_dir():
        shutil.rmtree(left, ignore_errors=True)
    else:
        left.unlink(missing_ok=True)


@contextlib.contextmanager
def _held(beside: Path, make: Callable[[Path], int]) -> Iterator[Path]:
    """``beside``, which ``make`` makes and opens, locked until it is gone."""
    while True:
        descriptor = make(beside)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.lstat(beside)):
                break
        os.close(descriptor)  # somebody swept it between the two
    try:
        yield beside
    finally:
        with contextlib.suppress(OSError):  # a place that cannot be written cannot be tidied either
            if beside.is_dir():
                shutil.rmtree(beside, ignore_errors=True)
            else:
                beside.unlink(missing_ok=True)
        os.close(descriptor)


@contextlib.contextmanager
def _locked(path: Path, wait: bool = True) -> Iterator[None]:
    """``path`` locked; where there are no locks, an OSError unless it is to ``wait``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        with contextlib.suppress(OSError) if wait else contextlib.nullcontext():
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
