"""Discriminators: a score and maps each, of any length, and NeMo's state dict where they are NeMo's."""

import pytest
import torch

from nemo_ext.modules.discriminators import MultiPeriod, MultiResolution, MultiScale
from nemo_ext.types import MelSpec


def make(name):
    torch.manual_seed(0)
    if name == "mrd":
        return MultiResolution(MelSpec(), [512, 1024], channels=4)
    return {"mpd": MultiPeriod, "msd": MultiScale}[name](small=True)


@pytest.mark.parametrize("name", ["mpd", "msd", "mrd"])
@pytest.mark.parametrize("frames", [8, 33])
def test_scores_and_maps_of_both_halves(name, frames):
    discriminator = make(name)
    audio = torch.randn(4, frames * 256) * 0.1
    with torch.no_grad():  # spectral norm finds its size in a few passes; before that the scores are of any size
        for _ in range(10):
            discriminator(audio)
    discriminator.eval()
    first, second = discriminator(audio).split()
    assert len(first.scores) == len(first.maps) == len(discriminator.discriminators)
    alone = discriminator(audio[2:])
    for together, single in zip(second.scores, alone.scores, strict=True):
        assert together.shape[0] == 2
        assert torch.allclose(together, single, atol=1e-5)
    assert all(torch.isfinite(layer).all() for maps in first.maps for layer in maps)


@pytest.mark.parametrize("name", ["mpd", "msd", "mrd"])
def test_every_parameter_learns(name):
    discriminator = make(name)
    verdict = discriminator(torch.randn(2, 4096) * 0.1)
    sum(score.square().mean() for score in verdict.scores).backward()
    for parameter_name, parameter in discriminator.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name


def test_nemos_state_dict_fits():
    import warnings

    from nemo.collections.tts.modules import hifigan_modules

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        stock = {
            "mpd": hifigan_modules.MultiPeriodDiscriminator(debug=True),
            "msd": hifigan_modules.MultiScaleDiscriminator(debug=True),
        }
    audio = torch.randn(2, 2048)
    for name, module in stock.items():
        ours = make(name)
        ours.load_state_dict(module.state_dict())
        ours.eval()
        module.eval()
        expected, _, _, _ = module(y=audio[:, None], y_hat=audio[:, None])
        for score, other in zip(ours(audio).scores, expected, strict=True):
            assert torch.allclose(score, other, atol=1e-6)
