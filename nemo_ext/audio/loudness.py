"""Levels: peak, headroom, loudness. All in dB relative to full scale, or LUFS."""

from __future__ import annotations

import numpy as np

SILENCE_DB = -60.0  # dBFS RMS; real speech, however quiet, lies above -50


def peak(audio: np.ndarray) -> float:
    """Largest absolute sample (0 for no samples)."""
    return float(np.abs(audio).max(initial=0.0))


def rms_db(audio: np.ndarray) -> float:
    """Root mean square level in dBFS; -inf for digital silence."""
    if audio.size == 0:
        return -np.inf
    power = float(np.mean(np.square(audio, dtype=np.float64)))
    return 10.0 * float(np.log10(power)) if power > 0 else -np.inf


def headroom(audio: np.ndarray, ceiling: float = 0.99) -> tuple[np.ndarray, float]:
    """``audio`` turned down just enough that no sample exceeds ``ceiling``, and the gain in dB that did it (<= 0)."""
    top = peak(audio)
    if top <= ceiling:
        return audio, 0.0
    gain = ceiling / top
    return audio * np.float32(gain), 20.0 * float(np.log10(gain))


def lufs(audio: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness (ITU-R BS.1770-4) of mono ``audio (T_audio,)`` in LUFS; -inf for silence.

    Clips shorter than the standard's 0.4 s block use one block as long as the clip.
    """
    import pyloudnorm

    block = min(0.4, audio.shape[-1] / sample_rate)
    with np.errstate(divide="ignore"):
        return float(pyloudnorm.Meter(sample_rate, block_size=block).integrated_loudness(audio.astype(np.float64)))
