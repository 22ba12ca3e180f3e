"""Recordings as files, of which a decoder is given no more than it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile

from nemo_ext.audio import io, wav
from nemo_ext.console import Progress
from nemo_ext.errors import NemoExtError


@dataclass(frozen=True)
class Recording:
    """One file, as it is after it was brought to one sample rate."""

    path: Path
    samples: int  # at that rate
    layout: wav.WavLayout | None = None  # of a WAV file that has that rate already: pieces can be taken out of it
    as_it_is: bool = False  # a file of one channel that says how long it is: any decoder hears the same in it

    @classmethod
    def at_rate(cls, path: Path, sample_rate: int) -> Recording:
        """The recording at ``path``, to be heard at ``sample_rate`` Hz; only its header is read.

        Raises:
            NemoExtError: no such file, or not audio.
        """
        try:
            layout = wav.layout(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        mono = layout is not None and layout.channels == 1
        if layout is not None and mono and layout.sample_rate == sample_rate:
            return cls(path, layout.samples, layout)
        header = io.info(path)
        return cls(path, -(-header.samples * sample_rate // header.sample_rate), as_it_is=mono)

    def around(self, begin: int, length: int) -> tuple[np.ndarray, int]:
        """An audio file that holds the samples ``[begin, begin + length)``, and where in it ``begin`` lies.

        The range may reach over both ends of the recording. A file that has to be resampled is given whole. One of
        several channels, and one that is no plain WAV, is decoded here and given as a WAV of one channel: a decoder
        that takes the mean would lose channels that cancel each other, and end where a wrong length says.

        Returns:
            the file's bytes, uint8; a sample number at the wanted rate, negative where the range begins before the
            recording.

        Raises:
            NemoExtError: the file is gone, or cannot be decoded.
        """
        try:
            if self.layout is None and self.as_it_is:
                return np.fromfile(self.path, np.uint8), begin
            if self.layout is None:
                self.path.stat()
                mono, rate = io.read_mono(self.path)
                decoded = BytesIO()
                soundfile.write(decoded, mono, rate, format="WAV", subtype="FLOAT")
                return np.frombuffer(decoded.getvalue(), np.uint8), begin
            first, end = max(0, begin), min(self.samples, begin + length)
            data = wav.piece(self.path, self.layout, first, max(0, end - first))
        except OSError as error:
            raise _unreadable(self.path, error) from error
        return np.frombuffer(data, np.uint8), begin - first


def survey(paths: Sequence[Path], sample_rate: int) -> list[Recording]:
    """The recordings at ``paths``, read from their headers.

    Raises:
        NemoExtError: one of them is missing, or not audio.
    """
    found = []
    with Progress(len(paths), "reading headers") as progress:
        for path in paths:
            found.append(Recording.at_rate(path, sample_rate))
            progress.step()
    return found


def _unreadable(path: Path, error: OSError) -> NemoExtError:
    return NemoExtError(f"no recording at {path} ({error.strerror}): make the corpus again")
