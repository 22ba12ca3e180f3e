"""Changing the sample rate, with soxr (The SoX resampler library, https://sourceforge.net/projects/soxr)."""

from __future__ import annotations

import numpy as np


def resample(audio: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """``audio`` ``(T_audio,)`` or ``(C, T_audio)`` at ``from_rate`` Hz -> the same sound at ``to_rate`` Hz, float32.

    The result may overshoot the input's peak (a band-limited copy of a clipped wave rises above it): see
    ``nemo_ext.audio.loudness.headroom`` before writing it to a 16-bit file.
    """
    if from_rate == to_rate:
        return audio.astype(np.float32, copy=False)
    import soxr

    # soxr wants time first; "VHQ" keeps everything up to 0.95 of the new Nyquist frequency.
    changed = soxr.resample(np.ascontiguousarray(audio.T, dtype=np.float32), from_rate, to_rate, quality="VHQ")
    return np.ascontiguousarray(changed.T, dtype=np.float32)
