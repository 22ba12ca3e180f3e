"""Spectral losses of a waveform against another: mel L1 and the multi-resolution STFT loss.

Mel L1: Kong et al., "HiFi-GAN" (arXiv 2010.05646), section 3.3, on the mel up to half the sample rate, since the input
mel may end below. Multi-resolution STFT: Yamamoto et al., "Parallel WaveGAN" (arXiv 1910.11480), equations 5-7:
spectral convergence and the L1 of the log-magnitudes, averaged over resolutions. What we changed: the window is as long
as the transform, the hop a quarter of it, and the logarithm has a floor, so that silence has finite gradients.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from nemo_ext.audio.mel import log_mel, magnitude
from nemo_ext.losses.ranks import sum_over_ranks, together
from nemo_ext.types import MelSpec

# Added to magnitudes before the logarithm: 80 dB and more below speech; quieter bins are 16-bit quantisation.
_FLOOR = 1e-4


def full_band(spec: MelSpec) -> MelSpec:
    """``spec`` with filters up to half the sample rate."""
    return dataclasses.replace(spec, f_max=spec.sample_rate / 2)


def mel_l1(predicted: Tensor, target: Tensor, spec: MelSpec) -> Tensor:
    """Mean absolute difference of the log-mels of two ``(B, T_audio)`` waveforms: a scalar."""
    return F.l1_loss(log_mel(predicted, spec), log_mel(target, spec))


def multi_resolution_stft(
    predicted: Tensor, target: Tensor, spec: MelSpec, n_ffts: Sequence[int], share: float = 1.0
) -> Tensor:
    """Spectral convergence plus log-magnitude L1 of two ``(B, T_audio)`` waveforms, mean over ``n_ffts``: a scalar.

    The convergence is a quotient of norms over the whole batch, the parts of it on other ranks included. ``share``:
    what the mean over this part counts for beside theirs; 0 for a spare part, which is not in the norms either.
    """
    if not share:
        predicted, target = 0.0 * predicted, 0.0 * target
    losses = []
    for n_fft in n_ffts:
        resolution = dataclasses.replace(spec, n_fft=n_fft, win_length=n_fft, hop_length=n_fft // 4)
        ours, theirs = magnitude(predicted, resolution), magnitude(target, resolution)
        missed, there = _norm_over_ranks(ours - theirs), _norm_over_ranks(theirs)
        convergence = missed / (there + _FLOOR)  # the guard keeps a batch of digital silence finite
        losses.append(convergence + share * F.l1_loss(torch.log(ours + _FLOOR), torch.log(theirs + _FLOOR)))
    return torch.stack(losses).mean()


def _norm_over_ranks(values: Tensor) -> Tensor:
    """Euclidean norm of ``values`` of all ranks together."""
    here = torch.linalg.vector_norm(values)
    if not together():
        return here
    return torch.sqrt(sum_over_ranks(here.square()) + torch.finfo(here.dtype).tiny)  # the root of 0 has no gradient
