"""Style: how something is said, as a vector from a recording, from token weights, or from a name.

Wang et al., "Style Tokens: Unsupervised Style Modeling, Control and Transfer in End-to-End Speech Synthesis" (arXiv
1803.09017), section 2.1: a reference encoder and an attention over learned tokens. What we changed, so that style is
learned from minutes of speech and is not the speaker:

- the reference is centred on its **voice**: each mel band minus that voice's mean, over its deviation, and the pitch
  contour normalised by the same voice's; a reference of an unknown speaker is centred on itself (`own_means`), and the
  encoder is told so;
- the encoder is one-dimensional over time and ends in the mean and deviation of its channels over the frames, where the
  paper's has 2-D convolutions and a GRU's last state: it forgets what was said, and it needs no packed sequence, which
  ONNX Runtime rejects;
- a speaker classifier behind a gradient reversal (Ganin et al., "Domain-Adversarial Training of Neural Networks", arXiv
  1505.07818, eq. 13-15) drives the speaker out of the vector, and where the manifest has labels a linear classifier
  drives the style into it. Both are of training only.

Everything is masked by the lengths: utterances of a batch do not touch each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nemo_ext.config import number
from nemo_ext.errors import NemoExtError
from nemo_ext.modules.alignment import mask_from_lens

_LEAST_DEVIATION = 0.1  # of a mel band, in natural log: a band that hardly moves is not blown up


@dataclass
class StyleConfig:
    """Global style tokens: conf/model/style/*.yaml."""

    tokens: int = number(0, 0, 4096)  # how many; 0: the model has no style
    size: int = number(32, 1, 8192)  # S, length of the style vector
    heads: int = number(4, 1, 1024)  # of the attention over the tokens; S is a multiple of it
    width: int = number(64, 1, 8192)  # channels of the reference encoder
    layers: int = number(3, 0, 64)  # convolutions, each of which halves the number of frames
    kernel_size: int = number(5, 1, 255)  # frames
    dropout: float = number(0.2, 0.0, 0.99)  # in the reference encoder
    unstyled: float = number(
        0.1, 0.0, 1.0
    )  # share of the training utterances that are given no style, so that none can be asked for
    own: float = number(
        0.2, 0.0, 1.0
    )  # share of the training references centred on themselves, as an unknown speaker's are
    adversary: float = number(0.3, 0.0)  # factor on the reversed gradient of the speaker classifier; 0: none
    labels: float = number(1.0, 0.0)  # weight of the style classifier, where the manifest has labels; 0: none


class StyleEncoder(nn.Module):
    """Reference encoder and style tokens: a recording's features -> style ``(B, S)``."""

    def __init__(self, config: StyleConfig, n_mels: int) -> None:
        """
        Raises:
            NemoExtError: a size that is no multiple of the heads, or no layer.
        """
        super().__init__()
        if config.size % config.heads or config.layers < 1 or config.kernel_size % 2 == 0:
            raise NemoExtError(
                f"model.style: size {config.size} must be a multiple of heads {config.heads}, layers at least 1, "
                f"kernel_size {config.kernel_size} odd"
            )
        width, head = config.width, config.size // config.heads
        self.heads = config.heads
        self.convs = nn.ModuleList(
            # mel, pitch, whether there is a pitch, whether the reference is centred on itself
            nn.Conv1d(n_mels + 3 if i == 0 else width, width, config.kernel_size, 2, config.kernel_size // 2)
            for i in range(config.layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(config.layers))
        self.drop = nn.Dropout(config.dropout)
        self.query = nn.Linear(2 * width, config.size)
        self.tokens = nn.Parameter(torch.randn(config.tokens, head))
        self.key, self.value = nn.Linear(head, config.size), nn.Linear(head, config.size)

    def forward(self, mel: Tensor, pitch_normalized: Tensor, lens: Tensor, statistics: Tensor, alone: Tensor) -> Tensor:
        """Style ``(B, S)`` of references.

        Args:
            mel: log-mel ``(B, n_mels, T)``.
            pitch_normalized: ``(B, T)``, by the mean and the deviation of the speaker's voice; 0 where unvoiced.
            lens: ``(B,)`` frames, at least 1.
            statistics: ``(B, 2, n_mels)``, mean and deviation of the log-mels of each reference's voice.
            alone: ``(B,)``, 1 where the reference is centred on itself and its level and register say nothing, else 0.
        """
        centred = (mel - statistics[:, 0, :, None]) / statistics[:, 1, :, None].clamp(min=_LEAST_DEVIATION)
        pitch = pitch_normalized[:, None]
        x = torch.cat([centred, pitch, (pitch != 0).to(mel.dtype), alone[:, None, None].expand_as(pitch)], dim=1)
        keep = mask_from_lens(lens, x.shape[2])[:, None].to(mel.dtype)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = conv(x * keep)
            lens = torch.div(lens - 1, 2, rounding_mode="floor") + 1
            keep = mask_from_lens(lens, x.shape[2])[:, None].to(mel.dtype)
            x = self.drop(torch.relu(norm(x.transpose(1, 2)))).transpose(1, 2)
        frames = lens[:, None].to(mel.dtype)
        mean = (x * keep).sum(2) / frames
        variance = ((x - mean[..., None]).square() * keep).sum(2) / frames
        return self.attend(self.query(torch.cat([mean, torch.sqrt(variance + 1e-5)], dim=1)))

    def attend(self, query: Tensor) -> Tensor:
        """``query (B, S)`` -> style ``(B, S)``: each head a mean of the tokens, weighted by its attention."""
        key, value = self._memory()
        cut = query.reshape(query.shape[0], self.heads, -1)
        weights = torch.softmax(torch.einsum("bhd,nhd->bhn", cut, key) / math.sqrt(cut.shape[2]), dim=-1)
        return torch.einsum("bhn,nhd->bhd", weights, value).flatten(1)

    def from_weights(self, weights: Tensor) -> Tensor:
        """``weights (B, tokens)``, the same in every head -> style ``(B, S)``.

        Weights of a reference sum to 1 and are none below 0; others are possible, and go beyond what was learned.

        Raises:
            NemoExtError: another number of weights than there are tokens.
        """
        _, value = self._memory()
        if weights.shape[1] != len(value):
            raise NemoExtError(f"{weights.shape[1]} token weights, and this model has {len(value)} style tokens")
        return torch.einsum("bn,nhd->bhd", weights.to(value), value).flatten(1)

    def _memory(self) -> tuple[Tensor, Tensor]:
        """Keys and values of the tokens, each ``(tokens, heads, S / heads)``."""
        tokens = torch.tanh(self.tokens)
        shape = (len(tokens), self.heads, -1)
        return self.key(tokens).reshape(shape), self.value(tokens).reshape(shape)


class StyleHeads(nn.Module):
    """Of training only: says style and speaker from the style vector, and has the encoder unlearn the latter."""

    def __init__(self, config: StyleConfig, styles: int, voices: int) -> None:
        """``styles``, ``voices``: how many; a classifier of fewer than two is left out."""
        super().__init__()
        self.config = config
        self.style = nn.Linear(config.size, styles) if styles > 1 and config.labels > 0 else None
        self.speaker = (
            nn.Sequential(nn.Linear(config.size, 64), nn.ReLU(), nn.Linear(64, voices))
            if voices > 1 and config.adversary > 0
            else None
        )

    def forward(self, style: Tensor, style_ids: Tensor | None, voice_ids: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """The losses that there are: ``style`` (weighed) and ``speaker``, whose gradient comes back reversed.

        ``style (B, S)``; ``style_ids (B,)``, -1 where not known; ``weights (styles,)`` of the classes.
        """
        losses: dict[str, Tensor] = {}
        if self.style is not None and style_ids is not None:
            known = (style_ids >= 0).to(style.dtype)
            targets = style_ids.clamp(min=0)
            # smoothed: with some hundred utterances a classifier is soon certain of all of them
            each = F.cross_entropy(self.style(style), targets, weights, label_smoothing=0.1, reduction="none")
            losses["style"] = self.config.labels * (each * known).sum() / known.sum().clamp(min=1.0)
        if self.speaker is not None:
            reversed_ = _Reversed.apply(style, self.config.adversary)
            losses["speaker"] = F.cross_entropy(self.speaker(reversed_), voice_ids)
        return losses


class _Reversed(torch.autograd.Function):
    """The identity, whose gradient comes back with the opposite sign."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.factor * gradient, None


def own_means(mel: Tensor, pitch_normalized: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
    """What a reference is centred on when its speaker is not known: itself.

    ``mel (B, n_mels, T)``, ``pitch_normalized (B, T)`` -> the mean of each band ``(B, n_mels)``, and the pitch contour
    ``(B, T)`` with the mean of its voiced frames taken away. Deviations are those of a typical voice: a reference's
    own would flatten how lively it is.
    """
    keep = mask_from_lens(lens, mel.shape[2]).to(mel.dtype)
    mean = (mel * keep[:, None]).sum(2) / lens[:, None].to(mel.dtype)
    voiced = (pitch_normalized != 0).to(mel.dtype) * keep
    level = (pitch_normalized * voiced).sum(1, keepdim=True) / voiced.sum(1, keepdim=True).clamp(min=1.0)
    return mean, (pitch_normalized - level) * voiced
