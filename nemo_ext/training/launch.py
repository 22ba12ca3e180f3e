"""Who started this process, and how many beside it: torchrun, srun, or nobody. No launcher of our own."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

from nemo_ext.errors import NemoExtError
from nemo_ext.training.config import TrainerOptions

_BY_HAND = ("bash", "interactive")  # names of SLURM jobs in which a person types: Lightning takes them for no launcher


@dataclass(frozen=True)
class Launched:
    """What a launcher says of the processes that it started together."""

    by: str  # torchrun or srun
    rank: int  # of this one, over all nodes
    devices: int  # processes on each node
    num_nodes: int


def launched() -> Launched | None:
    """What torchrun or srun started, by the environment that they leave; None: this process was started by itself.

    torchrun is asked first, as by Lightning, for it may run inside a SLURM job.
    """
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        total, here = int(env["WORLD_SIZE"]), int(env["LOCAL_WORLD_SIZE"])
        return Launched("torchrun", int(env["RANK"]), here, total // here)
    if "SLURM_NTASKS" in env and "SLURM_PROCID" in env and env.get("SLURM_JOB_NAME") not in _BY_HAND:
        total, nodes = int(env["SLURM_NTASKS"]), int(env.get("SLURM_NNODES", "1"))
        return Launched("srun", int(env["SLURM_PROCID"]), int(env.get("SLURM_NTASKS_PER_NODE", total // nodes)), nodes)
    return None


def first_process() -> bool:
    """Whether this is the only process, or the first of those that train together."""
    found = launched()
    return found.rank == 0 if found else int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def settle(options: TrainerOptions) -> TrainerOptions:
    """``options`` with the number of devices and nodes that there are, where they were left open (0).

    Raises:
        NemoExtError: a launcher started another number of processes than the options name.
    """
    found = launched()
    if found is None:
        devices = options.devices or _present(options.accelerator)
        return dataclasses.replace(options, devices=devices, num_nodes=options.num_nodes or 1)
    for name, started in (("devices", found.devices), ("num_nodes", found.num_nodes)):
        asked = getattr(options, name)
        if asked not in (0, started):
            raise NemoExtError(
                f"{found.by} started {found.devices} processes on each of {found.num_nodes} nodes, and "
                f"trainer.{name}={asked}: give trainer.{name}=0, which takes what was started, or start {asked}"
            )
    return dataclasses.replace(options, devices=found.devices, num_nodes=found.num_nodes)


def _present(accelerator: str) -> int:
    """Devices of this machine: every GPU, or one process for the processor."""
    import torch

    return torch.cuda.device_count() if accelerator in ("gpu", "cuda") else 1


def environment() -> list[Any]:
    """Lightning's plugin for a launcher whose ways we change.

    Lightning would answer SLURM's signal with a checkpoint and a requeue of its own; both are ours (stopping.py,
    scripts/slurm/train.sbatch), and would happen twice.
    """
    found = launched()
    if found is None or found.by != "srun":
        return []
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(found.devices))  # srun -n leaves it out, Lightning wants it
    return [SLURMEnvironment(auto_requeue=False)]
