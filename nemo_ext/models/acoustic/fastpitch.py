"""FastPitch on NeMo's parts, conditioned on a voice vector.

Lancucki, "FastPitch: Parallel Text-to-speech with Pitch Prediction" (arXiv 2006.06873), with the alignment learned as
in Badlani et al., "One TTS Alignment To Rule Them All" (arXiv 2108.10447).

Encoder, decoder, predictors and aligner are NeMo's modules under NeMo's names, so that checkpoints of stock NeMo 3 load
unchanged. What we changed: a **voice vector** (B, P), speaker embedding and adapter weights, conditions the model
instead of a speaker number; utterances of a batch do not see each other's padding (modules/fft.py); pitch is
normalised by each voice's own statistics; the training step keeps the alignment as one token index a frame and the
distance attention as a matrix product; losses are means over valid frames.
"""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nemo.collections.tts.models.fastpitch import FastPitchModel  # isort: skip
from omegaconf import DictConfig, OmegaConf

from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.models.acoustic import fastpitch_config, fastpitch_parts
from nemo_ext.models.acoustic.fastpitch_config import FastPitchConfig, FastPitchLosses, VoiceEncoder, nemo_config
from nemo_ext.models.acoustic.fastpitch_parts import Alignment, Conditions, Reading, asks_for, mean_square
from nemo_ext.models.acoustic.stock_text import StockFrontend
from nemo_ext.models.acoustic.styled import Styled
from nemo_ext.models.logged import log_training, log_validation
from nemo_ext.models.stock import stock_mel_spec, stock_voices
from nemo_ext.modules.adapters import (
    AdapterConfig,
    Site,
    VoiceAdapters,
    predictor_sites,
    stack_sites,
)
from nemo_ext.modules.alignment import (
    average_per_token,
    distance_attention,
    expand,
    gather_tokens,
    mask_from_lens,
    monotonic_path,
)
from nemo_ext.modules.dropout import quicken
from nemo_ext.modules.fft import run_predictor, run_stack
from nemo_ext.modules.style import StyleConfig
from nemo_ext.modules.style_bank import GlobalStyle
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.types import AcousticOutput, BaseVoice, Batch, MelSpec, Preview
from nemo_ext.voices import WITH_THE_BASE, Provenance, Vector, Voice, VoiceLayout

_TYPICAL_LOG_MEL = -5.0  # the mean of log-mels of speech with a guard of 1e-5
_NOT_SPOKEN_WITH = (
    *("aligner.", "fastpitch.aligner.", "style.heads.", "style.bank."),
    *("fastpitch.speaker_emb.", "fastpitch.speaker_encoder."),
)


class FastPitch(Styled, FastPitchModel):  # type: ignore[misc]
    """tokens (B, T_text) + voice (B, P) -> log-mel (B, n_mels, T_mel).

    ``cfg``: a FastPitchConfig with ``mel``, ``text`` and ``voices``, what ``nemo_config`` makes of it, or the
    configuration in a checkpoint of stock NeMo 3.
    """

    config_class = FastPitchConfig
    check_config = staticmethod(fastpitch_config.check_config)

    def __init__(self, cfg: DictConfig, trainer: Any = None) -> None:
        own: Any = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg)
        cfg = nemo_config(own) if "width" in own else own
        ours = "voices" in cfg
        if ours:  # stock's constructor reads the name of a dataset class; our batches come from data.loaders
            cfg.train_ds = {"dataset": {"_target_": fastpitch_config.STOCK_DATASET}, "defer_setup": True}
        self.frontend: Any = None  # set by _setup_tokenizer, which stock's constructor calls
        super().__init__(cfg=cfg, trainer=trainer)
        self.encoder: VoiceEncoder | None = None  # of whose embeddings the voices are; None: a learned table
        self.voice_projection: torch.nn.Linear | None = None
        if ours:
            del self._cfg.train_ds
            self.voices = [BaseVoice(**voice) for voice in cfg.voices]
            self.mel_spec = MelSpec(**cfg.mel)
            # stock makes the table for two voices and more; here one voice is a vector as well
            self.fastpitch.speaker_emb = torch.nn.Embedding(len(self.voices), cfg.symbols_embedding_dim)
            if "encoder" in cfg:
                self._take_embeddings_of(VoiceEncoder(**cfg.encoder), cfg.symbols_embedding_dim)
            # the output starts at the level of speech, which saves the first hundred steps
            torch.nn.init.constant_(self.fastpitch.proj.bias, _TYPICAL_LOG_MEL)
        else:
            self.voices = stock_voices(cfg)
            self.mel_spec = stock_mel_spec(cfg.preprocessor)
            self.frontend = self.frontend or StockFrontend(self)
        weights: Any = OmegaConf.to_container(cfg.losses) if "losses" in cfg else {}
        self.losses = FastPitchLosses(**weights)
        adapters: Any = OmegaConf.to_container(cfg.voice_adapters) if "voice_adapters" in cfg else {}
        self.voice_adapters = VoiceAdapters(AdapterConfig(**adapters), self._sites(), self._voice_table().shape[1])
        self.style: GlobalStyle | None = None
        if "style" in cfg and cfg.style.tokens:
            chosen: Any = OmegaConf.to_container(cfg.style)
            names, width = list(cfg.style_names), cfg.symbols_embedding_dim
            self.style = GlobalStyle(StyleConfig(**chosen), self.mel_spec.n_mels, width, len(self.voices), names)
        quicken(self)
        self._hashed: tuple[Any, str] | None = None
        self.origin = "a model in memory"  # where it was restored from; _nemo.restore sets it

    def _setup_tokenizer(self, cfg: DictConfig) -> None:
        if "text" not in cfg:
            super()._setup_tokenizer(cfg)
            return
        text: Any = OmegaConf.to_container(cfg.text)
        self.frontend = TextFrontend(TextConfig(**text))
        table = self.frontend.table
        self.vocab = SimpleNamespace(tokens=table.symbols, pad=table.pad)

    # ------------------------------------------------------------------ voices

    def _take_embeddings_of(self, encoder: VoiceEncoder, width: int) -> None:
        """The embedding in a voice is a speaker encoder's, of any speaker; what is learned is how to read it."""
        self.encoder = encoder
        self.fastpitch.speaker_emb = torch.nn.Embedding(len(self.voices), encoder.size)
        self.fastpitch.speaker_emb.weight.requires_grad_(False)
        self.voice_projection = torch.nn.Linear(encoder.size, width)

    def set_base_embeddings(self, table: Tensor) -> None:
        """``table (voices, E)``: the base voices' embeddings, for a model whose voices are a speaker encoder's."""
        with torch.no_grad():
            self._voice_table().copy_(table)

    def _sites(self) -> list[Site]:
        module = self.fastpitch
        found = stack_sites("encoder", len(module.encoder.layers), module.encoder.d_model)
        for part in ("duration_predictor", "pitch_predictor", "energy_predictor"):
            predictor = getattr(module, part)
            if predictor is not None:
                found += predictor_sites(part, len(predictor.layers), predictor.filter_size)
        return found + stack_sites("decoder", len(module.decoder.layers), module.decoder.d_model)

    @property
    def voice_layout(self) -> VoiceLayout:
        """What stands where in this model's voice vectors."""
        return self.voice_adapters.layout

    def base_voice(self, name: str) -> Voice:
        """The base voice ``name``: its row of the embedding table, and zero adapters.

        Raises:
            NemoExtError: no base voice has that name.
        """
        names = [voice.name for voice in self.voices]
        if name not in names:
            listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            raise NemoExtError(f"unknown voice '{name}'{nearest(name, names)}; this model speaks as: {listed}")
        told = self.voices[names.index(name)]
        embedding = self._voice_table()[names.index(name)].detach().float().cpu().numpy()
        return self.voice_of(
            name,
            embedding,
            language=told.language,
            pitch_mean=told.pitch_mean,
            pitch_std=told.pitch_std,
            **(self.style.of_voice(names.index(name)) if self.style is not None else {}),
            provenance=Provenance(WITH_THE_BASE, recordings=told.utterances, seconds=told.seconds),
        )

    def voice_of(self, name: str, vector: Vector, **about: Any) -> Voice:
        """A voice of this model: ``vector (P,)``, or ``(E,)`` for one without adapters; ``about``: fields of Voice."""
        return Voice(
            name=name,
            vector=np.pad(vector, (0, self.voice_layout.size - len(vector))),
            layout=self.voice_layout,
            base=self.origin,
            base_hash=self.weights_hash(),
            base_parameters=self.parameters_spoken_with(),
            **about,
        )

    def voice_vector(self, name: str) -> Tensor:
        """The voice vector ``(P,)`` of the base voice ``name``; see ``base_voice``."""
        return torch.from_numpy(self.base_voice(name).vector)

    def weights_hash(self) -> str:
        """Identity of what a voice is made for: 16 hexadecimal digits over every weight that inference uses.

        Left out are the aligner and the style classifiers, which only training uses, and what belongs to the base
        voices, since a voice brings its own: the table of embeddings, named styles.
        """
        state = [(k, v) for k, v in sorted(self.state_dict().items()) if not k.startswith(_NOT_SPOKEN_WITH)]
        # torch counts the writes to a tensor, except to those made in inference mode, which nobody trains
        written = tuple((v.data_ptr(), 0 if v.is_inference() else v._version) for _, v in state)
        if self._hashed is None or self._hashed[0] != written:
            digest = hashlib.sha256(self.voice_layout.hash.encode())
            for name, tensor in state:
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
            self._hashed = (written, digest.hexdigest()[:16])
        return self._hashed[1]

    def parameters_spoken_with(self) -> int:
        """Number of parameters that inference uses: without aligner and table of base voices, as ``weights_hash``."""
        return sum(v.numel() for k, v in self.named_parameters() if not k.startswith(_NOT_SPOKEN_WITH))

    def _voice_table(self) -> Tensor:
        """``(voices, E)``: E is 0 for a stock model of a single speaker."""
        module = self.fastpitch
        if module.speaker_emb is not None:
            return module.speaker_emb.weight
        if module.speaker_encoder is not None and module.speaker_encoder.lookup_module is not None:
            return module.speaker_encoder.lookup_module.table.weight
        if module.speaker_encoder is not None and module.speaker_encoder.precomputed_emb is not None:
            return module.speaker_encoder.precomputed_emb[None]
        return module.proj.weight.new_zeros(len(self.voices), 0)

    def read_embedding(self, embedding: Tensor) -> Tensor | None:
        """``embedding (B, E)`` -> ``(B, 1, D)``, what is added to inputs; None where E is 0."""
        if self.voice_projection is not None:
            embedding = self.voice_projection(embedding)
        return embedding[:, None] if embedding.shape[1] else None

    def _conditions(self, voice: Tensor, style: Tensor | None = None) -> Conditions:
        """``voice (B, P)``, or ``(B, E)`` for voices without adapters; ``style (B, S)``, None: no style."""
        weights = self.voice_adapters.weights(voice)
        speaker = self.read_embedding(weights.embedding)
        if style is None:
            return Conditions(weights, speaker, speaker)
        projected = self._style().conditions(style)
        return Conditions(weights, projected if speaker is None else speaker + projected, speaker)

    # ------------------------------------------------------------------- parts

    def _encode(self, tokens: Tensor, given: Conditions) -> tuple[Tensor, Tensor]:
        """``tokens (B, T_text)`` -> ``(B, T_text, D)`` and the mask ``(B, T_text)`` of those that are no padding."""
        encoder = self.fastpitch.encoder
        mask = tokens != encoder.padding_idx
        return run_stack(encoder, "encoder", encoder.word_emb(tokens), mask, given.added, given.voice), mask

    def _predict(self, part: str, encoded: Tensor, mask: Tensor, given: Conditions) -> Tensor:
        return run_predictor(getattr(self.fastpitch, part), part, encoded, mask, given.added, given.voice)

    def _decode(self, expanded: Tensor, mel_lens: Tensor, given: Conditions) -> Tensor:
        """``expanded (B, T_mel, D)`` -> log-mel ``(B, n_mels, T_mel)``."""
        mask = mask_from_lens(mel_lens, expanded.shape[1])
        decoded = run_stack(self.fastpitch.decoder, "decoder", expanded, mask, given.added, given.voice)
        mel: Tensor = self.fastpitch.proj(decoded).transpose(1, 2)
        return mel

    # --------------------------------------------------------------- inference

    @torch.inference_mode()
    def predict_mel(
        self,
        tokens: Tensor,
        token_lens: Tensor,  # noqa: ARG002
        voice: Tensor,
        *,
        pitch_stats: Tensor | None = None,
        pace: float | Tensor = 1.0,
        pitch_shift: float | Tensor = 0.0,
        pitch_range: float | Tensor = 1.0,
        energy: float | Tensor = 0.0,
        durations: Tensor | None = None,
        style: Tensor | None = None,
    ) -> AcousticOutput:
        """Speak ``tokens (B, T_text)`` with ``voice (B, P)``.

        What is a number for the whole batch may also be a tensor ``(B, 1)`` or ``(B, T_text)``, one value a token.

        Args:
            tokens: padded with the table's pad.
            token_lens: ``(B,)``; kept for the protocol, since the pad token tells the lengths.
            voice: one vector an utterance; every utterance may have another.
            pitch_stats: ``(B, 2)`` mean and standard deviation of each voice's F0 in Hz; needed for ``pitch_shift``.
            pace: factor on the speed.
            pitch_shift: semitones.
            pitch_range: factor on the distance from the voice's mean pitch, 0 is a monotone.
            energy: dB on the predicted energy: how forcefully it is spoken.
            durations: ``(B, T_text)`` frames of each token, instead of the predicted ones; ``pace`` does not apply.
            style: ``(B, S)``; zeros and None are no style.

        Raises:
            NemoExtError: a pitch shift, and the voice's pitch in Hz is not known; energy, and the model knows none; a
                style, and the model has none; no token of the batch lasts a frame.
        """
        given = self._conditions(voice, style)
        encoded, mask = self._encode(tokens, given)
        if pitch_stats is None:
            pitch_stats = encoded.new_tensor([0.0, 1.0]).expand(len(tokens), 2)
        mean, std = pitch_stats[:, :1], pitch_stats[:, 1:]
        pitch_scale: float | Tensor = pitch_range
        pitch_added: float | Tensor = 0.0
        energy_scale: float | Tensor = 1.0
        if asks_for(pitch_shift, 0.0):
            if not bool((mean > 0).all()):
                raise NemoExtError("this model does not know its voice's pitch in Hz, so pitch= cannot be shifted")
            # a shift in semitones is a factor in Hz: (f * r - mean) / std, with f = p * std + mean
            ratio = 2.0 ** (torch.as_tensor(pitch_shift, device=mean.device) / 12.0)
            pitch_scale, pitch_added = ratio * pitch_range, mean * (ratio - 1.0) / std
        if self.fastpitch.energy_predictor is None and asks_for(energy, 0.0):
            raise NemoExtError("this model was trained without energy, so energy= changes nothing in it: leave it out")
        if asks_for(energy, 0.0):
            energy_scale = 10.0 ** (torch.as_tensor(energy, device=mean.device) / 20.0)
        said = self.read(
            encoded, mask, given, pace=pace, pitch_scale=pitch_scale, pitch_added=pitch_added, energy_scale=energy_scale
        )
        durations = said.durations if durations is None else durations
        expanded, mel_lens = expand(said.encoded, durations)
        return AcousticOutput(
            mel=self._decode(expanded, mel_lens, given),
            mel_lens=mel_lens,
            durations=durations,
            pitch=(said.pitch_normalized * std + mean) * mask,
        )

    def read(
        self,
        encoded: Tensor,
        mask: Tensor,
        given: Conditions,
        *,
        pace: float | Tensor = 1.0,
        pitch_scale: float | Tensor = 1.0,
        pitch_added: float | Tensor = 0.0,
        energy_scale: float | Tensor = 1.0,
    ) -> Reading:
        """What the text side says of ``encoded (B, T_text, D)``: everything of the model before the frames.

        In operations that a graph has, so that an export is this very code. Every value is a number, or a tensor that
        broadcasts to ``(B, T_text)``.

        Args:
            encoded: of ``_encode``, with its ``mask (B, T_text)``.
            given: of ``_conditions``.
            pace: factor on the speed.
            pitch_scale: factor on the predicted pitch, which is normalised: the distance from the voice's mean.
            pitch_added: what is added to it then.
            energy_scale: linear factor on the predicted energy.
        """
        module = self.fastpitch
        log_durations = self._predict("duration_predictor", encoded, mask, given)
        frames = torch.clamp(torch.exp(log_durations) - 1.0, module.min_token_duration, module.max_token_duration)
        frames = frames * mask
        pitch = self._predict("pitch_predictor", encoded, mask, given)
        if asks_for(pitch_scale, 1.0):
            pitch = pitch * pitch_scale
        if asks_for(pitch_added, 0.0):
            pitch = (pitch + pitch_added) * mask
        encoded = encoded + module.pitch_emb(pitch[:, None, :]).transpose(1, 2)
        if module.energy_predictor is not None:
            log_energy = self._predict("energy_predictor", encoded, mask, given)
            if asks_for(energy_scale, 1.0):  # predicted is log(energy + 1)
                factor = torch.as_tensor(energy_scale, device=encoded.device)
                # log and exp: ONNX has no log1p and expm1
                changed = torch.log((torch.exp(log_energy) - 1.0).clamp(min=0.0) * factor + 1.0)
                log_energy = torch.where(factor == 1.0, log_energy, changed)  # exactly as it is where nothing is asked
            encoded = encoded + module.energy_emb(log_energy[:, None, :]).transpose(1, 2)
        return Reading(encoded, log_durations, frames, fastpitch_parts.whole(frames / pace, module), pitch)

    # ---------------------------------------------------------------- training

    def configure_model(self) -> None:
        """Nothing is made late. Lightning's sharding insists on this hook."""

    def own_voices(self, batch: Batch) -> Tensor:
        """Embeddings ``(B, E)`` to train with: each utterance's own, or its base voice's row of the table."""
        if self.encoder is not None and batch.embedding is not None:
            return batch.embedding
        return self._voice_table()[batch.voice_ids]

    def align(self, batch: Batch, mask: Tensor, condition: Tensor | None, aligner: Any = None) -> Alignment:
        """Soft attention of the batch's frames over its tokens and the best path; ``mask (B, T_text)``.

        ``aligner``: a copy of the model's own that has learned something since, for adaptation.
        """
        aligner = aligner or self.aligner
        # the condition is added to padding too, which the last token of a shorter text would see
        keys = aligner.cond_input(self.fastpitch.encoder.word_emb(batch.tokens), condition) * mask[..., None]
        keys = keys.transpose(1, 2)
        attention, log_probability = distance_attention(
            aligner.query_proj(batch.mel), aligner.key_proj(keys), mask, batch.attn_prior, aligner.temperature
        )
        path, durations = monotonic_path(torch.log(attention.detach()), batch.token_lens, batch.mel_lens)
        return Alignment(attention, log_probability, path, durations)

    def learn(
        self,
        batch: Batch,
        voice: Tensor | None = None,
        alignment: Alignment | None = None,
        style: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], Tensor, Alignment]:
        """Losses, the mel ``(B, n_mels, T_mel)`` predicted with the true durations, pitch and energy, the alignment.

        ``voice (B, P)`` instead of the base voices' embeddings; gradients flow into it. With an ``alignment`` found
        before, the aligner is not asked, and its two losses are left out. ``style (B, S)`` instead of what a model
        with style hears in the batch's own mels.
        """
        module, weigh = self.fastpitch, self.losses
        heard: dict[str, Tensor] = {}
        if style is None and self.style is not None:
            style, heard = self.style.learn(batch, voices_known=voice is None)
        given = self._conditions(self.own_voices(batch) if voice is None else voice, style)
        encoded, tokens_valid = self._encode(batch.tokens, given)
        frames_valid = mask_from_lens(batch.mel_lens, batch.mel.shape[2])
        found = alignment is None
        if alignment is None:
            alignment = self.align(batch, tokens_valid, given.speaker)
        durations = alignment.durations
        pitch = average_per_token(batch.pitch_normalized, durations)
        log_durations = self._predict("duration_predictor", encoded, tokens_valid, given)
        pitch_predicted = self._predict("pitch_predictor", encoded, tokens_valid, given)
        losses = {
            "duration": weigh.duration * mean_square(log_durations, torch.log(durations + 1.0), tokens_valid),
            "pitch": weigh.pitch * mean_square(pitch_predicted, pitch, tokens_valid),
        }
        encoded = encoded + module.pitch_emb(pitch[:, None, :]).transpose(1, 2)
        if module.energy_predictor is not None:
            energy = torch.log1p(average_per_token(batch.energy, durations))
            predicted = self._predict("energy_predictor", encoded, tokens_valid, given)
            losses["energy"] = weigh.energy * mean_square(predicted, energy, tokens_valid)
            encoded = encoded + module.energy_emb(energy[:, None, :]).transpose(1, 2)

        losses |= heard
        mel = self._decode(gather_tokens(encoded, alignment.path) * frames_valid[..., None], batch.mel_lens, given)
        losses["mel"] = weigh.mel * mean_square(mel, batch.mel, frames_valid[:, None, :])
        if not found:
            return losses, mel, alignment
        aligned = self.alignment_losses(batch, alignment)
        return {**losses, "align": weigh.align * aligned["align"], "bin": aligned["bin"]}, mel, alignment

    def alignment_losses(self, batch: Batch, alignment: Alignment) -> dict[str, Tensor]:
        """``align``, the forward sum over all monotonic paths, and ``bin``, -log of the attention along the path."""
        frames_valid = mask_from_lens(batch.mel_lens, batch.mel.shape[2])
        on_path = alignment.attention.gather(2, alignment.path[..., None]).squeeze(2)
        return {
            "align": self.forward_sum_loss_fn(
                attn_logprob=alignment.log_probability[:, None], in_lens=batch.token_lens, out_lens=batch.mel_lens
            ),
            "bin": -(torch.log(on_path.clamp(min=1e-12)) * frames_valid).sum() / frames_valid.sum(),
        }

    def _bin_weight(self, step: int) -> float:
        steps = step - self.losses.bin_from_step
        return self.losses.bin * min(max(steps / max(self.losses.bin_warmup_steps, 1), 0.0), 1.0)

    def weighed(self, batch: Batch, step: int) -> tuple[dict[str, Tensor], Tensor]:
        """What is minimised at ``step``, by name, and the mel ``(B, n_mels, T_mel)`` that ``learn`` predicts."""
        losses, mel, _ = self.learn(batch)
        losses["bin"] = losses["bin"] * self._bin_weight(step)
        return fastpitch_parts.in_proportion(losses, batch), mel

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """One step on one batch; logs every loss under ``train/``."""
        losses, _ = self.weighed(batch, self.global_step)
        loss = torch.stack(list(losses.values())).sum()
        log_training(self, {"loss": loss, **losses}, len(batch.ids))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Alignment]:  # noqa: ARG002
        """Logs losses under ``val/``, of which ``mel`` is the error of the log-mel; gives the ``alignment``."""
        losses, mel, alignment = self.learn(batch)
        losses = fastpitch_parts.in_proportion({**losses, "mel_l1": fastpitch_parts.mel_l1(mel, batch)}, batch)
        loss = sum(v for k, v in losses.items() if k not in ("bin", "mel_l1", "style", "speaker"))
        told: dict[str, Tensor | float] = {
            k: losses[k] for k in ("align", "bin", "duration", "pitch", "style", "speaker") if k in losses
        }
        log_validation(self, {"loss": loss, "mel": losses["mel_l1"], **told}, batch)
        return {"alignment": alignment}

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
