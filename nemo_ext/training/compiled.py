"""A vocoder's networks compiled by ``torch.compile``, each as a whole, for the steps of the training.

Its segments have one shape, so that a network is compiled once for each way that a step calls it: the generator, a
discriminator that learns, a discriminator that is asked. An acoustic model's batches have another shape each, and torch
(2.13) compiles FastPitch's stacks anew for each length, also when told that lengths change.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import nn

from nemo_ext.errors import NemoExtError
from nemo_ext.training.config import TrainConfig
from nemo_ext.training.feed import is_vocoder


def check(config: TrainConfig, cls: Any) -> None:
    """
    Raises:
        NemoExtError: ``trainer.compile`` is not for this model or strategy, or there is no compiler.
    """
    if not config.trainer.compile:
        return
    if not is_vocoder(cls):
        raise NemoExtError(
            f"trainer.compile=true is for vocoders, whose segments have one shape; the batches of a {cls.__name__} "
            "have another each: leave it out"
        )
    if config.strategy.name == "fsdp":
        raise NemoExtError(
            "trainer.compile=true and strategy=fsdp, which gathers weights while a network runs, do not go together: "
            "leave one of them out"
        )
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise NemoExtError(f"trainer.compile=true needs the C++ compiler {compiler}: install it, or leave it out")


class Compiled(Callback):
    """Compiles the networks in place: the names of their weights stay. Whatever is no training step runs as ever.

    Validations, pictures and sentences of any length would each be compiled anew.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """The discriminators are made by now. Nothing is compiled before it is called."""
        for network in _networks(pl_module):
            network.compile(dynamic=False)
        torch.compiler.set_stance("force_eager")

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """A step begins."""
        torch.compiler.set_stance("default")

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:  # noqa: ARG002
        """A step is over."""
        torch.compiler.set_stance("force_eager")

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:  # noqa: ARG002
        """For what else this process compiles."""
        torch.compiler.set_stance("default")

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:  # noqa: ARG002
        """The same: Lightning does not come to ``teardown``."""
        torch.compiler.set_stance("default")


def _networks(model: Any) -> Iterator[nn.Module]:
    yield model.generator
    yield from (model.discriminators or {}).values()
