"""Which processes train together: torchrun and srun start them, and say so in the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

from nemo_ext.errors import NemoExtError
from nemo_ext.training.config import TrainerOptions


@dataclass(frozen=True)
class Processes:
    """How many processes train together, one a device."""

    devices: int  # on each node
    nodes: int

    @property
    def world_size(self) -> int:
        """All of them."""
        return self.devices * self.nodes


def processes(options: TrainerOptions) -> Processes:
    """What torchrun or srun have started; else what ``options`` ask for, which Lightning starts.

    Raises:
        NemoExtError: ``options`` ask for more than one device, and another number was started.
    """
    asked = Processes(options.devices, options.num_nodes)
    started = _started()
    if started is None:
        return asked
    if asked.world_size > 1 and asked != started:
        raise NemoExtError(
            f"trainer.devices={asked.devices} trainer.num_nodes={asked.nodes}, but {started.devices} processes on each "
            f"of {started.nodes} nodes were started: leave both out, they follow torchrun and srun"
        )
    return started


def _started() -> Processes | None:
    env = os.environ
    if "WORLD_SIZE" in env and "LOCAL_WORLD_SIZE" in env:  # torchrun
        local = int(env["LOCAL_WORLD_SIZE"])
        return Processes(local, int(env["WORLD_SIZE"]) // local)
    if "SLURM_NTASKS" in env and env.get("SLURM_JOB_NAME") not in ("bash", "interactive"):  # as Lightning sees it
        nodes = int(env.get("SLURM_NNODES", "1"))
        return Processes(int(env["SLURM_NTASKS"]) // nodes, nodes)
    return None


def first_process() -> bool:
    """Whether this is the only process, or the first of those that train together."""
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if name in os.environ:
            return int(os.environ[name]) == 0
    return True
