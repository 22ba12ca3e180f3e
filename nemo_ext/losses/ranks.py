"""Sums over the processes that train together, for losses that are no means over items."""

from __future__ import annotations

from torch import Tensor, distributed


def together() -> bool:
    """Whether other processes train with this one."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def sum_over_ranks(value: Tensor) -> Tensor:
    """``value`` of every rank, added up; a process on its own gets its value back.

    Gradients are averaged over ranks afterwards (DDP, FSDP), so the one that flows into a rank's own part is as many
    times larger as there are ranks: their mean is then that of the sum.
    """
    if not together():
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total + distributed.get_world_size() * (value - value.detach())
