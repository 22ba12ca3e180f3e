"""Who says what when in a new speaker's recordings, found once and then held fixed while the voice is learned.

Fine-tuning an aligner together with everything else is how adaptation fails: on a few minutes of speech the attention
drifts, durations follow it, and the model is taught noise. So the base's aligner, which has heard much more speech, is
only asked. A *copy* of it may learn from the new recordings, on the forward-sum loss and the beta-binomial prior alone
(Badlani et al., arXiv 2108.10447), and is used only if it does better on utterances that it did not learn from.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from nemo_ext.data.prior import beta_binomial_prior
from nemo_ext.errors import NemoExtError
from nemo_ext.evaluation.alignment import focus
from nemo_ext.models.acoustic.fastpitch_parts import Alignment
from nemo_ext.modules.alignment import mask_from_lens
from nemo_ext.types import Batch

# A text that belongs to its recording fits better than a stranger's, by so many nats a frame and in so many cases.
_LEAST_MARGIN, _LEAST_WON = 0.0, 0.6
_ENOUGH_PAIRS = 4  # recordings below which nothing can be told from comparing
_BY_CHANCE = 0.05  # texts that fit as often as this by guessing are worth a word


@dataclass(frozen=True)
class Health:
    """How well tokens and frames were brought together, over some utterances."""

    loss: float  # forward-sum
    focus: float  # share of the soft attention within 3 frames of the path
    margin: float  # nats a frame by which each recording fits its own text better than its neighbour's; NaN: not known
    won: float  # share of recordings that do; NaN: not known
    pairs: int = 0  # how many were compared

    @property
    def hopeless(self) -> bool:
        """Whether the recordings fit other texts as well as their own."""
        return self.pairs >= _ENOUGH_PAIRS and not (self.margin > _LEAST_MARGIN and self.won >= _LEAST_WON)

    @property
    def doubtful(self) -> bool:
        """Whether so many would fit their own text by guessing, too, in one case of twenty (binomial test)."""
        from scipy.stats import binomtest

        won = round(self.won * self.pairs) if self.pairs else 0
        return self.pairs > 0 and bool(binomtest(won, self.pairs, 0.5, alternative="greater").pvalue > _BY_CHANCE)

    def __str__(self) -> str:
        told = f"focus {100 * self.focus:.0f} %, loss {self.loss:.3f}"
        return told + (f", own text preferred in {100 * self.won:.0f} % of {self.pairs}" if self.pairs else "")


class Durations:
    """Frames of each token, by utterance, from which an ``Alignment`` of any batch follows."""

    def __init__(self, found: dict[str, Tensor]) -> None:
        self.found = found

    def __call__(self, batch: Batch) -> Alignment:
        """The alignment of ``batch``; its soft attention is empty, for the path is given."""
        durations = torch.zeros_like(batch.tokens)
        path = batch.tokens.new_zeros(batch.mel.shape[0], batch.mel.shape[2])
        for row, name in enumerate(batch.ids):
            of = self.found[name].to(durations.device)
            durations[row, : len(of)] = of
            frames = torch.repeat_interleave(torch.arange(len(of), device=of.device), of)
            path[row, : len(frames)] = frames
        nothing = batch.mel.new_zeros(0)
        return Alignment(nothing, nothing, path, durations)


class AlignerCopy(LightningModule):
    """A copy of the base's aligner and the voice it listens for, learned from the new recordings.

    The embedding it starts from is a base voice's; it serves the aligner only.
    """

    def __init__(self, base: Any, embedding: Tensor, lr: float) -> None:
        super().__init__()
        self.lr = lr
        self.copied = copy.deepcopy(base.aligner).requires_grad_(True)
        self.embedding = torch.nn.Parameter(embedding.clone())
        self._base = [base]  # in a list: it is no part of this module, and is not to be trained
        self.best: tuple[float, dict[str, Tensor]] = (float("inf"), {})

    def align(self, batch: Batch) -> Alignment:
        """The copy's alignment of ``batch``."""
        base = self._base[0]
        condition = base.read_embedding(self.embedding.expand(len(batch.ids), -1))
        valid = batch.tokens != base.fastpitch.encoder.padding_idx
        return base.align(batch, valid, condition, self.copied)

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = self._base[0].alignment_losses(batch, self.align(batch))
        return losses

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """One step; logs ``train/align`` and ``train/bin``."""
        losses = self._losses(batch)
        self.log_dict({f"train/{k}": v.detach() for k, v in losses.items()}, batch_size=len(batch.ids))
        return torch.stack(list(losses.values())).sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Logs ``val/align`` and ``val/bin``."""
        self.log_dict({f"val/{k}": v for k, v in self._losses(batch).items()}, batch_size=len(batch.ids))

    def on_validation_epoch_end(self) -> None:
        """Keep the weights with which the held-out recordings aligned best."""
        loss = float(self.trainer.callback_metrics["val/align"])
        if loss < self.best[0]:
            self.best = (loss, {k: v.detach().clone() for k, v in self.state_dict().items()})

    def take_best(self) -> None:
        """Go back to the weights that were best."""
        if self.best[1]:
            self.load_state_dict(self.best[1])

    def configure_optimizers(self) -> Any:
        """Adam at a constant rate: a few hundred steps."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class FrozenAligner:
    """The base's own aligner, listening with the embedding of one voice."""

    def __init__(self, base: Any, embedding: Tensor) -> None:
        self.base, self.embedding = base, embedding

    def align(self, batch: Batch) -> Alignment:
        """The base's alignment of ``batch``."""
        condition = self.base.read_embedding(self.embedding.expand(len(batch.ids), -1))
        return self.base.align(batch, batch.tokens != self.base.fastpitch.encoder.padding_idx, condition)


@torch.no_grad()
def measure(base: Any, aligner: FrozenAligner | AlignerCopy, batches: Iterable[Batch], compare: bool = True) -> Health:
    """Health of ``aligner`` over ``batches``; ``compare`` each recording with a neighbour's text as well."""
    losses, focuses, margins = [], [], []
    for batch in batches:
        found = aligner.align(batch)
        losses += [float(base.alignment_losses(batch, found)["align"])] * len(batch.ids)
        for b, (t, n) in enumerate(zip(batch.token_lens.tolist(), batch.mel_lens.tolist(), strict=True)):
            focuses.append(focus(found.attention[b, :n, :t].cpu().numpy(), found.path[b, :n].cpu().numpy()))
        if compare and len(batch.ids) > 1:
            own, other = _fit(batch, found), _fit(strange := _swapped(batch), aligner.align(strange))
            possible = (strange.token_lens <= strange.mel_lens).cpu().numpy()
            margins += (own - other)[possible].tolist()
    known = len(margins) > 0
    return Health(
        loss=float(np.mean(losses)),
        focus=float(np.mean(focuses)),
        margin=float(np.mean(margins)) if known else float("nan"),
        won=float(np.mean(np.array(margins) > 0)) if known else float("nan"),
        pairs=len(margins),
    )


@torch.no_grad()
def find(aligner: FrozenAligner | AlignerCopy, batches: Iterable[Batch]) -> Durations:
    """Durations of every utterance of ``batches``."""
    found: dict[str, Tensor] = {}
    for batch in batches:
        durations = aligner.align(batch).durations.cpu()
        for row, (name, tokens) in enumerate(zip(batch.ids, batch.token_lens.tolist(), strict=True)):
            found[name] = durations[row, :tokens].clone()
    return Durations(found)


def refuse_hopeless(health: Health, corpus: str) -> None:
    """Refuse recordings whose texts fit them no better than other texts do.

    Raises:
        NemoExtError: they do not.
    """
    if health.hopeless:
        raise NemoExtError(
            f"the texts of {corpus} do not seem to belong to its recordings: only {100 * health.won:.0f} % of "
            f"{health.pairs} recordings fit their own text better than another's (focus {100 * health.focus:.0f} %); "
            "look at its report.html, or adapt a base that has learned to align (val/align in its metrics.jsonl)"
        )


def _fit(batch: Batch, found: Alignment) -> np.ndarray:
    """Mean log-attention along the path, ``(B,)``."""
    frames = mask_from_lens(batch.mel_lens, batch.mel.shape[2])
    on_path = found.attention.gather(2, found.path[..., None]).squeeze(2).clamp(min=1e-12)
    return ((torch.log(on_path) * frames).sum(1) / batch.mel_lens).cpu().numpy()


def _swapped(batch: Batch) -> Batch:
    """Each recording with the text of the next one, whose length is similar; the last with that of the first."""
    tokens, lens = batch.tokens.roll(1, 0), batch.token_lens.roll(1, 0)
    lens = torch.minimum(lens, batch.mel_lens)
    prior = torch.zeros_like(batch.attn_prior)
    for b, (t, n) in enumerate(zip(lens.tolist(), batch.mel_lens.tolist(), strict=True)):
        prior[b, :n, :t] = torch.from_numpy(beta_binomial_prior(t, n)).to(prior)
    return dataclasses.replace(batch, tokens=tokens, token_lens=lens, attn_prior=prior)
