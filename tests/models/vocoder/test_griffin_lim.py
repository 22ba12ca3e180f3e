"""Griffin-Lim: close to the mel, at its level, the same at every call."""

import pytest
import torch

from nemo_ext.audio.mel import log_mel
from nemo_ext.losses.spectral import mel_l1
from nemo_ext.models.vocoder.griffin_lim import GriffinLim
from nemo_ext.types import MelSpec

SPEC = MelSpec()


@pytest.fixture(scope="module")
def audio(speech):
    return speech[None, : len(speech) // 256 * 256]


def test_copy_synthesis_is_near_in_mel_and_level(audio):
    made = GriffinLim(SPEC).decode(log_mel(audio, SPEC)[:, :, :-1])
    assert made.shape == audio.shape
    assert mel_l1(made, audio, SPEC) < 0.3
    level = made.square().mean().sqrt() / audio.square().mean().sqrt()
    assert 0.8 < float(level) < 1.25


def test_a_spectrum_that_no_audio_has_comes_out_at_its_level():
    """Phases that do not agree cancel; what they lose of the energy is given back."""
    mel = torch.randn(1, 80, 40, generator=torch.Generator().manual_seed(0)) - 4
    vocoder = GriffinLim(SPEC)
    wanted, got = vocoder.linear(mel).norm(), vocoder._stft(vocoder.decode(mel)).abs().norm()
    assert float(got / wanted) == pytest.approx(1.0, abs=0.01)


def test_momentum_comes_nearer_in_the_same_iterations(audio):
    mel = log_mel(audio, SPEC)[:, :, :-1]
    fast, plain = (mel_l1(GriffinLim(SPEC, momentum=m).decode(mel), audio, SPEC) for m in (0.99, 0.0))
    assert fast < plain


def test_the_linear_spectrum_is_never_negative_and_has_the_mel(audio):
    mel = log_mel(audio, SPEC)
    vocoder = GriffinLim(SPEC)
    linear = vocoder.linear(mel)
    assert (linear >= 0).all()
    from nemo_ext.audio.mel import mel_of_magnitude

    assert (mel_of_magnitude(linear, SPEC) - mel).abs().mean() < 0.1


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_any_length_and_the_same_twice(frames):
    mel = torch.randn(2, 80, frames, generator=torch.Generator().manual_seed(frames)) - 4
    first, second = GriffinLim(SPEC).decode(mel), GriffinLim(SPEC).decode(mel)
    assert first.shape == (2, frames * 256)
    assert torch.isfinite(first).all()
    assert torch.equal(first, second)


@pytest.mark.parametrize("frames", [1, 7])
def test_an_utterance_sounds_the_same_beside_any_others(frames):
    """To the last digit: rounding that depends on the batch is blown up by the iterations."""
    for seed in range(20):
        mel = torch.randn(5, 80, frames, generator=torch.Generator().manual_seed(seed)) - 4
        together = GriffinLim(SPEC).decode(mel)
        for i in range(5):
            assert torch.equal(GriffinLim(SPEC).decode(mel[i : i + 1])[0], together[i])


def test_silence_in_is_quiet_out():
    audio = GriffinLim(SPEC).decode(torch.full((1, 80, 30), float(torch.log(torch.tensor(1e-5)))))
    assert audio.abs().max() < 1e-3


def test_other_settings_work_too(audio):
    spec = MelSpec(n_fft=2048, win_length=2048, mag_power=2.0, n_mels=100, f_max=11025.0)
    made = GriffinLim(spec).decode(log_mel(audio, spec)[:, :, :-1])
    assert mel_l1(made, audio, spec) < 0.8
