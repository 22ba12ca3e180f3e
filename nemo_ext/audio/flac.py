"""FLAC whose header tells no length, as an encoder leaves it that writes to a pipe. RFC 9639, sections 8.2 and 9.1."""

from __future__ import annotations

import struct

_LARGEST_BLOCK, _TOTAL = 10, 18  # bytes of STREAMINFO: samples in a block; rate, channels, bits and, 36 bits, samples
_BITS = (1 << 36) - 1
_LONGEST = 1 << 20  # bytes of a frame
_TRIES = 64  # places that look like the beginning of a frame
_BLOCKS = {1: 192, **{code: 144 << code for code in range(2, 6)}, **{code: 1 << code for code in range(8, 16)}}


def tells_no_length(head: bytes) -> bool:
    """Whether ``head``, the first 26 bytes of a file, are of a FLAC that does not tell how many samples it has."""
    if len(head) < _TOTAL + 8 or head[:4] != b"fLaC" or head[4] & 0x7F:
        return False
    return not struct.unpack_from(">Q", head, _TOTAL)[0] & _BITS


def counted(data: bytes) -> bytes:
    """The FLAC ``data`` with the number of its samples in its header, which its last frame tells.

    Raises:
        ValueError: it does not end with a whole frame, so it was cut.
    """
    end, at = len(data) - 2, len(data)
    for _ in range(_TRIES):
        at = data.rfind(b"\xff", max(0, end - _LONGEST), at)
        if at < 0:
            break
        if data[at + 1 : at + 2] in (b"\xf8", b"\xf9") and _crc16(data[at:end]) == int.from_bytes(data[end:], "big"):
            content = bytearray(data)
            total = struct.unpack_from(">Q", data, _TOTAL)[0] | _samples_until(data, at) & _BITS
            struct.pack_into(">Q", content, _TOTAL, total)
            return bytes(content)
    raise ValueError("its header tells no length, and it does not end with a whole frame: it was cut")


def _samples_until(data: bytes, at: int) -> int:
    """Samples of each channel up to the end of the frame at ``at``, by the number in its header."""
    code, place = data[at + 2] >> 4, at + 4
    first = data[place]
    more = 0 if first < 0x80 else 8 - (first ^ 0xFF).bit_length() - 1  # bytes that follow, as in UTF-8
    number = first & (0x7F >> more + (more > 0))
    for byte in data[place + 1 : place + 1 + more]:
        number = number << 6 | byte & 0x3F
    place += 1 + more
    block = _BLOCKS.get(code, 0)
    if code in (6, 7):
        block = int.from_bytes(data[place : place + code - 5], "big") + 1
    by_samples = data[at + 1] & 1  # otherwise it is the number of the frame, and all but the last are as long
    return (number if by_samples else number * struct.unpack_from(">H", data, _LARGEST_BLOCK)[0]) + block


def _crc16(data: bytes) -> int:
    found = 0
    for byte in data:
        found = (found << 8 & 0xFFFF) ^ _CRC[found >> 8 ^ byte]
    return found


def _row(byte: int) -> int:
    value = byte << 8
    for _ in range(8):
        value = (value << 1 ^ (0x8005 if value & 0x8000 else 0)) & 0xFFFF
    return value


_CRC = [_row(byte) for byte in range(256)]
