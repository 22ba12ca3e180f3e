"""Sentences into one recording: pauses without clicks, one level, no clipping. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]

CEILING = 0.98  # of full scale; what is left is room for a later resampling's overshoot
SILENT_DB = 45.0  # a frame this far below the sentence's loudest one is silence
FADE_SECONDS = 0.005
MAX_LEVELLING_DB = 6.0  # a sentence may be meant softer; what is more than this is put right only in part
MAX_LIMITING_DB = 6.0  # of peaks; beyond this the whole is turned down


@dataclass(frozen=True)
class Edges:
    """How many frames of silence a sentence begins and ends with."""

    before: int
    after: int


def frame_levels(audio: Audio, hop: int) -> Audio:
    """Level in dBFS of every ``hop`` samples of ``audio (T_audio,)``: ``(T_audio // hop,)``, at least -120."""
    frames = audio[: len(audio) // hop * hop].reshape(-1, hop).astype(np.float64)
    return np.asarray(10.0 * np.log10(np.maximum((frames**2).mean(axis=1), 1e-12)), dtype=np.float32)


def silent_edges(audio: Audio, hop: int) -> Edges:
    """Frames of silence at both ends of ``audio (T_audio,)``."""
    levels = frame_levels(audio, hop)
    heard = np.flatnonzero(levels > max(levels.max(initial=-120.0) - SILENT_DB, -110.0))
    if not len(heard):
        return Edges(0, 0)
    return Edges(int(heard[0]), int(len(levels) - 1 - heard[-1]))


def active_level(audio: Audio, hop: int) -> float:
    """Mean level in dBFS of the frames in which something is heard; -inf when nothing is."""
    levels = frame_levels(audio, hop)
    loudest = levels.max(initial=-120.0)
    if loudest <= -110.0:
        return -np.inf
    heard = levels[levels > loudest - 30.0].astype(np.float64)
    return float(10.0 * np.log10(np.mean(10.0 ** (heard / 10.0))))


def level(sentences: list[Audio], active: Sequence[float]) -> list[Audio]:
    """The sentences brought towards the median of their levels, each by at most 6 dB; ``active``: ``active_level``."""
    levels = np.array(active)
    heard = np.isfinite(levels)
    if heard.sum() < 2:
        return sentences
    target = float(np.median(levels[heard]))
    gains = np.where(heard, np.clip(target - np.where(heard, levels, target), -MAX_LEVELLING_DB, MAX_LEVELLING_DB), 0.0)
    return [audio * np.float32(10.0 ** (gain / 20.0)) for audio, gain in zip(sentences, gains, strict=True)]


def pause_cuts(after: int, before: int, pause: int) -> tuple[int, int, int]:
    """How to make a pause of ``pause`` frames between two sentences.

    ``after``: silent frames the first one ends with; ``before``: those the second begins with. Returns the frames to
    cut from the first's end, from the second's start, and the frames of digital silence to put between. Their own
    silence is kept first, for it holds the decay of the last sound.
    """
    kept_after = min(after, max(pause - min(before, pause // 3), 0))
    kept_before = min(before, pause - kept_after)
    return after - kept_after, before - kept_before, pause - kept_after - kept_before


def shaped(audio: Audio, gains: Audio, hop: int, sample_rate: int) -> Audio:
    """``audio (T_audio,)`` with a gain in dB for each frame, ``(T_mel,)``; it moves smoothly over 10 ms at each change.

    Frame i is centred at sample ``i * hop``, so its gain begins half a hop earlier.
    """
    frames = np.clip((np.arange(len(audio)) + hop // 2) // hop, 0, len(gains) - 1)
    steps = np.asarray(gains, np.float64)[frames]
    reach = max(int(0.005 * sample_rate), 1)
    window = np.hanning(2 * reach + 3)[1:-1]
    smooth = np.convolve(np.pad(steps, reach, mode="edge"), window / window.sum(), mode="valid")
    return (audio * 10.0 ** (smooth / 20.0)).astype(np.float32)


def fade(audio: Audio, sample_rate: int) -> Audio:
    """``audio`` with raised-cosine ends of 5 ms, so that nothing starts or stops with a click."""
    length = min(int(FADE_SECONDS * sample_rate), len(audio) // 2)
    ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / max(length, 1))).astype(np.float32)
    faded = audio.copy()
    faded[:length] *= ramp
    faded[len(faded) - length :] *= ramp[::-1]
    return faded


def limit(audio: Audio, sample_rate: int) -> tuple[Audio, str]:
    """``audio`` with no sample above the ceiling, and what was done for it ("" when nothing was needed).

    Peaks up to 6 dB too high are turned down where they are, by a gain that moves smoothly over 10 ms to either side;
    what is more than that turns the whole down first, so that loud speech keeps its shape.
    """
    from scipy.ndimage import minimum_filter1d

    top = float(np.abs(audio).max(initial=0.0))
    if top <= CEILING:
        return audio, ""
    excess = 20.0 * np.log10(top / CEILING)
    turned_down = max(excess - MAX_LIMITING_DB, 0.0)
    audio = audio * np.float32(10.0 ** (-turned_down / 20.0))
    reach = max(int(0.010 * sample_rate), 1)
    needed = np.minimum(1.0, CEILING / np.maximum(np.abs(audio), 1e-9))
    # the lowest gain needed within reach, then a weighted mean over the same reach: never above what is needed
    lowest = minimum_filter1d(np.pad(needed, reach, constant_values=1.0), 2 * reach + 1)
    window = np.hanning(2 * reach + 3)[1:-1]
    gain = np.convolve(lowest, window / window.sum(), mode="valid")
    note = f"peaks were limited by {min(excess, MAX_LIMITING_DB):.1f} dB"
    if turned_down:
        note = f"turned down by {turned_down:.1f} dB and {note}"
    limited = (audio * gain).astype(np.float32)
    return np.clip(limited, -CEILING, CEILING), f"at this volume it would clip: {note}"
