"""The feed-forward of a transformer block (two convolutions of kernel 3) on a CPU, in training: faster than torch's.

By a quarter to a third with AVX-512, where the six products run near the processor's own rate as torch's do; with AVX2
alone it was twice as fast and more.

Two thirds to four fifths of a FastPitch training step are these convolutions, and torch's are close to what the
processor can multiply. So this multiplies less:

- Winograd's minimal filtering F(4, 3) (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
  arXiv 1509.09308, here in one dimension): four outputs of three taps from 6 products instead of 12. With ``g`` the
  taps and ``d`` six neighbouring inputs, ``y = A^T [(G g) * (B^T d)]``: six matrix products over the channels and
  transforms that cost little. The points are 0, +-3/4, +-3/2 and infinity, with which float32 errors are those of the
  direct sum (with Lavin's, they are larger by half).
- No padding: the utterances of a batch are laid end to end with one row of zeros between, which is what a convolution
  of kernel 3 sees beyond an end.

Gradients are the transposed products. What is computed is the same convolution, equal within float32 rounding.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.polynomial import polynomial
from torch import Tensor
from torch.nn import functional as F

OUTPUTS, TAPS = 4, 3
_TILE = OUTPUTS + TAPS - 1  # inputs that a tile of outputs looks at
_POINTS = (0.0, -0.75, 0.75, 1.5, -1.5)
_LEAST_ROWS = 512  # below, transforming the weights costs more than is saved
_enabled = True


@contextlib.contextmanager
def direct() -> Iterator[None]:
    """Within it, convolutions are torch's own: for comparison, and to count operations by their nominal number."""
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


@dataclass(frozen=True)
class Packing:
    """How the rows of a padded batch lie end to end: row 0 is zero, then each utterance and a row of zeros."""

    lens: list[int]  # rows of each utterance
    starts: list[int]  # where each begins
    tiles: int  # the stream has OUTPUTS * tiles + 2 rows
    between: Tensor  # rows, apart from the first and the last, that stay zero

    @classmethod
    def of(cls, mask: Tensor) -> Packing:
        """The packing of a batch whose valid positions ``mask (B, T)`` tells; a hole in it stays a row of zeros."""
        positions = torch.arange(1, mask.shape[1] + 1, device=mask.device)
        lens = [int(n) for n in (mask * positions).amax(1)]
        starts = [1 + sum(lens[:i]) + i for i in range(len(lens))]
        tiles = -(-(sum(lens) + len(lens) - 1) // OUTPUTS)
        valid = torch.zeros(OUTPUTS * tiles + 2, dtype=torch.bool)
        for row, start, n in zip(mask, starts, lens, strict=True):
            valid[start : start + n] = row[:n]
        return cls(lens, starts, tiles, (~valid).nonzero()[:, 0])

    def stream(self, x: Tensor) -> Tensor:
        """``x (B, T, C)`` -> ``(OUTPUTS * tiles + 2, C)``."""
        out = x.new_empty(OUTPUTS * self.tiles + 2, x.shape[2])
        for row, start, n in zip(x, self.starts, self.lens, strict=True):
            out[start : start + n] = row[:n]
        return out.index_fill_(0, self.between, 0.0)

    def batch(self, stream: Tensor, size: int) -> Tensor:
        """The other way, ``(B, size, C)``, zeros on padding."""
        out = stream.new_zeros(len(self.lens), size, stream.shape[1])
        for row, start, n in zip(out, self.starts, self.lens, strict=True):
            row[:n] = stream[start : start + n]
        return out


def packing(mask: Tensor, layers: Any) -> Packing | None:
    """The packing with which the feed-forwards of ``layers`` are to be run; None: as they are.

    For float32 on a CPU, in training, where there are rows enough to pay for transforming the weights.
    """
    usual = mask.device.type != "cpu" or not torch.is_grad_enabled() or torch.is_autocast_enabled("cpu")
    if usual or not _enabled or torch.compiler.is_compiling():
        return None
    for layer in layers:
        first, _, second, _ = layer.pos_ff.CoreNet
        if any(c.weight.dtype != torch.float32 or c.kernel_size != (TAPS,) or c.bias is None for c in (first, second)):
            return None
    return Packing.of(mask) if int(mask.sum()) >= _LEAST_ROWS else None


def feed_forward(x: Tensor, packed: Packing, first: torch.nn.Conv1d, second: torch.nn.Conv1d) -> Tensor:
    """``second(relu(first(x)))`` with padding kept at zero before each; ``x (B, T, D)`` -> the same, 0 on padding."""
    out: Tensor = _FeedForward.apply(x, packed, first.weight, first.bias, second.weight, second.bias)
    return out


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, packed: Packing, weight: Tensor, bias: Tensor, weight2: Tensor, bias2: Tensor
    ) -> Tensor:
        stream = packed.stream(x)
        hidden = _convolve(stream, weight, bias).clamp_min_(0.0).index_fill_(0, packed.between, 0.0)
        ctx.save_for_backward(stream, hidden, weight, weight2)
        ctx.packed, ctx.size = packed, x.shape[1]
        return packed.batch(_convolve(hidden, weight2, bias2), x.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        stream, hidden, weight, weight2 = ctx.saved_tensors
        into_x, _, *of_weights = ctx.needs_input_grad
        given = ctx.packed.stream(gradients[0])
        through, weight2_grad = _gradients(hidden, weight2, given, True, of_weights[2])
        bias2_grad = given.sum(0) if of_weights[3] else None
        assert through is not None
        through = torch.ops.aten.threshold_backward(through, hidden, 0)  # where hidden is zero, on padding too, 0
        x_grad, weight_grad = _gradients(stream, weight, through, into_x, of_weights[0])
        bias_grad = through.sum(0) if of_weights[1] else None
        x_grad = None if x_grad is None else ctx.packed.batch(x_grad, ctx.size)
        return x_grad, None, weight_grad, bias_grad, weight2_grad, bias2_grad


def _convolve(stream: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``stream (4 N + 2, C)``, ``weight (H, C, 3)`` -> ``(4 N + 2, H)``, whose first and last rows are undefined."""
    out_transform, _, _ = _transforms()
    inputs = _tiles(stream)
    products = _by_tile(F.conv2d(_as_image(inputs), _transformed(weight), groups=_TILE))  # (N, 6, H)
    out = stream.new_empty(len(stream), len(weight))
    inside = out[1:-1].view(len(inputs), OUTPUTS, -1)
    torch.baddbmm(bias.expand_as(inside), out_transform.expand(len(inputs), -1, -1), products, out=inside)
    return out


def _gradients(
    stream: Tensor, weight: Tensor, given: Tensor, into_stream: bool, of_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of ``stream`` and ``weight`` from ``given``, that of the output: a stream ``(4 N + 2, H)``."""
    out_transform, weight_transform, in_transform = _transforms()
    tiles = (len(stream) - 2) // OUTPUTS
    products = torch.bmm(out_transform.T.expand(tiles, -1, -1), given[1:-1].view(tiles, OUTPUTS, -1))  # (N, 6, H)
    of_weights = None
    if of_weight:
        transformed = torch.bmm(products.permute(1, 2, 0), _tiles(stream).transpose(0, 1))  # (6, H, C)
        of_weights = torch.mm(transformed.view(_TILE, -1).T, weight_transform).view(weight.shape)
    of_stream = None
    if into_stream:
        turned = _transformed(weight).unflatten(0, (_TILE, -1)).transpose(1, 2).flatten(0, 1)  # (6 C, H, 1, 1)
        inputs = _by_tile(F.conv2d(_as_image(products), turned, groups=_TILE))  # (N, 6, C)
        parts = torch.bmm(in_transform.T.expand(tiles, -1, -1), inputs)  # (N, 6, C)
        of_stream = stream.new_empty(stream.shape)
        of_stream[:-2].view(tiles, OUTPUTS, -1).copy_(parts[:, :OUTPUTS])
        of_stream[-2:] = 0.0
        # tiles overlap by two rows: what a tile says of the next one's first two
        of_stream[OUTPUTS:].unfold(0, TAPS - 1, OUTPUTS).transpose(1, 2).add_(parts[:, OUTPUTS:])
    return of_stream, of_weights


def _tiles(stream: Tensor) -> Tensor:
    """The transformed inputs ``(N, 6, C)`` of a stream ``(4 N + 2, C)``."""
    tiles, width = (len(stream) - 2) // OUTPUTS, stream.shape[1]
    overlapping = stream.as_strided((tiles, _TILE, width), (OUTPUTS * width, width, 1))
    return torch.bmm(_transforms()[2].expand(tiles, -1, -1), overlapping)


def _transformed(weight: Tensor) -> Tensor:
    """``weight (H, C, 3)`` -> ``(6 H, C, 1, 1)``, the kernel of a convolution in six groups."""
    size = weight.shape
    return torch.mm(_transforms()[1], weight.view(-1, TAPS).T).view(_TILE * size[0], size[1], 1, 1)


# The six matrix products are written as a grouped convolution of kernel 1, whose memory (channels last) is that of the
# tiles: torch gives convolutions to oneDNN, which knows AVX-512 on every processor that has it. Matrix products go to
# MKL, which on AMD's runs at half of that.


def _as_image(tiles: Tensor) -> Tensor:
    """``(N, 6, C)`` -> ``(1, 6 C, 1, N)`` of the same memory."""
    return tiles.flatten(1)[None, None].permute(0, 3, 1, 2)  # strides by which torch sees that channels come last


def _by_tile(image: Tensor) -> Tensor:
    """``(1, 6 C, 1, N)`` -> ``(N, 6, C)``."""
    return image.permute(0, 2, 3, 1)[0, 0].unflatten(1, (_TILE, -1))


@functools.cache
def _transforms() -> tuple[Tensor, Tensor, Tensor]:
    """``A^T (4, 6)``, ``G (6, 3)`` and ``B^T (6, 6)`` by Cook and Toom's construction from the points and infinity."""
    out_transform, weights = np.zeros((OUTPUTS, _TILE)), np.zeros((_TILE, TAPS))
    inputs = np.zeros((_TILE, _TILE))
    for i, point in enumerate(_POINTS):
        others = [other for other in _POINTS if other != point]
        out_transform[:, i] = point ** np.arange(OUTPUTS)
        weights[i] = point ** np.arange(TAPS) / np.prod([point - other for other in others])
        inputs[i, :-1] = polynomial.polyfromroots(others)
    out_transform[-1, -1] = weights[-1, -1] = 1.0
    inputs[-1] = polynomial.polyfromroots(_POINTS)
    with torch.inference_mode(False):
        a, g, b = (torch.tensor(m, dtype=torch.float32) for m in (out_transform, weights, inputs))
    return a, g, b
