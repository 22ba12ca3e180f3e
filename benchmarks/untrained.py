"""Untrained models of a shipped size: speed does not depend on what the weights are."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from nemo_ext import config
from nemo_ext.models.acoustic.fastpitch import FastPitch
from nemo_ext.models.vocoder.hifigan import HifiGan
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.types import BaseVoice, MelSpec


def acoustic(size: str) -> Any:
    """A FastPitch that reads letters, with one base voice."""
    settings = _settings("fastpitch", size, FastPitch)
    settings["text"] = dataclasses.asdict(TextFrontend(TextConfig(alphabet="chars", normalize=False)).config)
    settings["voices"] = [dataclasses.asdict(BaseVoice("ada", pitch_mean=200.0, pitch_std=30.0))]
    return FastPitch(OmegaConf.create(settings)).eval()


def hifigan(size: str) -> Any:
    """A HiFi-GAN for the mels of ``acoustic``."""
    return HifiGan(OmegaConf.create(_settings("hifigan", size, HifiGan))).eval()


def fix_durations(model: Any, frames: int) -> None:
    """Every token lasts so many ``frames``, whatever the random weights say."""
    predictor = model.fastpitch.duration_predictor
    with torch.no_grad():
        predictor.fc.weight.zero_()
        predictor.fc.bias.fill_(float(np.log(frames + 1.0)))


def _settings(name: str, size: str, cls: Any) -> dict[str, Any]:
    cfg = config.compose("train", [f"model={name}", f"size={size}"])
    settings: Any = OmegaConf.to_container(config.conform(cfg.model, cls.config_class, "model."))
    return {**settings, "mel": dataclasses.asdict(MelSpec())}
