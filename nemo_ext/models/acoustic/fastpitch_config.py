"""Options of the FastPitch, and NeMo's configuration of its parts made from them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nemo_ext.config import number
from nemo_ext.errors import NemoExtError
from nemo_ext.models.restored import check_settings, check_tables, check_voices
from nemo_ext.models.stock import stock_mel_spec, stock_preprocessor
from nemo_ext.modules.adapters import AdapterConfig
from nemo_ext.modules.style import StyleConfig
from nemo_ext.text.config import TextConfig
from nemo_ext.types import MelSpec

STOCK_DATASET = "nemo.collections.tts.data.dataset.TTSDataset"


@dataclass
class FastPitchLosses:
    """Weights of the losses, and when the binarisation loss sets in."""

    mel: float = number(1.0, 0.0)  # mean squared error of the log-mel
    duration: float = number(0.1, 0.0)  # mean squared error of log(durations + 1)
    pitch: float = number(0.1, 0.0)  # mean squared error of the normalized pitch per token
    energy: float = number(0.1, 0.0)  # mean squared error of log(energy + 1) per token
    align: float = number(1.0, 0.0)  # forward sum over all monotonic paths
    bin: float = number(1.0, 0.0)  # -log of the soft attention along the chosen path
    bin_from_step: int = number(0, 0)  # optimizer step from which the binarisation loss is weighed in
    bin_warmup_steps: int = number(1000, 0)  # steps over which its weight rises to `bin`


@dataclass
class VoiceEncoder:
    """The speaker encoder whose embeddings a model takes, as its configuration keeps it."""

    name: str = ""  # resemblyzer, or a .nemo file's name
    identity: str = ""  # hash of weights and method
    size: int = number(0, 0, 65_536)  # E
    spec: str = ""  # where it was when the model was trained


@dataclass
class FastPitchConfig:
    """What a person chooses of a FastPitch; ``nemo_config`` spells it out in NeMo's own keys."""

    _target_: str = "nemo_ext.models.acoustic.fastpitch.FastPitch"
    name: str = "fastpitch"
    width: int = number(384, 1, 8192)  # channels of embeddings, encoder and decoder
    encoder_layers: int = number(6, 1, 128)
    decoder_layers: int = number(6, 1, 128)
    heads: int = number(1, 1, 128)
    head_width: int = number(64, 1, 4096)  # channels of an attention head
    feedforward_width: int = number(1536, 1, 65_536)  # channels inside the convolutional feed-forward
    kernel_size: int = number(3, 1, 255)  # of the convolutional feed-forward, frames or tokens
    dropout: float = number(0.1, 0.0, 0.99)
    attention_dropout: float = number(0.1, 0.0, 0.99)
    predictor_width: int = number(256, 1, 8192)  # channels of duration, pitch and energy predictors
    predictor_layers: int = number(2, 1, 128)
    aligner_width: int = number(80, 1, 8192)  # channels in which mel and text are compared
    aligner_temperature: float = number(0.0005, above=0.0)
    max_token_duration: int = number(75, 1, 10_000)  # frames
    voice_encoder: str = ""  # resemblyzer or PATH.nemo: voices are that speaker encoder's; empty: a learned table
    voice_conditions: list[str] = field(default_factory=lambda: ["encoder", "decoder", "predictors", "aligner"])
    voice_adapters: AdapterConfig = field(default_factory=AdapterConfig)
    style: StyleConfig = field(default_factory=StyleConfig)
    losses: FastPitchLosses = field(default_factory=FastPitchLosses)
    optim: dict[str, Any] = field(default_factory=dict)  # NeMo's: name, lr, ..., sched


_TABLES = {
    "mel": MelSpec,
    "text": TextConfig,
    "losses": FastPitchLosses,
    "voice_adapters": AdapterConfig,
    "style": StyleConfig,
    "encoder": VoiceEncoder,
}


def check_config(config: dict[str, Any], where: str) -> dict[str, Any]:
    """``config``, which a file gave, as FastPitch takes it; ``where`` names its source.

    Raises:
        NemoExtError: a table in it is none of ours, or has a value out of its range.
    """
    if "voices" not in config:
        stock_mel_spec(config.get("preprocessor") or {})
        if "base_voices" in config:
            check_voices(config["base_voices"], where)
        # NeMo reads its training data while a model is made unless it is told not to
        dataset = (config.get("train_ds") or {}).get("dataset") or {}
        return {**config, "train_ds": {"dataset": {"_target_": STOCK_DATASET, **dataset}, "defer_setup": True}}
    check_tables(config, _TABLES, where)
    check_voices(config["voices"], where)
    if config.get("text", {}).get("lexicon"):
        raise NemoExtError(f"{where} names a lexicon elsewhere on the disk, which is not read: it is not loaded")
    if "width" in config:
        check_settings(config, FastPitchConfig, where)
    return config


def nemo_config(cfg: DictConfig) -> DictConfig:
    """NeMo's FastPitch configuration for ours: ``cfg`` is a FastPitchConfig with ``mel``, ``text`` and ``voices``."""
    left_open = {**dataclasses.asdict(FastPitchConfig()), "encoder": None, "style_names": []}
    cfg = OmegaConf.merge(left_open, cfg)  # type: ignore[assignment]  # of two mappings it is one
    mel, width = MelSpec(**cfg.mel), cfg.width

    def condition(part: str) -> list[str]:
        return ["add"] if part in cfg.voice_conditions else []

    transformer = {
        "n_head": cfg.heads,
        "d_model": width,
        "d_head": cfg.head_width,
        "d_inner": cfg.feedforward_width,
        "kernel_size": cfg.kernel_size,
        "dropout": cfg.dropout,
        "dropatt": cfg.attention_dropout,
        "dropemb": 0.0,
    }

    def predictor() -> dict[str, Any]:
        return {
            "_target_": "nemo.collections.tts.modules.fastpitch.TemporalPredictor",
            "input_size": width,
            "filter_size": cfg.predictor_width,
            "kernel_size": 3,
            "dropout": cfg.dropout,
            "n_layers": cfg.predictor_layers,
            "condition_types": condition("predictors"),
        }

    # what a model has not does not stand in its file either
    has = {"encoder": cfg.encoder, "style": cfg.style.tokens, "style_names": cfg.style.tokens}
    names = ("name", "mel", "text", "voices", "voice_adapters", "losses", "optim", *(k for k, v in has.items() if v))
    kept = {k: cfg[k] for k in names}
    return OmegaConf.create(
        {
            **{k: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for k, v in kept.items()},
            "learn_alignment": True,
            "n_speakers": len(cfg.voices),
            "symbols_embedding_dim": width,
            "n_mel_channels": mel.n_mels,
            "pitch_embedding_kernel_size": 3,
            "energy_embedding_kernel_size": 3,
            # every token got at least one frame in training, where the path skips none; a model that predicts
            # no frame at all cannot be exported
            "min_token_duration": 1,
            "max_token_duration": cfg.max_token_duration,
            "preprocessor": {
                **stock_preprocessor(mel),
                "mag_power": mel.mag_power,
                "log": True,
                "log_zero_guard_type": "add",
                "log_zero_guard_value": mel.log_guard,
                "normalize": None,
                "preemph": None,
                "dither": 0.0,
            },
            "input_fft": {
                "_target_": "nemo.collections.tts.modules.transformer.FFTransformerEncoder",
                "n_layer": cfg.encoder_layers,
                "d_embed": width,
                "condition_types": condition("encoder"),
                **transformer,
            },
            "output_fft": {
                "_target_": "nemo.collections.tts.modules.transformer.FFTransformerDecoder",
                "n_layer": cfg.decoder_layers,
                "condition_types": condition("decoder"),
                **transformer,
            },
            "alignment_module": {
                "_target_": "nemo.collections.tts.modules.aligner.AlignmentEncoder",
                "n_mel_channels": mel.n_mels,
                "n_text_channels": width,
                "n_att_channels": cfg.aligner_width,
                "temperature": cfg.aligner_temperature,
                "condition_types": condition("aligner"),
            },
            "duration_predictor": predictor(),
            "pitch_predictor": predictor(),
            "energy_predictor": predictor(),
        }
    )


def title(model: Any) -> str:
    """The name that its training gave ``model``, wherever its file lies; of one without, where it was restored from."""
    named = str(model.cfg.get("name") or "")
    if named and named.lower() != FastPitchConfig().name:
        return named
    return str(model.origin).removesuffix(".nemo").removesuffix("/model")
