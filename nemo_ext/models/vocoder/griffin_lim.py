"""Griffin-Lim: audio from a mel without any training.

Perraudin, Balazs and Sondergaard, "A fast Griffin-Lim algorithm" (WASPAA 2013), on Griffin and Lim, "Signal estimation
from modified short-time Fourier transform" (1984). The linear spectrum is the non-negative one whose mel is nearest, by
multiplicative updates: Lee and Seung, "Algorithms for non-negative matrix factorization" (2000). What we changed: the
first phase comes from a fixed seed, so that the same mel always sounds the same, and the result is scaled to the mel's
level.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nemo_ext.audio.mel import mel_basis
from nemo_ext.modules.istft import InverseSTFT
from nemo_ext.types import MelSpec

_TINY = 1e-8


class GriffinLim(nn.Module):
    """mel ``(B, n_mels, T_mel)`` -> audio ``(B, T_mel * hop_length)``; nothing to train.

    Args:
        mel_spec: of the mels it is given.
        iterations: of the phase; 32 are enough for speech to be understood.
        momentum: of Perraudin's acceleration; 0 is the algorithm of 1984.
    """

    window: Tensor

    def __init__(self, mel_spec: MelSpec, iterations: int = 32, momentum: float = 0.99) -> None:
        super().__init__()
        self.mel_spec, self.iterations, self.momentum = mel_spec, iterations, momentum
        self.inverse = InverseSTFT(mel_spec.n_fft, mel_spec.hop_length)
        self.register_buffer("window", torch.hann_window(mel_spec.n_fft), persistent=False)

    @torch.inference_mode()
    def decode(self, mel: Tensor) -> Tensor:
        """``mel (B, n_mels, T_mel)`` log-mel -> audio ``(B, T_mel * hop_length)`` in [-1, 1], always the same.

        Each utterance by itself: a product over a batch may round otherwise than one over a part of it, and the
        iterations blow that up wherever a bin is nearly empty and its phase hangs on the last digits.
        """
        return torch.cat([self._decode(one[None].contiguous()) for one in mel.float()])

    def _decode(self, mel: Tensor) -> Tensor:
        """``mel (1, n_mels, T_mel)`` -> audio ``(1, T_mel * hop_length)``."""
        magnitude = self.linear(mel)
        generator = torch.Generator().manual_seed(0)
        turns = torch.rand(magnitude.shape[1:], generator=generator).to(mel.device)
        phase = torch.polar(torch.ones_like(turns), 2 * torch.pi * turns)
        before = torch.zeros((), device=mel.device)
        for _ in range(self.iterations):
            consistent = self._stft(self.inverse(magnitude * phase))
            ahead = consistent + self.momentum * (consistent - before)
            phase, before = ahead / ahead.abs().clamp(min=_TINY), consistent
        audio = self.inverse(magnitude * phase)
        return self._levelled(audio, magnitude).clamp(-1.0, 1.0)

    forward = decode

    def linear(self, mel: Tensor) -> Tensor:
        """Magnitudes ``(B, n_fft // 2 + 1, T_mel)`` whose mel is ``mel``, smooth where the mel does not tell."""
        spec = self.mel_spec
        basis = mel_basis(spec, mel.device)
        target = (torch.exp(mel) - spec.log_guard).clamp(min=0.0)
        # Started from each filter's own value spread over its bins: bins of no filter stay empty.
        power = basis.T @ (target / (basis.square().sum(1)[:, None] + _TINY))
        for _ in range(32):
            power = power * (basis.T @ target) / (basis.T @ (basis @ power) + _TINY)
        return power.clamp(min=0.0) ** (1.0 / spec.mag_power)

    def _stft(self, audio: Tensor) -> Tensor:
        """``(B, T_mel * hop)`` -> ``(B, bins, T_mel)``: the last of the centred frames lies beyond the mel."""
        spec = self.mel_spec
        frames = torch.stft(
            audio, spec.n_fft, spec.hop_length, window=self.window, pad_mode="constant", return_complex=True
        )
        return frames[:, :, :-1]

    def _levelled(self, audio: Tensor, magnitude: Tensor) -> Tensor:
        """``audio`` scaled so that its spectrum has the energy that was asked for: inconsistent phases cancel some."""
        wanted = torch.linalg.vector_norm(magnitude, dim=(1, 2))
        got = torch.linalg.vector_norm(self._stft(audio).abs(), dim=(1, 2))
        return audio * (wanted / got.clamp(min=_TINY)).clamp(max=4.0)[:, None]
