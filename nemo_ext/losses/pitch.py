"""Pitch of the audio in a batch, for a part of a model that must learn it where no pitch was prepared.

Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled sound"
(1993): the autocorrelation of the windowed frame, divided by that of the window. What we changed: the best peak of each
frame is taken, without a path over the frames, since a few octave errors do not move a mean absolute error's optimum.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from nemo_ext.audio.mel import hann_window
from nemo_ext.types import MelSpec

_VOICED = 0.6  # least normalised autocorrelation of a voiced frame
_QUIET = 1e-6  # mean square below which a frame has no pitch, -60 dB
_OCTAVE_COST = 0.05  # of the autocorrelation for each octave down, so that a multiple of the period does not win


def pitch_by_autocorrelation(audio: Tensor, spec: MelSpec, f_min: float = 65.0, f_max: float = 600.0) -> Tensor:
    """F0 of ``audio (B, T_audio)`` -> ``(B, T_audio // hop_length)`` Hz, 0 where unvoiced, without gradients."""
    longest, shortest = int(spec.sample_rate / f_min) + 2, int(spec.sample_rate / f_max) - 1  # samples
    n_fft = 2 ** (2 * spec.win_length - 1).bit_length()
    with torch.no_grad(), torch.autocast(audio.device.type, enabled=False):
        spectrum = torch.stft(
            audio.float(),
            n_fft,
            spec.hop_length,
            spec.win_length,
            hann_window(spec.win_length, audio.device),
            pad_mode="constant",
            return_complex=True,
        )[:, :, : audio.shape[1] // spec.hop_length]
        correlation = torch.fft.irfft(spectrum.abs().square(), dim=1)[:, :longest]  # (B, lag, T)
        energy = correlation[:, :1]
        of_window = _window_correlation(spec.win_length, n_fft, str(audio.device))[:longest, None]
        correlation = correlation / (energy.clamp(min=1e-12) * of_window)
        inner, before, after = correlation[:, 1:-1], correlation[:, :-2], correlation[:, 2:]
        lags = torch.arange(1, longest - 1, device=audio.device)[:, None]
        cost = _OCTAVE_COST * torch.log2(lags / shortest).clamp(min=0.0)
        allowed = (inner > before) & (inner >= after) & (lags >= shortest)
        best = torch.where(allowed, inner - cost, -1.0).argmax(dim=1, keepdim=True)  # (B, 1, T), into inner
        height, left, right = (part.gather(1, best)[:, 0] for part in (inner, before, after))
        # the top of the parabola through the three
        curve = (left - 2 * height + right).clamp(max=-1e-9)
        lag = best[:, 0] + 1 + (0.5 * (left - right) / curve).clamp(-0.5, 0.5)
        voiced = (height > _VOICED) & (energy[:, 0] > _QUIET * spec.win_length * 0.375)  # 0.375: mean of Hann squared
        return torch.where(voiced, spec.sample_rate / lag, 0.0)


@functools.lru_cache(maxsize=8)
def _window_correlation(length: int, n_fft: int, device: str) -> Tensor:
    with torch.inference_mode(False):
        spectrum = torch.fft.rfft(hann_window(length, device), n_fft)
        correlation = torch.fft.irfft(spectrum.abs().square())
        return correlation / correlation[0]


def pitch_loss(log_pitch: Tensor, audio: Tensor, spec: MelSpec) -> Tensor:
    """Mean absolute error of ``log_pitch (B, T_mel)``, natural log of Hz, over the voiced frames of ``audio``."""
    target = pitch_by_autocorrelation(audio, spec)
    voiced = target > 0
    error = (log_pitch - torch.log(target.clamp(min=1.0))).abs() * voiced
    return error.sum() / voiced.sum().clamp(min=1)
