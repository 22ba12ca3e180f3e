"""Where in a recording somebody speaks, by its level alone: no model, no package, any sample rate."""

from __future__ import annotations

import numpy as np

_FRAME = 0.030  # s
_SMOOTHED = 8  # frames a decision is averaged over, so that a click is no speech and a gap inside a word is none
_KEPT_AROUND = 3  # frames kept before and after speech: soft onsets and endings lie below the threshold
_BELOW_SPEECH_DB = 32.0  # frames this far below the loud ones are silence
_FLOOR_DB = -60.0  # dBFS; nothing below this is speech, however quiet the rest


def active(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """``audio (T_audio,)`` -> ``(T_audio,)`` bool, True where there is speech.

    A frame of 30 ms counts as loud when it is less than 32 dB below the recording's 95th percentile and above
    -60 dBFS. The decision is a majority over eight frames, widened by three frames on both sides.
    """
    size = max(1, round(_FRAME * sample_rate))
    count = len(audio) // size
    if count == 0:
        return np.zeros(len(audio), dtype=bool)
    power = np.square(audio[: count * size], dtype=np.float64).reshape(count, size).mean(axis=1)
    level = 10.0 * np.log10(np.maximum(power, 1e-12))
    loud = (level > max(np.percentile(level, 95) - _BELOW_SPEECH_DB, _FLOOR_DB)).astype(np.float64)
    share = np.convolve(loud, np.ones(_SMOOTHED) / _SMOOTHED, mode="full")[_SMOOTHED // 2 :][:count]
    spoken = np.convolve((share >= 0.5).astype(int), np.ones(2 * _KEPT_AROUND + 1, dtype=int), mode="full")
    frames = spoken[_KEPT_AROUND:][:count] > 0
    # the last part of a frame goes with the frame before it
    return np.append(np.repeat(frames, size), np.full(len(audio) - count * size, bool(frames[-1])))


def without_silence(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """The parts of ``audio (T_audio,)`` in which somebody speaks, one after the other; empty where nobody does."""
    return np.asarray(audio[active(audio, sample_rate)])
