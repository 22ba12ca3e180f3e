"""How a person asks for a style, and the vector that it means.

anger                      a named style
anger:0.6                  from the neutral style 60 % of the way; beyond 1 is exaggerated
anger:0.6+sadness:0.4      several ways added
clip.wav                   as the recording is spoken; clip.wav@anna says that the voice 'anna' speaks in it
tokens:0.2,0.5,0,...       one weight for each style token
"""

from __future__ import annotations

import math
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np

from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.synthesis.casting import Cast
from nemo_ext.voices import Vector, Voice, parse_mix

NEUTRAL = "neutral"
STRONGEST = 4.0  # of a strength: far beyond what sounds like speech
_RECORDINGS = (".wav", ".flac", ".ogg", ".mp3")
_TOKENS = "tokens:"


def find_style(wanted: str | None, acoustic: Any, voice: Voice, cast: Cast) -> Vector | None:
    """The style vector ``(S,)`` that ``wanted`` means when ``voice`` speaks; None for no style.

    Nothing wanted is the voice's neutral style, or none where no style has that name.

    Raises:
        NemoExtError: the model has no style, no style has that name (the nearest is told), a strength or a weight is
            no number or out of range, or the recording cannot be read, is too short or has no voiced speech.
    """
    if not getattr(acoustic, "style_size", 0):
        if wanted:
            raise NemoExtError(
                f"style={wanted}: this model was trained without styles; leave style= out, or train a model with "
                "model/style=gst"
            )
        return None
    named = {_composed(name): style for name, style in {**acoustic.named_styles(), **voice.styles}.items()}
    if not wanted:
        return named.get(NEUTRAL)
    if wanted.startswith(_TOKENS):
        return _of_tokens(wanted, acoustic)
    parts = _parts(wanted, named)
    origin = _origin(named, acoustic.style_size)
    total = origin.astype(np.float64)
    for name, strength in parts:
        if not (math.isfinite(strength) and abs(strength) <= STRONGEST):
            raise NemoExtError(
                f"style={wanted}: a strength of {strength:g} cannot be spoken: give {-STRONGEST:g} to {STRONGEST:g}, "
                "1 is the style itself"
            )
        total += strength * (_one(name, named, acoustic, voice, cast).astype(np.float64) - origin)
    return total.astype(np.float32)


def _parts(wanted: str, named: dict[str, Vector]) -> list[tuple[str, float]]:
    """Names and recordings with their strengths."""
    path, _ = _recording(wanted)
    if wanted in named or (path is not None and path.is_file()):  # whose own name may have a plus in it
        return [(wanted, 1.0)]
    try:
        return parse_mix(wanted)
    except NemoExtError as error:
        raise NemoExtError(
            f"style={wanted} cannot be read: write anger, anger:0.6, or anger:0.6+sadness:0.4"
        ) from error


def _origin(named: dict[str, Vector], size: int) -> Vector:
    """Where strengths count from: the neutral style, else the mean of the named ones, else no style."""
    if NEUTRAL in named:
        return named[NEUTRAL]
    if len(named) > 1:
        return np.mean(list(named.values()), axis=0).astype(np.float32)
    return np.zeros(size, np.float32)


def _one(name: str, named: dict[str, Vector], acoustic: Any, voice: Voice, cast: Cast) -> Vector:
    if _composed(name) in named:
        return named[_composed(name)]
    path, speaker = _recording(name)
    if path is not None:
        who = cast.find(speaker) if speaker else None
        if who is not None and (who.mel_stats is None or not who.pitch_mean > 0):
            raise NemoExtError(
                f"the voice '{speaker}' does not tell how it sounds on average (mel_stats, pitch): leave @{speaker} out"
            )
        audio = _read(path, acoustic.mel_spec.sample_rate)
        try:
            found: Vector = acoustic.style_vector_from(audio, who)
        except NemoExtError as error:
            raise NemoExtError(f"{path}: {error}") from error
        return found
    if not named:
        raise NemoExtError(
            f"no style '{name}': this model's recordings had no style labels, so none has a name; give a recording, "
            "style=clip.wav, or token weights, style=tokens:..."
        )
    listed = f"{nearest(name, named) or '.'} It has: {', '.join(sorted(named))}"
    raise NemoExtError(f"the voice '{voice.name}' has no style '{name}'{listed}")


def _composed(name: str) -> str:
    """``name`` with each é as one character: some systems write it as two."""
    return unicodedata.normalize("NFC", name)


def _recording(name: str) -> tuple[Path | None, str | None]:
    """``clip.wav`` or ``clip.wav@voice`` -> the path and the voice; no path where ``name`` is neither."""
    if name.lower().endswith(_RECORDINGS):
        return Path(name).expanduser(), None
    path, at, speaker = name.rpartition("@")
    if at and speaker and path.lower().endswith(_RECORDINGS):
        return Path(path).expanduser(), speaker
    return None, None


def _read(path: Path, sample_rate: int) -> np.ndarray:
    from nemo_ext.audio.io import read_mono
    from nemo_ext.audio.resample import resample

    if not path.is_file():
        raise NemoExtError(f"no recording at {path} to take a style from")
    audio, rate = read_mono(path)
    return resample(audio, rate, sample_rate) if rate != sample_rate else audio


def _of_tokens(wanted: str, acoustic: Any) -> Vector:
    written = wanted.removeprefix(_TOKENS).split(",")
    try:
        weights = [float(w) for w in written]
    except ValueError as error:
        raise NemoExtError(f"style={wanted} cannot be read: write tokens: and numbers, tokens:0.2,0.5,0.3") from error
    if not all(math.isfinite(w) and abs(w) <= STRONGEST for w in weights):
        raise NemoExtError(f"style={wanted}: give token weights from {-STRONGEST:g} to {STRONGEST:g}")
    if len(weights) != acoustic.style_tokens:
        raise NemoExtError(
            f"style={wanted}: {len(weights)} token weights, and this model has {acoustic.style_tokens} style tokens"
        )
    found: Vector = acoustic.style_from_tokens(weights)
    return found
