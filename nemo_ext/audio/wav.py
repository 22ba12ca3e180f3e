"""Where the samples of a WAV file lie, so that a piece of it is a WAV file too and the rest need not be read.

RIFF: Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0" (1991). Only formats in which
every sample has its own place are known here: PCM and IEEE float, also under WAVE_FORMAT_EXTENSIBLE.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_HEADER = 1 << 16  # bytes: a header that is longer (embedded pictures) is left to a decoder


@dataclass(frozen=True)
class WavLayout:
    """The layout of one file."""

    form: bytes  # content of its "fmt " chunk
    offset: int  # bytes, of the first sample
    samples: int  # per channel
    sample_rate: int  # Hz
    frame_bytes: int  # one sample of every channel


def layout(path: str | Path) -> WavLayout | None:
    """The layout of the WAV file at ``path``; None for any other file, or a WAV file that has to be decoded.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(_HEADER)
        size = os.fstat(file.fileno()).st_size
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    form, at = b"", 12
    while at + 8 <= len(head):
        name, length = struct.unpack_from("<4sI", head, at)
        at += 8
        if name == b"data":
            return _layout(form, at, min(length, size - at))  # a file that was streamed gives no length, or 4 GiB
        if name == b"fmt ":
            form = head[at : at + length]
        at += length + length % 2
    return None


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
