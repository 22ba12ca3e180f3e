"""What is read from a style reference, a recording that is spoken as somebody wants it. Arrays only, no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nemo_ext.audio import loudness
from nemo_ext.audio.pitch import mel_f0
from nemo_ext.errors import NemoExtError
from nemo_ext.types import BaseVoice, MelSpec

SHORTEST = 0.5  # seconds: below that there is hardly a syllable to hear a style in


def reference_pitch(audio: np.ndarray, spec: MelSpec) -> np.ndarray:
    """Pitch of the recording ``audio (T_audio,)`` float32 -> ``(T_mel,)`` in Hz, 0 where unvoiced.

    Raises:
        NemoExtError: it is too short to hear a style in, has samples that are no numbers, or nobody speaks in it.
    """
    seconds = len(audio) / spec.sample_rate
    if seconds < SHORTEST:
        raise NemoExtError(f"a style reference of {seconds:.2f} s is too short: give at least {SHORTEST:g} s of speech")
    if not np.isfinite(audio).all():
        raise NemoExtError("the style reference has samples that are no numbers: record or export it again")
    pitch = mel_f0(audio, spec)
    if loudness.rms_db(audio) < loudness.SILENCE_DB or not bool((pitch > 0).any()):  # the pitch of a hiss is chance
        raise NemoExtError("no voiced speech in the style reference: give a recording of somebody speaking")
    return pitch


def typical_range(voices: Sequence[BaseVoice]) -> float:
    """Deviation of pitch over its mean, averaged over ``voices``: what a stranger's is taken to be."""
    known = [voice.pitch_std / voice.pitch_mean for voice in voices if voice.pitch_mean > 0]
    return float(np.mean(known)) if known else 0.2
