from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from nemo_ext.audio import io, mp3
from nemo_ext.errors import NemoExtError

RATE = 22050


def sweep(seconds: float, rate: int = RATE) -> np.ndarray:
    t = np.arange(int(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * (200 * t + 150 * t**2))).astype(np.float32)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("mp3") / "whole.mp3"
    soundfile.write(path, sweep(3.0), RATE, format="MP3", subtype="MPEG_LAYER_III")
    return path.read_bytes()


def heard(content: bytes, folder: Path) -> float:
    path = folder / "a.mp3"
    path.write_bytes(content)
    audio, rate = io.read(path)
    assert io.info(path).samples == audio.shape[1]
    return audio.shape[1] / rate


def test_every_frame_is_counted(whole: bytes) -> None:
    there = mp3.frames(whole)
    assert there is not None
    assert there.rate == RATE
    assert there.samples / RATE == pytest.approx(3.0, abs=0.2)
    assert there.promised is not None
    assert there.promised[0] == len(there.places)
    assert there.missing_bytes == 0
    assert mp3.frames(b"RIFF" + bytes(range(256)) * 20) is None


def test_a_whole_file_is_read_as_its_encoder_cut_it(whole: bytes, tmp_path: Path) -> None:
    assert heard(whole, tmp_path) == pytest.approx(3.0, abs=0.06)


def test_a_stream_without_its_length_frame_is_read_to_its_end(whole: bytes, tmp_path: Path) -> None:
    there = mp3.frames(whole)
    assert there is not None
    assert heard(whole[there.places[0][0] :], tmp_path) == pytest.approx(3.0, abs=0.15)


def test_two_files_in_one_are_both_heard(whole: bytes, tmp_path: Path) -> None:
    tag = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
    assert heard(whole + tag + whole, tmp_path) == pytest.approx(6.0, abs=0.3)


@pytest.mark.parametrize("told", [1, 20, 1_000_000])
def test_a_wrong_number_of_frames_is_not_believed(whole: bytes, told: int, tmp_path: Path) -> None:
    at = max(whole.find(b"Xing"), whole.find(b"Info"))
    assert at > 0
    assert heard(whole[: at + 8] + told.to_bytes(4, "big") + whole[at + 12 :], tmp_path) == pytest.approx(3.0, abs=0.15)


def test_what_was_cut_off_is_missed(whole: bytes) -> None:
    there = mp3.frames(whole[: len(whole) // 2])
    assert there is not None
    assert there.missing_bytes > len(whole) // 4


def test_two_rates_in_one_file_are_refused(whole: bytes, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "b.mp3", sweep(1.0, 16000), 16000, format="MP3", subtype="MPEG_LAYER_III")
    (tmp_path / "c.mp3").write_bytes(whole + (tmp_path / "b.mp3").read_bytes())
    with pytest.raises(NemoExtError, match=r"c\.mp3: an MP3 of 22050 Hz and 16000 Hz"):
        io.read(tmp_path / "c.mp3")


def test_rubbish_that_looks_like_frames_is_given_up(tmp_path: Path) -> None:
    """Ten megabytes take seconds and a hundred a minute, byte by byte."""
    path = tmp_path / "a.mp3"
    path.write_bytes(b"\xff\xfb" * (5 << 20))
    with pytest.raises(NemoExtError, match="more rubbish than frames"):
        io.info(path)
