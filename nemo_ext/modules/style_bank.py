"""What an acoustic model knows of styles: the encoder, what it adds to the model's conditions, and the named styles.

A *named style* is the mean style vector of the utterances that a manifest labels with it (``style`` in a row), of each
base voice and over the voices. It is computed when training ends, and stands in the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nemo_ext.errors import NemoExtError
from nemo_ext.modules.style import StyleConfig, StyleEncoder, StyleHeads, own_means
from nemo_ext.types import Batch
from nemo_ext.voices import Voice


class GlobalStyle(nn.Module):
    """Style of an acoustic model. ``encoder`` and ``project`` speak; ``heads`` and ``bank`` are not part of a voice."""

    def __init__(self, config: StyleConfig, n_mels: int, width: int, voices: int, names: Sequence[str]) -> None:
        """``width``: of the conditions; ``voices``: number of base voices; ``names``: of the labelled styles."""
        super().__init__()
        self.config, self.names = config, list(names)
        self.encoder = StyleEncoder(config, n_mels)
        # no bias: zeros are no style, exactly
        self.project = nn.Linear(config.size, width, bias=False)
        self.heads = StyleHeads(config, len(self.names), voices)
        self.bank = StyleBank(voices, n_mels, len(self.names), config.size)

    # ---------------------------------------------------------------- training

    def of_batch(self, batch: Batch, voices_known: bool = True) -> Tensor:
        """Style ``(B, S)`` of each utterance of ``batch`` from its own features.

        ``voices_known``: ``batch.voice_ids`` are base voices; else every reference is centred on itself. In training a
        share of them is so in any case, since that is how a stranger's clip will come.
        """
        pitch = batch.pitch_normalized
        alone = torch.full((len(pitch),), not voices_known, device=pitch.device)
        if self.training:
            alone = alone | (torch.rand(len(pitch), device=pitch.device) < self.config.own)
        mean, contour = own_means(batch.mel, pitch, batch.mel_lens)
        statistics, pitch = self._centred_on(mean), torch.where(alone[:, None], contour, pitch)
        if voices_known:
            statistics = torch.where(alone[:, None, None], statistics, self.bank.statistics[batch.voice_ids])
        vectors: Tensor = self.encoder(batch.mel, pitch, batch.mel_lens, statistics, alone.to(pitch))
        return vectors

    def learn(self, batch: Batch, voices_known: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """Style ``(B, S)`` to speak the batch with, some of it none, and the losses of the classifiers.

        Without known voices (adaptation) there is nothing to classify.
        """
        style, losses = self.of_batch(batch, voices_known), {}
        if voices_known:
            losses = self.heads(style, batch.style_ids, batch.voice_ids, self.bank.class_weights())
        if self.training:
            style = style * (torch.rand(len(style), 1, device=style.device) >= self.config.unstyled)
        return style, losses

    @torch.no_grad()
    def name_styles(self, batches: Iterable[Batch]) -> None:
        """Fill the bank with the mean style of each voice and name, from labelled ``batches``."""
        was_training = self.training
        self.eval()
        shape = self.bank.counts.shape
        sums, counts = torch.zeros(*shape, self.config.size, dtype=torch.float64), torch.zeros(shape, dtype=torch.long)
        device = self.bank.statistics.device
        for batch in batches:
            if batch.style_ids is None:
                continue
            for vector, style, voice in zip(
                self.of_batch(batch.to(device)).double().cpu(),
                batch.style_ids.tolist(),
                batch.voice_ids.tolist(),
                strict=True,
            ):
                if style >= 0:
                    sums[voice, style] += vector
                    counts[voice, style] += 1
        self.bank.fill(sums, counts)
        self.train(was_training)

    # --------------------------------------------------------------- inference

    def conditions(self, style: Tensor) -> Tensor:
        """``style (B, S)`` -> ``(B, 1, D)``, what it adds to the inputs of the model's parts.

        Raises:
            NemoExtError: vectors of another length.
        """
        if style.shape[-1] != self.config.size:
            raise NemoExtError(
                f"a style of {style.shape[-1]} values does not fit this model, which takes {self.config.size}: "
                "it was made for another model"
            )
        added: Tensor = self.project(style)[:, None]
        return added

    def of_voice(self, voice: int) -> dict[str, Any]:
        """What the base voice with that number brings: fields ``styles`` and ``mel_stats`` of a Voice."""
        return {"styles": self.named(voice), "mel_stats": self.bank.statistics[voice].float().cpu().numpy()}

    def named(self, voice: int | None = None) -> dict[str, np.ndarray]:
        """Named styles ``(S,)`` of the base voice with that number, or over the voices.

        A voice that never spoke in a style gets the mean over those that did.
        """
        row = -1 if voice is None else voice
        counted = (self.bank.counts.sum(0) > 0).tolist()
        rows = self.bank.named[row].float().cpu().numpy()
        return {
            name: rows[i].copy()
            for i, (name, there) in enumerate(zip(self.names, counted, strict=True))
            if there and self.bank.filled
        }

    @torch.inference_mode()
    def of_reference(self, mel: Tensor, pitch: Tensor, voice: Voice | None, typical_range: float) -> Tensor:
        """Style ``(B, S)`` of whole references of one length.

        Args:
            mel: log-mel ``(B, n_mels, T)``.
            pitch: ``(B, T)`` F0 in Hz, 0 where unvoiced.
            voice: whose references they are, with ``mel_stats`` and pitch; a stranger's are centred on themselves.
            typical_range: deviation of a voice's pitch over its mean, for a stranger.
        """
        lens = torch.full((len(mel),), mel.shape[2], device=mel.device)
        voiced = pitch > 0
        known = voice is not None and voice.mel_stats is not None and voice.pitch_mean > 0
        if known and voice is not None:
            mean, deviation = voice.pitch_mean, voice.pitch_std
            statistics = torch.as_tensor(voice.mel_stats, device=mel.device, dtype=mel.dtype).expand(len(mel), -1, -1)
        else:
            level = (pitch * voiced).sum(1, keepdim=True) / voiced.sum(1, keepdim=True).clamp(min=1)
            mean, deviation = level, (level * typical_range).clamp(min=1.0)  # type: ignore[assignment]
            statistics = self._centred_on(own_means(mel, pitch, lens)[0])
        normalized = torch.where(voiced, (pitch - mean) / deviation, torch.zeros_like(pitch))
        style: Tensor = self.encoder(mel, normalized, lens, statistics, torch.full_like(mel[:, 0, 0], float(not known)))
        return style

    def _centred_on(self, mean: Tensor) -> Tensor:
        """``mean (B, n_mels)`` with the deviations of a typical voice: ``(B, 2, n_mels)``."""
        typical = self.bank.statistics[:, 1].mean(0)
        return torch.stack([mean, typical.expand_as(mean)], dim=1)


class StyleBank(nn.Module):
    """Numbers of the base voices: what their references are centred on, and their named styles. Nothing is learned."""

    statistics: Tensor  # (voices, 2, n_mels): mean and deviation of the log-mels
    counts: Tensor  # (voices, styles): labelled training utterances
    named: Tensor  # (voices + 1, styles, S); the last row is the mean over the voices
    done: Tensor  # (), whether `named` holds anything

    def __init__(self, voices: int, n_mels: int, styles: int, size: int) -> None:
        super().__init__()
        self.register_buffer("statistics", torch.stack([torch.zeros(voices, n_mels), torch.ones(voices, n_mels)], 1))
        self.register_buffer("counts", torch.zeros(voices, styles, dtype=torch.long))
        self.register_buffer("named", torch.zeros(voices + 1, styles, size))
        self.register_buffer("done", torch.zeros((), dtype=torch.bool))

    @property
    def filled(self) -> bool:
        """Whether there are named styles."""
        return bool(self.done)

    def describe(self, statistics: Tensor, counts: Tensor) -> None:
        """What is known before training: ``statistics (voices, 2, n_mels)``, ``counts (voices, styles)``.

        Raises:
            NemoExtError: other shapes, or values that are no numbers.
        """
        if statistics.shape != self.statistics.shape or counts.shape != self.counts.shape:
            raise NemoExtError(
                f"statistics of {tuple(statistics.shape)} and labels of {tuple(counts.shape)} do not belong to a model "
                f"of {tuple(self.statistics.shape)} and {tuple(self.counts.shape)}"
            )
        if not torch.isfinite(statistics).all():
            raise NemoExtError("the mels of a voice hold values that are no numbers: look at its recordings")
        self.statistics.copy_(statistics)
        self.counts.copy_(counts)

    def class_weights(self) -> Tensor:
        """``(styles,)`` with mean 1: rare styles weigh more."""
        inverse = 1.0 / self.counts.sum(0).clamp(min=1).float()
        return inverse / inverse.mean() if len(inverse) else inverse

    def fill(self, sums: Tensor, counts: Tensor) -> None:
        """``sums (voices, styles, S)`` of style vectors, and of how many ``counts (voices, styles)``."""
        there = (counts > 0)[..., None]
        means = sums / counts[..., None].clamp(min=1)
        # every voice weighs the same, however much it said
        overall = (means * there).sum(0) / there.sum(0).clamp(min=1)
        self.named.copy_(torch.cat([torch.where(there, means, overall[None]), overall[None]]))
        self.counts.copy_(counts)
        self.done.fill_(bool(counts.any()))
