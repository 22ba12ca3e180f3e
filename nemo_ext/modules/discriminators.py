"""Discriminators: each scores a waveform and shows its feature maps.

- Multi-period and multi-scale: Kong et al., "HiFi-GAN" (arXiv 2010.05646), section 2.3; NeMo's modules, with their
  state dict.
- Multi-resolution: Jang et al., "UnivNet" (arXiv 2106.07889), section 2.3, used by Vocos. What we changed: the strides
  run over frequency, where neighbouring bins say the same, and keep every frame.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from nemo_ext.audio.mel import magnitude
from nemo_ext.types import MelSpec

_SLOPE = 0.1  # of the leaky ReLU


@dataclass
class Verdict:
    """What several discriminators say of one batch of audio."""

    scores: list[Tensor]  # one a discriminator, (B, positions)
    maps: list[list[Tensor]]  # of each discriminator, of each layer

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(self.scores + other.scores, self.maps + other.maps)

    def split(self) -> tuple[Verdict, Verdict]:
        """The verdicts on the first and on the second half of the batch."""
        halves = [
            Verdict(
                [score.chunk(2)[half] for score in self.scores],
                [[layer.chunk(2)[half] for layer in maps] for maps in self.maps],
            )
            for half in (0, 1)
        ]
        return halves[0], halves[1]


class MultiPeriod(nn.Module):
    """NeMo's multi-period discriminator: audio ``(B, T_audio)`` -> Verdict. ``small`` has 1/16 of the channels."""

    def __init__(self, small: bool = False) -> None:
        super().__init__()
        from nemo.collections.tts.modules.hifigan_modules import MultiPeriodDiscriminator

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # NeMo's weight norm is deprecated in torch
            self.discriminators = MultiPeriodDiscriminator(debug=small).discriminators

    def forward(self, audio: Tensor) -> Verdict:
        """One score and its maps for each period."""
        said = [discriminator(x=audio[:, None]) for discriminator in self.discriminators]
        return Verdict([score for score, _ in said], [maps for _, maps in said])


class MultiScale(nn.Module):
    """NeMo's multi-scale discriminator: audio ``(B, T_audio)`` -> Verdict. ``small`` has 1/16 of the channels."""

    def __init__(self, small: bool = False) -> None:
        super().__init__()
        from nemo.collections.tts.modules.hifigan_modules import MultiScaleDiscriminator

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            stock = MultiScaleDiscriminator(debug=small)
        self.discriminators, self.meanpools = stock.discriminators, stock.meanpools

    def forward(self, audio: Tensor) -> Verdict:
        """One score and its maps for the audio and for each halving of its rate."""
        x = audio[:, None]
        said = []
        for i, discriminator in enumerate(self.discriminators):
            x = self.meanpools[i - 1](x) if i else x
            said.append(discriminator(x=x))
        return Verdict([score for score, _ in said], [maps for _, maps in said])


class MultiResolution(nn.Module):
    """Discriminators of magnitude spectrograms at several resolutions: audio ``(B, T_audio)`` -> Verdict."""

    def __init__(self, mel_spec: MelSpec, n_ffts: Sequence[int], channels: int) -> None:
        super().__init__()
        self.resolutions = [
            dataclasses.replace(mel_spec, n_fft=n_fft, win_length=n_fft, hop_length=n_fft // 4) for n_fft in n_ffts
        ]
        self.discriminators = nn.ModuleList(_SpectrogramDiscriminator(channels) for _ in n_ffts)

    def forward(self, audio: Tensor) -> Verdict:
        """One score and its maps for each resolution."""
        said = [
            discriminator(magnitude(audio, resolution).transpose(1, 2)[:, None])
            for discriminator, resolution in zip(self.discriminators, self.resolutions, strict=True)
        ]
        return Verdict([score for score, _ in said], [maps for _, maps in said])


class _SpectrogramDiscriminator(nn.Module):
    """magnitudes ``(B, 1, frames, bins)`` -> score ``(B, positions)``, feature maps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                weight_norm(nn.Conv2d(1, channels, (3, 9), padding=(1, 4))),
                *(weight_norm(nn.Conv2d(channels, channels, (3, 9), (1, 2), padding=(1, 4))) for _ in range(3)),
                weight_norm(nn.Conv2d(channels, channels, kernel_size=3, padding=1)),
            ]
        )
        self.last = weight_norm(nn.Conv2d(channels, 1, kernel_size=3, padding=1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), _SLOPE)
            maps.append(x)
        x = self.last(x)
        maps.append(x)
        return torch.flatten(x, 1), maps
