"""Is each sentence heard as itself? Every synthesised sentence is looked up among readings of all the sentences.

The nearest reading by dynamic time warping is the one identified. Features: 19 mel-frequency cepstral coefficients
(Davis and Mermelstein, 1980; c0 left out, so that loudness says nothing), a frame every 12.5 ms, silent ends removed,
each coefficient brought to mean 0 and variance 1 within its utterance, so that neither the voice nor a vocoder's
colour decides. The distance is the Euclidean one, averaged over the warping path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nemo_ext.evaluation.warping import warped_distance
from nemo_ext.types import MelSpec

COEFFICIENTS = 19
FRAME_SECONDS = 0.0125
SILENT_DB = 40.0  # frames this far below the loudest one are silence
METHOD = "nearest reading by DTW over 19 MFCC (no c0), 12.5 ms, mean and variance normalised, mean distance per step"


@dataclass
class Identification:
    """What was heard for each sentence. ``failed`` sentences count as not identified."""

    heard: dict[str, str] = field(default_factory=dict)  # id -> id of the nearest reading
    margin: dict[str, float] = field(default_factory=dict)  # id -> best distance to another / distance to its own
    failed: dict[str, str] = field(default_factory=dict)  # id -> reason

    @property
    def total(self) -> int:
        """Number of sentences asked for."""
        return len(self.heard) + len(self.failed)

    @property
    def accuracy(self) -> float:
        """Share of all sentences identified as themselves; NaN when there are none."""
        return sum(a == b for a, b in self.heard.items()) / self.total if self.total else float("nan")

    @property
    def confusions(self) -> list[tuple[str, str]]:
        """``(sentence, what it was taken for)`` for every sentence that was not identified as itself."""
        return [(a, b) for a, b in self.heard.items() if a != b]


def cepstra(audio: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """``audio (T_audio,)`` -> normalised cepstra ``(T, 19)``; empty when nothing in it is loud enough to hear."""
    from scipy.fft import dct

    from nemo_ext.audio.mel import log_mel

    spec = MelSpec(sample_rate=sample_rate, hop_length=round(FRAME_SECONDS * sample_rate), n_mels=40)
    mel = np.asarray(log_mel(np.ascontiguousarray(audio, dtype=np.float32), spec)).T  # (T, n_mels)
    level = np.log(np.exp(mel).sum(axis=1))  # natural log of a magnitude
    heard = np.flatnonzero(level > level.max() - SILENT_DB / 20.0 * np.log(10.0))
    if not np.any(audio) or len(heard) < 2:
        return np.zeros((0, COEFFICIENTS), np.float32)
    coefficients = dct(mel[heard[0] : heard[-1] + 1], axis=1, norm="ortho")[:, 1 : COEFFICIENTS + 1]
    spread = coefficients.std(axis=0)
    normalised = (coefficients - coefficients.mean(axis=0)) / np.maximum(spread, 1e-3)
    return np.asarray(normalised, dtype=np.float32)


def identify(
    speech: Mapping[str, NDArray[np.float32]], readings: Mapping[str, NDArray[np.float32]], sample_rate: int
) -> Identification:
    """Look every sentence of ``speech`` up among ``readings``: id -> audio ``(T_audio,)``, one voice at a time.

    Both sides at ``sample_rate``. A sentence without a reading, or with nothing to hear in it, fails by name.
    """
    known = {name: cepstra(audio, sample_rate) for name, audio in readings.items()}
    known = {name: values for name, values in known.items() if len(values)}
    found = Identification()
    for name, audio in speech.items():
        asked = cepstra(audio, sample_rate)
        if not len(asked) or name not in known:
            found.failed[name] = "nothing to hear in it" if not len(asked) else "no reading to compare it with"
            continue
        distance = {other: warped_distance(asked, values) for other, values in known.items()}
        found.heard[name] = min(distance, key=distance.__getitem__)
        others = [value for other, value in distance.items() if other != name]
        found.margin[name] = min(others) / max(distance[name], 1e-9) if others else float("inf")
    return found
