"""Vocos: ConvNeXt blocks and an inverse STFT, quick to train and quick to run.

Siuzdak, "Vocos: Closing the gap between time-domain and Fourier-based neural vocoders for high-quality audio
synthesis" (arXiv 2306.00814). What we changed: in the generator, see ``modules.generators.VocosGenerator``; a
multi-resolution STFT loss beside the mel loss, so that a small one speaks after minutes on a CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor, nn

from nemo_ext.config import number
from nemo_ext.losses.pitch import pitch_loss
from nemo_ext.models.vocoder.gan import GanVocoder, GanVocoderConfig, VocoderLosses
from nemo_ext.modules.discriminators import MultiPeriod, MultiResolution
from nemo_ext.modules.generators import DeployedVocos, VocosGenerator
from nemo_ext.types import SegmentBatch


@dataclass
class VocosConfig(GanVocoderConfig):
    """What a person chooses of a Vocos; ``n_fft`` and hop of its inverse STFT are the mel's."""

    _target_: str = "nemo_ext.models.vocoder.vocos.Vocos"
    name: str = "vocos"
    width: int = number(512, 1, 8192)  # channels between the blocks
    hidden_width: int = number(1536, 1, 65_536)  # channels inside a block
    layers: int = number(8, 1, 128)  # ConvNeXt blocks
    kernel_size: int = number(7, 1, 255)  # frames, odd
    harmonic: bool = True  # add the harmonics of a pitch that the generator reads off the mel
    discriminator_n_ffts: list[int] = number([512, 1024, 2048], 16, 65_536)  # samples
    losses: VocoderLosses = field(
        default_factory=lambda: VocoderLosses(stft=15.0, adversarial="hinge", generator=0.2, feature_matching=0.2)
    )


class Vocos(GanVocoder):
    """mel ``(B, n_mels, T_mel)`` -> audio ``(B, T_mel * hop_length)``. ``cfg``: a VocosConfig with ``mel``."""

    config_class = VocosConfig
    settings: VocosConfig
    generator: VocosGenerator

    def build_generator(self) -> VocosGenerator:
        """ConvNeXt and inverse STFT."""
        chosen = self.settings
        return VocosGenerator(
            self.mel_spec,
            width=chosen.width,
            hidden_width=chosen.hidden_width,
            layers=chosen.layers,
            kernel_size=chosen.kernel_size,
            harmonic=chosen.harmonic,
        )

    def deployable_generator(self, precision: str = "fp32") -> nn.Module:
        """A copy of the generator for an export, ``precision`` fp32 or fp16: this model stays as it is."""
        generator = self.build_generator()
        generator.load_state_dict(self.generator.state_dict())
        generator.to(next(self.generator.parameters()).device)
        return DeployedVocos(generator, precision).eval().requires_grad_(False)

    def own_losses(self, batch: SegmentBatch) -> dict[str, Tensor]:
        """``pitch``: mean absolute error in semitones over voiced frames. Its weights take part in no other loss."""
        if self.generator.harmonics is None:
            return {}
        log_pitch = self.generator.harmonics.log_pitch(batch.mel)
        return {"pitch": 12.0 / math.log(2.0) * pitch_loss(log_pitch, batch.audio, self.mel_spec)}

    def build_discriminators(self) -> nn.ModuleDict:
        """Of periods and of resolutions."""
        small = self.settings.small_discriminators
        resolutions = MultiResolution(self.mel_spec, self.settings.discriminator_n_ffts, channels=4 if small else 32)
        return nn.ModuleDict({"mpd": MultiPeriod(small), "mrd": resolutions})
