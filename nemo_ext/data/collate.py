"""Items of a dataset -> one batch of tensors: texts padded with the model's padding token, all else with zeros."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from nemo_ext.data.dataset import AcousticItem, Items, SegmentItem
from nemo_ext.data.prior import beta_binomial_prior
from nemo_ext.types import Batch, Portion, SegmentBatch


def collate_acoustic(items: Sequence[AcousticItem], pad: int) -> Batch:
    """A ``Batch`` of ``items`` in their order, with the attention prior of each.

    ``pad``: id of the model's padding token (``frontend.pad``), by which the model tells where a text ends.
    """
    texts, frames = [len(item.tokens) for item in items], [item.mel.shape[1] for item in items]
    size, longest_text, longest = len(items), max(texts), max(frames)
    # Items are copied straight to their place in the batch: numpy views of the batch's own memory.
    tokens = torch.full((size, longest_text), pad)
    mel = torch.zeros(size, items[0].mel.shape[0], longest)
    pitch, energy = torch.zeros(size, longest), torch.zeros(size, longest)
    prior = torch.zeros(size, longest, longest_text)
    arrays = [t.numpy() for t in (tokens, mel, pitch, energy, prior)]
    for row, (item, n, t) in enumerate(zip(items, texts, frames, strict=True)):
        arrays[0][row, :n] = item.tokens
        arrays[1][row, :, :t] = item.mel
        arrays[2][row, :t] = item.pitch_normalized
        arrays[3][row, :t] = item.energy
        arrays[4][row, :t, :n] = beta_binomial_prior(n, t)
    return Batch(
        ids=[item.id for item in items],
        tokens=tokens,
        token_lens=torch.tensor(texts),
        mel=mel,
        mel_lens=torch.tensor(frames),
        pitch_normalized=pitch,
        energy=energy,
        attn_prior=prior,
        voice_ids=torch.tensor([item.voice_id for item in items]),
        style_ids=torch.tensor([item.style_id for item in items]),
        embedding=_stacked([item.embedding for item in items]),
        portion=items.portion if isinstance(items, Items) else Portion(),
        audio=_padded([item.audio for item in items]),
        drawn=torch.tensor(items.drawn, dtype=torch.float64) if isinstance(items, Items) else None,
    )


def _stacked(arrays: Sequence[np.ndarray | None]) -> torch.Tensor | None:
    """``(B, E)``; None where an item has none."""
    there = [array for array in arrays if array is not None]
    return torch.from_numpy(np.stack(there)) if len(there) == len(arrays) else None


def _padded(waves: Sequence[np.ndarray | None]) -> torch.Tensor | None:
    """``(B, T_audio)``; None where an item has none."""
    there = [torch.from_numpy(wave) for wave in waves if wave is not None]
    return torch.nn.utils.rnn.pad_sequence(there, batch_first=True) if len(there) == len(waves) else None


def collate_segments(items: Sequence[SegmentItem]) -> SegmentBatch:
    """A ``SegmentBatch`` of segments of one length."""
    return SegmentBatch(
        ids=[item.id for item in items],
        audio=torch.from_numpy(np.stack([item.audio for item in items])),
        mel=torch.from_numpy(np.stack([item.mel for item in items])),
        portion=items.portion if isinstance(items, Items) else Portion(),
    )
