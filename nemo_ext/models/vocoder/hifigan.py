"""HiFi-GAN V1-V3 on NeMo's generator.

Kong et al., "HiFi-GAN: Generative Adversarial Networks for Efficient and High Fidelity Speech Synthesis" (arXiv
2010.05646). The generator is NeMo's under NeMo's names, so that checkpoints of stock NeMo 3 load unchanged. What we
changed: ``.nemo`` files hold the generator only, the discriminators may be small or set in late, gradients are clipped,
and an export folds the weight norm of a copy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from nemo_ext.config import number
from nemo_ext.errors import NemoExtError
from nemo_ext.models.stock import stock_mel_spec
from nemo_ext.models.vocoder.gan import GanVocoder, GanVocoderConfig
from nemo_ext.modules.discriminators import MultiPeriod, MultiScale
from nemo_ext.modules.generators import DeployedHifiGan, hifigan_generator

_GENERATOR_KEYS = (
    "resblock",
    "upsample_rates",
    "upsample_kernel_sizes",
    "upsample_initial_channel",
    "resblock_kernel_sizes",
    "resblock_dilation_sizes",
)


@dataclass
class HifiGanConfig(GanVocoderConfig):
    """What a person chooses of a HiFi-GAN; the defaults are the paper's V1."""

    _target_: str = "nemo_ext.models.vocoder.hifigan.HifiGan"
    name: str = "hifigan"
    resblock: int = number(1, 1, 2)  # the paper's residual block: 1, of pairs of convolutions, or 2, of single ones
    upsample_rates: list[int] = number([8, 8, 2, 2], 1, 1024)  # factors; their product is the mel's hop
    upsample_kernel_sizes: list[int] = number([16, 16, 4, 4], 1, 4096)  # samples
    upsample_initial_channel: int = number(512, 1, 65_536)  # halved by each upsampling
    resblock_kernel_sizes: list[int] = number([3, 7, 11], 1, 255)  # samples
    resblock_dilation_sizes: list[list[int]] = field(default_factory=lambda: [[1, 3, 5]] * 3)  # samples


class HifiGan(GanVocoder):
    """mel ``(B, n_mels, T_mel)`` -> audio ``(B, T_mel * hop_length)``.

    ``cfg``: a HifiGanConfig with ``mel``, or the configuration in a checkpoint of stock NeMo 3.
    """

    config_class = HifiGanConfig
    settings: HifiGanConfig

    def __init__(self, cfg: DictConfig, trainer: Any = None) -> None:
        super().__init__(cfg if "mel" in cfg else _ours(cfg), trainer)

    @classmethod
    def from_config_dict(cls, config: DictConfig, trainer: Any = None) -> Any:
        """NeMo builds what ``target`` names; a stock checkpoint restored through this class becomes this class."""
        target = {"target": f"{cls.__module__}.{cls.__qualname__}"}
        return super().from_config_dict(OmegaConf.merge(config, target), trainer=trainer)

    @classmethod
    def check_config(cls, config: dict[str, Any], where: str) -> dict[str, Any]:
        """See ``GanVocoder.check_config``; a stock checkpoint's is brought into our words first."""
        if "mel" in config:
            return super().check_config(config, where)
        if not isinstance(config.get("generator"), dict) or not isinstance(config.get("preprocessor"), dict):
            raise NemoExtError(f"{where} has no generator and preprocessor: it is no whole HiFi-GAN")
        missing = [key for key in _GENERATOR_KEYS if key not in config["generator"]]
        if missing:
            raise NemoExtError(f"{where}: its generator has no {missing[0]}: it is no whole HiFi-GAN")
        ours: Any = OmegaConf.to_container(_ours(OmegaConf.create(config)))
        return super().check_config(ours, where)

    def build_generator(self) -> nn.Module:
        """NeMo's generator.

        Raises:
            NemoExtError: the factors do not make the mel's hop.
        """
        rates, hop = self.settings.upsample_rates, self.mel_spec.hop_length
        if math.prod(rates) != hop:
            raise NemoExtError(
                f"model.upsample_rates={rates} make {math.prod(rates)} samples a frame, the mel's hop_length is {hop}: "
                "make them equal"
            )
        return hifigan_generator(self.mel_spec, **{key: getattr(self.settings, key) for key in _GENERATOR_KEYS})

    def build_discriminators(self) -> nn.ModuleDict:
        """Of periods and of scales."""
        small = self.settings.small_discriminators
        return nn.ModuleDict({"mpd": MultiPeriod(small), "msd": MultiScale(small)})

    def forward(self, mel: Tensor) -> Tensor:
        """``mel (B, n_mels, T_mel)`` -> audio ``(B, T_mel * hop_length)``, with gradients."""
        audio: Tensor = self.generator(x=mel)
        return audio.squeeze(1)

    def deployable_generator(self, precision: str = "fp32") -> nn.Module:
        """A copy of the generator for an export, its weight norm folded in: this model stays as it is, and savable.

        ``precision``: fp32 or fp16, of its weights and of what it takes.
        """
        # A deep copy fails after a backward pass: torch's old weight norm keeps a weight that is no leaf.
        generator = self.build_generator()
        generator.load_state_dict(self.generator.state_dict())
        generator.to(next(self.generator.parameters()).device)
        return DeployedHifiGan(generator, precision).eval().requires_grad_(False)


def _ours(cfg: DictConfig) -> DictConfig:
    """Our configuration for stock NeMo's; what only stock's training read is left behind."""
    generator = cfg.generator
    chosen = {key: generator[key] for key in _GENERATOR_KEYS}
    # stock finds the block by its number; older configurations give it as a string
    chosen["resblock"] = 1 if str(chosen["resblock"]) == "1" else 2
    mel = stock_mel_spec(cfg.preprocessor)
    return OmegaConf.create({"_target_": HifiGanConfig._target_, "name": "hifigan", "mel": vars(mel), **chosen})
