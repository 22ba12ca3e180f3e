"""Mel-cepstral distortion: how far two readings of one sentence are apart in spectrum, in dB.

``MCD = (10 / ln 10) * sqrt(2 * sum_d (c_d - c'_d)^2)``, averaged over the aligned frames (Kubichek, 1993). Published
"standards" differ in the cepstrum and are not comparable, so the variant's name goes beside every figure.
Ours is that of the package pymcd 0.2.1, mode "dtw":
WORLD's envelope (dio + stonemask, cheaptrick, FFT of 512, a frame every 5 ms) at 22,050 Hz; mel-cepstrum of order 13,
all-pass constant 0.65; the time axes are warped by the Euclidean distance of c1..c13, the distance is taken over
c0..c13, and so the level counts too. Two more things in it must be known to compare figures: the envelope is a power
spectrum and is read as a magnitude, which doubles every coefficient, and 1e-8 is added to its square.
Written without pysptk and fastdtw, which pymcd needs; the figures are equal, and a test holds them against each other.
"""

from __future__ import annotations

import functools
import math
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nemo_ext.errors import NemoExtError
from nemo_ext.evaluation.warping import fast_warp

VARIANT = "MCD-DTW as pymcd 0.2.1 'dtw' (WORLD, order 13, alpha 0.65, 5 ms, c0 in the distance)"
SAMPLE_RATE = 22050  # Hz; alpha and the FFT size belong to it
FRAME_MS = 5.0
ORDER = 13
ALPHA = 0.65
FFT_SIZE = 512
SQUARE_GUARD = 1e-8
TO_DB = 10.0 / math.log(10.0) * math.sqrt(2.0)


def mel_cepstrum(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """``audio (T_audio,)`` at 22,050 Hz -> mel-cepstrum ``(T, 14)``, c0 first, a frame every 5 ms.

    Raises:
        NemoExtError: the audio is too short, silent throughout or not finite.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyworld announces the end of pkg_resources
        import pyworld
    samples = np.ascontiguousarray(audio, dtype=np.float64)
    if samples.ndim != 1 or len(samples) < FFT_SIZE:
        raise NemoExtError(f"a distortion needs mono audio of at least {FFT_SIZE} samples, not {samples.shape}")
    if not np.isfinite(samples).all() or not samples.any():
        raise NemoExtError("a distortion needs audio with sound in it: this is silent or not finite")
    pitch, times = pyworld.dio(samples, SAMPLE_RATE, frame_period=FRAME_MS)
    pitch = pyworld.stonemask(samples, pitch, times, SAMPLE_RATE)
    envelope = pyworld.cheaptrick(samples, pitch, times, SAMPLE_RATE, fft_size=FFT_SIZE)
    cepstrum = np.fft.irfft(np.log(envelope**2 + SQUARE_GUARD), axis=1)
    cepstrum[:, 0] /= 2
    cepstrum[:, FFT_SIZE // 2] /= 2
    return np.asarray(cepstrum[:, : FFT_SIZE // 2 + 1] @ _all_pass(), dtype=np.float64)


@functools.cache
def _all_pass() -> NDArray[np.float64]:
    """``(FFT_SIZE / 2 + 1, ORDER + 1)``: a cepstrum times this is the mel-cepstrum.

    The recursion of Oppenheim and Johnson, "Discrete representation of signals" (1972), run on the unit vectors.
    """
    size = FFT_SIZE // 2 + 1
    warped = np.zeros((size, ORDER + 1))
    for unit in range(size):
        for k in range(unit, -1, -1):
            before = warped[unit].copy()
            warped[unit, 0] = float(k == unit) + ALPHA * before[0]
            warped[unit, 1] = (1 - ALPHA**2) * before[0] + ALPHA * before[1]
            for m in range(2, ORDER + 1):
                warped[unit, m] = before[m - 1] + ALPHA * (before[m] - warped[unit, m - 1])
    return warped


def mcd(reading: NDArray[np.float32], speech: NDArray[np.float32]) -> float:
    """MCD-DTW in dB between two readings of one sentence, both ``(T_audio,)`` at 22,050 Hz."""
    return cepstral_distortion(mel_cepstrum(reading), mel_cepstrum(speech))


def cepstral_distortion(reading: NDArray[np.float64], speech: NDArray[np.float64]) -> float:
    """MCD-DTW in dB between two mel-cepstra ``(T, 14)``."""
    path = fast_warp(np.ascontiguousarray(reading[:, 1:]), np.ascontiguousarray(speech[:, 1:]))
    difference = reading[path[:, 0]] - speech[path[:, 1]]
    return float(TO_DB * np.sqrt((difference**2).sum(axis=1)).mean())


def mcd_files(reading: str | Path, speech: str | Path) -> float:
    """MCD-DTW in dB between two recordings, mixed down and resampled to 22,050 Hz where needed."""
    from nemo_ext.audio.io import read_mono
    from nemo_ext.audio.resample import resample

    sides = []
    for path in (reading, speech):
        audio, sample_rate = read_mono(path)
        sides.append(resample(audio, sample_rate, SAMPLE_RATE))
    return mcd(sides[0], sides[1])
