"""Folders that appear whole or not at all, and large files that stand in two of them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from nemo_ext import files
from nemo_ext.errors import NemoExtError


def link_or_copy(source: Path, target: Path) -> None:
    """``source`` at ``target`` too: the same file under a second name where the disk allows it, otherwise a copy.

    Not for the weights beside a graph: onnx refuses those with a second name, for they could be anybody's file.
    """
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copy2(source, target)


@contextlib.contextmanager
def whole_folder(out: Path, mark: str) -> Iterator[Path]:
    """An empty folder beside ``out`` to fill; at the end it becomes ``out``. After an error nothing is left of it.

    A folder ``out`` that is there already is replaced if it holds ``mark``, a file of every such folder. It is removed
    only when the new one stands in its place, and comes back where that did not happen.

    Raises:
        NemoExtError: ``out`` is something else that should not be lost, or the disk is full.
    """
    files.sweep(out.parent)
    if out.exists() and not (out / mark).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise NemoExtError(f"{out} is there already and holds something else: give another folder, or remove it")
    try:
        with files.replacing_folder(out) as beside:
            yield beside
    except OSError as error:
        raise NemoExtError(f"{out} could not be written: {error.strerror or error}; free some space") from error
