"""Several channels -> one, without one of them cancelling another. The same rule wherever a recording is heard."""

from __future__ import annotations

import numpy as np

from nemo_ext.audio import loudness

_AGAINST = -0.5  # correlation with the loudest channel below which a channel takes away from it
_LOST_DB = 20.0  # a mean this far below the loudest channel has lost the sound


def loudest_against(audio: np.ndarray) -> int | None:
    """The loudest channel of ``audio (C, T_audio)`` where another, wired the wrong way round, cancels it; or None."""
    if len(audio) < 2 or audio.shape[1] == 0:
        return None
    levels = [loudness.rms_db(channel) for channel in audio]
    top = int(np.argmax(levels))
    loud = audio[top].astype(np.float64)
    norm = float(np.sqrt(loud @ loud))
    for number, channel in enumerate(audio):
        other = channel.astype(np.float64)
        both = norm * float(np.sqrt(other @ other))
        if number != top and both > 0 and float(loud @ other) < _AGAINST * both:
            return top
    return top if loudness.rms_db(audio.mean(axis=0)) < levels[top] - _LOST_DB else None


def downmix(audio: np.ndarray) -> np.ndarray:
    """``audio (C, T_audio)`` -> ``(T_audio,)``: the channels' mean; the loudest where they cancel each other."""
    if len(audio) == 1:
        return np.asarray(audio[0])
    top = loudest_against(audio)
    return np.asarray(audio.mean(axis=0) if top is None else audio[top], dtype=audio.dtype)
