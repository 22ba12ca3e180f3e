"""Mel, pitch and energy of a recording, and the cache that keeps them.

A cached file is found by the content of the recording **and** by the settings: its path is
``features/<hash of the settings>/<hash of the recording's bytes>.safetensors``. Another setting, or another recording
under the same name, is another path; nothing stale can be read. A checksum over the numbers and both hashes finds
damaged files.

One file an utterance, read by one call. The numbers are float32: half of it would save 14 KB/s of speech (the recording
itself takes 43) and cost up to 0.004 in the log-mel and a conversion at every read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import math
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import cast

import numpy as np

from nemo_ext import files
from nemo_ext.audio import io
from nemo_ext.audio.mel import mel_and_energy
from nemo_ext.audio.pitch import mel_f0
from nemo_ext.corpus.manifest import audio_path
from nemo_ext.errors import NemoExtError
from nemo_ext.types import MelSpec, Utterance
from nemo_ext.untrusted import open_regular, read_bytes

# Raise it when the same recording and settings give other numbers than before (a test notices).
ALGORITHM = 1

_MOST_BYTES = 4 << 30  # of a recording, and of a file of features: more is none

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureConfig:
    """What the features depend on, apart from the recording."""

    mel: MelSpec = field(default_factory=MelSpec)
    pitch_method: str = "dio"  # see nemo_ext.audio.pitch
    pitch_f_min: float = 65.0  # Hz
    pitch_f_max: float = 600.0  # Hz

    def fingerprint(self) -> str:
        """Hash of every setting and of the algorithm's version: 16 hexadecimal digits."""
        # Floats throughout: 0 and 0.0 are the same setting, and YAML may give either.
        flat = {k: float(v) if isinstance(v, int | float) else v for k, v in dataclasses.asdict(self.mel).items()}
        flat |= {"pitch": [self.pitch_method, float(self.pitch_f_min), float(self.pitch_f_max)], "algorithm": ALGORITHM}
        return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Features:
    """What is kept of one recording."""

    mel: np.ndarray  # (n_mels, T_mel) float32, log-mel
    pitch: np.ndarray  # (T_mel,) float32, F0 in Hz, 0 where unvoiced
    energy: np.ndarray  # (T_mel,) float32, L2 norm of the linear magnitude spectrum's frame


@dataclass(frozen=True)
class Entry:
    """What the cache knows of an utterance without reading its features."""

    audio_hash: str
    frames: int  # T_mel
    voiced: int  # frames
    pitch_sum: float  # Hz, over voiced frames
    pitch_square_sum: float  # Hz^2, over voiced frames

    @classmethod
    def of(cls, audio_hash: str, features: Features) -> Entry:
        """Summary of ``features``."""
        voiced = features.pitch[features.pitch > 0].astype(np.float64)
        return cls(audio_hash, features.mel.shape[1], len(voiced), float(voiced.sum()), float((voiced**2).sum()))


class Damaged(Exception):
    """A cached file that is not what was written. Never shown: the file is made again."""


def extract(audio: np.ndarray, config: FeatureConfig) -> Features:
    """Features of ``audio (T_audio,)`` in [-1, 1] at ``config.mel.sample_rate``."""
    mel, energy = mel_and_energy(audio, config.mel)
    pitch = mel_f0(audio, config.mel, config.pitch_f_min, config.pitch_f_max, config.pitch_method)
    return Features(mel, pitch, energy)


class FeatureStore:
    """The features of a corpus under one ``FeatureConfig``. Can be pickled, so that any worker can read it."""

    def __init__(
        self, corpus_dir: str | Path, config: FeatureConfig | None = None, cache_dir: str | Path | None = None
    ) -> None:
        """``cache_dir``: where features and tokens are kept; ``<corpus_dir>/features`` unless given."""
        self.corpus_dir = Path(corpus_dir)
        self.config = config or FeatureConfig()
        self.cache_dir = Path(cache_dir) if cache_dir else self.corpus_dir / "features"
        self.fingerprint = self.config.fingerprint()
        self.entries: dict[str, Entry] = {}  # by utterance id; filled by prepare()

    def audio_path(self, utterance: Utterance) -> Path:
        """Where the recording of ``utterance`` lies."""
        return audio_path(self.corpus_dir, utterance)

    def path(self, audio_hash: str) -> Path:
        """Where the features of the recording with that hash are kept."""
        return self.cache_dir / self.fingerprint / audio_hash[:2] / f"{audio_hash}.safetensors"

    def entry(self, utterance: Utterance) -> Entry:
        """What is known of ``utterance``; its features are made if they are missing."""
        if utterance.id not in self.entries:
            self.entries[utterance.id] = self.check(utterance) or self.make(utterance)
        return self.entries[utterance.id]

    def check(self, utterance: Utterance) -> Entry | None:
        """The entry of ``utterance`` if the cache holds good features of its recording as it is now, else None."""
        audio_hash = hash_of_file(self.audio_path(utterance))
        try:
            features = self._read(audio_hash)
            if not all(np.isfinite(values).all() for values in (features.mel, features.pitch, features.energy)):
                raise Damaged("it holds values that are no numbers")
            return Entry.of(audio_hash, features)
        except FileNotFoundError:
            return None
        except Damaged as error:
            _log.warning("damaged features of '%s' are made again: %s", utterance.id, error)
            return None

    def make(self, utterance: Utterance) -> Entry:
        """Compute and keep the features of ``utterance``.

        Raises:
            NemoExtError: the recording cannot be read, or has another sample rate than the mel; the disk is full.
        """
        path = self.audio_path(utterance)
        audio_hash = hash_of_file(path)
        audio, sample_rate = io.read_mono(path)
        if sample_rate != self.config.mel.sample_rate:
            raise NemoExtError(
                f"{path} has {sample_rate} Hz and the mel wants {self.config.mel.sample_rate} Hz: "
                f"make the corpus with sample_rate={self.config.mel.sample_rate}"
            )
        features = extract(audio, self.config)
        self._write(audio_hash, features)
        return Entry.of(audio_hash, features)

    def load(self, utterance: Utterance) -> Features:
        """Features of ``utterance``, by one read; a file that was lost or damaged meanwhile is made again."""
        try:
            return self._read(self.entry(utterance).audio_hash)
        except (FileNotFoundError, Damaged) as error:
            _log.warning("features of '%s' are made again: %s", utterance.id, error)
            self.entries[utterance.id] = self.make(utterance)
            return self._read(self.entries[utterance.id].audio_hash)

    def pitch(self, utterance: Utterance) -> np.ndarray:
        """F0 of ``utterance`` in Hz, ``(T_mel,)`` float32, for whom the rest comes from elsewhere: the mel is not read.

        Nor is the checksum then, which ``prepare`` has held against the file.
        """
        import safetensors

        try:
            with safetensors.safe_open(self.path(self.entry(utterance).audio_hash), "numpy") as held:
                found: np.ndarray = held.get_tensor("pitch")
                return found
        except (OSError, safetensors.SafetensorError):
            return self.load(utterance).pitch

    def bytes_needed(self, seconds: float) -> int:
        """Disk space that the features of ``seconds`` of speech take."""
        spec = self.config.mel
        return math.ceil(seconds * spec.sample_rate / spec.hop_length * (spec.n_mels + 2) * 4)

    def _read(self, audio_hash: str) -> Features:
        import safetensors
        import safetensors.numpy

        path = self.path(audio_hash)
        if not path.exists():
            raise FileNotFoundError(path)
        try:
            raw = read_bytes(path, _MOST_BYTES, "features")
            held = safetensors.numpy.load(raw)
            features = Features(held["mel"], held["pitch"], held["energy"])
            written = int(held["checksum"][0])
        except (NemoExtError, safetensors.SafetensorError, KeyError, IndexError, ValueError, TypeError) as error:
            raise Damaged(f"not a whole file of features ({type(error).__name__})") from error
        if written != self._checksum(audio_hash, features):
            raise Damaged("its checksum does not fit")
        frames = features.pitch.shape
        if (
            len(frames) != 1
            or features.energy.shape != frames
            or features.mel.shape != (self.config.mel.n_mels, *frames)
        ):
            raise Damaged("its arrays have other shapes than these settings give")
        if any(values.dtype != np.float32 for values in (features.mel, features.pitch, features.energy)):
            raise Damaged("its numbers are no float32")
        return features

    def _write(self, audio_hash: str, features: Features) -> None:
        import safetensors.numpy

        tensors = {"mel": features.mel, "pitch": features.pitch, "energy": features.energy}
        tensors["checksum"] = np.array([self._checksum(audio_hash, features)], dtype=np.uint32)
        write_bytes(self.path(audio_hash), safetensors.numpy.save(tensors))

    def _checksum(self, audio_hash: str, features: Features) -> int:
        # It begins with both hashes, so that a file under another's name does not pass.
        start = zlib.crc32((self.fingerprint + audio_hash).encode())
        return checksum([features.mel, features.pitch, features.energy], start)


def hash_of_file(path: Path) -> str:
    """Hash of a file's bytes: 32 hexadecimal digits.

    Raises:
        NemoExtError: no such file, no regular one, or one larger than any recording.
    """
    try:
        with open_regular(path, "recording") as file:
            if os.fstat(file.fileno()).st_size > _MOST_BYTES:
                raise NemoExtError(f"{path} is larger than any recording")
            return hashlib.file_digest(cast("BufferedReader", file), "sha256").hexdigest()[:32]
    except NemoExtError as error:
        raise NemoExtError(f"{error}: make the corpus again") from error
    except OSError as error:
        raise NemoExtError(f"recording {path} cannot be read ({error.strerror}): make the corpus again") from error


def checksum(arrays: Sequence[np.ndarray], start: int = 0) -> int:
    """CRC-32 over the bytes of ``arrays``, continuing from ``start``."""
    for array in arrays:
        start = zlib.crc32(np.ascontiguousarray(array).data, start)
    return start


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file beside its place and rename it, so that it is never half there.

    Raises:
        NemoExtError: the disk is full, or the folder cannot be written.
    """
    try:
        with files.replacing(path) as beside:
            beside.write_bytes(data)
    except OSError as error:
        raise NemoExtError(
            f"{path} could not be written ({error.strerror}): free some space, or choose another cache_dir"
        ) from error
