"""Where the samples of a WAV file lie, so that a piece of it is a WAV file too and the rest need not be read.

RIFF: Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0" (1991). Only formats in which
every sample has its own place are known here: PCM and IEEE float, also under WAVE_FORMAT_EXTENSIBLE.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nemo_ext.untrusted import open_regular

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_PLACEHOLDER = 0x7F000000  # bytes of samples, and more: see `is_placeholder`
_HEADER = 1 << 16  # bytes: a header that is longer (embedded pictures) is left to a decoder


@dataclass(frozen=True)
class WavLayout:
    """The layout of one file."""

    form: bytes  # content of its "fmt " chunk
    offset: int  # bytes, of the first sample
    samples: int  # per channel
    sample_rate: int  # Hz
    frame_bytes: int  # one sample of every channel

    @property
    def channels(self) -> int:
        """How many there are."""
        return int(struct.unpack_from("<H", self.form, 2)[0])


def layout(path: str | Path) -> WavLayout | None:
    """The layout of the WAV file at ``path``; None for any other file, or a WAV file that has to be decoded.

    Raises:
        NemoExtError: it is missing, or no regular file.
        OSError: it cannot be read.
    """
    with open_regular(path, "recording") as file:
        head = file.read(_HEADER)
        size = os.fstat(file.fileno()).st_size
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    form, at = b"", 12
    while at + 8 <= len(head):
        name, length = struct.unpack_from("<4sI", head, at)
        at += 8
        if name == b"data":
            there = size - at
            return _layout(form, at, there if is_placeholder(length, there) else min(length, there))
        if name == b"fmt ":
            form = head[at : at + length]
        at += length + length % 2
    return None


def is_placeholder(length: int, there: int) -> bool:
    """Whether ``length`` is what a recorder writes that cannot go back to the header, with ``there`` bytes behind it.

    Known are 0, 0xFFFFFFFF and what is a little below it, 0x80000000, and 0x7FFFFFFF and a little below (SoX's is
    0x7FFFF000): nothing that is shorter than 2 GiB promises so much by a mistake of the recording.
    """
    return there > 0 and (length == 0 or (length >= _PLACEHOLDER and length > there))


def sound(file: BinaryIO) -> tuple[int, int, int]:
    """Of a WAV file: the first byte of its samples, how many bytes its header tells, and the file's size.

    The first is 0 for any other file, for one without samples, and where an empty "data" chunk is followed by others.

    Raises:
        OSError: it cannot be read.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return 0, 0, size
    while len(chunk := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", chunk)
        if name == b"data":
            begin = file.tell()
            return (0 if length == 0 and _only_chunks(file, begin, size) else begin), length, size
        file.seek(length + length % 2, os.SEEK_CUR)
    return 0, 0, size


def _only_chunks(file: BinaryIO, at: int, size: int) -> bool:
    """Whether the rest of the file, from byte ``at`` on, is whole chunks with printable names, and no samples."""
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if not all(0x20 <= letter < 0x7F for letter in name):
            return False
        at += 8 + length + length % 2
    return at == size


def _layout(form: bytes, offset: int, length: int) -> WavLayout | None:
    if len(form) < 16:
        return None
    kind, _, rate, _, frame_bytes, _ = struct.unpack_from("<HHIIHH", form)
    if kind == _EXTENSIBLE and len(form) >= 26:
        (kind,) = struct.unpack_from("<H", form, 24)
    if kind not in (_PCM, _FLOAT) or frame_bytes == 0 or length < 0:
        return None
    return WavLayout(form, offset, length // frame_bytes, rate, frame_bytes)


def piece(path: str | Path, of: WavLayout, start: int, samples: int) -> bytes:
    """A WAV file of ``samples`` samples of the one at ``path``, from ``start`` on; fewer where that one ends.

    Raises:
        OSError: it cannot be read.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        data = os.pread(handle, samples * of.frame_bytes, of.offset + start * of.frame_bytes)
    finally:
        os.close(handle)
    data = data[: len(data) // of.frame_bytes * of.frame_bytes]
    header = struct.pack("<4sI4s4sI", b"RIFF", 20 + len(of.form) + len(data), b"WAVE", b"fmt ", len(of.form))
    return b"".join((header, of.form, struct.pack("<4sI", b"data", len(data)), data))
