"""What the chain needs of whoever computes: models (synthesis/models.py), or a bundle (synthesis/bundled.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from nemo_ext.synthesis.prosody import Settings
from nemo_ext.types import Tokens
from nemo_ext.voices import Vector, Voice


@dataclass
class Said:
    """One sentence, as it was computed."""

    durations: np.ndarray  # (T_text,) frames, after pace
    pitch: np.ndarray  # (T_text,) Hz
    mel: np.ndarray  # (n_mels, T_mel) log-mel
    audio: np.ndarray  # (T_mel * hop,) in [-1, 1]
    notes: list[str] = field(default_factory=list)  # what the speaker should know of this sentence


class Side(Protocol):
    """Computes on arrays; what it computes with is its own affair."""

    acoustic: Any  # what Cast and find_style ask: voices, base_voice, frontend, mel_spec, ...
    vocoder: Any
    device: Any
    backend: str  # what a person reads
    notes: list[str]  # what the speaker should know

    def speak(self, tokens: Tokens, voice: Voice, style: Vector | None, settings: Settings) -> Said:
        """One sentence: ``style (S,)``; of ``settings`` the volume is not its affair."""
        ...

    def copy(self, audio: np.ndarray) -> np.ndarray:
        """The vocoder's reading of the mel of ``audio (T_audio,)``: at least as many samples."""
        ...


def differs(value: float | np.ndarray, neutral: float) -> bool:
    """Whether a setting asks for anything."""
    return isinstance(value, np.ndarray) or value != neutral
