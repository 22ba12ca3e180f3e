"""Inverse short-time Fourier transform with exactly ``T_mel * hop_length`` samples out.

Frame ``i`` is centred on sample ``i * hop_length``, as in the centred STFT that makes our mels, so a segment of mel
frames ``[i, i + n)`` belongs to the samples ``[i * hop, (i + n) * hop)``. ``torch.istft`` gives ``(T_mel - 1) * hop``
samples and refuses a single frame; here the sum of windows is divided out sample by sample instead (Griffin and Lim,
"Signal estimation from modified short-time Fourier transform", 1984, equation 6), which is defined at every edge.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class InverseSTFT(nn.Module):
    """spectrum ``(B, n_fft // 2 + 1, T_mel)`` complex -> audio ``(B, T_mel * hop_length)``.

    Args:
        n_fft: samples of a frame and of its Hann window; a multiple of ``2 * hop_length``.
        hop_length: samples from one frame to the next.
    """

    window: Tensor
    weight: Tensor

    def __init__(self, n_fft: int, hop_length: int) -> None:
        super().__init__()
        if n_fft % (2 * hop_length):
            raise ValueError(f"n_fft {n_fft} is not a multiple of twice the hop {hop_length}")
        self.n_fft, self.hop_length, self.overlap = n_fft, hop_length, n_fft // hop_length
        window = torch.hann_window(n_fft)
        self.register_buffer("window", window[:, None], persistent=False)  # (n_fft, 1)
        self.register_buffer("weight", window.square()[None, :, None], persistent=False)  # (1, n_fft, 1)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Overlap-add of the windowed frames, divided by the sum of the squared windows."""
        frames = torch.fft.irfft(spectrum, self.n_fft, dim=1) * self.window  # (B, n_fft, T)
        windows = self.weight.expand(1, self.n_fft, frames.shape[2])
        return self._overlap_add(frames) / self._overlap_add(windows)

    def _overlap_add(self, frames: Tensor) -> Tensor:
        """``(B, n_fft, T)`` -> ``(B, T * hop_length)``, without the half frame before sample 0.

        Each frame is ``overlap`` blocks of a hop; block ``j`` of frame ``i`` lands on block ``i + j`` of the output.
        """
        length = frames.shape[2]
        blocks = frames.reshape(frames.shape[0], self.overlap, self.hop_length, length)
        last = self.overlap - 1
        padded = [F.pad(blocks[:, j], (j, last - j)) for j in range(self.overlap)]  # (B, hop, T + overlap - 1)
        added = torch.stack(padded).sum(0)
        first = self.overlap // 2  # half a frame: sample 0 is the centre of frame 0
        kept = added[:, :, first : first + length]
        return kept.transpose(1, 2).reshape(frames.shape[0], length * self.hop_length)


class RealInverseSTFT(nn.Module):
    """The same transform of a spectrum in two parts, without complex numbers or an FFT, which graphs lack.

    A frame is a sum of cosines and sines, weighted by the window: two matrix products, exact to rounding.
    """

    cosines: Tensor
    sines: Tensor

    def __init__(self, inverse: InverseSTFT) -> None:
        super().__init__()
        self.inverse, n = inverse, inverse.n_fft
        turns = torch.arange(n, dtype=torch.float64)[:, None] * torch.arange(n // 2 + 1, dtype=torch.float64) / n
        weight = torch.full((n // 2 + 1,), 2.0 / n, dtype=torch.float64)
        weight[[0, -1]] = 1.0 / n  # these two have no mirror image
        window = inverse.window.double() * weight
        self.register_buffer("cosines", (window * torch.cos(2 * torch.pi * turns)).float(), persistent=False)
        self.register_buffer("sines", (-window * torch.sin(2 * torch.pi * turns)).float(), persistent=False)

    def forward(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """``real``, ``imaginary (B, n_fft // 2 + 1, T_mel)`` -> audio ``(B, T_mel * hop_length)``."""
        own = self.inverse
        frames = torch.matmul(self.cosines, real) + torch.matmul(self.sines, imaginary)
        windows = own.weight.expand(1, own.n_fft, frames.shape[2])
        return own._overlap_add(frames) / own._overlap_add(windows)
