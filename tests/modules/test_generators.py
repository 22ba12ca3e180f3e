"""The map from a mel to a spectrum's envelope, and generators as functions of the mel alone."""

import math

import pytest
import torch

from nemo_ext.audio.mel import log_mel, magnitude, mel_of_magnitude
from nemo_ext.losses.pitch import pitch_by_autocorrelation
from nemo_ext.modules.generators import Harmonics, VocosGenerator, mel_to_magnitude
from nemo_ext.types import MelSpec


@pytest.mark.parametrize("spec", [MelSpec(), MelSpec(f_max=11025.0, n_mels=100), MelSpec(mag_power=2.0, f_min=50.0)])
def test_the_envelope_of_a_smooth_spectrum_is_found_again(spec):
    bins = torch.arange(spec.n_fft // 2 + 1)
    log_magnitude = (1.0 - bins / 200.0 + 0.5 * torch.cos(bins / 80.0))[:, None].expand(-1, 4)
    weight, bias = mel_to_magnitude(spec)
    mel = mel_of_magnitude(torch.exp(log_magnitude), spec)
    found = torch.from_numpy(weight) @ mel + torch.from_numpy(bias)[:, None]
    inside = slice(8, int(spec.f_max * spec.n_fft / spec.sample_rate) - 20)
    assert (found - log_magnitude)[inside].abs().max() < 0.1
    assert torch.isfinite(found).all()


def test_an_untrained_vocos_has_the_mels_spectrum_already(speech):
    """What the linear layer from the mel gives: without it an untrained one is 4 natural-log units off."""
    torch.manual_seed(0)
    generator = VocosGenerator(MelSpec(), width=32, hidden_width=64, layers=1)
    mel = log_mel(speech[None], MelSpec())[:, :, :-1]
    made = magnitude(generator(mel), MelSpec())[:, :, :-1]
    loud = mel[0].mean(0) > -6
    made_mel = mel_of_magnitude(made, MelSpec())
    correlation = torch.corrcoef(torch.stack([made_mel[0][:, loud].flatten(), mel[0][:, loud].flatten()]))[0, 1]
    assert correlation > 0.8


def test_harmonics_run_on_at_the_pitch_they_are_given():
    """A stationary mel: the pitch alone tells the phase. Periods of the output, against the pitch that was set."""
    torch.manual_seed(0)
    spec = MelSpec()
    generator = VocosGenerator(spec, width=16, hidden_width=16, layers=1, harmonic=True)
    torch.nn.init.zeros_(generator.harmonics.layers[-1].weight)
    torch.nn.init.constant_(generator.harmonics.layers[-1].bias, math.log(200.0 / 150.0))
    torch.nn.init.zeros_(generator.head.weight)
    with torch.no_grad():  # silence the paper's spectrum, which makes a pulse a frame before it is trained
        generator.head.bias[:513] = -20.0
        audio = generator(torch.full((1, 80, 60), -3.0))
    pitch = pitch_by_autocorrelation(audio, spec)[0, 4:-4]
    assert (pitch - 200.0).abs().max() < 1.0


def test_harmonics_of_a_long_utterance_are_as_exact_as_of_a_short_one():
    spec = MelSpec()
    harmonics = Harmonics(spec)
    torch.nn.init.zeros_(harmonics.layers[-1].weight)
    torch.nn.init.constant_(harmonics.layers[-1].bias, math.log(123.4 / 150.0))
    _, phase = harmonics(torch.zeros(1, 80, 5000))
    assert float(phase[:, :, 0].abs().max()) < 1e-6  # they begin with the first frame
    pitch = torch.exp(harmonics.log_pitch(torch.zeros(1, 80, 1)).double()).item()
    frame, harmonic = 4999, round(5000.0 / pitch)
    column = round(harmonic * pitch / harmonics.hz_per_bin)
    expected = 2 * math.pi * harmonic * pitch * frame * 256 / 22050
    error = math.remainder(float(phase[0, column, frame]) - expected, 2 * math.pi)
    assert abs(error) < 0.5


def test_far_frames_do_not_matter():
    """Receptive field: the first samples depend on no frame beyond the convolutions' reach."""
    generator = VocosGenerator(MelSpec(), width=16, hidden_width=16, layers=2).eval()
    mel = torch.randn(1, 80, 40)
    changed = mel.clone()
    changed[:, :, 20:] = 0.0
    reach = 3 * 3 + 2  # three kernels of seven frames, and the frames that overlap
    samples = (20 - reach) * 256
    assert torch.equal(generator(mel)[:, :samples], generator(changed)[:, :samples])
    assert not torch.equal(generator(mel), generator(changed))
