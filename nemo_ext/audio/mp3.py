"""The frames of an MP3, counted: what a decoder takes for its length is only what the file says of itself.

A decoder believes the length in the first frame (Xing, Info), or guesses it from the first frame's bit rate where there
is none, and stops there. A stream that was recorded, split or joined has more. Frames: ISO/IEC 11172-3 and 13818-3,
layer III; the length frame: G. Bouvigne, "MP3 Tech, mp3 Info Tag rev 1" (2004).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from nemo_ext.errors import NemoExtError

_KBPS_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = (44100, 48000, 32000)  # Hz, of MPEG-1; MPEG-2 has half of it, MPEG-2.5 a quarter
_TAG_BYTES = 48  # header, the longest side information, "Xing", flags and a number of frames
_MOST_MISSES = 500_000  # bytes that might have begun a frame and did not: pictures in tags have some thousands


@dataclass(frozen=True)
class _Header:
    rate: int  # Hz
    samples: int  # per channel and frame
    size: int  # bytes of the whole frame
    side: int  # bytes of side information


@dataclass(frozen=True)
class Frames:
    """The frames of one file that hold sound."""

    rate: int  # Hz
    samples_each: int  # per channel
    places: list[tuple[int, int]]  # first byte and size
    promised: tuple[int, int] | None = None  # frames and bytes that the first length frame tells, 0 where it does not

    @property
    def samples(self) -> int:
        """Per channel, an encoder's delay and padding included."""
        return self.samples_each * len(self.places)

    @property
    def counted(self) -> bool:
        """Whether the length frame tells how many there are, give or take itself."""
        return self.promised is not None and abs(self.promised[0] - len(self.places)) <= 1

    @property
    def missing_bytes(self) -> int:
        """How many bytes of sound the length frame promises that are not there."""
        if self.promised is None or self.promised[0] <= len(self.places) + 1:
            return 0
        sizes = [size for _, size in self.places]
        return max(0, self.promised[1] - sum(sizes) - 2 * max(sizes))


def frames(data: bytes) -> Frames | None:
    """The frames of the file ``data``; None where less than half of it is frames of MPEG layer III at a known bit rate.

    Raises:
        NemoExtError: its frames have several sample rates.
    """
    found: list[tuple[int, int]] = []
    first: _Header | None = None
    promised = None
    for at, header in _walk(data):
        if first is None:
            first = header
        if header.rate != first.rate:
            raise NemoExtError(f"an MP3 of {first.rate} Hz and {header.rate} Hz joined: convert its parts one by one")
        told = _length_frame(data, at, header)
        if told is None:
            found.append((at, header.size))
        elif promised is None and not found:
            promised = told
    enough = found and 2 * sum(size for _, size in found) >= len(data) - found[0][0]
    return Frames(first.rate, first.samples, found, promised) if first and enough else None


def may_be(head: bytes) -> bool:
    """Whether a file that begins with the bytes ``head`` can be an MP3."""
    return head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2)


def rewritten(data: bytes, of: Frames) -> bytes:
    """The MP3 ``data`` with nothing but the frames ``of``, after a length frame that counts them."""
    head = bytearray(data[of.places[0][0] :][:4])
    head[1] |= 1  # no checksum
    head[2] &= 0xFD  # no padding
    for index in range(1, 15):
        head[2] = head[2] & 0x0F | index << 4
        header = _header(bytes(head), 0)
        if header and header.size >= _TAG_BYTES:
            break
    else:
        raise NemoExtError("an MP3 whose frames are too small to count: convert it to WAV")
    tag = bytes(head) + bytes(header.side) + b"Xing" + struct.pack(">II", 1, len(of.places))
    return tag.ljust(header.size, b"\0") + b"".join(data[at : at + size] for at, size in of.places)


def _walk(data: bytes) -> Iterator[tuple[int, _Header]]:
    """Where each whole frame begins, and its header; tags and rubbish between frames are passed over."""
    at, sure, misses = 0, False, 0
    while 0 <= at <= len(data) - 4:
        if data[at : at + 3] == b"ID3" and len(data) >= at + 10:
            a, b, c, d = data[at + 6 : at + 10]
            at, sure = at + 10 + (a << 21 | b << 14 | c << 7 | d), False
            continue
        header = _header(data, at)
        behind = at + header.size if header else 0
        # Two bytes that look like a header are met by chance; where the last one led, one is a header.
        if header and behind <= len(data) and (sure or behind == len(data) or _header(data, behind)):
            yield at, header
            at, sure = behind, True
        else:
            misses += 1
            if misses > _MOST_MISSES:
                raise NemoExtError("an MP3 with more rubbish than frames: convert it to WAV")
            at, sure = data.find(b"\xff", at + 1), False


def _header(data: bytes, at: int) -> _Header | None:
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE6 != 0xE2:  # 11 bits of sync; layer III
        return None
    version, bits, rate = data[at + 1] >> 3 & 3, data[at + 2] >> 4, data[at + 2] >> 2 & 3
    if version == 1 or bits in (0, 15) or rate == 3:
        return None
    mono = data[at + 3] >> 6 == 3
    if version == 3:
        hertz, kbps, each, side = _RATES[rate], _KBPS_1[bits - 1], 1152, 17 if mono else 32
    else:
        hertz, kbps, each = _RATES[rate] // (2 if version == 2 else 4), _KBPS_2[bits - 1], 576
        side = 9 if mono else 17
    return _Header(hertz, each, each // 8 * kbps * 1000 // hertz + (data[at + 2] >> 1 & 1), side)


def _length_frame(data: bytes, at: int, header: _Header) -> tuple[int, int] | None:
    """Frames and bytes that the frame tells, if it is one that tells a length: there is no sound in it."""
    content = data[at + 4 : at + header.size]
    if content[32:36] == b"VBRI":
        size, count = struct.unpack_from(">II", content.ljust(64, b"\0"), 42)
        return count, size
    start = next((s for s in (header.side, header.side + 2) if content[s : s + 4] in (b"Xing", b"Info")), None)
    if start is None:
        return None
    values = content[start + 4 : start + 16].ljust(12, b"\0")
    flags, one, two = struct.unpack(">III", values)
    count = one if flags & 1 else 0
    size = (two if flags & 1 else one) if flags & 2 else 0
    return count, size
