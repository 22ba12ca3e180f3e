"""A speaker encoder on NeMo's parts, and the class in which any speaker model of stock NeMo comes back.

Desplanques and others, "ECAPA-TDNN" (arXiv 2005.07143), in the form of Dawalatabad and others (arXiv 2104.01466) that
NeMo has: time-delay layers with squeeze and excitation, attentive statistics over time, and an embedding that is
trained to tell speakers apart. Preprocessor, encoder and decoder are NeMo's under NeMo's names, so that its TitaNet,
ECAPA and SpeakerNet checkpoints load unchanged. What we changed: the loss takes cosines of normalised weights (NeMo
3.0.0 normalises a copy of them, so that its logits are no cosines, and its angular margin is none); batches come from
data.crops; the mel is that of the corpus, without a resampling.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nemo_ext import _nemo  # noqa: F401  before NeMo: it keeps NeMo's import quiet

from nemo.collections.asr.models.label_models import EncDecSpeakerLabelModel  # isort: skip
from omegaconf import DictConfig, OmegaConf

from nemo_ext.audio.mel import log_mel
from nemo_ext.config import number
from nemo_ext.losses.speaker import additive_angular_margin
from nemo_ext.models.logged import log_training, log_validation
from nemo_ext.models.restored import check_settings, check_tables, check_voices
from nemo_ext.models.stock import stock_mel_spec, stock_preprocessor
from nemo_ext.types import CropBatch, MelSpec, Preview


@dataclass
class SpeakerConfig:
    """What a person chooses of a speaker encoder; ``nemo_config`` spells it out in NeMo's own keys."""

    _target_: str = "nemo_ext.models.speaker.model.SpeakerModel"
    name: str = "speaker"
    channels: int = number(1024, 8, 65_536)  # of the time-delay layers; a multiple of 8
    layers: int = number(3, 1, 64)  # time-delay layers with squeeze and excitation
    attention_channels: int = number(128, 1, 8192)  # of the pooling over time
    embedding: int = number(192, 1, 65_536)  # E
    crop_seconds: float = number(2.0, above=0.0, most=600.0)  # s of a training crop
    batch_size: int = number(32, 1, 100_000)  # crops in a batch
    scale: float = number(30.0, above=0.0)  # of the cosines in the loss
    margin: float = number(0.2, 0.0, 3.15)  # radians, in the loss
    optim: dict[str, Any] = field(default_factory=dict)  # NeMo's: name, lr, ..., sched


def nemo_config(cfg: DictConfig) -> DictConfig:
    """NeMo's configuration for ours: ``cfg`` is a SpeakerConfig with ``mel`` and ``voices``."""
    mel, wide = MelSpec(**cfg.mel), cfg.layers * cfg.channels
    kept = ("name", "mel", "voices", "crop_seconds", "batch_size", "scale", "margin", "optim")
    modules = "nemo.collections.asr.modules"
    return OmegaConf.create(
        {
            **{k: OmegaConf.to_container(cfg[k]) if OmegaConf.is_config(cfg[k]) else cfg[k] for k in kept},
            "sample_rate": mel.sample_rate,
            "preprocessor": {
                **stock_preprocessor(mel),
                "normalize": "per_feature",  # what a microphone and a room do to every frame alike is no speaker
                "dither": 1e-5,
            },
            "encoder": {
                "_target_": f"{modules}.ECAPAEncoder",
                "feat_in": mel.n_mels,
                "filters": [cfg.channels] * (cfg.layers + 1) + [wide],
                "kernel_sizes": [5] + [3] * cfg.layers + [1],
                "dilations": [1] * (cfg.layers + 2),
                "scale": 8,
            },
            "decoder": {
                "_target_": f"{modules}.SpeakerDecoder",
                "feat_in": wide,
                "num_classes": max(2, len(cfg.voices)),
                "pool_mode": "attention",
                "attention_channels": cfg.attention_channels,
                "emb_sizes": cfg.embedding,
                "angular": True,  # no bias in the speakers' directions
            },
        }
    )


class SpeakerModel(EncDecSpeakerLabelModel):  # type: ignore[misc]
    """audio (B, T_audio) -> embeddings (B, E), trained to tell the speakers of a corpus apart.

    ``cfg``: a SpeakerConfig with ``mel`` and ``voices``, what ``nemo_config`` makes of it, or the configuration in a
    speaker checkpoint of stock NeMo 3.
    """

    config_class = SpeakerConfig

    def __init__(self, cfg: DictConfig, trainer: Any = None) -> None:
        own: Any = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg)
        cfg = nemo_config(own) if "channels" in own else own
        super().__init__(cfg=cfg, trainer=trainer)
        ours = "voices" in cfg
        self.speakers = [str(voice["name"]) for voice in cfg.voices] if ours else []
        self.mel_spec = MelSpec(**cfg.mel) if ours else stock_mel_spec(cfg.preprocessor)
        self.sample_rate = self.mel_spec.sample_rate  # Hz
        self.origin = "a model in memory"  # where it was restored from; _nemo.restore sets it

    @classmethod
    def check_config(cls, config: dict[str, Any], where: str) -> dict[str, Any]:
        """``config``, which a file gave, as this class takes it; ``where`` names its source.

        Raises:
            NemoExtError: a setting of another kind or out of its range.
        """
        if "voices" in config:
            check_tables(config, {"mel": MelSpec}, where)
            check_voices(config["voices"], where)
            check_settings(config, SpeakerConfig, where)
        else:
            stock_mel_spec(config.get("preprocessor") or {})
        return config

    @property
    def embedding_size(self) -> int:
        """E."""
        return int(self.decoder.emb_layers[-1][self._conv_or_linear()].weight.shape[0])

    def _conv_or_linear(self) -> int:
        # NeMo's embedding layer is (norm, convolution) behind attentive pooling and (linear, norm, ReLU) otherwise
        return 1 if isinstance(self.decoder.emb_layers[-1][1], torch.nn.Conv1d) else 0

    def embeddings(self, audio: Tensor, audio_lens: Tensor) -> Tensor:
        """``audio (B, T_audio)`` at ``sample_rate``, ``audio_lens (B,)`` -> ``(B, E)`` of unit length."""
        _, found = self(input_signal=audio, input_signal_length=audio_lens)
        return F.normalize(found.float(), dim=1)

    # ---------------------------------------------------------------- training

    def _learn(self, batch: CropBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Loss with its margin, loss without, and the share of crops whose speaker is found."""
        lens = torch.full((len(batch.audio),), batch.audio.shape[1], device=batch.audio.device)
        cosines = F.linear(self.embeddings(batch.audio, lens), F.normalize(self.decoder.final.weight, dim=1))
        loss = additive_angular_margin(cosines, batch.voice_ids, self._cfg.scale, self._cfg.margin)
        plain = F.cross_entropy(self._cfg.scale * cosines, batch.voice_ids)
        return loss, plain, (cosines.argmax(dim=1) == batch.voice_ids).float().mean()

    def training_step(self, batch: CropBatch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """One step on one batch; logs loss and accuracy under ``train/``."""
        loss, _, accuracy = self._learn(batch)
        log_training(self, {"loss": loss, "accuracy": accuracy}, len(batch.ids))
        return loss

    def validation_step(self, batch: CropBatch, batch_idx: int, dataloader_idx: int = 0) -> None:  # noqa: ARG002
        """Logs ``val/loss``, without the margin, and ``val/accuracy``."""
        _, plain, accuracy = self._learn(batch)
        share = batch.portion.utterances
        log_validation(self, {"loss": share * plain, "accuracy": share * accuracy}, batch)

    def on_validation_epoch_end(self) -> None:
        """Nothing to gather: Lightning averages what ``validation_step`` logs."""

    @torch.no_grad()
    def preview(self, batch: CropBatch) -> Preview:
        """The first crop of ``batch``, to hear and to see."""
        crop = batch.audio[0].float().cpu()
        return Preview(mels={"crop": log_mel(crop, self.mel_spec).numpy()}, audio={"crop": crop.numpy()})

    # ------------------------------------------------------------ NeMo's abstract

    def setup_training_data(self, train_data_layer_config: Any) -> None:
        """Batches come from data.crops through ``Trainer.fit``."""

    def setup_validation_data(self, val_data_layer_config: Any) -> None:
        """Batches come from data.crops through ``Trainer.fit``."""

    def setup_test_data(self, test_data_layer_params: Any) -> None:
        """There is none."""
