"""Tensors that are dealt out over processes (FSDP2), and whole ones, as checkpoints hold them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def whole(value: Tensor) -> Tensor:
    """``value`` gathered, on the CPU, and memory of its own. Every process has to ask."""
    full = value.full_tensor() if isinstance(value, DTensor) else value
    return full.detach().cpu().clone()


def dealt_out_as(value: Tensor, weight: Tensor) -> Tensor:
    """The whole ``value`` where ``weight`` is, and in shares if that is. Every process has to ask."""
    here = value.to(weight.device)
    return distribute_tensor(here, weight.device_mesh, weight.placements) if isinstance(weight, DTensor) else here


def whole_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state of ``optimizer`` as one process alone has it."""
    state = optimizer.state_dict()
    moments = {
        k: {n: whole(v) if isinstance(v, Tensor) else v for n, v in of.items()} for k, of in state["state"].items()
    }
    return {**state, "state": moments}


def load_whole_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give ``optimizer``, whose weights may be dealt out, what ``whole_state`` told."""
    weights = [p for group in optimizer.param_groups for p in group["params"]]

    def shared(number: int, value: Any) -> Any:
        fits = isinstance(value, Tensor) and value.shape == weights[number].shape and value.ndim > 0
        return dealt_out_as(value, weights[number]) if fits else value

    moments = {k: {n: shared(k, v) for n, v in of.items()} for k, of in state["state"].items()}
    optimizer.load_state_dict({**state, "state": moments})
