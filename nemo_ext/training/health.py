"""Whether tokens and frames find each other while a model learns to align: measured at each validation, and a warning.

A model that does not align learns to mumble: the mel loss still falls, so the failure is heard only days later. The
measures look at the validation utterances' attention as the training uses it, the beta-binomial prior included. That
prior alone is diagonal, so a diagonal tells nothing of a model that has learned nothing; the focus does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray

from nemo_ext.console import tell
from nemo_ext.models.acoustic.fastpitch_parts import Alignment
from nemo_ext.models.logged import log_validation
from nemo_ext.types import Batch

_WIDTH = 0.2  # of the diagonal: Tachibana's g
_HOG = 0.25  # share of an utterance's frames that no single token should hold
_FEW = 8  # tokens below which one may well hold that much
_GRACE = 1000  # steps in which a model may still be looking for its alignment
# Limits of the warnings. tests/training/test_health.py holds them against a learned, an unlearned and a collapsed one.
_LEAST_DIAGONALITY, _LEAST_FOCUS, _LEAST_COVERAGE, _MOST_COLLAPSED = 0.6, 0.35, 0.7, 0.5


@dataclass(frozen=True)
class Alignments:
    """Measures of one alignment, or means over several; each from 0 to 1."""

    diagonality: float
    focus: float
    coverage: float
    collapsed: float

    @classmethod
    def of(cls, attention: NDArray[np.float32], durations: NDArray[np.int64]) -> Alignments:
        """Of ``attention (T_mel, T_text)``, whose rows sum to 1, and the path's ``durations (T_text,)`` in frames."""
        return cls(diagonality(attention), focus_rate(attention), coverage(attention, durations), collapsed(durations))

    def trouble(self) -> str:
        """What is wrong with it and what to do, or nothing."""
        if self.diagonality < _LEAST_DIAGONALITY or self.coverage < _LEAST_COVERAGE:
            return (
                f"the alignment has collapsed (diagonality {self.diagonality:.2f}, coverage {self.coverage:.2f}): a "
                "few tokens hold most frames. Do texts and recordings belong together, is their silence short "
                "(the corpus's report.html)? Otherwise lower model.optim.lr, and start again in another out="
            )
        if self.focus < _LEAST_FOCUS:
            return (
                f"the alignment is still vague (focus {self.focus:.2f}, it should pass {_LEAST_FOCUS}): look at the "
                "picture alignment/soft. If train/align no longer falls, check that texts belong to recordings, "
                "and the corpus's language=; or raise model.optim.lr, and model.losses.bin_from_step beyond this step"
            )
        if self.collapsed > _MOST_COLLAPSED:
            return (
                f"{100 * self.collapsed:.0f} % of the tokens last a single frame: there are more tokens than the "
                "speech has sounds. Are numbers and abbreviations written as they are spoken, and does text= fit?"
            )
        return ""


def diagonality(attention: NDArray[np.float32]) -> float:
    """How near the attention's weight lies to the straight line from the first token to the last.

    1 minus the mean of guided attention's penalty ``1 - exp(-(n / N - t / T)^2 / (2 g^2))``, ``g = 0.2`` (Tachibana,
    Uenoyama and Aihara, arXiv 1710.08969, section 4.1). Speech is not evenly paced: a true alignment of a read sentence
    has 0.9 or so, an even spread over all tokens 0.42, all weight on one token at an end 0.25.
    """
    frames, tokens = attention.shape
    off = np.arange(tokens)[None, :] / tokens - np.arange(frames)[:, None] / frames
    return float((attention * np.exp(-np.square(off) / (2 * _WIDTH**2))).sum() / attention.sum())


def focus_rate(attention: NDArray[np.float32]) -> float:
    """Mean over the frames of the largest weight: 1 where every frame has made up its mind.

    Ren et al., "FastSpeech" (arXiv 1905.09263), section 3.3, there for choosing an attention head.
    """
    return float(attention.max(axis=1).mean())


def coverage(attention: NDArray[np.float32], durations: NDArray[np.int64]) -> float:
    """Share of the tokens that are the strongest of at least one frame, and do not hold too many. A measure of ours.

    The path cannot tell: it gives every token a frame, wanted or not. Too many: more than a quarter of the frames of an
    utterance of eight tokens and more; then the tokens it holds back count as not covered either way.
    """
    tokens = attention.shape[1]
    heard = np.zeros(tokens, bool)
    heard[attention.argmax(axis=1)] = True
    if tokens >= _FEW:
        heard &= durations <= _HOG * attention.shape[0]
    return float(heard.mean())


def collapsed(durations: NDArray[np.int64]) -> float:
    """Share of the tokens that the path squeezes into a single frame, the least it can give. A measure of ours."""
    return float((durations <= 1).mean())


def each(alignment: Alignment, batch: Batch) -> Iterator[Alignments]:
    """Measures of every utterance of ``batch``."""
    attention, durations = alignment.attention.float().cpu().numpy(), alignment.durations.cpu().numpy()
    for row, (tokens, frames) in enumerate(zip(batch.token_lens.tolist(), batch.mel_lens.tolist(), strict=True)):
        yield Alignments.of(attention[row, :frames, :tokens], durations[row, :tokens])


def mean(measured: list[Alignments]) -> Alignments:
    """Mean of each measure."""
    names = [f.name for f in dataclasses.fields(Alignments)]
    return Alignments(**{name: float(np.mean([getattr(m, name) for m in measured])) for name in names})


class AlignmentHealth(Callback):
    """Logs the measures as ``val/align_...`` at each validation of a model that aligns; warns, from step 1000 on.

    Such a model's ``validation_step`` gives ``{"alignment": Alignment}``; of others nothing is said.
    """

    def on_validation_batch_end(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Measure the batch."""
        found = outputs.get("alignment") if isinstance(outputs, dict) else None
        if found is None:
            return
        told = dataclasses.asdict(mean(list(each(found, batch))))
        share = batch.portion.utterances
        log_validation(pl_module, {f"align_{name}": share * value for name, value in told.items()}, batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Say what is wrong, if anything."""
        names = [f.name for f in dataclasses.fields(Alignments)]
        held = {name: trainer.callback_metrics.get(f"val/align_{name}") for name in names}
        if trainer.global_step < _GRACE or not trainer.is_global_zero or None in held.values():
            return
        if trouble := Alignments(**{name: float(value) for name, value in held.items()}).trouble():  # type: ignore[arg-type]
            tell(f"step {trainer.global_step}, WARNING: {trouble}", error=True)
