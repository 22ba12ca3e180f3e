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
    """Integrated loudness of mono ``audio (T_audio,)`` in LUFS; -inf for silence.

    ITU-R BS.1770-4: K-weighting, mean square of 0.4 s blocks that overlap by 75 %, gates at -70 LUFS and at 10 LU
    below the loudness of what is left. A clip shorter than a block is one block.
    """
    weighted = _k_weighted(np.asarray(audio, dtype=np.float64), sample_rate)
    block = min(round(0.4 * sample_rate), len(weighted))
    if block == 0:
        return -np.inf
    power = np.concatenate([[0.0], np.cumsum(np.square(weighted))])
    starts = np.arange(0, len(weighted) - block + 1, max(1, block // 4))
    mean_square = np.maximum((power[starts + block] - power[starts]) / block, 1e-20)
    loud = -0.691 + 10.0 * np.log10(mean_square)
    mean_square = mean_square[loud > -70.0]
    if len(mean_square) == 0:
        return -np.inf
    gate = -0.691 + 10.0 * np.log10(mean_square.mean()) - 10.0
    mean_square = mean_square[-0.691 + 10.0 * np.log10(mean_square) > gate]
    return float(-0.691 + 10.0 * np.log10(mean_square.mean()))


def _k_weighted(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """``audio`` through BS.1770's two filters: a shelf for the head, and a high-pass.

    The standard gives coefficients for 48 kHz only; these are the analogue prototypes behind them (B. De Man,
    "Evaluation of implementations of the EBU R128 loudness measurement", AES 145, 2018), for any rate. Applied as a
    frequency response, for filtering sample by sample would need scipy, whose import takes longer than the work.
    """
    length = len(audio) + sample_rate // 4  # the tail of the filters must not wrap round to the start
    size = 1 << (length - 1).bit_length()
    delay = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)  # z^-1 at each bin
    response = _high_shelf(delay, sample_rate) * _high_pass(delay, sample_rate)
    return np.fft.irfft(np.fft.rfft(audio, size) * response, size)[: len(audio)]


def _high_shelf(delay: np.ndarray, sample_rate: int) -> np.ndarray:
    frequency, gain, quality = 1681.974450955533, 3.999843853973347, 0.7071752369554196
    k = np.tan(np.pi * frequency / sample_rate)
    high = 10.0 ** (gain / 20.0)
    band = high**0.4996667741545416
    above = (
        high
        + band * k / quality
        + k * k
        + 2.0 * (k * k - high) * delay
        + (high - band * k / quality + k * k) * delay**2
    )
    response: np.ndarray = above / _resonance(k, quality, delay)
    return response


def _high_pass(delay: np.ndarray, sample_rate: int) -> np.ndarray:
    frequency, quality = 38.13547087602444, 0.5003270373238773
    k = np.tan(np.pi * frequency / sample_rate)
    # The standard leaves the numerator at 1, -2, 1, without the bilinear transform's gain.
    response: np.ndarray = (1.0 - delay) ** 2 * (1.0 + k / quality + k * k) / _resonance(k, quality, delay)
    return response


def _resonance(k: float, quality: float, delay: np.ndarray) -> np.ndarray:
    bend = 1.0 - k / quality + k * k
    return (1.0 + k / quality + k * k) + 2.0 * (k * k - 1.0) * delay + bend * delay**2
