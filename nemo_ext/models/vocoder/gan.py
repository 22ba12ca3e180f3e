"""What HiFi-GAN and Vocos share: the training step, the validation, the checkpoint, ``decode``.

A model adds a generator, its discriminators and its config. Optimization is manual: only the generator's optimizer
steps through Lightning, so that ``trainer.global_step`` counts batches; the discriminators' follows its learning rate.
The discriminators are made when a fit begins, and never written to a ``.nemo`` file: a vocoder at work has no use for
them, and they are many times its size.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from nemo_ext import _nemo  # noqa: F401  before NeMo: it keeps NeMo's import quiet

from nemo.collections.tts.models.base import Vocoder  # isort: skip
from omegaconf import DictConfig, OmegaConf

from nemo_ext.audio.mel import log_mel
from nemo_ext.config import number
from nemo_ext.errors import NemoExtError
from nemo_ext.losses.adversarial import discriminator_loss, feature_matching, generator_loss
from nemo_ext.losses.spectral import full_band, mel_l1, multi_resolution_stft
from nemo_ext.models.logged import log_training, log_validation
from nemo_ext.models.restored import check_settings, check_tables
from nemo_ext.modules.discriminators import Verdict
from nemo_ext.types import MelSpec, Preview, SegmentBatch

# What only training needs, ours and in checkpoints of stock NeMo.
_TRAINING_ONLY = ("discriminators.", "mpd.", "msd.", "audio_to_melspec_precessor.", "trg_melspec_fn.")


@dataclass
class VocoderLosses:
    """Weights of the losses; the adversarial ones count from ``adversarial_from_step``."""

    mel: float = number(45.0, 0.0)  # L1 of the log-mels up to half the sample rate
    stft: float = number(0.0, 0.0)  # spectral convergence and log-magnitude L1, mean over stft_n_ffts
    stft_n_ffts: list[int] = number([512, 1024, 2048], 16, 65_536)  # samples
    adversarial: str = "lsgan"  # lsgan or hinge
    generator: float = number(1.0, 0.0)  # sum over discriminators
    feature_matching: float = number(2.0, 0.0)  # sum over discriminators and their layers


@dataclass
class GanVocoderConfig:
    """What both vocoders let a person choose."""

    segment_frames: int = number(32, 1, 100_000)  # mel frames of a training segment
    batch_size: int = number(16, 1, 100_000)  # segments in a batch
    adversarial_from_step: int | None = number(0, 0)  # batch from which the discriminators take part; null: never
    discriminator_warmup: int = number(0, 0)  # batches that they learn before the generator listens to them
    small_discriminators: bool = False  # a sixteenth of the channels, for toys and tests
    gradient_clip: float = number(1000.0, above=0.0)  # norm of the generator's, and of the discriminators', gradient
    losses: VocoderLosses = field(default_factory=VocoderLosses)
    optim: dict[str, Any] = field(default_factory=dict)  # NeMo's: name, lr, ..., sched


Config = TypeVar("Config", bound=GanVocoderConfig)


def typed(config_class: type[Config], cfg: DictConfig) -> Config:
    """The fields of ``config_class`` that ``cfg`` gives, checked for their types; its other keys are NeMo's own."""
    names = {f.name for f in dataclasses.fields(config_class)}
    given = OmegaConf.create({k: cfg[k] for k in cfg if k in names})
    settings = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(config_class), given))
    assert isinstance(settings, config_class)
    return settings


class GanVocoder(Vocoder):  # type: ignore[misc]
    """mel ``(B, n_mels, T_mel)`` -> audio ``(B, T_mel * hop_length)``, trained on SegmentBatches.

    A subclass sets ``config_class`` and gives ``build_generator`` and ``build_discriminators``.
    """

    config_class: type[GanVocoderConfig] = GanVocoderConfig

    def __init__(self, cfg: DictConfig, trainer: Any = None) -> None:
        given: Any = OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg
        # NeMo would call a `_target_` with every key as an argument; it writes its own `target`
        cfg = OmegaConf.create({k: v for k, v in given.items() if k != "_target_"})
        super().__init__(cfg=cfg, trainer=trainer)
        self.automatic_optimization = False
        self.mel_spec = MelSpec(**self._cfg.mel)
        self.settings = typed(self.config_class, self._cfg)
        self.generator = self.build_generator()
        self.discriminators: nn.ModuleDict | None = None  # made by configure_model when a fit begins
        self.first_discriminators: dict[str, Tensor] = {}  # weights that they start from, where there are any

    @classmethod
    def check_config(cls, config: dict[str, Any], where: str) -> dict[str, Any]:
        """``config``, which a file gave, as this class takes it; ``where`` names its source.

        Raises:
            NemoExtError: a setting of another kind or out of its range.
        """
        check_tables(config, {"mel": MelSpec}, where)
        check_settings(config, cls.config_class, where)
        return config

    def build_generator(self) -> nn.Module:
        """The network from ``self.mel_spec`` and ``self.settings``."""
        raise NotImplementedError

    def build_discriminators(self) -> nn.ModuleDict:
        """Modules from audio ``(B, T_audio)`` to a Verdict, by name."""
        raise NotImplementedError

    # --------------------------------------------------------------- inference

    def forward(self, mel: Tensor) -> Tensor:
        """``mel (B, n_mels, T_mel)`` -> audio ``(B, T_mel * hop_length)``, with gradients and not clipped."""
        audio: Tensor = self.generator(mel)
        return audio

    @torch.inference_mode()
    def decode(self, mel: Tensor) -> Tensor:
        """``mel (B, n_mels, T_mel)`` log-mel -> audio ``(B, T_mel * hop_length)`` in [-1, 1], float32."""
        with torch.autocast(mel.device.type, enabled=False):
            return self(mel.float()).clamp(-1.0, 1.0)

    def convert_spectrogram_to_audio(self, spec: Tensor, **_: Any) -> Tensor:
        """NeMo's name for ``decode``."""
        return self.decode(spec)

    # ---------------------------------------------------------------- training

    def configure_model(self) -> None:
        """Make the discriminators when a fit begins, before Lightning reads a checkpoint."""
        fitting = self._trainer is not None and self.trainer.state.fn == "fit"
        if not fitting or self.discriminators is not None or self.settings.adversarial_from_step is None:
            return
        if str(self.trainer.precision) in ("16-mixed", "16-true"):
            raise NemoExtError(
                f"trainer.precision={self.trainer.precision}: the discriminators' optimizer has no loss scaling; "
                "use bf16-mixed or 32"
            )
        self.discriminators = self.build_discriminators()
        if self.first_discriminators:
            self.discriminators.load_state_dict(self.first_discriminators)

    def setup_optimizer_param_groups(self) -> None:
        """NeMo's hook: its optimizer, the one that Lightning steps, is the generator's."""
        self._optimizer_param_groups = [{"params": list(self.generator.parameters())}]

    def configure_optimizers(self) -> Any:
        """The generator's optimizer and schedule from ``optim``; beside them the discriminators' plain optimizer."""
        chosen = {k: v for k, v in self._cfg.optim.items() if v is not None}  # NeMo stumbles over `sched: null`
        if "sched" in chosen:  # and over a setting that the chosen schedule has not
            chosen["sched"] = {k: v for k, v in chosen["sched"].items() if v is not None}
        self.setup_optimization(OmegaConf.create(chosen))
        optimizers = [self._optimizer]
        if self.discriminators is not None:
            group = self._optimizer.param_groups[0]
            optimizers.append(
                torch.optim.AdamW(
                    self.discriminators.parameters(),
                    lr=group["lr"],
                    betas=group.get("betas", (0.8, 0.99)),
                    weight_decay=group.get("weight_decay", 0.0),
                )
            )
        # Lightning warns of the other entries that NeMo puts beside a schedule: here it is stepped by hand
        return optimizers, [self._scheduler["scheduler"]] if self._scheduler else []

    def training_step(self, batch: SegmentBatch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """One step of the discriminators, where they take part, and one of the generator; logs under ``train/``."""
        weigh = self.settings.losses
        made, real, own = self.attempt(batch)
        share = batch.portion.utterances  # what a mean over the segments here counts for; `own` is weighed already
        since = self.settings.adversarial_from_step
        adversarial = self.discriminators is not None and since is not None and self.global_step >= since
        logged: dict[str, Tensor] = {}
        if adversarial:
            logged["disc"] = self._teach_discriminators(real, made.detach(), share)

        mel, stft = self.spectral_losses(made, real, share)
        logged |= {"mel": mel, "stft": stft, **own}
        loss = weigh.mel * mel + weigh.stft * stft + sum(own.values())
        if adversarial and self.global_step >= (since or 0) + self.settings.discriminator_warmup:
            logged["gen"], logged["fm"] = (share * value for value in self._ask_discriminators(real, made))
            loss = loss + weigh.generator * logged["gen"] + weigh.feature_matching * logged["fm"]
        optimizer = self._stepped()[0]
        optimizer.zero_grad()
        self.manual_backward(loss)
        nn.utils.clip_grad_norm_(self.generator.parameters(), self.settings.gradient_clip)
        optimizer.step()
        schedule = self.lr_schedulers()
        if schedule is not None:
            schedule.step()
        log_training(self, {"loss": loss, **logged}, len(batch.ids))
        return loss.detach()

    def _stepped(self) -> list[Any]:
        """Lightning's optimizers: the generator's, and the discriminators' where there are any."""
        found = self.optimizers()
        return found if isinstance(found, list) else [found]

    def attempt(self, batch: Any) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Audio ``(B, T_audio)`` that is made of ``batch``, the recording's, and what ``own_losses`` gives."""
        return self(batch.mel), batch.audio, self.own_losses(batch)

    def own_losses(self, batch: SegmentBatch) -> dict[str, Tensor]:  # noqa: ARG002
        """Weighed losses by name of a part of the generator that not every vocoder has."""
        return {}

    def spectral_losses(self, made: Tensor, real: Tensor, share: float = 1.0) -> tuple[Tensor, Tensor]:
        """Unweighted mel L1 up to half the sample rate, and multi-resolution STFT loss (0 where it has no weight)."""
        weigh = self.settings.losses
        mel = share * mel_l1(made, real, full_band(self.mel_spec))
        if not weigh.stft:
            return mel, mel.new_zeros(())
        return mel, multi_resolution_stft(made, real, self.mel_spec, weigh.stft_n_ffts, share)

    def _judge(self, real: Tensor, made: Tensor) -> tuple[Verdict, Verdict]:
        assert self.discriminators is not None
        both = torch.cat([real, made])  # one pass over both is faster than two
        verdict = Verdict([], [])
        for discriminator in self.discriminators.values():
            verdict = verdict + discriminator(both)
        return verdict.split()

    def _teach_discriminators(self, real: Tensor, made: Tensor, share: float) -> Tensor:
        assert self.discriminators is not None
        optimizer = self._stepped()[1].optimizer  # Lightning's own is not asked: it would count the step
        verdicts = self._judge(real, made)
        loss = share * discriminator_loss(verdicts[0].scores, verdicts[1].scores, self.settings.losses.adversarial)  # type: ignore[arg-type]
        optimizer.zero_grad()
        self.manual_backward(loss)
        nn.utils.clip_grad_norm_(self.discriminators.parameters(), self.settings.gradient_clip)
        for group in optimizer.param_groups:
            group["lr"] = self._optimizer.param_groups[0]["lr"]
        optimizer.step()
        return loss

    def _ask_discriminators(self, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
        """Adversarial and feature matching losses of the generator, without gradients of the discriminators."""
        from torch.distributed.tensor import DTensor  # takes half a second, which speaking has no use for

        assert self.discriminators is not None
        # weights that are dealt out (FSDP) must not be touched between forward and backward: their gradients are wasted
        whole = not any(isinstance(p, DTensor) for p in self.discriminators.parameters())
        if whole:
            self.discriminators.requires_grad_(False)
        on_real, on_made = self._judge(real, made)
        if whole:
            self.discriminators.requires_grad_(True)
        adversarial = generator_loss(on_made.scores, self.settings.losses.adversarial)  # type: ignore[arg-type]
        return adversarial, feature_matching(on_real.maps, on_made.maps)

    def validation_step(self, batch: SegmentBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Logs ``val/mel``, the L1 of the log-mels in the model's own band, and ``val/loss``, the spectral losses."""
        made, share = self(batch.mel), batch.portion.utterances
        mel, stft = self.spectral_losses(made, batch.audio, share)
        told = {
            "mel": share * mel_l1(made, batch.audio, self.mel_spec),
            "stft": stft,
            "loss": self.settings.losses.mel * mel + self.settings.losses.stft * stft,
        }
        log_validation(self, told, batch)

    def on_validation_epoch_end(self) -> None:
        """Nothing to gather: Lightning averages what ``validation_step`` logs."""

    @torch.no_grad()
    def preview(self, batch: SegmentBatch) -> Preview:
        """The first segment of ``batch``: recording and copy synthesis, to hear and to see."""
        audio = {"target": batch.audio[0], "predicted": self.decode(batch.mel[:1])[0]}
        return Preview(
            mels={name: log_mel(wave, self.mel_spec).cpu().numpy() for name, wave in audio.items()},
            audio={name: wave.float().cpu().numpy() for name, wave in audio.items()},
        )

    # -------------------------------------------------------------- checkpoints

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load what this model has now: discriminators and stock's mel modules in ``state_dict`` may be left over.

        Discriminators that ``state_dict`` lacks keep their weights: they may set in later than its training ended.
        """
        kept = {k: v for k, v in state_dict.items() if not k.startswith(_TRAINING_ONLY)}
        if self.discriminators is not None:
            ours = {f"discriminators.{k}": v for k, v in self.discriminators.state_dict().items()}
            kept |= {k: state_dict.get(k, v) for k, v in ours.items()}
        return super().load_state_dict(kept, strict=strict, assign=assign)

    @contextlib.contextmanager
    def _without_discriminators(self) -> Iterator[None]:
        aside, self.discriminators = self.discriminators, None
        try:
            yield
        finally:
            self.discriminators = aside

    def save_to(self, save_path: str) -> None:
        """Write a ``.nemo`` file for inference: the generator and the configuration."""
        with self._without_discriminators():
            super().save_to(save_path)

    # ------------------------------------------------------------ NeMo's abstract

    def setup_training_data(self, train_data_config: Any) -> None:
        """Batches come from data.loaders through ``Trainer.fit``."""

    def setup_validation_data(self, val_data_config: Any) -> None:
        """Batches come from data.loaders through ``Trainer.fit``."""
