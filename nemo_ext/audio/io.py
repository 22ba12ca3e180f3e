"""Waveforms in and out of files."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from nemo_ext.errors import NemoExtError


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says of it."""

    samples: int  # per channel
    sample_rate: int  # Hz
    channels: int

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.samples / self.sample_rate


def info(path: str | Path) -> AudioInfo:
    """Header of the audio file at ``path``, without reading the samples.

    Raises:
        NemoExtError: no such file, or not audio.
    """
    try:
        header = soundfile.info(str(path))
    except (RuntimeError, OSError, TypeError) as error:
        raise NemoExtError(_unreadable(path, error)) from error
    return AudioInfo(header.frames, header.samplerate, header.channels)


def read(path: str | Path, start: int = 0, samples: int | None = None) -> tuple[np.ndarray, int]:
    """Samples of the audio file at ``path``: ``((C, T_audio) float32 in [-1, 1], sample rate in Hz)``.

    ``start`` and ``samples`` read a part; less comes back where the file ends.

    Raises:
        NemoExtError: no such file, or not audio that can be decoded.
    """
    try:
        samples, sample_rate = soundfile.read(
            str(path), -1 if samples is None else samples, start, dtype="float32", always_2d=True
        )
    except (RuntimeError, OSError, TypeError) as error:
        raise NemoExtError(_unreadable(path, error)) from error
    return np.ascontiguousarray(np.asarray(samples).T), int(sample_rate)


def read_mono(path: str | Path) -> tuple[np.ndarray, int]:
    """Samples of the audio file at ``path``, channels averaged: ``((T_audio,) float32, sample rate in Hz)``."""
    audio, sample_rate = read(path)
    return (audio[0] if len(audio) == 1 else np.asarray(audio.mean(axis=0))), sample_rate


def write(path: str | Path, audio: np.ndarray, sample_rate: int) -> Path:
    """Write ``audio`` ``(T_audio,)`` or ``(C, T_audio)`` in [-1, 1] as 16-bit PCM; the suffix names the format.

    The file is written beside its place and renamed, so that it is never half there. Missing folders are made.

    Raises:
        NemoExtError: samples outside [-1, 1] or not finite (they would wrap or turn to noise), or a full disk.
    """
    path = Path(path)
    if not np.isfinite(audio).all():
        raise NemoExtError(f"{path} not written: the audio has NaN or infinite samples")
    peak = float(np.abs(audio).max(initial=0.0))
    if peak > 1.0:
        raise NemoExtError(f"{path} not written: the audio peaks at {peak:.2f}, above full scale; lower its level")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=path.suffix)
    os.close(handle)
    try:
        soundfile.write(beside, audio.T, sample_rate, subtype="PCM_16")
        os.chmod(beside, 0o666 & ~_umask())
        os.replace(beside, path)
    except (RuntimeError, OSError, TypeError) as error:
        raise NemoExtError(f"{path} could not be written: {_first_line(error)}") from error
    finally:
        Path(beside).unlink(missing_ok=True)
    return path


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def _unreadable(path: str | Path, error: Exception) -> str:
    if not Path(path).exists():
        return f"no audio file at {path}"
    return f"{path} cannot be read as audio: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
