"""What a training step tells of its losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, distributed


def log_training(module: Any, losses: Mapping[str, Tensor], size: int) -> None:
    """Log ``losses`` of the whole batch under ``train/``: the mean over ranks, in one reduction for all of them.

    ``module``: the LightningModule whose step it is; ``size``: utterances that are here.
    """
    names = list(losses)
    values = torch.stack([losses[name].detach().float() for name in names])
    if module.trainer.world_size > 1:
        distributed.all_reduce(values)
        values = values / module.trainer.world_size
    module.log_dict({f"train/{name}": value for name, value in zip(names, values, strict=True)}, batch_size=size)
