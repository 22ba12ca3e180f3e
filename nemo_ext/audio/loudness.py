"""Levels: peak, headroom, loudness. All in dB relative to full scale, or LUFS."""

from __future__ import annotations

import warnings

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
    """Integrated loudness of mono ``audio (T_audio,)`` in LUFS; -inf for silence.

    ITU-R BS.1770-4 as pyloudnorm measures it, with the filters of B. De Man ("Evaluation of implementations of the EBU
    R128 loudness measurement", AES 145, 2018), which keep to the standard at any sample rate. A clip shorter than the
    standard's block of 0.4 s is one block.
    """
    import pyloudnorm

    block = min(0.4, len(audio) / sample_rate)
    if block <= 0 or not np.any(audio):
        return -np.inf
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a mean over no block: everything lay below the gate
        meter = pyloudnorm.Meter(sample_rate, filter_class="DeMan", block_size=block)
        measured = meter.integrated_loudness(np.asarray(audio, np.float64))
    return float(measured) if np.isfinite(measured) else -np.inf
