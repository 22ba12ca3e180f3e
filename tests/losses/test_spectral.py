"""Spectral losses: zero for the same audio, growing with the difference, finite at digital silence."""

import math

import pytest
import torch

from nemo_ext.losses.spectral import full_band, mel_l1, multi_resolution_stft
from nemo_ext.types import MelSpec

SPEC = MelSpec()
N_FFTS = [512, 1024, 2048]


def losses(predicted, target):
    return mel_l1(predicted, target, full_band(SPEC)), multi_resolution_stft(predicted, target, SPEC, N_FFTS)


def test_nothing_for_the_same_and_more_for_worse(speech):
    audio = speech[None, :16384]
    noise = torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))
    same, little, much = (losses(audio + level * noise, audio) for level in (0.0, 1e-3, 1e-1))
    assert same[0] == same[1] == 0.0
    assert 0 < little[0] < much[0]
    assert 0 < little[1] < much[1]


def test_twice_as_loud_is_log_two_in_the_mel(speech):
    audio = speech[None, :16384]
    assert float(mel_l1(2 * audio, audio, SPEC)) == pytest.approx(math.log(2.0), rel=0.05)


def test_the_sign_does_not_matter(speech):
    audio = speech[None, :16384]
    assert float(sum(losses(-audio, audio))) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("target", [0.0, 0.1])
def test_gradients_are_finite_at_digital_silence(target):
    predicted = torch.zeros(1, 8192, requires_grad=True)
    sum(losses(predicted, torch.full((1, 8192), target))).backward()
    assert torch.isfinite(predicted.grad).all()


def test_a_spare_part_counts_nothing(speech):
    made = (0.5 * speech)[None].requires_grad_()
    loss = multi_resolution_stft(made, speech[None], SPEC, [512], share=0.0)
    loss.backward()
    assert loss.item() == 0.0
    assert not made.grad.any()
    whole, half = (multi_resolution_stft(made, speech[None], SPEC, [512], share=s).item() for s in (1.0, 0.5))
    assert 0.5 * whole < half < whole  # the convergence is the whole batch's, however it is shared


def test_full_band_reaches_half_the_sample_rate():
    assert full_band(SPEC).f_max == 11025.0
    whistle = 0.001 * torch.sin(torch.arange(16384) * (2 * math.pi * 10000 / 22050))[None] * torch.hann_window(16384)
    silence = torch.zeros_like(whistle)
    assert mel_l1(whistle, silence, full_band(SPEC)) > 3 * mel_l1(whistle, silence, SPEC)


def test_resolutions_have_windows_as_long_as_the_transform_and_hops_of_a_quarter():
    made, real = (torch.randn(1, 8192, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    ours, theirs = (
        torch.stft(x, 512, 128, 512, torch.hann_window(512, periodic=False), pad_mode="constant", return_complex=True)
        for x in (made, real)
    )
    ours, theirs = ours.abs(), theirs.abs()
    expected = (ours - theirs).norm() / theirs.norm() + (torch.log(ours + 1e-4) - torch.log(theirs + 1e-4)).abs().mean()
    assert multi_resolution_stft(made, real, SPEC, [512]).item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("gain", [2.0, 0.5, 0.0])
def test_the_convergence_is_over_the_norm_of_the_target(gain):
    """Yamamoto et al., equations 6 and 7, for audio that is the target times a gain: |gain - 1| and |ln gain|."""
    target = torch.randn(1, 16384, generator=torch.Generator().manual_seed(0))  # louder than the floor everywhere
    loss = float(multi_resolution_stft(gain * target, target, SPEC, N_FFTS))
    logarithms = abs(math.log(gain)) if gain else loss - 1.0
    assert loss == pytest.approx(abs(gain - 1.0) + logarithms, rel=1e-3)
    if not gain:
        assert loss > 1.0
