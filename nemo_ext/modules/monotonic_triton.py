"""The monotonic path on an NVIDIA GPU: one Triton program an utterance. See monotonic.py, which imports this file.

A frame's row of best scores stays in registers; its neighbour's is read from a row of memory, of which there are two,
written in turn: one barrier a frame is enough. Where a path advanced is kept as one byte a cell, and followed back by
the same program. Nothing waits for the CPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _kernel(  # type: ignore[no-untyped-def]
    scores, rows, advanced, path, token_lens, mel_lens, max_frames, max_tokens, width: tl.constexpr
):  # pragma: no cover  (compiled, not run, by Python)
    """``scores (B, T_mel, T_text)``, ``rows (B, 2, width + 1)``, ``advanced`` as scores, ``path (B, T_mel)``."""
    b = tl.program_id(0).to(tl.int64)
    tokens, frames = tl.load(token_lens + b).to(tl.int32), tl.load(mel_lens + b).to(tl.int32)
    scores += b * max_frames * max_tokens
    advanced += b * max_frames * max_tokens
    path += b * max_frames
    rows += b * 2 * (width + 1)
    j = tl.arange(0, width)
    nowhere = float("-inf")
    best = tl.where(j == 0, tl.load(scores), nowhere).to(tl.float64)
    tl.store(rows, nowhere)  # left of the first token, in both rows
    tl.store(rows + width + 1, nowhere)
    tl.store(rows + 1 + j, best)
    tl.debug_barrier()
    for i in range(1, frames):
        before = tl.load(rows + ((i - 1) % 2) * (width + 1) + j)
        allowed = (j <= i) & (j < tokens) & (j >= tokens - frames + i)
        step = (j > 0) & (before >= best)
        score = tl.load(scores + i * max_tokens + j, mask=allowed, other=nowhere)
        best = tl.where(allowed, tl.where(step, before, best) + score.to(tl.float64), nowhere)
        tl.store(rows + (i % 2) * (width + 1) + 1 + j, best)
        tl.store(advanced + i * max_tokens + j, step.to(tl.int8), mask=allowed)
        tl.debug_barrier()
    token = tokens - 1
    for k in range(0, frames):
        i = frames - 1 - k
        tl.store(path + i, token.to(tl.int64))
        if i > 0:
            token -= tl.load(advanced + i * max_tokens + token).to(tl.int32)


def launch(scores: Tensor, token_lens: Tensor, mel_lens: Tensor) -> Tensor:
    """The path ``(B, T_mel)`` int64 through contiguous float32 ``scores (B, T_mel, T_text)``."""
    batch, frames, tokens = scores.shape
    width = triton.next_power_of_2(tokens)
    rows = scores.new_empty(batch, 2, width + 1, dtype=torch.float64)
    advanced = torch.empty_like(scores, dtype=torch.int8)
    path = torch.zeros(batch, frames, dtype=torch.long, device=scores.device)
    lens = token_lens.to(scores.device), mel_lens.to(scores.device)
    warps = max(1, min(8, width // 64))
    _kernel[(batch,)](
        scores, rows, advanced, path, *lens, frames, tokens, width=width, num_warps=warps, enable_fp_fusion=False
    )
    return path
