"""The mel spectrogram, defined once: training, synthesis and evaluation all call this file.

Same numbers as NeMo 3.0.0's ``FilterbankFeatures`` with ``log_zero_guard_type="add"``, ``log_zero_guard_value=1e-5``,
``normalize=None``, ``preemph=None``, ``dither=0``, ``pad_to=0`` (tested against it), with three differences:

- the frame count is the whole centred STFT, ``n // hop + 1`` (stock masks the last frame);
- it is differentiable at digital silence (stock returns NaN gradients, or adds a guard that changes the values);
- window and filterbank are made once per settings and device.

Filterbank: M. Slaney, "Auditory Toolbox", Interval Research TR 1998-010: linear below 1 kHz, logarithmic above,
triangles of unit area.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from nemo_ext.errors import NemoExtError
from nemo_ext.types import MelSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# torch is imported where it is used: what speaks from a bundle has none
Array = TypeVar("Array", "Tensor", np.ndarray)

# Slaney's scale: 200/3 Hz a mel up to 1 kHz (mel 15), then 27 mels for each factor of 6.4.
_HZ_PER_MEL = 200.0 / 3.0
_KNEE_HZ = 1000.0
_KNEE_MEL = _KNEE_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0


def log_mel(audio: Array, spec: MelSpec) -> Array:
    """Natural-log mel of ``audio`` ``(T_audio,)`` or ``(B, T_audio)`` in [-1, 1] -> ``(..., n_mels, T_mel)`` float32.

    A tensor gives a tensor on its device, an array gives an array. ``T_mel = T_audio // hop_length + 1``.
    Zero padding after a shorter item of a batch does not change that item's own frames.
    """
    return mel_and_energy(audio, spec)[0]


def energy(audio: Array, spec: MelSpec) -> Array:
    """L2 norm of each frame of the linear magnitude spectrum, ``(..., T_mel)`` float32."""
    if isinstance(audio, np.ndarray):
        return energy(_tensor(audio), spec).numpy()
    import torch

    norm: Tensor = torch.linalg.vector_norm(magnitude(audio, spec), dim=-2)
    return norm


def mel_and_energy(audio: Array, spec: MelSpec) -> tuple[Array, Array]:
    """``(log_mel, energy)`` of ``audio`` from one STFT."""
    if isinstance(audio, np.ndarray):
        mel, norm = mel_and_energy(_tensor(audio), spec)
        return mel.numpy(), norm.numpy()
    import torch

    linear = magnitude(audio, spec)
    return mel_of_magnitude(linear, spec), torch.linalg.vector_norm(linear, dim=-2)


def magnitude(audio: Tensor, spec: MelSpec) -> Tensor:
    """Linear magnitude spectrum of ``audio (..., T_audio)`` -> ``(..., n_fft // 2 + 1, T_mel)`` float32."""
    import torch

    window = hann_window(spec.win_length, audio.device)
    # fp16 and bf16 lose the quiet bins, and autocast would choose them.
    with torch.autocast(audio.device.type, enabled=False):
        spectrum = torch.stft(
            audio.float(),
            spec.n_fft,
            spec.hop_length,
            spec.win_length,
            window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        return spectrum.abs()  # its gradient is 0, not NaN, where the spectrum is 0


def mel_of_magnitude(linear: Tensor, spec: MelSpec) -> Tensor:
    """Log-mel ``(..., n_mels, T_mel)`` of a magnitude spectrum ``(..., n_fft // 2 + 1, T_mel)``."""
    import torch

    basis = mel_basis(spec, linear.device)
    with torch.autocast(linear.device.type, enabled=False):
        power = linear.float() if spec.mag_power == 1.0 else linear.float() ** spec.mag_power
        return torch.log(torch.matmul(basis, power) + spec.log_guard)


def log_mel_without_torch(audio: np.ndarray, spec: MelSpec) -> np.ndarray:
    """`log_mel` of ``audio (T_audio,)`` in numpy, ``(n_mels, T_mel)`` float32.

    Computed in float64: what differs is the rounding of torch's float32, 1e-5 or less but in the quietest bands.
    """
    from scipy.fft import rfft

    around = spec.n_fft // 2  # a frame is centred on its sample
    padded = np.pad(np.asarray(audio, np.float64), around)
    frames = np.lib.stride_tricks.sliding_window_view(padded, spec.n_fft)[:: spec.hop_length]
    before = (spec.n_fft - spec.win_length) // 2
    window = np.pad(np.hanning(spec.win_length), (before, spec.n_fft - spec.win_length - before))
    power = np.abs(rfft(frames * window)) ** spec.mag_power
    basis = slaney_basis(spec.sample_rate, spec.n_fft, spec.n_mels, spec.f_min, spec.f_max)
    return np.asarray(np.log(basis @ power.T + spec.log_guard), dtype=np.float32)


def hann_window(length: int, device: torch.device | str = "cpu") -> Tensor:
    """Symmetric Hann window ``(length,)`` float32 (NeMo's choice; the periodic one differs), made once a device."""
    return _window(length, str(device))


def mel_basis(spec: MelSpec, device: torch.device | str = "cpu") -> Tensor:
    """Mel filterbank ``(n_mels, n_fft // 2 + 1)`` float32 of ``spec``, made once a device."""
    key = (spec.sample_rate, spec.n_fft, spec.n_mels, float(spec.f_min), float(spec.f_max))
    return _basis(*key, str(device))


@functools.lru_cache(maxsize=32)
def _window(length: int, device: str) -> Tensor:
    import torch

    # A tensor first made under inference_mode could never be used in training again.
    with torch.inference_mode(False):
        return torch.hann_window(length, periodic=False, device=device)


@functools.lru_cache(maxsize=32)
def _basis(sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float, device: str) -> Tensor:
    import torch

    with torch.inference_mode(False):
        return torch.from_numpy(slaney_basis(sample_rate, n_fft, n_mels, f_min, f_max)).to(device)


def slaney_basis(sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float) -> np.ndarray:
    """Triangular mel filters of unit area, ``(n_mels, n_fft // 2 + 1)`` float32.

    Raises:
        NemoExtError: the band is empty, or reaches above half the sample rate.
    """
    if not 0 <= f_min < f_max <= sample_rate / 2:
        raise NemoExtError(
            f"mel band {f_min:g}-{f_max:g} Hz does not fit a sample rate of {sample_rate} Hz: "
            f"set f_max to {sample_rate // 2} or less"
        )
    bins = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)  # Hz
    corners = _mel_to_hz(np.linspace(_hz_to_mel(f_min), _hz_to_mel(f_max), n_mels + 2))
    low, peak, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    triangles: np.ndarray = np.minimum((bins - low) / (peak - low), (high - bins) / (high - peak)).clip(min=0.0)
    return np.asarray(triangles * 2.0 / (high - low), dtype=np.float32)


def _hz_to_mel(hz: float) -> float:
    return hz / _HZ_PER_MEL if hz < _KNEE_HZ else _KNEE_MEL + math.log(hz / _KNEE_HZ) / _LOG_STEP


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    curved = _KNEE_HZ * np.exp((mel - _KNEE_MEL) * _LOG_STEP)
    hz: np.ndarray = np.where(mel < _KNEE_MEL, mel * _HZ_PER_MEL, curved)
    return hz


def _tensor(audio: np.ndarray) -> Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32))
