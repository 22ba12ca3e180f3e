from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 22050


def _voice(seconds: float = 1.0, rate: int = RATE, seed: int = 0, level: float = 0.3) -> np.ndarray:
    """Something voiced that differs from seed to seed, ``(T_audio,)`` float32."""
    t = np.arange(int(seconds * rate)) / rate
    # F0 = 120 + 15 seed + 20 sin(4 pi t) Hz, integrated exactly: the same sound at any rate
    phase = 2 * np.pi * (120 + 15 * (seed % 7)) * t + 10 * (1 - np.cos(4 * np.pi * t))
    wave = sum(np.sin(k * phase) / k for k in range(1, 6))
    return (level * wave / np.abs(wave).max()).astype(np.float32)


def _write(path: Path, audio: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    """``audio`` ``(T_audio,)`` or ``(C, T_audio)`` as a file, folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), audio.T, rate, subtype=subtype)
    return path


@pytest.fixture(scope="session")
def voice() -> Callable[..., np.ndarray]:
    """``voice(seconds, rate, seed, level)`` makes a recording that sounds a little like one."""
    return _voice


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """``write(path, audio, rate, subtype)`` puts a recording into a file."""
    return _write


@pytest.fixture
def lj(tmp_path: Path) -> Callable[..., Path]:
    """``lj(extra rows, count)`` makes a source folder in LJSpeech's layout with ``count`` good utterances."""

    def make(*rows: str, count: int = 4, name: str = "source") -> Path:
        source = tmp_path / name
        lines = [f"good-{i}|Sentence number {i}.|Sentence number {i}." for i in range(count)]
        for i in range(count):
            _write(source / "wavs" / f"good-{i}.wav", _voice(seed=i))
        (source / "wavs").mkdir(parents=True, exist_ok=True)
        (source / "metadata.csv").write_text("\n".join([*lines, *rows]) + "\n", encoding="utf-8")
        return source

    return make
