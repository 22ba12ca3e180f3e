"""A FLAC from a pipe is read to its last frame, and refused if it was cut."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from nemo_ext.audio import flac
from nemo_ext.audio.io import info, read
from nemo_ext.audio.whole import parts
from nemo_ext.errors import NemoExtError


def piped(audio: np.ndarray, rate: int = 22050) -> bytes:
    """``audio`` as an encoder leaves it that cannot go back to its header: no length, no checksum of the samples."""
    file = io.BytesIO()
    soundfile.write(file, audio, rate, format="FLAC", subtype="PCM_16")
    content = bytearray(file.getvalue())
    (told,) = struct.unpack_from(">Q", content, 18)
    struct.pack_into(">Q", content, 18, told & ~((1 << 36) - 1))
    content[26:42] = bytes(16)
    return bytes(content)


@pytest.mark.parametrize("samples", [1, 4096, 4097, 600_000])  # 4,096 are a block; 600,000 are 147 blocks: two bytes
@pytest.mark.parametrize("channels", [1, 2])
def test_a_flac_from_a_pipe_is_read_to_its_end(samples: int, channels: int, tmp_path: Path) -> None:
    audio = np.random.default_rng(0).uniform(-0.3, 0.3, (samples, channels)).astype(np.float32)
    path = tmp_path / "a.flac"
    path.write_bytes(piped(audio))
    assert (info(path).samples, info(path).channels, parts(path)) == (samples, channels, 1)
    heard, rate = read(path)
    assert rate == 22050
    assert np.abs(heard.T - audio).max() < 1 / 32768
    part, _ = read(path, start=samples // 2, samples=100)
    assert np.array_equal(part, heard[:, samples // 2 : samples // 2 + 100])


@pytest.mark.parametrize("cut", [1, 2, 700])
def test_one_that_was_cut_is_refused(cut: int, speech: torch.Tensor, tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(piped(speech.numpy())[:-cut])
    with pytest.raises(NemoExtError, match=r"a\.flac cannot be read as audio: .* does not end with a whole frame"):
        read(path)


def test_one_whose_frames_tell_samples_is_counted_by_them() -> None:
    """As encoders with blocks of varying length write; the frame's checksums are made anew."""
    content = bytearray(piped(np.zeros((10, 1), np.float32)))
    at = content.rfind(b"\xff\xf8")
    content[at + 1] = 0xF9  # a number of samples follows, here in three bytes: 40,000
    frame = content[at : at + 4] + chr(40_000).encode() + content[at + 5 : -2]
    counted = flac.counted(bytes(content[:at] + frame + flac._crc16(bytes(frame)).to_bytes(2, "big")))
    assert struct.unpack_from(">Q", counted, 18)[0] & ((1 << 36) - 1) == 40_010


def test_a_flac_that_tells_its_length_is_left_as_it_is(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(100), 22050)
    assert not flac.tells_no_length((tmp_path / "a.flac").read_bytes()[:26])
    assert not flac.tells_no_length(b"fLaC")
    assert not flac.tells_no_length(b"RIFF" + bytes(40))
