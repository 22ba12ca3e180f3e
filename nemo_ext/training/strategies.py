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
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from nemo_ext.errors import NemoExtError
from nemo_ext.training import checkpoints
from nemo_ext.training.config import StrategyOptions
from nemo_ext.training.launch import Processes

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
# What training calls of a model whose parts are not called by their forward: weights are gathered for these.
_STEPS = ("training_step", "validation_step", "preview")


def strategy_of(options: StrategyOptions, started: Processes, model: Any, accelerator: str) -> Any:
    """Lightning's strategy for ``options``; one process alone needs none.

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
    return DDPStrategy(
        process_group_backend=backend,
        find_unused_parameters=takes_turns,
        static_graph=options.static_graph and not takes_turns,
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
        """The whole state, by the number of each weight, as an optimizer alone has it."""
        assert self.model is not None
        whole: Any = get_optimizer_state_dict(self.model, getattr(optimizer, "optimizer", optimizer), options=_WHOLE)
        if not whole:  # gathered on the first process
            return {}
        number: dict[str, int] = {}
        groups = []
        for group in whole["param_groups"]:
            names = list(group["params"])
            number |= {name: len(number) + i for i, name in enumerate(names)}
            groups.append({**group, "params": [number[name] for name in names]})
        return {"state": {number[k]: v for k, v in whole["state"].items()}, "param_groups": groups}

    def load_checkpoint(self, checkpoint_path: Any) -> dict[str, Any]:
        """The checkpoint, its weights and optimizer states already dealt out to the processes."""
        content = checkpoints.read(Path(self.broadcast(checkpoint_path)))
        assert self.model is not None
        set_model_state_dict(self.model, dict(content["state_dict"]), options=StateDictOptions(full_state_dict=True))
        for optimizer, state in zip(self.optimizers, content["optimizer_states"], strict=False):
            names = _names(self.model, optimizer)
            by_name: Any = {
                "state": {names[k]: v for k, v in state["state"].items()},
                "param_groups": [{**g, "params": [names[i] for i in g["params"]]} for g in state["param_groups"]],
            }
            set_optimizer_state_dict(
                self.model, optimizer, by_name, options=StateDictOptions(full_state_dict=True, strict=False)
            )
        return content

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Nothing left to do: see ``load_checkpoint``."""

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Nothing left to do: see ``load_checkpoint``."""


def _names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Names of the optimizer's weights, by number."""
    named = {id(p): name for name, p in model.named_parameters()}
    return [named[id(p)] for group in optimizer.param_groups for p in group["params"]]


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
