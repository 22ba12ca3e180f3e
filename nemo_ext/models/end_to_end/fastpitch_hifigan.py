"""FastPitch and HiFi-GAN trained as one: random segments of the predicted mel go through the vocoder.

Lim et al., "JETS: Jointly Training FastSpeech2 and HiFi-GAN for End to End Text to Speech" (arXiv 2203.16852): the loss
of the audio reaches the acoustic model, and the vocoder hears the mels that it will be given. Acoustic model: teacher-
forced by its own alignment, with its own losses (models/acoustic/fastpitch.py). Vocoder: the adversarial game of
models/vocoder/gan.py over one segment of each utterance. What we changed: the mel between the two stays a log-mel of
one MelSpec, held by FastPitch's mel loss, so that each part can be taken out and used with others (``parts``).

This file uses two other families of models, as a training does: their networks are methods and state of those classes,
whose names stock NeMo's checkpoints fix.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from nemo_ext.config import number
from nemo_ext.errors import NemoExtError
from nemo_ext.losses.spectral import mel_l1
from nemo_ext.models.acoustic import fastpitch_parts
from nemo_ext.models.acoustic.fastpitch import FastPitch
from nemo_ext.models.acoustic.fastpitch_config import FastPitchConfig
from nemo_ext.models.logged import log_validation
from nemo_ext.models.vocoder.gan import GanVocoder, GanVocoderConfig, VocoderLosses
from nemo_ext.models.vocoder.hifigan import HifiGan, HifiGanConfig
from nemo_ext.modules.discriminators import MultiPeriod, MultiScale
from nemo_ext.types import AcousticOutput, Batch, Preview, check_mels


@dataclass
class FastPitchHifiGanLosses(VocoderLosses):
    """The vocoder's weights, over segments of the predicted mel, and the acoustic model's."""

    acoustic: float = number(1.0, 0.0)  # of the sum of FastPitch's own losses, model.fastpitch.losses


@dataclass
class FastPitchHifiGanConfig(GanVocoderConfig):
    """What a person chooses. A batch is a FastPitch's (``frames_per_batch``), with one segment of each utterance."""

    _target_: str = "nemo_ext.models.end_to_end.fastpitch_hifigan.FastPitchHifiGan"
    name: str = "fastpitch_hifigan"
    acoustic: str = ""  # a trained FastPitch (.nemo) to start from; empty: a fresh one of model.fastpitch
    vocoder: str = ""  # a trained HiFi-GAN (.nemo) to start from; empty: a fresh one of model.hifigan
    fastpitch: FastPitchConfig = field(default_factory=FastPitchConfig)
    hifigan: HifiGanConfig = field(default_factory=HifiGanConfig)
    losses: FastPitchHifiGanLosses = field(default_factory=FastPitchHifiGanLosses)


class Joined(nn.Module):
    """A batch -> FastPitch's losses, its mel, and the audio of a segment of it; what trains, under one name."""

    def __init__(self, acoustic: FastPitch, vocoder: HifiGan) -> None:
        super().__init__()
        self.acoustic, self.vocoder = acoustic, vocoder

    def forward(self, batch: Batch, starts: Tensor, frames: int, step: int) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """``starts (B,)`` first frame of each segment; the losses at ``step``, mel and audio ``(B, frames * hop)``."""
        losses, mel = self.acoustic.weighed(batch, step)
        floor = math.log(self.acoustic.mel_spec.log_guard)
        return losses, mel, self.vocoder(mel_segments(mel, batch.mel_lens, starts, frames, floor))


class FastPitchHifiGan(GanVocoder):
    """tokens (B, T_text) + voice (B, P) -> audio (B, T_mel * hop_length).

    ``cfg``: a FastPitchHifiGanConfig with ``mel``, ``text`` and ``voices``, or with ``parts``, the configurations of
    the two models, as ``joined_config`` makes it.
    """

    config_class = FastPitchHifiGanConfig
    settings: FastPitchHifiGanConfig
    generator: Joined

    def __init__(self, cfg: DictConfig, trainer: Any = None) -> None:
        super().__init__(cfg if "parts" in cfg else joined_config(cfg), trainer)
        self.frontend, self.voices = self.acoustic.frontend, self.acoustic.voices

    @classmethod
    def check_config(cls, config: dict[str, Any], where: str) -> dict[str, Any]:
        """See ``GanVocoder.check_config``; both parts must be there, and no file that they started from is read."""
        parts = config.get("parts")
        if not isinstance(parts, dict) or not all(
            isinstance(parts.get(name), dict) for name in ("acoustic", "vocoder")
        ):
            raise NemoExtError(f"{where} does not hold both parts, acoustic and vocoder: it is not loaded")
        checked = {
            "acoustic": FastPitch.check_config(parts["acoustic"], f"{where}: acoustic"),
            "vocoder": HifiGan.check_config(parts["vocoder"], f"{where}: vocoder"),
        }
        return super().check_config({**config, "parts": checked, "acoustic": "", "vocoder": ""}, where)

    def build_generator(self) -> nn.Module:
        """The two networks, of one mel."""
        acoustic, vocoder = FastPitch(self._cfg.parts.acoustic), HifiGan(self._cfg.parts.vocoder)
        check_mels(acoustic.mel_spec, vocoder.mel_spec)
        return Joined(acoustic, vocoder)

    def build_discriminators(self) -> nn.ModuleDict:
        """HiFi-GAN's: of periods and of scales."""
        small = self.settings.small_discriminators
        return nn.ModuleDict({"mpd": MultiPeriod(small), "msd": MultiScale(small)})

    @property
    def acoustic(self) -> FastPitch:
        """The acoustic model."""
        return self.generator.acoustic

    @property
    def vocoder(self) -> HifiGan:
        """The vocoder."""
        return self.generator.vocoder

    def parts(self) -> dict[str, Any]:
        """``acoustic`` and ``vocoder``, models of their own: each can be saved, and speaks with others of its mel."""
        return {"acoustic": self.acoustic, "vocoder": self.vocoder}

    # --------------------------------------------------------------- inference

    def forward(self, mel: Tensor) -> Tensor:
        """``mel (B, n_mels, T_mel)`` -> audio ``(B, T_mel * hop_length)``, with gradients and not clipped."""
        audio: Tensor = self.vocoder(mel)
        return audio

    def predict_mel(self, tokens: Tensor, token_lens: Tensor, voice: Tensor, **more: Any) -> AcousticOutput:
        """See ``FastPitch.predict_mel``; ``decode`` makes it audio."""
        return self.acoustic.predict_mel(tokens, token_lens, voice, **more)

    # ---------------------------------------------------------------- training

    def attempt(self, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Segments of predicted audio, of the recordings, and FastPitch's losses, weighed."""
        if batch.drawn is None:
            raise NemoExtError("a batch without `drawn`, which says where its segments are: acoustic_loaders gives it")
        losses, made, real, _ = self._segments(batch, (batch.drawn * self._places(batch)).long())
        return made, real, {name: self.settings.losses.acoustic * value for name, value in losses.items()}

    def _places(self, batch: Batch) -> Tensor:
        """``(B,)`` how many frames of each utterance a segment may begin at."""
        return (batch.mel_lens - self.settings.segment_frames + 1).clamp(min=1)

    def _segments(self, batch: Batch, starts: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
        if batch.audio is None:
            raise NemoExtError("a batch without audio: make it with acoustic_loaders(..., audio=True)")
        frames, hop = self.settings.segment_frames, self.mel_spec.hop_length
        losses, mel, made = self.generator(batch, starts, frames, self.global_step)
        return _named_apart(losses), made, audio_segments(batch.audio, batch.mel_lens, starts, frames, hop), mel

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]  # noqa: ARG002
        """Logs as a vocoder does, over the middle of each utterance, and ``val/predicted_mel``, FastPitch's own L1."""
        losses, made, real, mel = self._segments(batch, self._places(batch) // 2)
        weigh, portion = self.settings.losses, batch.portion
        heard, stft = self.spectral_losses(made, real, portion.utterances)
        kept = sum(v for k, v in losses.items() if k not in ("bin", "style", "speaker"))
        told = {
            "loss": weigh.mel * heard + weigh.stft * stft + weigh.acoustic * kept,
            "mel": portion.utterances * mel_l1(made, real, self.mel_spec),
            "stft": stft,
            "predicted_mel": portion.frames * fastpitch_parts.mel_l1(mel, batch),
            "align": losses["align"],
        }
        log_validation(self, told, batch)

    @torch.no_grad()
    def preview(self, batch: Batch) -> Preview:  # type: ignore[override]
        """The first utterance's mel, and a segment of its audio."""
        was_training = self.training
        self.eval()
        _, made, real, mel = self._segments(batch, self._places(batch) // 2)
        self.train(was_training)
        frames = int(batch.mel_lens[0])
        mels = {"target": batch.mel[0, :, :frames], "predicted": mel[0, :, :frames]}
        audio = {"target": real[0], "predicted": made[0].clamp(-1.0, 1.0)}
        return Preview(
            mels={name: value.float().cpu().numpy() for name, value in mels.items()},
            audio={name: value.float().cpu().numpy() for name, value in audio.items()},
        )


def joined_config(
    cfg: Any, acoustic: FastPitch | None = None, vocoder: HifiGan | None = None, trained_bin: bool = True
) -> DictConfig:
    """The configuration of a model of these two parts; what is None is fresh, by ``fastpitch`` and ``hifigan``.

    ``trained_bin``: the alignment of a trained ``acoustic`` counts as sharp from the first step.

    Raises:
        NemoExtError: a part cannot be trained together with another.
    """
    given: dict[str, Any] = OmegaConf.to_container(OmegaConf.create(cfg), resolve=True)  # type: ignore[assignment]
    fresh = {name: given.pop(name, {}) for name in ("fastpitch", "hifigan")}
    spoken = {name: given.pop(name, None) for name in ("text", "voices")}
    if acoustic is None:
        if (fresh["fastpitch"].get("style") or {}).get("tokens") or fresh["fastpitch"].get("voice_encoder"):
            raise NemoExtError(
                "styles and a voice encoder are learned by a FastPitch alone: train it first, then give model.acoustic="
            )
        first: Any = {**dataclasses.asdict(FastPitchConfig()), **fresh["fastpitch"], **spoken, "mel": given["mel"]}
    else:
        if "voices" not in acoustic.cfg:
            raise NemoExtError("model.acoustic= is a stock NeMo model: train a FastPitch of ours (model=fastpitch)")
        first = OmegaConf.to_container(acoustic.cfg, resolve=True)
        if trained_bin:
            first["losses"] = {**first.get("losses", {}), "bin_from_step": 0, "bin_warmup_steps": 0}
    second: Any = {**dataclasses.asdict(HifiGanConfig()), **fresh["hifigan"], "mel": given["mel"]}
    if vocoder is not None:
        second = OmegaConf.to_container(vocoder.cfg, resolve=True)
    return OmegaConf.create({**given, "parts": {"acoustic": first, "vocoder": second}})


def mel_segments(mel: Tensor, lens: Tensor, starts: Tensor, frames: int, floor: float) -> Tensor:
    """``(B, n_mels, frames)`` of ``mel (B, n_mels, T_mel)`` from ``starts (B,)`` on; ``floor`` beyond ``lens (B,)``."""
    at, inside = _frames(lens, starts, frames, mel.shape[2])
    part = mel.gather(2, at[:, None].expand(-1, mel.shape[1], -1))
    return torch.where(inside[:, None], part, torch.full_like(part, floor))


def audio_segments(audio: Tensor, lens: Tensor, starts: Tensor, frames: int, hop: int) -> Tensor:
    """``(B, frames * hop)`` of ``audio (B, T_mel * hop)`` from frame ``starts (B,)`` on; silence beyond ``lens``."""
    by_frame = audio.unflatten(1, (-1, hop))
    at, inside = _frames(lens, starts, frames, by_frame.shape[1])
    return (by_frame.gather(1, at[..., None].expand(-1, -1, hop)) * inside[..., None]).flatten(1)


def _frames(lens: Tensor, starts: Tensor, frames: int, last: int) -> tuple[Tensor, Tensor]:
    """``(B, frames)``: the frames of each segment, and which of them there are."""
    at = starts[:, None] + torch.arange(frames, device=starts.device)
    return at.clamp(max=last - 1), at < lens[:, None]


def _named_apart(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """FastPitch's mel loss under a name of its own: ``mel`` is the audio's."""
    return {("mel_predicted" if name == "mel" else name): value for name, value in losses.items()}
