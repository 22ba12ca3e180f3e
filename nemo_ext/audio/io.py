"""Waveforms in and out of files."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from nemo_ext import files
from nemo_ext.audio import flac, mp3, wav
from nemo_ext.audio.channels import downmix
from nemo_ext.errors import NemoExtError
from nemo_ext.untrusted import open_regular

MOST_SAMPLES = 1 << 27  # of all channels, read at once: 512 MiB; 50 minutes in mono at 44.1 kHz
_RATES = (1000, 768_000)  # Hz
_MOST_CHANNELS = 32
_MOST_SECONDS = 24 * 3600


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
    """What the header of the audio file at ``path`` says, once it is plausible; the samples are not decoded.

    The samples of a WAV that was recorded to a pipe are counted by the file's size, of a FLAC or MP3 by its frames.

    Raises:
        NemoExtError: no such file, no regular one, not audio, or a header that no recording has.
    """
    with _opened(path) as file:
        return AudioInfo(file.frames, file.samplerate, file.channels)


def read(path: str | Path, start: int = 0, samples: int | None = None) -> tuple[np.ndarray, int]:
    """Samples of the audio file at ``path``: ``((C, T_audio) float32 in [-1, 1], sample rate in Hz)``.

    ``start`` and ``samples`` read a part; less comes back where the file ends. What would be more than 2^27 samples is
    refused before anything is decoded.

    Raises:
        NemoExtError: as `info`, or it cannot be decoded, or is too long.
    """
    with _opened(path) as file:
        wanted = max(0, file.frames - start) if samples is None else samples
        if wanted * file.channels > MOST_SAMPLES:
            raise NemoExtError(
                f"{path} is too long to be read at once ({wanted / file.samplerate / 60:.0f} min of {file.channels} "
                "channels): cut it into utterances"
            )
        if start:
            file.seek(min(start, file.frames))
        heard = file.read(wanted, dtype="float32", always_2d=True)
        return np.ascontiguousarray(np.asarray(heard).T), int(file.samplerate)


def read_mono(path: str | Path) -> tuple[np.ndarray, int]:
    """Samples of the audio file at ``path``, channels mixed down: ``((T_audio,) float32, sample rate in Hz)``."""
    audio, sample_rate = read(path)
    return downmix(audio), sample_rate


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """A decoder at the beginning of the audio file at ``path``, whose header is plausible and counts what is there."""
    with open_regular(path, "audio file") as raw:
        try:
            with _decoder(raw) as file:
                _check_plausible(file, path)
                yield file
        except (RuntimeError, OSError, TypeError, ValueError, MemoryError) as error:
            raise NemoExtError(f"{path} cannot be read as audio: {_first_line(error)}") from error
        except NemoExtError as error:
            raise error if str(path) in str(error) else NemoExtError(f"{path}: {error}") from error


def _decoder(raw: BinaryIO) -> soundfile.SoundFile:
    descriptor = raw.fileno()
    begin, length, size = wav.sound(raw)
    if begin and wav.is_placeholder(length, size - begin):
        content = bytearray(_content(descriptor, size))
        struct.pack_into("<I", content, begin - 4, size - begin)
        struct.pack_into("<I", content, 4, size - 8)
        return soundfile.SoundFile(io.BytesIO(content))
    if flac.tells_no_length(os.pread(descriptor, 26, 0)):
        return soundfile.SoundFile(io.BytesIO(flac.counted(_content(descriptor, size))))
    if mp3.may_be(os.pread(descriptor, 3, 0)):
        there = mp3.frames(data := _content(descriptor, size))
        if there and not there.counted:
            return soundfile.SoundFile(io.BytesIO(mp3.rewritten(data, there)))
    os.lseek(descriptor, 0, os.SEEK_SET)  # the buffered file has moved it
    return soundfile.SoundFile(descriptor, closefd=False)


def _content(descriptor: int, size: int) -> bytes:
    if size > 4 * MOST_SAMPLES:
        raise ValueError("it is too large")
    parts, at = [], 0
    while part := os.pread(descriptor, size - at, at):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _check_plausible(file: soundfile.SoundFile, path: str | Path) -> None:
    least, most = _RATES
    if not least <= file.samplerate <= most:
        raise NemoExtError(f"{path} cannot be read as audio: its header tells {file.samplerate} Hz")
    if not 1 <= file.channels <= _MOST_CHANNELS:
        raise NemoExtError(f"{path} cannot be read as audio: its header tells {file.channels} channels")
    if not 0 <= file.frames <= _MOST_SECONDS * file.samplerate:
        hours = file.frames / file.samplerate / 3600
        raise NemoExtError(f"{path} cannot be read as audio: its header tells {hours:.3g} hours of sound")


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
    try:
        with files.replacing(path) as beside:
            soundfile.write(beside, audio.T, sample_rate, subtype="PCM_16")
    except (RuntimeError, OSError, TypeError) as error:
        # libsndfile says "System error" of a full disk
        full = shutil.disk_usage(path.parent).free < 2 * audio.size
        reason = "the disk is full; free some space" if full else _first_line(error)
        raise NemoExtError(f"{path} could not be written: {reason}") from error
    return path


def _first_line(error: Exception) -> str:
    text = str(getattr(error, "error_string", error)).strip()  # libsndfile's own words, without a file's number
    return text.splitlines()[0] if text else type(error).__name__
