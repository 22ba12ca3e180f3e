"""What an acoustic model offers of its style: names, vectors from recordings and from token weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from nemo_ext.audio.mel import log_mel
from nemo_ext.audio.reference import reference_pitch, typical_range
from nemo_ext.errors import NemoExtError
from nemo_ext.modules.style_bank import GlobalStyle
from nemo_ext.types import BaseVoice, MelSpec
from nemo_ext.voices import Vector, Voice

if TYPE_CHECKING:
    from collections.abc import Sequence


class Styled:
    """Mixed into an acoustic model whose ``style`` is a GlobalStyle, or None for a model without."""

    style: GlobalStyle | None
    mel_spec: MelSpec
    voices: list[BaseVoice]

    def _style(self) -> GlobalStyle:
        """
        Raises:
            NemoExtError: the model has none.
        """
        if self.style is None:
            raise NemoExtError(
                "this model was trained without styles: leave style= out, or train one with model/style=gst"
            )
        return self.style

    @property
    def style_size(self) -> int:
        """S, the length of a style vector; 0 for a model without style."""
        return 0 if self.style is None else self.style.config.size

    @property
    def style_tokens(self) -> int:
        """How many style tokens there are."""
        return 0 if self.style is None else self.style.config.tokens

    def named_styles(self) -> dict[str, Vector]:
        """The mean style ``(S,)`` over the base voices by name: for voices that know none of their own."""
        return {} if self.style is None else self.style.named()

    def style_vector_from(self, audio: np.ndarray, voice: Voice | None = None) -> Vector:
        """The style ``(S,)`` of the recording ``audio (T_audio,)`` at the model's sample rate.

        ``voice``: who speaks in it, if that is known; his register and timbre are then told from his style. Without
        one the recording is compared with itself only, which hears less (docs/styles.md).

        Raises:
            NemoExtError: the model has no style, or the recording is too short or silent.
        """
        self._style()
        samples = np.ascontiguousarray(audio, dtype=np.float32)
        pitch = reference_pitch(samples, self.mel_spec)  # refuses what nobody speaks in
        return self.style_vector_of(log_mel(samples, self.mel_spec), pitch, voice)

    def style_vector_of(self, mel: np.ndarray, pitch: np.ndarray, voice: Voice | None = None) -> Vector:
        """``style_vector_from`` of a recording's log-mel ``(n_mels, T_mel)`` and pitch ``(T_mel,)`` in Hz, 0 unvoiced.

        However short it is, and voiced or not: a whisper that somebody labelled is a style.
        """
        style = self._style()
        heard, tones = (torch.from_numpy(of).to(style.project.weight.device)[None] for of in (mel, pitch))
        found: Vector = style.of_reference(heard, tones, voice, self._typical_range())[0].float().cpu().numpy()
        return found

    def style_from_tokens(self, weights: Sequence[float]) -> Vector:
        """The style ``(S,)`` of one weight for each style token; what a reference gets sums to 1.

        Raises:
            NemoExtError: the model has no style, or another number of tokens.
        """
        style = self._style()
        tensor = torch.tensor([list(weights)], dtype=torch.float32, device=style.project.weight.device)
        with torch.inference_mode():
            found: Vector = style.encoder.from_weights(tensor)[0].float().cpu().numpy()
        return found

    def _typical_range(self) -> float:
        """Deviation of pitch over its mean, averaged over the base voices."""
        return typical_range(self.voices)
