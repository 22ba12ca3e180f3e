"""Whether a file is the whole recording that its container tells of, and that one alone.

A decoder hides both: it silently takes what is left of a file that was cut, and of several files that were joined end
to end it hears the first. RF64: EBU Tech 3306; AIFF: Apple, "Audio Interchange File Format 1.3" (1989); FLAC: RFC 9639;
Ogg: RFC 3533; for WAV and MP3 see `nemo_ext.audio.wav` and `nemo_ext.audio.mp3`.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from nemo_ext.audio import mp3, wav
from nemo_ext.audio.io import MOST_SAMPLES
from nemo_ext.untrusted import open_regular, read_bytes

_MOST_BYTES = 4 * MOST_SAMPLES
_FLAC = b"fLaC\x00\x00\x00\x22"  # and the head of the block that every stream begins with
_OGG_PAGE = 27  # bytes of a page's header, the sizes of its segments follow
_FIRST_PAGE = 2  # flag of the page that begins a stream


def missing_bytes(path: Path) -> int:
    """How many bytes of sound are told of that are not there, in a WAV, AIFF, MP3 or Ogg; 0 for other formats.

    Raises:
        NemoExtError: it is missing, no regular file, or too large.
    """
    with open_regular(path, "recording") as file:
        head = os.pread(file.fileno(), 12, 0)
        begin, length, size = _sound(file, head)
    if begin:
        return 0 if wav.is_placeholder(length, size - begin) else max(0, begin + length - size)
    if head[:4] == b"OggS":
        content = read_bytes(path, _MOST_BYTES, "recording")
        return max(0, max((end for _, _, end in _ogg_pages(content)), default=0) - len(content))
    if not mp3.may_be(head[:3]):
        return 0
    there = mp3.frames(read_bytes(path, _MOST_BYTES, "recording"))
    return there.missing_bytes if there else 0


def parts(path: Path) -> int:
    """How many recordings are joined in the one file (``cat a.wav b.wav``), of which a decoder hears the first.

    Those of MP3s are all heard; formats that are not looked into have one.

    Raises:
        NemoExtError: it is missing, no regular file, or too large.
    """
    with open_regular(path, "recording") as file:
        head = os.pread(file.fileno(), 12, 0)
        if head[:4] == b"RIFF":
            return _riffs(file)
    if head[:4] == _FLAC[:4]:
        return read_bytes(path, _MOST_BYTES, "recording").count(_FLAC)
    if head[:4] == b"OggS":
        pages = list(_ogg_pages(read_bytes(path, _MOST_BYTES, "recording")))
        # Streams that run side by side all begin before the first page that goes on with one of them.
        begins = [bool(flags & _FIRST_PAGE) for _, flags, _ in pages]
        return 1 + sum(later and not before for before, later in itertools.pairwise(begins))
    return 1


def _sound(file: BinaryIO, head: bytes) -> tuple[int, int, int]:
    """First byte of the samples, how many bytes the header tells, and the file's size; 0 first for other formats."""
    size = os.fstat(file.fileno()).st_size
    if head[:4] == b"RF64":
        long = next((at for name, at, _ in _chunks(file, "<") if name == b"ds64"), None)
        begin = next((at for name, at, _ in _chunks(file, "<") if name == b"data"), 0)
        told = os.pread(file.fileno(), 16, long) if long else b""
        return (begin, struct.unpack("<QQ", told)[1], size) if len(told) == 16 else (0, 0, size)
    if head[:4] == b"FORM" and head[8:11] == b"AIF":
        begin, length = next(((at, length) for name, at, length in _chunks(file, ">") if name == b"SSND"), (0, 0))
        return begin, length, size
    return wav.sound(file)


def _chunks(file: BinaryIO, order: str) -> Iterator[tuple[bytes, int, int]]:
    """``(name, first byte of the content, length)`` of each chunk, up to and with the one of the samples."""
    at = 12
    while len(chunk := os.pread(file.fileno(), 8, at)) == 8:
        name, length = struct.unpack(f"{order}4sI", chunk)
        yield name, at + 8, length
        if name in (b"data", b"SSND"):
            return
        at += 8 + length + length % 2


def _riffs(file: BinaryIO) -> int:
    """How many WAV files stand one behind the other, where each tells its length."""
    begin, length, size = wav.sound(file)
    if not begin or wav.is_placeholder(length, size - begin):
        return 1
    count, at = 1, begin + length + length % 2
    while len(chunk := os.pread(file.fileno(), 12, at)) == 12:
        name, length = struct.unpack("<4sI", chunk[:8])
        count += name == b"RIFF" and chunk[8:] == b"WAVE"
        at += 8 + length + length % 2
    return count


def _ogg_pages(content: bytes) -> Iterator[tuple[int, int, int]]:
    """``(first byte, flags, byte behind the last)`` of each page; the last one's may lie behind the file's end."""
    at = 0
    while content[at : at + 4] == b"OggS" and at + _OGG_PAGE <= len(content):
        sizes = content[at + _OGG_PAGE : at + _OGG_PAGE + content[at + _OGG_PAGE - 1]]
        end = at + _OGG_PAGE + content[at + _OGG_PAGE - 1] + sum(sizes)
        yield at, content[at + 5], end
        at = end
