"""How processes train together: what Lightning has for it, set up for our models.

- ``ddp``: every process holds the whole model; gradients are averaged while the backward pass still runs.
- ``fsdp``: FSDP2 (``torch.distributed.fsdp.fully_shard``): each process keeps its share of weights, gradients and
  optimizer states, and gathers the weights for a step. For models that do not fit otherwise: ours all do on one GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from nemo_ext.errors import NemoExtError
from nemo_ext.training import checkpoints
from nemo_ext.training.config import StrategyOptions
from nemo_ext.training.launch import Processes
from nemo_ext.training.shares import dealt_out_as, load_whole_state, whole_state

# What training calls of a model whose parts are not called by their forward: weights are gathered for these.
_STEPS = ("training_step", "validation_step", "preview")


def strategy_of(options: StrategyOptions, started: Processes, model: Any, accelerator: str, accumulate: int = 1) -> Any:
    """Lightning's strategy for ``options``; one process alone needs none.

    ``accumulate``: in how many backward passes a step's gradients are added up.

    Raises:
        NemoExtError: another name than auto, ddp or fsdp.
    """
    backend = "gloo" if accelerator == "cpu" else None  # None: NCCL
    name = options.name if options.name != "auto" else ("ddp" if started.world_size > 1 else "auto")
    if name == "auto":
        return "auto"
    if name == "fsdp":
        return Sharded(
            data_parallel_size=started.world_size,  # Lightning's default is one: every rank with all the data
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            process_group_backend=backend,
        )
    if name != "ddp":
        raise NemoExtError(f"strategy.name={name} is none of auto, ddp and fsdp")
    # two optimizers take turns: a backward pass reaches the weights of one of them only
    takes_turns = not model.automatic_optimization
    # with a static graph DDP learns in its first backward pass what to send, and stops short if that pass sends nothing
    changes = takes_turns or accumulate > 1
    return DDPStrategy(
        process_group_backend=backend,
        find_unused_parameters=changes,
        static_graph=options.static_graph and not changes,
        gradient_as_bucket_view=options.bucket_views,
        bucket_cap_mb=options.bucket_megabytes,
    )


class Sharded(ModelParallelStrategy):
    """FSDP2 whose checkpoints are those of every other strategy: whole, one file, tensors and plain values."""

    def setup(self, trainer: Any) -> None:
        """Shard the model, whose parts are all made by now, before its optimizers are."""
        shard(self.model, self.device_mesh)
        super().setup(trainer)

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """The whole state."""
        return whole_state(getattr(optimizer, "optimizer", optimizer))

    def load_checkpoint(self, checkpoint_path: Any) -> dict[str, Any]:
        """The checkpoint, its weights and optimizer states already dealt out to the processes."""
        content = checkpoints.read(Path(self.broadcast(checkpoint_path)))
        assert self.model is not None
        weights = dict(self.model.named_parameters(remove_duplicate=False))  # NeMo's FastPitch has its aligner twice
        state = {k: dealt_out_as(v, weights[k]) if k in weights else v for k, v in content["state_dict"].items()}
        self.model.load_state_dict(state)
        for optimizer, whole in zip(self.optimizers, content["optimizer_states"], strict=False):
            load_whole_state(optimizer, whole)
        return content

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Nothing left to do: see ``load_checkpoint``."""

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Nothing left to do: see ``load_checkpoint``."""


def shard(model: Any, mesh: Any) -> None:
    """Deal out the weights of ``model`` over ``mesh["data_parallel"]``; called before its optimizers are made.

    A network that is called as a whole (generator, each discriminator) is a unit: gathered for its forward and its
    backward pass. A model that calls parts of its networks is one unit for a whole step.
    """
    if model.automatic_optimization:
        fully_shard(model, mesh=mesh["data_parallel"])
        for name in _STEPS:
            register_fsdp_forward_method(model, name)
        return
    for network in (model.generator, *(model.discriminators or {}).values()):
        fully_shard(network, mesh=mesh["data_parallel"])
