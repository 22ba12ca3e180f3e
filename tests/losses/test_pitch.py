"""Pitch by autocorrelation: exact on tones, near pyworld's on speech, silent on noise and silence."""

import math

import numpy as np
import pytest
import torch

from nemo_ext.losses.pitch import pitch_by_autocorrelation, pitch_loss
from nemo_ext.types import MelSpec

SPEC = MelSpec()


def pulses(hz, seconds=0.5):
    """A voice-like tone: harmonics up to 4 kHz that fall by 6 dB an octave."""
    time = torch.arange(int(seconds * 22050)) / 22050
    return 0.1 * sum(torch.cos(2 * math.pi * hz * n * time + n) / n for n in range(1, int(4000 / hz)))[None]


@pytest.mark.parametrize("hz", [75.0, 110.0, 237.3, 440.0, 560.0])
def test_a_tone_has_its_pitch(hz):
    pitch = pitch_by_autocorrelation(pulses(hz), SPEC)[0, 4:-4]
    assert (12 * torch.log2(pitch / hz)).abs().max() < 0.2


def test_noise_and_silence_have_none():
    audio = torch.stack([0.1 * torch.randn(11025, generator=torch.Generator().manual_seed(0)), torch.zeros(11025)])
    pitch = pitch_by_autocorrelation(audio, SPEC)
    assert float((pitch > 0).float().mean()) < 0.02


@pytest.mark.parametrize(("level", "heard"), [(-50.0, True), (-70.0, False)])
def test_what_lies_below_minus_sixty_decibels_has_none(level, heard):
    tone = pulses(200.0)
    quiet = tone * 10 ** (level / 20) / tone.square().mean().sqrt()
    assert bool((pitch_by_autocorrelation(quiet, SPEC)[0, 4:-4] > 0).all()) is heard
    assert bool((pitch_by_autocorrelation(quiet, SPEC)[0, 4:-4] > 0).any()) is heard


def test_speech_agrees_with_pyworld(speech):
    import pyworld

    ours = pitch_by_autocorrelation(speech[None], SPEC)[0].numpy()
    theirs, _ = pyworld.harvest(speech.double().numpy(), 22050, 65.0, 600.0, 256 / 22.05)
    theirs = theirs[: len(ours)]
    ours = ours[: len(theirs)]
    both = (ours > 0) & (theirs > 0)
    assert both.mean() > 0.3
    gross = np.abs(12 * np.log2(ours[both] / theirs[both])) > 3
    assert gross.mean() < 0.12


def test_the_loss_is_of_voiced_frames_only_and_reaches_the_pitch():
    audio = torch.cat([pulses(200.0)[:, :5120], torch.zeros(1, 5120)], dim=1)
    log_pitch = torch.full((1, 40), math.log(100.0), requires_grad=True)
    loss = pitch_loss(log_pitch, audio, SPEC)
    assert loss.item() == pytest.approx(math.log(2.0), rel=0.05)
    loss.backward()
    assert (log_pitch.grad[0, 24:] == 0).all()
    assert (log_pitch.grad[0, 4:16] < 0).all()
    assert pitch_loss(log_pitch, torch.zeros(1, 10240), SPEC).item() == 0.0
