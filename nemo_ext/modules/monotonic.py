"""The best monotonic path through scores of frames and tokens, by three routes that give the same path.

Badlani et al., "One TTS Alignment To Rule Them All" (arXiv 2108.10447), section 2.3: with ``best[i, j]`` the score of
the best path that is at token ``j`` at frame ``i``,

    best[i, j] = scores[i, j] + max(best[i - 1, j - 1], best[i - 1, j])       a path advances where the two are equal

The route follows from where the scores lie: a loop compiled by numba on the CPU, which is the reference; a Triton
kernel on an NVIDIA GPU (monotonic_triton.py), where the scores never leave it; and torch operations, a frame at a time
with batch and tokens at once, for any other device and where the package ``triton`` is missing. Every route adds the
same numbers in the same order, so that equal scores are decided equally. Sums are float64: in float32,
some hundred scores add up to more rounding than what divides two paths, and padding alone would change the path.
"""

from __future__ import annotations

import functools
import importlib.util

import numba
import numpy as np
import torch
from torch import Tensor


def search(scores: Tensor, token_lens: Tensor, mel_lens: Tensor) -> Tensor:
    """The path ``(B, T_mel)`` int64: the token of each frame, 0 beyond ``mel_lens``, on the device of ``scores``.

    It starts at the first token, ends at the last, and skips none.

    Args:
        scores: ``(B, T_mel, T_text)``, log-probabilities; taken in float32.
        token_lens: ``(B,)``; mel_lens: ``(B,)``. Every utterance needs at least as many frames as tokens.
    """
    scores = scores.detach().float()
    if scores.device.type == "cpu":
        return torch.from_numpy(_search(scores.contiguous().numpy(), token_lens.numpy(), mel_lens.numpy()))
    if scores.device.type == "cuda" and _has_triton():
        return search_triton(scores, token_lens, mel_lens)
    return search_torch(scores, token_lens, mel_lens)


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def search_triton(scores: Tensor, token_lens: Tensor, mel_lens: Tensor) -> Tensor:
    """As ``search``, by the Triton kernel: one program an utterance."""
    from nemo_ext.modules.monotonic_triton import launch

    return launch(scores.float().contiguous(), token_lens, mel_lens)


@torch.no_grad()
def search_torch(scores: Tensor, token_lens: Tensor, mel_lens: Tensor) -> Tensor:
    """As ``search``, in torch operations on any device: six small ones a frame, and nothing that waits for the GPU."""
    batch, frames, tokens = scores.shape
    i = torch.arange(frames, device=scores.device)[:, None, None]
    j = torch.arange(tokens, device=scores.device)[None, None, :]
    token_lens, mel_lens = token_lens.to(scores.device)[None, :, None], mel_lens.to(scores.device)[None, :, None]
    # a token is reached only if there were frames enough before it, and kept only if enough are left behind it
    allowed = (j <= i) & (j < token_lens) & (j >= token_lens - mel_lens + i) & (i < mel_lens)  # (T_mel, B, T_text)
    scores = scores.float().transpose(0, 1).masked_fill(~allowed, -torch.inf)
    advanced = torch.empty(frames, batch, tokens, dtype=torch.bool, device=scores.device)
    # column 0 stands for the token before the first, where no path is
    best = torch.full((batch, tokens + 1), -torch.inf, dtype=torch.float64, device=scores.device)
    before, here = best[:, :-1], best[:, 1:]
    here[:, 0] = scores[0, :, 0]
    larger = torch.empty_like(here)
    for frame in range(1, frames):
        torch.ge(before, here, out=advanced[frame])
        torch.maximum(before, here, out=larger)
        torch.add(larger, scores[frame], out=here)
    advanced[0] = False
    advanced &= allowed
    advanced[:, :, 0] = False

    back = advanced.long()  # subtracted below: no conversion at every frame
    path = torch.empty(frames, batch, dtype=torch.long, device=scores.device)
    token = (token_lens[0] - 1).clone()  # (B, 1)
    for frame in range(frames - 1, -1, -1):
        path[frame] = token[:, 0]
        token -= back[frame].gather(1, token)  # beyond the end nothing advances
    return (path * (i < mel_lens)[:, :, 0]).T.contiguous()


@numba.njit(cache=True)
def _search(scores: np.ndarray, token_lens: np.ndarray, mel_lens: np.ndarray) -> np.ndarray:
    batch, max_frames, max_tokens = scores.shape
    path = np.zeros((batch, max_frames), np.int64)
    advanced = np.zeros((max_frames, max_tokens), np.bool_)
    for b in range(batch):
        tokens, frames = token_lens[b], mel_lens[b]
        best = np.full(tokens, -np.inf, np.float64)
        best[0] = scores[b, 0, 0]
        for i in range(1, frames):
            # token j can be reached at frame i only if j <= i, and still reach the end only if enough frames are left
            for j in range(min(i, tokens - 1), max(0, tokens - frames + i) - 1, -1):
                step = j > 0 and best[j - 1] >= best[j]
                best[j] = (best[j - 1] if step else best[j]) + scores[b, i, j]
                advanced[i, j] = step
        j = tokens - 1
        for i in range(frames - 1, -1, -1):
            path[b, i] = j
            if i > 0 and advanced[i, j]:
                j -= 1
    return path
