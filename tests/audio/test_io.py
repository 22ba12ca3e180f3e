from __future__ import annotations

import os
import resource
import shutil
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from nemo_ext.audio import io
from nemo_ext.errors import NemoExtError


def tone(seconds: float = 0.5, rate: int = 22050) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    path = io.write(tmp_path / "deep" / f"a{suffix}", tone(), 22050)
    audio, rate = io.read(path)
    assert rate == 22050
    assert audio.shape == (1, len(tone()))
    assert audio.dtype == np.float32
    np.testing.assert_allclose(audio[0], tone(), atol=1 / 32768)
    assert io.info(path) == io.AudioInfo(len(tone()), 22050, 1)
    assert soundfile.info(str(path)).subtype == "PCM_16"


def test_stereo_is_averaged_by_read_mono(tmp_path: Path) -> None:
    path = io.write(tmp_path / "s.wav", np.stack([tone(), tone() / 2]), 22050)
    mono, _ = io.read_mono(path)
    np.testing.assert_allclose(mono, tone() * 0.75, atol=2 / 32768)
    assert io.info(path).channels == 2


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(NemoExtError, match=r"no audio file at .*nothing\.wav"):
        io.read(tmp_path / "nothing.wav")
    (tmp_path / "text.wav").write_text("this is no wave")
    with pytest.raises(NemoExtError, match=r"text\.wav cannot be read as audio"):
        io.read(tmp_path / "text.wav")
    with pytest.raises(NemoExtError, match=r"text\.wav"):
        io.info(tmp_path / "text.wav")


@pytest.mark.parametrize(("bad", "words"), [(np.nan, "NaN"), (np.inf, "NaN or infinite"), (1.5, "peaks at 1.50")])
def test_what_would_turn_to_noise_is_not_written(tmp_path: Path, bad: float, words: str) -> None:
    audio = tone()
    audio[100] = bad
    with pytest.raises(NemoExtError, match=words):
        io.write(tmp_path / "x.wav", audio, 22050)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = io.write(tmp_path / "x.wav", tone(), 22050)
    before = path.read_bytes()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(soundfile, "write", full)
    with pytest.raises(NemoExtError, match="No space left"):
        io.write(path, tone() / 2, 22050)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.wav"]


def header(rate: int = 22050, channels: int = 1, bits: int = 16) -> bytes:
    block = channels * bits // 8 & 0xFFFF
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * block & 0xFFFFFFFF, block, bits)
    data = bytes(44100)
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt \x10\0\0\0" + form + b"data\x44\xac\0\0" + data


@pytest.mark.parametrize("lie", [{"rate": 1}, {"rate": 2**31 - 1}, {"rate": 0}, {"channels": 1000}, {"channels": 0}])
def test_a_header_that_no_recording_has_is_refused(tmp_path: Path, lie: dict[str, int]) -> None:
    (tmp_path / "a.wav").write_bytes(header(**lie))
    for look in (io.info, io.read):
        with pytest.raises(NemoExtError, match=r"a\.wav cannot be read as audio"):
            look(tmp_path / "a.wav")
    (tmp_path / "a.wav").write_bytes(header())
    assert io.info(tmp_path / "a.wav").samples == 22050


def test_a_flac_that_claims_years_is_refused_by_its_header(tmp_path: Path) -> None:
    path = io.write(tmp_path / "a.flac", tone(), 22050)
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F
    content[22:26] = b"\xff\xff\xff\xff"  # 2^36 - 1 samples
    path.write_bytes(content)
    with pytest.raises(NemoExtError, match=r"866 hours"):
        io.read(path)


def test_hours_that_are_small_only_when_packed_are_not_unpacked(tmp_path: Path) -> None:
    minute = np.zeros((60 * 48000, 8), np.int16)
    with soundfile.SoundFile(tmp_path / "bomb.flac", "w", 48000, 8, format="FLAC", subtype="PCM_16") as file:
        for _ in range(6):
            file.write(minute)
    assert (tmp_path / "bomb.flac").stat().st_size < 400_000
    with pytest.raises(NemoExtError, match=r"too long to be read at once \(6 min of 8 channels\)"):
        io.read(tmp_path / "bomb.flac")
    assert io.read(tmp_path / "bomb.flac", 48000, 100)[0].shape == (8, 100)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    for name in ("pipe.wav", "zero.wav", "."):
        with pytest.raises(NemoExtError, match="no regular file"):
            io.info(tmp_path / name)


def test_a_full_disk_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # what a write meets there
    try:
        with pytest.raises(NemoExtError, match=r"out\.wav could not be written: the disk is full; free some space"):
            io.write(tmp_path / "out.wav", np.zeros(22050, np.float32), 22050)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
