"""What passes between the parts of FastPitch, how far a mel is from another, what a part of a batch counts for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nemo_ext.modules.adapters import VoiceWeights
from nemo_ext.modules.alignment import mask_from_lens
from nemo_ext.types import SLOWEST, Batch

# What the losses are means over, where it is not utterances.
_MEAN_OVER = {
    **dict.fromkeys(("mel", "mel_l1", "bin"), "frames"),
    **dict.fromkeys(("duration", "pitch", "energy"), "tokens"),
    "style": "labelled",
}


@dataclass
class Alignment:
    """Tokens and frames of a batch brought together."""

    attention: Tensor  # (B, T_mel, T_text), sums to 1 over tokens
    log_probability: Tensor  # (B, T_mel, T_text), unnormalised
    path: Tensor  # (B, T_mel) int64, token of each frame
    durations: Tensor  # (B, T_text) int64, frames


@dataclass
class Conditions:
    """What a batch is spoken with: the adapters' weights, and what is added to the inputs of the parts."""

    voice: VoiceWeights
    added: Tensor | None  # (B, 1, D): speaker and style
    speaker: Tensor | None  # (B, 1, D): without the style, which the aligner does not need


@dataclass
class Reading:
    """What the text side makes of a text; the decoder makes the mel of it."""

    encoded: Tensor  # (B, T_text, D), pitch and energy added
    log_durations: Tensor  # (B, T_text)
    frames: Tensor  # (B, T_text), predicted frames of each token before pace, no whole numbers
    durations: Tensor  # (B, T_text) int64, after pace
    pitch_normalized: Tensor  # (B, T_text)


def longest_token(module: Any) -> int:
    """Frames that a token of FastPitch's ``module`` may last: at the slowest pace that a person may ask for."""
    return math.ceil(module.max_token_duration / SLOWEST)


def whole(frames: Tensor, module: Any) -> Tensor:
    """Predicted ``frames (B, T_text)``, after pace, to the nearest int64.

    Bounded: strangers share a server's batch, and somebody's pace near 0 would make everybody's mel endless.
    """
    return torch.floor(frames + 0.5).long().clamp(0, longest_token(module))


def mel_l1(mel: Tensor, batch: Batch) -> Tensor:
    """Mean absolute error of ``mel (B, n_mels, T_mel)`` over the batch's valid frames."""
    valid = mask_from_lens(batch.mel_lens, batch.mel.shape[2])[:, None, :]
    return ((mel - batch.mel).abs() * valid).sum() / (valid.sum() * mel.shape[1])


def mean_square(predicted: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean squared error over the True positions of ``valid`` (broadcast over channels)."""
    valid = valid.expand_as(predicted)
    return ((predicted - target).square() * valid).sum() / valid.sum()


def in_proportion(losses: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """``losses``, each a mean over what is here of a batch that others may share, as parts of the whole's."""
    return {k: v * getattr(batch.portion, _MEAN_OVER.get(k, "utterances")) for k, v in losses.items()}


def asks_for(value: float | Tensor, neutral: float) -> bool:
    """Whether ``value`` changes anything. A tensor always does: looking into it would tie an exported graph to it."""
    return isinstance(value, Tensor) or value != neutral
