"""Generators: from a log-mel to a waveform.

- `VocosGenerator`: Siuzdak, "Vocos: Closing the gap between time-domain and Fourier-based neural vocoders for
  high-quality audio synthesis" (arXiv 2306.00814), on the block of Liu et al., "A ConvNet for the 2020s" (arXiv
  2201.03545). What we changed is said in its docstring.
- `hifigan_generator`: NeMo's generator of Kong et al., "HiFi-GAN" (arXiv 2010.05646).

Every generator is a function ``mel (B, n_mels, T_mel) -> audio (B, T_mel * hop_length)`` without randomness or a
branch on the data.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nemo_ext.audio.mel import mel_basis
from nemo_ext.modules.istft import InverseSTFT, RealInverseSTFT
from nemo_ext.types import MelSpec

# Log-mels of speech lie in about [-11.5, 2]: brought to about [-2, 2]. Constants, so that a checkpoint needs no
# statistics and any corpus may use it.
_MEL_CENTRE, _MEL_SCALE = -5.0, 3.0
_TYPICAL_PITCH, _LOWEST_PITCH, _HIGHEST_PITCH = 150.0, 50.0, 800.0  # Hz
_BETWEEN_HARMONICS = 3e-3  # least magnitude beside a harmonic, -50 dB, so that its logarithm can be learned
_MAX_MAGNITUDE = 100.0  # of a spectral bin: what the paper clips at, against an overflow of the exponential


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then two linear layers a frame, added to the input: ``(B, 1, T, C)`` kept.

    Args:
        width: C.
        hidden_width: channels between the two linear layers.
        kernel_size: frames, odd.
        scale: initial factor on the block's change of its input, a vector that is learned.
    """

    def __init__(self, width: int, hidden_width: int, kernel_size: int, scale: float) -> None:
        super().__init__()
        # channels last and two-dimensional: on CPUs twice as fast as a Conv1d, and no transposition a block
        self.depthwise = nn.Conv2d(width, width, (1, kernel_size), padding=(0, kernel_size // 2), groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.widen = nn.Linear(width, hidden_width)
        self.narrow = nn.Linear(hidden_width, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 1, T, C)`` -> ``(B, 1, T, C)``."""
        y = self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.scale * self.narrow(F.gelu(self.widen(self.norm(y))))


class Harmonics(nn.Module):
    """Where the harmonics of a voice lie in its spectrum and how their phases run on, from a pitch read off the mel.

    A stationary voice has a mel that does not change, while the phase of each harmonic turns from frame to frame: no
    convolution over the mel can tell it. The pitch can, summed up over time. The idea of a source beside the filter is
    that of Wang et al., "Neural source-filter waveform models" (arXiv 1904.12088), here in the spectrum.

    Args:
        mel_spec: of the input.
        width: channels of the pitch's convolutions.
    """

    bins: Tensor

    def __init__(self, mel_spec: MelSpec, width: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(mel_spec.n_mels, width, 5, padding=2),
            nn.GELU(),
            nn.Conv1d(width, width, 5, padding=2),
            nn.GELU(),
            nn.Conv1d(width, 1, 1),
        )
        self.hz_per_bin = mel_spec.sample_rate / mel_spec.n_fft
        self.frame_seconds = mel_spec.hop_length / mel_spec.sample_rate
        self.register_buffer("bins", torch.arange(mel_spec.n_fft // 2 + 1.0)[:, None], persistent=False)

    def log_pitch(self, mel: Tensor) -> Tensor:
        """``mel (B, n_mels, T_mel)`` -> natural log of F0 in Hz ``(B, T_mel)``, a value where unvoiced too."""
        pitch: Tensor = self.layers((mel - _MEL_CENTRE) / _MEL_SCALE)[:, 0]
        return pitch + math.log(_TYPICAL_PITCH)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """``mel`` -> magnitude in [0, 1] and phase, ``(B, bins, T_mel)``, of the harmonic nearest to each bin.

        No gradient reaches the pitch: the spectrum's error says nothing of it that a step could follow.
        """
        pitch = torch.exp(self.log_pitch(mel).detach().float()).clamp(_LOWEST_PITCH, _HIGHEST_PITCH)[:, None]
        turns = pitch * self.frame_seconds  # of the fundamental from frame to frame
        turns = F.pad((turns[:, :, 1:] + turns[:, :, :-1]) / 2, (1, 0))
        # Only parts of a turn count, and small sums are exact: a long utterance keeps its high harmonics' phase.
        turns = torch.cumsum(turns - torch.round(turns), dim=2)
        hz = self.bins * self.hz_per_bin
        number = torch.round(hz / pitch).clamp(min=1.0)
        distance = ((hz - number * pitch) / self.hz_per_bin).clamp(-2.0, 2.0)  # bins: the lobe of a Hann window
        magnitude = (0.5 + 0.5 * torch.cos(0.5 * math.pi * distance)).clamp(min=_BETWEEN_HARMONICS)
        turns = number * (turns - torch.round(turns))
        return magnitude, 2.0 * math.pi * (turns - torch.round(turns))


class VocosGenerator(nn.Module):
    """ConvNeXt blocks at the rate of the mel, then magnitude and phase of a spectrum a frame, then its inverse STFT.

    What we changed:

    - The log-magnitude is the mel's own, interpolated to the bins of the spectrum by a linear layer that starts as that
      interpolation, plus what the network adds.
    - With ``harmonic`` the spectrum is the sum of the paper's and of a second one, whose magnitudes are multiplied by,
      and whose phases are added to, those of the harmonics of the voice (``Harmonics``).
    - Phases count from the centre of the frame, which is at sample ``i * hop_length`` as the mel's is; the output has
      ``T_mel * hop_length`` samples.

    Args:
        mel_spec: of the input; its ``n_fft`` and ``hop_length`` are the inverse transform's too.
        width: channels between blocks.
        hidden_width: channels inside a block.
        layers: blocks.
        kernel_size: frames that a block's convolution sees, odd.
        harmonic: add the harmonics; a frame then depends on all before it, by one sum.
    """

    sign: Tensor

    def __init__(
        self,
        mel_spec: MelSpec,
        width: int,
        hidden_width: int,
        layers: int,
        kernel_size: int = 7,
        harmonic: bool = False,
    ) -> None:
        super().__init__()
        bins = mel_spec.n_fft // 2 + 1
        self.embed = nn.Conv1d(mel_spec.n_mels, width, kernel_size, padding=kernel_size // 2)
        self.norm_first = nn.LayerNorm(width, eps=1e-6)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(width, hidden_width, kernel_size, scale=1.0 / layers) for _ in range(layers)
        )
        self.norm_last = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, (4 if harmonic else 2) * bins)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.harmonics = Harmonics(mel_spec) if harmonic else None
        if harmonic:  # the voiced part begins in the harmonics, which know the pitch, and not in a pulse a frame
            nn.init.constant_(self.head.bias[:bins], -1.0)
        self.envelope = nn.Linear(mel_spec.n_mels, bins)
        weight, bias = mel_to_magnitude(mel_spec)
        with torch.no_grad():
            self.envelope.weight.copy_(torch.from_numpy(weight))
            self.envelope.bias.copy_(torch.from_numpy(bias))
        self.inverse = InverseSTFT(mel_spec.n_fft, mel_spec.hop_length)
        # half a frame later is half a turn a bin
        self.register_buffer("sign", (1.0 - 2.0 * (torch.arange(bins) % 2))[:, None], persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        """``mel (B, n_mels, T_mel)`` natural-log mel -> audio ``(B, T_mel * hop_length)``, not clipped."""
        real, imaginary = self.spectrum(mel)
        # half precision cannot hold a spectrum's range, and no FFT takes it
        with torch.autocast(mel.device.type, enabled=False):
            audio: Tensor = self.inverse(torch.complex(real, imaginary))
        return audio

    def spectrum(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """``mel (B, n_mels, T_mel)`` -> real and imaginary part of the spectrum, ``(B, bins, T_mel)`` float32."""
        x = self.embed(((mel - _MEL_CENTRE) / _MEL_SCALE).to(self.embed.weight.dtype))
        x = self.norm_first(x.transpose(1, 2))[:, None]
        for block in self.blocks:
            x = block(x)
        x = self.head(self.norm_last(x[:, 0]))
        with torch.autocast(mel.device.type, enabled=False):
            envelope = self.envelope(mel.float().transpose(1, 2)).transpose(1, 2)
            log_magnitude, phase, *harmonic = x.float().transpose(1, 2).chunk(4 if self.harmonics else 2, dim=1)
            real, imaginary = _polar(envelope + log_magnitude, phase)
            if self.harmonics is not None:
                magnitude, turned = self.harmonics(mel.float())
                voiced = _polar(envelope + harmonic[0], turned + harmonic[1])
                real, imaginary = real + magnitude * voiced[0], imaginary + magnitude * voiced[1]
            return self.sign * real, self.sign * imaginary


def _polar(log_magnitude: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part: graphs know no complex numbers."""
    magnitude = torch.exp(log_magnitude).clamp(max=_MAX_MAGNITUDE)
    return magnitude * torch.cos(phase), magnitude * torch.sin(phase)


class DeployedVocos(nn.Module):
    """A VocosGenerator in operations that a graph has: the inverse transform is a matrix product.

    Args:
        generator: which this module owns from now on.
        precision: fp32 or fp16, of the network; spectrum and harmonics stay float32.
    """

    def __init__(self, generator: VocosGenerator, precision: str = "fp32") -> None:
        super().__init__()
        self.generator, self.inverse = generator, RealInverseSTFT(generator.inverse)
        if precision == "fp16":
            for part in (generator.embed, generator.norm_first, generator.blocks, generator.norm_last, generator.head):
                part.half()

    def forward(self, mel: Tensor) -> Tensor:
        """``mel (B, n_mels, T_mel)`` -> audio ``(B, T_mel * hop_length)``, not clipped."""
        audio: Tensor = self.inverse(*self.generator.spectrum(mel))
        return audio


def mel_to_magnitude(spec: MelSpec) -> tuple[np.ndarray, np.ndarray]:
    """The linear map from a log-mel to the log-magnitudes of the spectrum's bins: ``(bins, n_mels)`` and ``(bins,)``.

    Each bin is interpolated between the two filters whose centres lie around it; the offset undoes the filters' gain.
    Above the highest filter its value is held.
    """
    basis = mel_basis(spec).numpy()
    # Where a filter is narrower than a bin it is empty: the interpolation then passes over it.
    gain = basis.sum(axis=1)
    filled = np.flatnonzero(gain > 0)
    bins = np.arange(basis.shape[1])
    centres = (basis[filled] * bins).sum(axis=1) / gain[filled]
    right = np.clip(np.searchsorted(centres, bins), 1, len(filled) - 1)
    share = np.clip((bins - centres[right - 1]) / (centres[right] - centres[right - 1]), 0.0, 1.0)
    weight = np.zeros((len(bins), len(gain)), np.float32)
    weight[bins, filled[right - 1]] = 1.0 - share
    weight[bins, filled[right]] = share
    weight /= spec.mag_power
    bias = -weight[:, filled] @ np.log(gain[filled])
    return weight, bias.astype(np.float32)


def hifigan_generator(
    mel_spec: MelSpec,
    resblock: int,
    upsample_rates: Sequence[int],
    upsample_kernel_sizes: Sequence[int],
    upsample_initial_channel: int,
    resblock_kernel_sizes: Sequence[int],
    resblock_dilation_sizes: Sequence[Sequence[int]],
) -> nn.Module:
    """NeMo's HiFi-GAN generator: ``mel (B, n_mels, T_mel)`` -> audio ``(B, 1, T_mel * prod(upsample_rates))``."""
    from nemo.collections.tts.modules.hifigan_modules import Generator

    with warnings.catch_warnings():
        # NeMo's weight norm is the one torch has deprecated; stock checkpoints hold its weight_g and weight_v
        warnings.simplefilter("ignore", FutureWarning)
        generator: nn.Module = Generator(
            resblock=resblock,
            upsample_rates=list(upsample_rates),
            upsample_kernel_sizes=list(upsample_kernel_sizes),
            upsample_initial_channel=upsample_initial_channel,
            resblock_kernel_sizes=list(resblock_kernel_sizes),
            resblock_dilation_sizes=[list(sizes) for sizes in resblock_dilation_sizes],
            initial_input_size=mel_spec.n_mels,
        )
    return generator


def fold_weight_norm(generator: Any) -> None:
    """Replace every weight-normalised weight of ``generator`` by its value, in place: for a copy that is exported."""
    for module in generator.modules():
        if hasattr(module, "weight_g"):
            nn.utils.remove_weight_norm(module)


class DeployedHifiGan(nn.Module):
    """NeMo's generator with its weight norm folded, and without the buffer of zeros that it adds each block to.

    Args:
        generator: a copy, which this module owns from now on.
        precision: fp32 or fp16, of its weights.
    """

    def __init__(self, generator: Any, precision: str = "fp32") -> None:
        super().__init__()
        fold_weight_norm(generator)  # in float32: the norm of a float16 weight would be a coarse one
        self.generator = generator.half() if precision == "fp16" else generator

    def forward(self, mel: Tensor) -> Tensor:
        """``mel (B, n_mels, T_mel)`` -> audio ``(B, 1, T_mel * hop_length)`` float32."""
        own = self.generator
        x = own.conv_pre(mel.to(own.conv_pre.weight.dtype))
        for upsample, blocks in zip(own.ups, own.resblocks, strict=True):
            x = upsample(F.leaky_relu(x, own.lrelu_slope))
            x = sum(block(x) for block in blocks) / own.num_kernels
        audio: Tensor = torch.tanh(own.conv_post(F.leaky_relu(x)).float())
        return audio
