from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import librosa
import numpy as np
import pytest
import torch

from nemo_ext.audio import mel
from nemo_ext.audio.mel import log_mel, log_mel_without_torch
from nemo_ext.errors import NemoExtError
from nemo_ext.types import MelSpec

SPECS = [
    MelSpec(),
    MelSpec(sample_rate=16000, n_fft=512, hop_length=200, win_length=400, n_mels=64, f_min=40.0, f_max=7600.0),
    MelSpec(sample_rate=44100, n_fft=2048, hop_length=512, win_length=2048, f_max=16000.0, mag_power=2.0),
]


def speech_like(seconds: float, sample_rate: int, seed: int = 0) -> torch.Tensor:
    """A glide with harmonics over soft noise, with a silent stretch in the middle."""
    t = torch.arange(int(seconds * sample_rate)) / sample_rate
    phase = 2 * torch.pi * torch.cumsum(140 + 60 * torch.sin(2 * torch.pi * 1.5 * t), 0) / sample_rate
    voice = sum(torch.sin(k * phase) / k for k in range(1, 9))
    noise = torch.randn(t.shape, generator=torch.Generator().manual_seed(seed))
    audio = 0.2 * voice + 0.003 * noise
    audio[len(t) // 3 : len(t) // 2] = 0.0
    return audio


def nemo_mel(audio: torch.Tensor, lens: torch.Tensor, spec: MelSpec) -> tuple[torch.Tensor, torch.Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nemo.collections.asr.parts.preprocessing.features import FilterbankFeatures

    stock = FilterbankFeatures(
        sample_rate=spec.sample_rate,
        n_window_size=spec.win_length,
        n_window_stride=spec.hop_length,
        n_fft=spec.n_fft,
        nfilt=spec.n_mels,
        lowfreq=spec.f_min,
        highfreq=spec.f_max,
        mag_power=spec.mag_power,
        log_zero_guard_type="add",
        log_zero_guard_value=spec.log_guard,
        normalize=None,
        preemph=None,
        dither=0.0,
        pad_to=0,
    ).eval()
    return stock(audio, lens)


@pytest.mark.parametrize("spec", SPECS)
def test_equals_nemo(spec: MelSpec) -> None:
    lens = torch.tensor([int(1.3 * spec.sample_rate), int(0.8 * spec.sample_rate)])
    audio = torch.zeros(2, int(lens[0]))
    for row, n in enumerate(lens.tolist()):
        audio[row, :n] = speech_like(2.0, spec.sample_rate, seed=row)[:n]
    theirs, their_lens = nemo_mel(audio, lens, spec)
    ours = mel.log_mel(audio, spec)
    assert ours.shape == theirs.shape
    for row, n in enumerate(their_lens.tolist()):
        assert (ours[row, :, :n] - theirs[row, :, :n]).abs().max() <= 1e-5


@pytest.mark.parametrize("spec", SPECS)
def test_basis_equals_librosa(spec: MelSpec) -> None:
    theirs = librosa.filters.mel(
        sr=spec.sample_rate, n_fft=spec.n_fft, n_mels=spec.n_mels, fmin=spec.f_min, fmax=spec.f_max
    )
    np.testing.assert_allclose(mel.mel_basis(spec).numpy(), theirs, atol=1e-7)


@pytest.mark.parametrize("samples", [1, 255, 256, 257, 22050])
def test_frame_count_is_the_specs(samples: int) -> None:
    spec = MelSpec()
    assert mel.log_mel(torch.zeros(samples), spec).shape == (80, spec.frames(samples))
    assert mel.energy(torch.zeros(samples), spec).shape == (spec.frames(samples),)


def test_array_in_array_out() -> None:
    audio = speech_like(0.5, 22050)
    of_tensor, of_array = mel.log_mel(audio, MelSpec()), mel.log_mel(audio.numpy().astype(np.float64), MelSpec())
    assert isinstance(of_array, np.ndarray)
    assert of_array.dtype == np.float32
    np.testing.assert_array_equal(of_array, of_tensor.numpy())


def test_padding_leaves_an_items_frames_alone() -> None:
    spec, audio = MelSpec(), speech_like(0.7, 22050)
    padded = torch.nn.functional.pad(audio, (0, 5000))
    alone = mel.log_mel(audio, spec)
    torch.testing.assert_close(mel.log_mel(padded[None], spec)[0, :, : alone.shape[-1]], alone)


def test_energy_is_the_norm_of_the_spectrum() -> None:
    spec, audio = MelSpec(), speech_like(0.5, 22050)
    both_mel, both_energy = mel.mel_and_energy(audio, spec)
    linear = np.abs(
        librosa.stft(
            audio.numpy(), n_fft=1024, hop_length=256, window=np.hanning(1024).astype(np.float32), pad_mode="constant"
        )
    )
    np.testing.assert_allclose(mel.energy(audio.numpy(), spec), np.linalg.norm(linear, axis=0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(both_energy, mel.energy(audio, spec))
    torch.testing.assert_close(both_mel, mel.log_mel(audio, spec))


def test_gradients_are_finite_at_silence() -> None:
    audio = torch.zeros(4096, requires_grad=True)
    mel.log_mel(audio, MelSpec()).sum().backward()
    assert torch.isfinite(audio.grad).all()
    loud = speech_like(0.3, 22050).requires_grad_()
    mel.log_mel(loud, MelSpec()).sum().backward()
    assert torch.isfinite(loud.grad).all()
    assert loud.grad.abs().max() > 0


def test_usable_in_training_after_first_use_in_inference_mode() -> None:
    spec = MelSpec(n_mels=37)  # settings that no other test has put into the cache
    with torch.inference_mode():
        mel.log_mel(torch.zeros(4096), spec)
    audio = speech_like(0.2, 22050).requires_grad_()
    mel.log_mel(audio, spec).sum().backward()
    assert audio.grad is not None


def test_autocast_does_not_change_it() -> None:
    audio = speech_like(0.5, 22050)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = mel.log_mel(audio, MelSpec())
    assert under.dtype == torch.float32
    torch.testing.assert_close(under, mel.log_mel(audio, MelSpec()))


def test_a_band_beyond_half_the_rate_is_refused() -> None:
    with pytest.raises(NemoExtError, match="set f_max to 4000"):
        mel.log_mel(torch.zeros(1000), MelSpec(sample_rate=8000))


@pytest.mark.parametrize("changed", [{}, {"win_length": 800}, {"mag_power": 2.0}, {"n_fft": 2048, "hop_length": 300}])
def test_the_mel_without_torch_is_the_same(speech: torch.Tensor, changed: dict[str, Any]) -> None:
    spec = MelSpec(**changed)
    for audio in (speech.numpy(), speech.numpy()[:333], np.zeros(5000, np.float32)):
        own, other = log_mel_without_torch(audio, spec), log_mel(audio, spec)
        assert own.shape == other.shape
        assert own.dtype == np.float32
        difference = np.abs(own - other)
        assert difference.mean() < 1e-5
        # torch's float32 rounds in the quietest bands beside loud ones; there the logarithm shows it
        assert np.quantile(difference, 0.98) < 3e-5
        assert difference.max() < 1e-3


def test_importing_the_mel_needs_no_torch() -> None:
    code = "import sys, nemo_ext.audio.mel, nemo_ext.audio.reference; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
