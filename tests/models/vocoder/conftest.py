"""Toy vocoders from the shipped YAML, and batches of real speech."""

import dataclasses
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from nemo_ext.audio.mel import log_mel
from nemo_ext.types import MelSpec, SegmentBatch

CONF = Path(__file__).parents[3] / "conf"
TOYS = {
    "vocos": {"width": 32, "hidden_width": 64, "layers": 2},
    "hifigan": {"upsample_initial_channel": 32},
}


def _shipped(name, size):
    cfg = OmegaConf.load(CONF / f"model/{name}.yaml")
    cfg = OmegaConf.merge(cfg, OmegaConf.load(CONF / f"model/size/{name}_{size}.yaml"))
    cfg.mel = dataclasses.asdict(MelSpec())
    return cfg


@pytest.fixture
def shipped():
    """``shipped(name, size)``: the configuration that conf/ gives, as training passes it on."""
    return _shipped


@pytest.fixture
def make_vocoder():
    """``make_vocoder(name, **changes)``: a toy of that model; ``discriminators=True`` gives it small ones at once."""

    def make(name, trainer=None, **changes):
        from nemo_ext.models.vocoder.hifigan import HifiGan
        from nemo_ext.models.vocoder.vocos import Vocos

        torch.manual_seed(0)
        cfg = OmegaConf.merge(_shipped(name, "tiny"), TOYS[name], {"small_discriminators": True}, changes)
        return {"hifigan": HifiGan, "vocos": Vocos}[name](cfg, trainer=trainer)

    return make


@pytest.fixture(scope="session")
def batch(speech):
    """Four segments of 16 frames of speech, cut as data.dataset cuts them."""
    spec, frames = MelSpec(), 16
    mel = log_mel(speech[None], spec)[0]
    starts = [20, 60, 100, 140]
    return SegmentBatch(
        ids=[str(start) for start in starts],
        audio=torch.stack([speech[s * spec.hop_length : (s + frames) * spec.hop_length] for s in starts]),
        mel=torch.stack([mel[:, s : s + frames] for s in starts]),
    )
