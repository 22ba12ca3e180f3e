"""What the steps of a training and of a validation tell of their losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, distributed


def log_training(module: Any, losses: Mapping[str, Tensor], size: int) -> None:
    """Log ``losses`` of the whole batch under ``train/``: the mean over ranks, in one reduction for all of them.

    A batch that is taken in parts is told with its last one, by the mean over them; what is logged before is a part of
    that mean.

    ``module``: the LightningModule whose step it is; ``size``: utterances that are here.
    """
    trainer = module.trainer
    names = list(losses)
    values = torch.stack([losses[name].detach().float() for name in names])
    if trainer.world_size > 1:
        distributed.all_reduce(values)
        values = values / trainer.world_size
    if trainer.accumulate_grad_batches > 1:
        step, parts_before = getattr(module, "told", (None, None))
        values = values / trainer.accumulate_grad_batches
        if step == trainer.global_step:
            values = values + parts_before
        module.told = (trainer.global_step, values)
    module.log_dict({f"train/{name}": value for name, value in zip(names, values, strict=True)}, batch_size=size)


def log_validation(module: Any, values: Mapping[str, Tensor | float], batch: Any) -> None:
    """Log ``values`` of ``batch`` under ``val/``: of a whole validation, the mean over its batches and ranks.

    Each is a mean over what is here of the batch, weighed by its share (``batch.portion``), so that it comes to the
    same however the batch was dealt out. A batch counts by its utterances.

    ``module``: the LightningModule that is validated.
    """
    named = {f"val/{name}": value for name, value in values.items()}
    size = batch.portion.whole or len(batch.ids)
    module.log_dict(named, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)
