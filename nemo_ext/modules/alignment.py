"""Alignment of tokens and frames: soft attention, the best monotonic path through it, and what follows from a path.

Badlani et al., "One TTS Alignment To Rule Them All" (arXiv 2108.10447): eq. 1-2 (distance attention with a
beta-binomial prior), section 2.3 (Viterbi path). What we changed: padding is masked before the prior's softmax; the
distance is expanded to a matrix product, so no (B, C, T_mel, T_text) tensor is made; the path is kept as one token
index a frame instead of a one-hot matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nemo_ext.errors import NemoExtError
from nemo_ext.modules.monotonic import search
from nemo_ext.types import NO_FRAME


def mask_from_lens(lens: Tensor, size: int | None = None) -> Tensor:
    """``lens (B,)`` -> mask ``(B, size)``, True on valid positions."""
    size = int(lens.max()) if size is None else size
    return torch.arange(size, device=lens.device)[None, :] < lens[:, None]


def distance_attention(
    queries: Tensor, keys: Tensor, key_mask: Tensor, prior: Tensor | None, temperature: float
) -> tuple[Tensor, Tensor]:
    """Soft attention of frames over tokens by squared Euclidean distance.

    Args:
        queries: encoded mel ``(B, C, T_mel)``.
        keys: encoded tokens ``(B, C, T_text)``.
        key_mask: ``(B, T_text)``, True on valid tokens.
        prior: beta-binomial prior ``(B, T_mel, T_text)``, or None.
        temperature: factor on the distance.

    Returns:
        attention ``(B, T_mel, T_text)`` that sums to 1 over the valid tokens, and its unnormalised log-probability,
        prior included, as the forward-sum loss wants it; -inf on padding.
    """
    # |q - k|^2 = |q|^2 - 2 q.k + |k|^2, in float32: the difference of large numbers does not survive bf16
    with torch.autocast(queries.device.type, enabled=False):
        queries, keys = queries.float(), keys.float()
        squares = queries.square().sum(1)[:, :, None] + keys.square().sum(1)[:, None, :]
        distance = torch.baddbmm(squares, queries.transpose(1, 2), keys, alpha=-2.0)
        # masked before anything is normalised: a shorter text must not see how long the batch's longest is
        log_probability = (-temperature * distance).masked_fill(~key_mask[:, None, :], -torch.inf)
        if prior is not None:
            log_probability = torch.log_softmax(log_probability, dim=-1) + torch.log(prior + 1e-8)
        return torch.softmax(log_probability, dim=-1), log_probability


def monotonic_path(log_attention: Tensor, token_lens: Tensor, mel_lens: Tensor) -> tuple[Tensor, Tensor]:
    """The most likely path that starts at the first token, ends at the last, and skips none.

    Args:
        log_attention: ``(B, T_mel, T_text)``.
        token_lens: ``(B,)``; mel_lens: ``(B,)``. Every utterance needs at least as many frames as tokens.

    Returns:
        path ``(B, T_mel)`` int64, the token of each frame (0 beyond ``mel_lens``), and durations ``(B, T_text)`` int64.
    """
    path = search(log_attention, token_lens, mel_lens)
    durations = torch.zeros(log_attention.shape[0], log_attention.shape[2], dtype=torch.long, device=path.device)
    return path, durations.scatter_add_(1, path, mask_from_lens(mel_lens, path.shape[1]).long())


def expand(encoded: Tensor, durations: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat each token's vector for as many frames as it lasts.

    ``encoded (B, T_text, D)``, ``durations (B, T_text)`` int64 -> ``(B, T_mel, D)``, zero beyond each length, and
    the lengths ``(B,)``.

    Raises:
        NemoExtError: no token of the batch lasts a frame.
    """
    ends = durations.cumsum(dim=1)  # int64: exact, unlike NeMo's, which turns float16 above 2,048 frames into error
    lens = ends[:, -1]
    longest = int(lens.max())
    if not longest:
        raise NemoExtError(NO_FRAME)
    frames = torch.arange(longest, device=encoded.device)
    index = torch.searchsorted(ends, frames.expand(len(ends), -1).contiguous(), right=True)
    valid = index < durations.shape[1]
    index = index.clamp(max=durations.shape[1] - 1)
    return gather_tokens(encoded, index) * valid[..., None], lens


def gather_tokens(encoded: Tensor, path: Tensor) -> Tensor:
    """``encoded (B, T_text, D)`` at the tokens ``path (B, T_mel)`` -> ``(B, T_mel, D)``."""
    return torch.gather(encoded, 1, path[..., None].expand(-1, -1, encoded.shape[-1]))


def average_per_token(values: Tensor, durations: Tensor) -> Tensor:
    """Mean of the non-zero frames of each token: ``values (B, T_mel)``, ``durations (B, T_text)`` -> ``(B, T_text)``.

    A token without a non-zero frame gets 0 (FastPitch, section 2.1: unvoiced).
    """
    ends = durations.cumsum(dim=1)
    starts = ends - durations
    sums = torch.nn.functional.pad(values.cumsum(dim=1), (1, 0))
    counts = torch.nn.functional.pad((values != 0).cumsum(dim=1), (1, 0))
    total = sums.gather(1, ends) - sums.gather(1, starts)
    number = counts.gather(1, ends) - counts.gather(1, starts)
    return torch.where(number > 0, total / number.clamp(min=1), torch.zeros_like(total))
