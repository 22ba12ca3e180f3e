"""Optimizers that update every weight in one pass."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

# torch's fused kernels exist for these, on CPUs and on NVIDIA GPUs
_FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


class FusedOptimizers(Callback):
    """Switches every optimizer of a training that has a fused form to it; others stay as they are.

    NeMo's factory knows no such option. A resumed training keeps what it began with: the choice is in the checkpoint.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Before the first step, and before a checkpoint's state is read."""
        for optimizer in trainer.optimizers:
            fuse(optimizer)


def fuse(optimizer: Any) -> bool:
    """Whether ``optimizer`` now takes its steps in one pass."""
    wrapped = getattr(optimizer, "optimizer", optimizer)  # Lightning's and NeMo's wrappers
    groups = getattr(wrapped, "param_groups", [])
    tensors = [p for group in groups for p in group["params"]]
    fits = isinstance(wrapped, _FUSED) and all(
        p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in tensors
    )
    if not fits or any(group.get("foreach") or group.get("differentiable") for group in groups):
        return False
    for group in groups:
        group["fused"] = True
    return True
