from __future__ import annotations

from pathlib import Path

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
    path = io.write(tmp_path / "s.wav", np.stack([tone(), -tone() / 2]), 22050)
    mono, _ = io.read_mono(path)
    np.testing.assert_allclose(mono, tone() / 4, atol=2 / 32768)
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
