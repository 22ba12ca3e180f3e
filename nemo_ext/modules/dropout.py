"""Dropout on a CPU, in training: torch's draws a number for each element, which took a tenth of a FastPitch step.

Here one draw of 64 bits decides about four elements. An element is kept with a probability that is a multiple of 2^-16,
and what is kept is divided by that very number, so that the mean is exact.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_STEPS = 1 << 16  # values of 16 bits


class Dropout(nn.Dropout):
    """``nn.Dropout``, quicker on a CPU while it trains; elsewhere, and under torch.compile, torch's own."""

    def forward(self, input: Tensor) -> Tensor:
        """``input`` of any shape -> the same, with elements dropped and the others scaled."""
        kept = round((1.0 - self.p) * _STEPS)
        ours = self.training and not self.inplace and input.device.type == "cpu" and 0 < kept < _STEPS
        if not ours or torch.compiler.is_compiling():
            return super().forward(input)
        drawn = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
        keep = drawn.view(torch.int16)[: input.numel()].view(input.shape) < kept - _STEPS // 2
        return input * torch.where(keep, torch.tensor(_STEPS / kept, dtype=input.dtype), 0.0)


def quicken(module: nn.Module) -> None:
    """Put a ``Dropout`` in the place of every ``nn.Dropout`` in ``module``. No weight or name changes."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p, child.inplace).train(child.training))
