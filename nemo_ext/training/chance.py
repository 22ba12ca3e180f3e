"""Random numbers of a training step (dropout, noise) as a function of seed, step and process."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from nemo_ext.data.randomness import number


class Chance(Callback):
    """Seeds torch before every step, so that a resumed step draws what it would have drawn without the interruption.

    What the data draw is a function of seed, epoch and utterance (data/randomness.py), so nothing random needs a place
    in a checkpoint, and validation or measuring in between change nothing.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Begin the step's own numbers."""
        part = batch_idx % trainer.accumulate_grad_batches
        torch.manual_seed(number(self.seed, trainer.global_step, f"{part}/{trainer.global_rank}", 7))
