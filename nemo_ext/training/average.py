"""The mean of the weights over the last steps (Polyak averaging), which is what is validated and saved.

Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging" (SIAM J. Control Optim. 30, 1992), in the
exponential form. What we changed: the mean keeps less of itself in the first steps, ``(1 + n) / (10 + n)`` of it, for
the first weights are noise.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from nemo_ext.errors import NemoExtError
from nemo_ext.training.shares import dealt_out_as, whole

_NOT_SPOKEN_WITH = "discriminators."  # neither validated nor saved


class Average(Callback):
    """Keeps ``mean = decay * mean + (1 - decay) * weights`` after every step, beside the weights on their device."""

    def __init__(self, decay: float) -> None:
        """
        Raises:
            NemoExtError: ``decay`` is not between 0 and 1.
        """
        if not 0.0 < decay < 1.0:
            raise NemoExtError(f"trainer.ema={decay}: give a share below 1, for instance 0.999, or 0 for none")
        self.decay = decay
        self._means: dict[str, Tensor] = {}
        self._aside: dict[str, Tensor] = {}
        self._seen_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Begin with the weights as they are, unless a checkpoint brought a mean."""
        weights = averaged(pl_module)
        brought = self._means if self._means.keys() == weights.keys() else {}
        self._means = {
            k: w.detach().clone().copy_(dealt_out_as(brought[k], w)) if k in brought else w.detach().clone()
            for k, w in weights.items()
        }
        self._seen_step = trainer.global_step

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        """Take the new weights into the mean."""
        step = trainer.global_step
        if step == self._seen_step:  # a part of a step: gradients are still added up
            return
        self._seen_step = step
        decay = min(self.decay, (1.0 + step) / (10.0 + step))
        for name, weight in averaged(pl_module).items():
            self._means[name].lerp_(weight.detach(), 1.0 - decay)

    @torch.no_grad()
    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """The mean is what is validated, drawn and heard."""
        if self._means:
            weights = averaged(pl_module)
            self._aside = {k: w.detach().clone() for k, w in weights.items()}
            for name, weight in weights.items():
                weight.copy_(self._means[name])

    @torch.no_grad()
    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:  # noqa: ARG002
        """Training goes on with the weights."""
        weights = averaged(pl_module)
        for name, value in self._aside.items():
            weights[name].copy_(value)
        self._aside = {}

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint: whole tensors, on the CPU."""
        return {"means": {k: whole(v) for k, v in self._means.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint."""
        self._means = state_dict["means"]


def averaged(pl_module: Any) -> dict[str, Tensor]:
    """The weights that training changes and inference needs, by name."""
    return {k: p for k, p in pl_module.named_parameters() if p.requires_grad and not k.startswith(_NOT_SPOKEN_WITH)}
