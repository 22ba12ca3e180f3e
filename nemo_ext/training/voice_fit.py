"""Learning one voice vector of a frozen base, by gradient through the model.

The vector is cut into three groups, each learned or left: the speaker **embedding**, the scales and shifts (**film**),
and the **bottleneck**'s up-projections (modules/adapters.py). What is learned is the difference from the start, on
which AdamW's weight decay pulls: a voice of which little was heard stays near the base voice that it started from.

What is looked at, and kept, is the mean of the vector over the last steps (Polyak and Juditsky, "Acceleration of
stochastic approximation by averaging", 1992; here an exponential one): with a few minutes of speech every step follows
a handful of sentences, and the mean forgets which.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from nemo_ext.models.acoustic.fastpitch_parts import mel_l1
from nemo_ext.training.alignments import Durations
from nemo_ext.types import Batch
from nemo_ext.voices import VoiceLayout

GROUPS = ("embedding", "film", "bottleneck")
AVERAGED = 0.98  # share of the mean that is kept each step; less in the first hundreds, so that the start is forgotten
_PARTS = {"embedding": "embedding", "film": "film", "up": "bottleneck", "down": "bottleneck", "norm": "bottleneck"}


def group_indices(layout: VoiceLayout) -> dict[str, Tensor]:
    """Where in the voice vector ``(P,)`` each group stands; a group that the layout has not is left out."""
    found: dict[str, list[Tensor]] = {name: [] for name in GROUPS}
    for slot in layout.slots:
        if slot.size:
            part = _PARTS[slot.name.rpartition("/")[2]]
            found[part].append(torch.arange(slot.offset, slot.offset + slot.size))
    return {name: torch.cat(parts) for name, parts in found.items() if parts}


@torch.no_grad()
def evaluate(base: Any, vector: Tensor, batches: Iterable[Batch], durations: Durations) -> dict[str, float]:
    """Losses of ``vector (P,)`` or ``(E,)`` over ``batches``, as means over utterances' frames or tokens.

    ``mel_l1`` is the mean absolute error of the log-mel, ``mel`` its mean square; ``loss`` what the adaptation
    minimises.
    """
    sums: dict[str, float] = {}
    frames = 0
    for batch in batches:
        losses, mel, _ = base.learn(batch, voice=vector.expand(len(batch.ids), -1), alignment=durations(batch))
        here = {k: float(v) for k, v in _measured(losses, mel, batch).items()}
        n = int(batch.mel_lens.sum())
        frames += n
        for name, value in here.items():
            sums[name] = sums.get(name, 0.0) + n * value
    return {name: value / frames for name, value in sums.items()}


def _measured(losses: dict[str, Tensor], mel: Tensor, batch: Batch) -> dict[str, Tensor]:
    """``losses`` of the model with ``mel_l1``, and ``loss``, in which it stands instead of the mean square.

    The absolute error is what the outcome is judged by, and few utterances with a click or a breath in them pull at it
    less (AdaSpeech adapts with it too).
    """
    l1 = mel_l1(mel, batch)
    rest = [v for k, v in losses.items() if k != "mel"]
    return {**losses, "mel_l1": l1, "loss": torch.stack([l1, *rest]).sum()}


class VoiceFit(LightningModule):
    """The optimisation of one voice vector; nothing else in it has a gradient.

    Attributes:
        best: lowest held-out loss, the step it was reached at, and the vector ``(P,)`` that reached it.
        history: ``(step, held-out losses)``, the start included.
    """

    start: Tensor

    def __init__(self, base: Any, start: Tensor, learn: dict[str, float], decay: float, durations: Durations) -> None:
        """``start (P,)``; ``learn``: learning rate of each group that is learned; ``decay``: weight decay."""
        super().__init__()
        self._base = [base]  # in a list: Lightning is not to train, move or save it
        self.rates, self.decay, self.durations = learn, decay, durations
        self.register_buffer("start", start.clone())
        self._indices = group_indices(base.voice_layout)
        self.learned = nn.ParameterDict({k: nn.Parameter(torch.zeros(len(self._indices[k]))) for k in learn})
        self.best: tuple[float, int, Tensor] = (float("inf"), 0, start.clone())
        self.history: list[tuple[int, dict[str, float]]] = []
        self._mean: Tensor | None = None
        self._sums: list[tuple[int, dict[str, float]]] = []
        self.patience = 0
        self._worse = 0

    def vector(self) -> Tensor:
        """The voice vector ``(P,)`` that is learned, as it is now."""
        vector = self.start
        for name, difference in self.learned.items():
            vector = vector.index_add(0, self._indices[name].to(vector.device), difference)
        return vector

    def mean(self) -> Tensor:
        """The mean ``(P,)`` of the vector over the last steps."""
        return self.vector().detach() if self._mean is None else self._mean

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Take the step into the mean."""
        kept = min(AVERAGED, self.global_step / (self.global_step + 9.0))
        self._mean = torch.lerp(self.vector().detach(), self.mean(), kept)

    def begin(self, losses: dict[str, float], patience: int) -> None:
        """The start's held-out ``losses`` are the best so far; ``patience``: validations without a better one."""
        self.best, self.patience = (losses["loss"], 0, self.start.clone()), patience
        self.history = [(0, losses)]

    def _losses(self, batch: Batch, vector: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        voice = vector.expand(len(batch.ids), -1)
        losses, mel, _ = self._base[0].learn(batch, voice=voice, alignment=self.durations(batch))
        return losses, mel

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """One step; logs every loss under ``train/``."""
        self._base[0].train()  # its dropout keeps the voice from learning the utterances by heart
        measured = _measured(*self._losses(batch, self.vector()), batch)
        self._base[0].eval()
        self.log_dict({f"train/{k}": v.detach() for k, v in measured.items()}, batch_size=len(batch.ids))
        return measured["loss"]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Held-out losses of the mean on one batch; logs them under ``val/``, ``val/mel`` as mean absolute error."""
        with torch.autocast(self.device.type, enabled=False):  # as ``evaluate``, with whose losses they are compared
            here = _measured(*self._losses(batch, self.mean()), batch)
        self._sums.append((int(batch.mel_lens.sum()), {k: float(v) for k, v in here.items()}))
        logged = {f"val/{k}": v for k, v in here.items() if k not in ("mel", "mel_l1")}
        self.log_dict({**logged, "val/mel": here["mel_l1"]}, batch_size=len(batch.ids))

    def on_validation_epoch_end(self) -> None:
        """Keep the best vector; stop when it was not bettered for a while."""
        frames = sum(n for n, _ in self._sums)
        losses = {k: sum(n * here[k] for n, here in self._sums) / frames for k in self._sums[0][1]}
        self._sums.clear()
        self.history.append((self.global_step, losses))
        if losses["loss"] < self.best[0]:
            self.best, self._worse = (losses["loss"], self.global_step, self.mean().clone()), 0
            return
        self._worse += 1
        if self.patience and self._worse >= self.patience:
            self.trainer.should_stop = True

    def configure_optimizers(self) -> Any:
        """AdamW; the rates rise over a tenth of the steps, 20 at most, and fall to a tenth along a cosine."""
        groups = [{"params": [self.learned[name]], "lr": rate} for name, rate in self.rates.items()]
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=self.decay)
        total = max(1, int(self.trainer.max_steps))
        rising = min(20, max(1, total // 10))

        def factor(step: int) -> float:
            from math import cos, pi

            return min(1.0, (step + 1) / rising) * (0.1 + 0.45 * (1 + cos(pi * min(step, total) / total)))

        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, factor), "interval": "step"},
        }
