"""Which processes train together: torchrun and srun start them, and say so in the environment. No launcher of ours."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

from nemo_ext.errors import NemoExtError
from nemo_ext.training.config import TrainerOptions

_BY_HAND = ("bash", "interactive")  # names of SLURM jobs in which a person types: Lightning takes them for no launcher
_LONGEST = timedelta(days=1)  # that the others wait for what the first process does alone, as long as it lives
_UNSEEN = timedelta(hours=1)  # the same where they cannot see whether it lives
_TO_SAY_IT = 10.0  # seconds
_POLL = 0.1  # seconds between two looks: in between, signals are answered


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
    started = _started()
    if started is None:
        return Processes(options.devices or _present(options.accelerator), options.num_nodes or 1)
    asked = Processes(options.devices or started.devices, options.num_nodes or started.nodes)
    if max(options.devices, options.num_nodes) > 1 and asked != started:
        raise NemoExtError(
            f"trainer.devices={asked.devices} trainer.num_nodes={asked.nodes}, but {started.devices} processes on each "
            f"of {started.nodes} nodes were started: leave both out, they follow torchrun and srun"
        )
    return started


def _started() -> Processes | None:
    env = os.environ
    if "WORLD_SIZE" in env and "LOCAL_WORLD_SIZE" in env:  # torchrun, which may run inside a SLURM job
        local = int(env["LOCAL_WORLD_SIZE"])
        return Processes(local, int(env["WORLD_SIZE"]) // local)
    if _by_srun():
        nodes = int(env.get("SLURM_NNODES", "1"))
        return Processes(int(env["SLURM_NTASKS"]) // nodes, nodes)
    return None


def _by_srun() -> bool:
    """As Lightning sees it."""
    env = os.environ
    return "LOCAL_WORLD_SIZE" not in env and "SLURM_NTASKS" in env and env.get("SLURM_JOB_NAME") not in _BY_HAND


def _present(accelerator: str) -> int:
    """Devices of this machine: every GPU, or one process for the processor."""
    import torch

    return torch.cuda.device_count() if accelerator in ("gpu", "cuda") else 1


def first_process() -> bool:
    """Whether this is the only process, or the first of those that train together."""
    env = os.environ
    if "RANK" in env:
        return int(env["RANK"]) == 0
    if _by_srun():
        return int(env.get("SLURM_PROCID", "0")) == 0
    # by Lightning, also in a SLURM job where a person types: there SLURM_PROCID is the shell's
    return local_rank() == 0 and int(env.get("NODE_RANK", "0")) == 0


def local_rank() -> int:
    """Number of this process among those on its machine."""
    return int(os.environ.get("SLURM_LOCALID" if _by_srun() else "LOCAL_RANK", "0"))


@contextmanager
def first_alone() -> Iterator[None]:
    """What is within is done by the first process alone; no process leaves it before that is done.

    A process that ended would have the others killed: srun gives them ``--wait`` seconds from the first end on, a good
    one or not. If the first fails, the others see its connection closed.

    Raises:
        SystemExit: 1, in the others, when the first has failed; it has said why.
    """
    from torch import distributed

    from nemo_ext.losses.ranks import together

    if not together():
        yield
        return
    group = distributed.new_group(backend="gloo", timeout=_LONGEST)
    yield
    try:
        arrived = distributed.barrier(group, async_op=True)
        while not arrived.is_completed():
            time.sleep(_POLL)
        arrived.wait()
    except RuntimeError as error:
        if lost_another(error):
            raise SystemExit(1) from None
        raise


def wait_until(done: Callable[[], bool]) -> None:
    """Return when ``done``, which the first process is at, where the processes have not found each other yet.

    One that fails cannot tell the others so: their launcher ends them, or they give up.
    """
    until = time.monotonic() + _UNSEEN.total_seconds()
    while not done() and time.monotonic() < until:
        time.sleep(_POLL)


def leave_it_to_another() -> NoReturn:
    """End this process with 1 and without a word, when another that fails for the same reason has had time to say it.

    Raises:
        SystemExit: 1.
    """
    time.sleep(_TO_SAY_IT)
    raise SystemExit(1)


def own_device(accelerator: str) -> str:
    """Where this process computes before Lightning has told it: the processor, or its own GPU of those it may see."""
    import torch

    if accelerator == "cpu" or not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{local_rank() % torch.cuda.device_count()}"


def settle(options: TrainerOptions) -> None:
    """Before any model is made: see which process and device this one is.

    Its own GPU becomes the current one, which NeMo opens for every model. Images of clusters set NODE_RANK also where
    a process trains alone; Lightning and ``first_process`` would take it for one of many.

    Raises:
        NemoExtError: as ``processes``.
    """
    import torch

    if processes(options).nodes == 1:
        os.environ.pop("NODE_RANK", None)
    device = own_device(options.accelerator)
    if device != "cpu":
        torch.cuda.set_device(device)


def environment() -> list[Any]:
    """Lightning's plugin for a launcher whose ways we change.

    Lightning would answer SLURM's signal with a checkpoint and a requeue of its own; both are ours (stopping.py,
    scripts/slurm/train.sbatch), and would happen twice.
    """
    if not _by_srun():
        return []
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    started = _started()
    assert started is not None
    os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(started.devices))  # srun -n leaves it out, Lightning wants it
    with warnings.catch_warnings():  # where srun is installed it may advise to use it, which is what has happened
        warnings.filterwarnings("ignore", "The `srun` command is available")
        return [SLURMEnvironment(auto_requeue=False)]


def lost_another(error: BaseException) -> bool:
    """Whether ``error`` is only what a process sees when another one of the training has ended: gloo's or NCCL's."""
    told = str(error)
    gone = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Connection refused")
    return ("gloo" in told.lower() and any(words in told for words in gone)) or "remote process has exited" in told
