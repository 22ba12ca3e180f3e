from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from nemo_ext.audio import io as audio_io
from nemo_ext.audio.wav import layout, piece

TONE = 0.5 * np.sin(np.arange(1000) / 7)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("subtype", "kind"),
    [("PCM_16", "WAV"), ("PCM_24", "WAV"), ("PCM_U8", "WAV"), ("FLOAT", "WAV"), ("PCM_16", "WAVEX")],
)
def test_a_piece_is_a_file_of_those_samples(subtype: str, kind: str, channels: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([TONE, -TONE][:channels], 1), 24000, subtype, format=kind)
    found = layout(path)
    assert found is not None
    assert (found.samples, found.sample_rate) == (1000, 24000)
    whole, _ = soundfile.read(path, always_2d=True)
    for start, samples in ((0, 1000), (0, 1), (333, 400), (999, 1), (1000, 0)):
        heard, rate = soundfile.read(io.BytesIO(piece(path, found, start, samples)), always_2d=True)
        assert rate == 24000
        assert np.array_equal(heard, whole[start : start + samples])
    assert len(soundfile.read(io.BytesIO(piece(path, found, 990, 50)))[0]) == 10


@pytest.mark.parametrize(("name", "subtype"), [("a.flac", "PCM_16"), ("a.ogg", "VORBIS"), ("a.wav", "ULAW")])
def test_other_files_are_left_to_a_decoder(name: str, subtype: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / name, TONE, 24000, subtype)
    assert layout(tmp_path / name) is None


def test_chunks_before_the_samples_and_a_length_that_was_never_written(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, TONE, 24000, "PCM_16")
    plain = path.read_bytes()
    at = plain.index(b"data")
    extra = struct.pack("<4sI", b"LIST", 5) + b"odd!!\0"
    streamed = struct.pack("<4sI", b"data", 0xFFFFFFFF)
    path.write_bytes(plain[:at] + extra + streamed + plain[at + 8 :])
    found = layout(path)
    assert found is not None
    assert (found.offset, found.samples) == (at + len(extra) + 8, 1000)


@pytest.mark.parametrize("cut", [0, 11, 20, 40])
def test_a_header_that_was_cut(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, TONE, 24000, "PCM_16")
    path.write_bytes(path.read_bytes()[:cut])
    assert layout(path) is None


@pytest.mark.parametrize("told", [0, 0x7FFFF000, 0x7FFFFF00, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFF - 36])
def test_a_recording_to_a_pipe_is_read_to_its_end(told: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, TONE, 24000, "PCM_16")
    plain = path.read_bytes()
    at = plain.index(b"data")
    path.write_bytes(plain[: at + 4] + struct.pack("<I", told) + plain[at + 8 :])
    audio, _ = audio_io.read(path)
    assert audio.shape == (1, 1000)
    np.testing.assert_allclose(audio[0], TONE, atol=1e-4)
    assert audio_io.info(path) == audio_io.AudioInfo(1000, 24000, 1)
    found = layout(path)
    assert found is not None
    assert found.samples == 1000


def test_no_samples_before_other_chunks_are_no_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, TONE[:0], 24000, "PCM_16")
    path.write_bytes(path.read_bytes() + struct.pack("<4sI", b"LIST", 6) + b"INFOab")
    assert audio_io.read(path)[0].shape == (1, 0)
