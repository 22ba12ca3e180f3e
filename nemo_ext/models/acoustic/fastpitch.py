"""FastPitch on NeMo's parts, conditioned on a voice vector.

Lancucki, "FastPitch: Parallel Text-to-speech with Pitch Prediction" (arXiv 2006.06873), with the alignment learned as
in Badlani et al., "One TTS Alignment To Rule Them All" (arXiv 2108.10447).

Encoder, decoder, predictors and aligner are NeMo's modules under NeMo's names, so that checkpoints of stock NeMo 3 load
unchanged. What we changed: a **voice vector** (B, P) conditions the model instead of a speaker number; pitch is
normalised by each voice's own statistics; the training step keeps the alignment as one token index a frame and the
distance attention as a matrix product; losses are means over valid frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nemo.collections.tts.models.fastpitch import FastPitchModel  # isort: skip
from omegaconf import DictConfig, OmegaConf

from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.models.acoustic.stock_text import StockFrontend
from nemo_ext.models.stock import stock_mel_spec
from nemo_ext.modules.alignment import (
    average_per_token,
    distance_attention,
    expand,
    gather_tokens,
    mask_from_lens,
    monotonic_path,
)
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.types import AcousticOutput, BaseVoice, Batch, MelSpec, Preview

_TYPICAL_LOG_MEL = -5.0  # the mean of log-mels of speech with a guard of 1e-5
_STOCK_DATASET = "nemo.collections.tts.data.dataset.TTSDataset"


@dataclass
class FastPitchLosses:
    """Weights of the losses, and when the binarisation loss sets in."""

    mel: float = 1.0  # mean squared error of the log-mel
    duration: float = 0.1  # mean squared error of log(durations + 1)
    pitch: float = 0.1  # mean squared error of the normalized pitch per token
    energy: float = 0.1  # mean squared error of log(energy + 1) per token
    align: float = 1.0  # forward sum over all monotonic paths
    bin: float = 1.0  # -log of the soft attention along the chosen path
    bin_from_step: int = 0  # optimizer step from which the binarisation loss is weighed in
    bin_warmup_steps: int = 1000  # steps over which its weight rises to `bin`


@dataclass
class FastPitchConfig:
    """What a person chooses of a FastPitch; ``nemo_config`` spells it out in NeMo's own keys."""

    _target_: str = "nemo_ext.models.acoustic.fastpitch.FastPitch"
    name: str = "fastpitch"
    width: int = 384  # channels of embeddings, encoder and decoder
    encoder_layers: int = 6
    decoder_layers: int = 6
    heads: int = 1
    head_width: int = 64  # channels of an attention head
    feedforward_width: int = 1536  # channels inside the convolutional feed-forward
    kernel_size: int = 3  # of the convolutional feed-forward, frames or tokens
    dropout: float = 0.1
    attention_dropout: float = 0.1
    predictor_width: int = 256  # channels of duration, pitch and energy predictors
    predictor_layers: int = 2
    aligner_width: int = 80  # channels in which mel and text are compared
    aligner_temperature: float = 0.0005
    max_token_duration: int = 75  # frames
    voice_conditions: list[str] = field(default_factory=lambda: ["encoder", "decoder", "predictors", "aligner"])
    losses: FastPitchLosses = field(default_factory=FastPitchLosses)
    optim: dict[str, Any] = field(default_factory=dict)  # NeMo's: name, lr, ..., sched


def nemo_config(cfg: DictConfig) -> DictConfig:
    """NeMo's FastPitch configuration for ours: ``cfg`` is a FastPitchConfig with ``mel``, ``text`` and ``voices``."""
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

    kept = {k: cfg[k] for k in ("name", "mel", "text", "voices", "losses", "optim")}
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
                "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
                "sample_rate": mel.sample_rate,
                "features": mel.n_mels,
                "n_fft": mel.n_fft,
                "n_window_size": mel.win_length,
                "n_window_stride": mel.hop_length,
                "window_size": None,
                "window_stride": None,
                "lowfreq": mel.f_min,
                "highfreq": mel.f_max,
                "mag_power": mel.mag_power,
                "log": True,
                "log_zero_guard_type": "add",
                "log_zero_guard_value": mel.log_guard,
                "normalize": None,
                "preemph": None,
                "dither": 0.0,
                "pad_to": 1,
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


@dataclass
class Alignment:
    """Tokens and frames of a batch brought together."""

    attention: Tensor  # (B, T_mel, T_text), sums to 1 over tokens
    log_probability: Tensor  # (B, T_mel, T_text), unnormalised
    path: Tensor  # (B, T_mel) int64, token of each frame
    durations: Tensor  # (B, T_text) int64, frames


class FastPitch(FastPitchModel):  # type: ignore[misc]
    """tokens (B, T_text) + voice (B, P) -> log-mel (B, n_mels, T_mel).

    ``cfg``: a FastPitchConfig with ``mel``, ``text`` and ``voices``, what ``nemo_config`` makes of it, or the
    configuration in a checkpoint of stock NeMo 3.
    """

    config_class = FastPitchConfig

    def __init__(self, cfg: DictConfig, trainer: Any = None) -> None:
        own: Any = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg)
        cfg = nemo_config(own) if "width" in own else own
        ours = "voices" in cfg
        if ours:  # stock's constructor reads the name of a dataset class; our batches come from data.loaders
            cfg.train_ds = {"dataset": {"_target_": _STOCK_DATASET}, "defer_setup": True}
        self.frontend: Any = None  # set by _setup_tokenizer, which stock's constructor calls
        super().__init__(cfg=cfg, trainer=trainer)
        if ours:
            del self._cfg.train_ds
            self.voices = [BaseVoice(**voice) for voice in cfg.voices]
            self.mel_spec = MelSpec(**cfg.mel)
            # stock makes the table for two voices and more; here one voice is a vector as well
            self.fastpitch.speaker_emb = torch.nn.Embedding(len(self.voices), cfg.symbols_embedding_dim)
            # the output starts at the level of speech, which saves the first hundred steps
            torch.nn.init.constant_(self.fastpitch.proj.bias, _TYPICAL_LOG_MEL)
        else:
            self.voices = _stock_voices(cfg)
            self.mel_spec = stock_mel_spec(cfg.preprocessor)
            self.frontend = self.frontend or StockFrontend(self)
        weights: Any = OmegaConf.to_container(cfg.losses) if "losses" in cfg else {}
        self.losses = FastPitchLosses(**weights)

    def _setup_tokenizer(self, cfg: DictConfig) -> None:
        if "text" not in cfg:
            super()._setup_tokenizer(cfg)
            return
        text: Any = OmegaConf.to_container(cfg.text)
        self.frontend = TextFrontend(TextConfig(**text))
        table = self.frontend.table
        self.vocab = SimpleNamespace(tokens=table.symbols, pad=table.pad)

    # ------------------------------------------------------------------ voices

    def voice_vector(self, name: str) -> Tensor:
        """The voice vector ``(P,)`` of the base voice ``name``.

        Raises:
            NemoExtError: no base voice has that name.
        """
        names = [voice.name for voice in self.voices]
        if name not in names:
            listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            raise NemoExtError(f"unknown voice '{name}'{nearest(name, names)}; this model speaks as: {listed}")
        return self._voice_table()[names.index(name)].detach()

    def _voice_table(self) -> Tensor:
        """``(voices, P)``: P is 0 for a stock model of a single speaker."""
        module = self.fastpitch
        if module.speaker_emb is not None:
            return module.speaker_emb.weight
        if module.speaker_encoder is not None and module.speaker_encoder.lookup_module is not None:
            return module.speaker_encoder.lookup_module.table.weight
        return module.proj.weight.new_zeros(len(self.voices), 0)

    @staticmethod
    def _conditioning(voice: Tensor) -> Tensor | None:
        return voice[:, None, :] if voice.shape[-1] else None

    # --------------------------------------------------------------- inference

    @torch.inference_mode()
    def predict_mel(
        self,
        tokens: Tensor,
        token_lens: Tensor,  # noqa: ARG002
        voice: Tensor,
        *,
        pitch_stats: Tensor | None = None,
        pace: float = 1.0,
        pitch_shift: float = 0.0,
    ) -> AcousticOutput:
        """Speak ``tokens (B, T_text)`` with ``voice (B, P)``.

        Args:
            tokens: padded with the table's pad.
            token_lens: ``(B,)``; kept for the protocol, since the pad token tells the lengths.
            voice: one vector an utterance.
            pitch_stats: ``(B, 2)`` mean and standard deviation of each voice's F0 in Hz; needed for ``pitch_shift``.
            pace: factor on the speed.
            pitch_shift: semitones.
        """
        module, condition = self.fastpitch, self._conditioning(voice)
        encoded, mask = module.encoder(input=tokens, conditioning=condition)
        log_durations = module.duration_predictor(encoded, mask, conditioning=condition)
        durations = torch.clamp(torch.exp(log_durations) - 1.0, module.min_token_duration, module.max_token_duration)
        durations = torch.floor(durations * mask.squeeze(2) / pace + 0.5).long()
        pitch = module.pitch_predictor(encoded, mask, conditioning=condition)
        if pitch_stats is None:
            pitch_stats = pitch.new_tensor([0.0, 1.0]).expand(len(pitch), 2)
        mean, std = pitch_stats[:, :1], pitch_stats[:, 1:]
        if pitch_shift:
            if not bool((mean > 0).all()):
                raise NemoExtError("this model does not know its voice's pitch in Hz, so pitch= cannot be shifted")
            # a shift in semitones is a factor in Hz: (f * r - mean) / std, with f = p * std + mean
            ratio = 2.0 ** (pitch_shift / 12.0)
            pitch = pitch * ratio + mean * (ratio - 1.0) / std
        encoded = encoded + module.pitch_emb(pitch[:, None, :]).transpose(1, 2)
        if module.energy_predictor is not None:
            energy = module.energy_predictor(encoded, mask, conditioning=condition)
            encoded = encoded + module.energy_emb(energy[:, None, :]).transpose(1, 2)
        expanded, mel_lens = expand(encoded, durations)
        return AcousticOutput(
            mel=self._decode(expanded, mel_lens, condition),
            mel_lens=mel_lens,
            durations=durations,
            pitch=(pitch * std + mean) * mask.squeeze(2),
        )

    def _decode(self, expanded: Tensor, mel_lens: Tensor, condition: Tensor | None) -> Tensor:
        decoded, _ = self.fastpitch.decoder(input=expanded, seq_lens=mel_lens, conditioning=condition)
        mel: Tensor = self.fastpitch.proj(decoded).transpose(1, 2)
        return mel

    # ---------------------------------------------------------------- training

    def align(self, batch: Batch, mask: Tensor, condition: Tensor | None) -> Alignment:
        """Soft attention of the batch's frames over its tokens and the best path; ``mask (B, T_text)``."""
        aligner = self.aligner
        keys = aligner.cond_input(self.fastpitch.encoder.word_emb(batch.tokens), condition).transpose(1, 2)
        attention, log_probability = distance_attention(
            aligner.query_proj(batch.mel), aligner.key_proj(keys), mask, batch.attn_prior, aligner.temperature
        )
        path, durations = monotonic_path(torch.log(attention.detach()), batch.token_lens, batch.mel_lens)
        return Alignment(attention, log_probability, path, durations)

    def learn(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor, Alignment]:
        """Losses, the mel ``(B, n_mels, T_mel)`` predicted with the true durations, pitch and energy, the alignment."""
        module, weigh = self.fastpitch, self.losses
        condition = self._conditioning(self._voice_table()[batch.voice_ids])
        encoded, token_mask = module.encoder(input=batch.tokens, conditioning=condition)
        tokens_valid = token_mask.squeeze(2)
        frames_valid = mask_from_lens(batch.mel_lens, batch.mel.shape[2])
        alignment = self.align(batch, tokens_valid, condition)

        durations = alignment.durations
        pitch = average_per_token(batch.pitch_normalized, durations)
        log_durations = module.duration_predictor(encoded, token_mask, conditioning=condition)
        pitch_predicted = module.pitch_predictor(encoded, token_mask, conditioning=condition)
        losses = {
            "duration": weigh.duration * _mean_square(log_durations, torch.log(durations + 1.0), tokens_valid),
            "pitch": weigh.pitch * _mean_square(pitch_predicted, pitch, tokens_valid),
        }
        encoded = encoded + module.pitch_emb(pitch[:, None, :]).transpose(1, 2)
        if module.energy_predictor is not None:
            energy = torch.log1p(average_per_token(batch.energy, durations))
            predicted = module.energy_predictor(encoded, token_mask, conditioning=condition)
            losses["energy"] = weigh.energy * _mean_square(predicted, energy, tokens_valid)
            encoded = encoded + module.energy_emb(energy[:, None, :]).transpose(1, 2)

        mel = self._decode(gather_tokens(encoded, alignment.path) * frames_valid[..., None], batch.mel_lens, condition)
        losses["mel"] = weigh.mel * _mean_square(mel, batch.mel, frames_valid[:, None, :])
        losses["align"] = weigh.align * self.forward_sum_loss_fn(
            attn_logprob=alignment.log_probability[:, None], in_lens=batch.token_lens, out_lens=batch.mel_lens
        )
        on_path = alignment.attention.gather(2, alignment.path[..., None]).squeeze(2)
        losses["bin"] = -(torch.log(on_path.clamp(min=1e-12)) * frames_valid).sum() / frames_valid.sum()
        return losses, mel, alignment

    def _bin_weight(self) -> float:
        steps = self.global_step - self.losses.bin_from_step
        return self.losses.bin * min(max(steps / max(self.losses.bin_warmup_steps, 1), 0.0), 1.0)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """One step on one batch; logs every loss under ``train/``."""
        losses, _, _ = self.learn(batch)
        losses["bin"] = losses["bin"] * self._bin_weight()
        loss = torch.stack(list(losses.values())).sum()
        self.log_dict(
            {f"train/{k}": v.detach() for k, v in {"loss": loss, **losses}.items()}, batch_size=len(batch.ids)
        )
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Logs the losses under ``val/``; ``val/mel`` is the mean absolute error of the log-mel."""
        losses, mel, _ = self.learn(batch)
        valid = mask_from_lens(batch.mel_lens, batch.mel.shape[2])[:, None, :]
        losses["mel_l1"] = ((mel - batch.mel).abs() * valid).sum() / (valid.sum() * mel.shape[1])
        loss = sum(v for k, v in losses.items() if k not in ("bin", "mel_l1"))
        logged = {"val/loss": loss, "val/mel": losses["mel_l1"], "val/align": losses["align"], "val/bin": losses["bin"]}
        logged |= {f"val/{k}": losses[k] for k in ("duration", "pitch")}
        self.log_dict(logged, batch_size=len(batch.ids), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Nothing to gather: Lightning averages what ``validation_step`` logs."""

    @torch.no_grad()
    def preview(self, batch: Batch) -> Preview:
        """The first utterance of ``batch``: mels, alignments and pitch, for pictures."""
        was_training = self.training
        self.eval()
        _, mel, alignment = self.learn(batch)
        self.train(was_training)
        tokens, frames = int(batch.token_lens[0]), int(batch.mel_lens[0])
        hard = F.one_hot(alignment.path[0, :frames], tokens).T
        voice = self.voices[int(batch.voice_ids[0])]
        normalized = batch.pitch_normalized[0, :frames]
        hz = torch.where(normalized != 0, normalized * voice.pitch_std + voice.pitch_mean, normalized)
        return Preview(
            mels={
                "target": batch.mel[0, :, :frames].float().cpu().numpy(),
                "predicted": mel[0, :, :frames].float().cpu().numpy(),
            },
            alignments={
                "soft": alignment.attention[0, :frames, :tokens].T.float().cpu().numpy(),
                "hard": hard.float().cpu().numpy(),
            },
            curves={"pitch": hz.float().cpu().numpy()},
        )


def _mean_square(predicted: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean squared error over the True positions of ``valid`` (broadcast over channels)."""
    valid = valid.expand_as(predicted)
    return ((predicted - target).square() * valid).sum() / valid.sum()


def _stock_voices(cfg: DictConfig) -> list[BaseVoice]:
    """Stock checkpoints number their speakers and keep one mean and standard deviation of pitch, if any."""
    dataset = cfg.train_ds.dataset if "train_ds" in cfg and cfg.train_ds else {}
    mean, std = (dataset[k] if dataset.get(k) else None for k in ("pitch_mean", "pitch_std"))
    encoder = cfg.speaker_encoder if "speaker_encoder" in cfg and cfg.speaker_encoder else {}
    count = cfg.n_speakers if "n_speakers" in cfg else 1
    count = encoder["lookup_module"]["n_speakers"] if "lookup_module" in encoder else count
    return [
        BaseVoice(name=f"speaker_{i}", pitch_mean=float(mean or 0.0), pitch_std=float(std or 1.0))
        for i in range(max(int(count), 1))
    ]
