"""How well tokens and frames were aligned: boundaries against known phoneme times, and the focus of the attention.

What a boundary is. Tokens are IPA characters; a synthesiser's events are phonemes, of one or more characters, with a
start time. Both are written out as characters without stress and punctuation and aligned symbol by symbol
(warping.align_symbols). A phoneme is measured where its first character has an equal partner; the others are counted
as unmatched, never guessed. It starts where its first token starts, **its stress mark included**: the mark has no
sound of its own and is written directly before the vowel that bears it, so whatever frames it is given are that
vowel's, and leaving them out would let an alignment hide an early start. A mark never lies on both sides: the phoneme
before it ends where the mark begins. Spaces and punctuation belong to no phoneme, for there the sound is a pause or
the end of the word before.

Time of a frame. Frames are centred, frame ``i`` at sample ``i * hop``, so a token that starts at frame ``i`` starts
half a hop earlier: ``(i - 0.5) * hop / sample_rate`` seconds, and 0 for the first frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nemo_ext.evaluation.warping import align_symbols
from nemo_ext.types import MelSpec

STRESS = frozenset("ˈˌ'")
SILENT = frozenset(' \t\n_|.,;:!?-–—…"“”„‚‘’«»¡¿()[]')  # characters that stand for no phoneme


@dataclass
class Boundaries:
    """Boundary errors of a corpus. ``failed`` names utterances that could not be measured and why."""

    errors_ms: dict[str, NDArray[np.float64]] = field(default_factory=dict)  # id -> signed, predicted minus known
    phonemes: int = 0  # in the known events
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def absolute_ms(self) -> NDArray[np.float64]:
        """Absolute error of every measured boundary in ms."""
        return np.abs(np.concatenate(list(self.errors_ms.values()))) if self.errors_ms else np.zeros(0)

    @property
    def median_ms(self) -> float:
        """Median absolute error in ms; NaN when nothing was measured."""
        errors = self.absolute_ms
        return float(np.median(errors)) if len(errors) else float("nan")

    def within(self, ms: float) -> float:
        """Share of measured boundaries within ``ms`` of the known time."""
        errors = self.absolute_ms
        return float((errors <= ms).mean()) if len(errors) else float("nan")

    @property
    def matched(self) -> float:
        """Share of the known phonemes that could be measured."""
        return len(self.absolute_ms) / self.phonemes if self.phonemes else float("nan")


def token_starts(durations: NDArray[np.int64], spec: MelSpec) -> NDArray[np.float64]:
    """Start in seconds of each token that lasts ``durations (T_text,)`` frames."""
    first = np.concatenate([[0], np.cumsum(durations)[:-1]])
    return np.asarray(np.maximum(0.0, (first - 0.5) * spec.hop_length / spec.sample_rate), dtype=np.float64)


def boundary_errors(
    symbols: Sequence[str], starts: NDArray[np.float64], events: Sequence[tuple[str, float]]
) -> NDArray[np.float64]:
    """Signed errors in ms (predicted minus known) of the phonemes of ``events`` that have partners among ``symbols``.

    ``starts (T_text,)`` seconds of each token; ``events``: (phoneme in IPA, its start in seconds); silent events may
    be among them.
    """
    characters = [(s, i) for i, s in enumerate(symbols) if s and s not in STRESS and s not in SILENT]
    known = [
        (c, event, position == 0)
        for event, (phoneme, _) in enumerate(events)
        for position, c in enumerate(_sounds(phoneme))
    ]
    errors = []
    for left, right in align_symbols([c for c, _ in characters], [c for c, _, _ in known]):
        token, (_, event, is_first) = characters[left][1], known[right]
        if not is_first:
            continue
        while token > 0 and symbols[token - 1] in STRESS:
            token -= 1
        errors.append((starts[token] - events[event][1]) * 1000.0)
    return np.array(errors, dtype=np.float64)


def spoken_events(events: Sequence[tuple[str, float]]) -> int:
    """How many of ``events`` are phonemes rather than pauses."""
    return sum(bool(_sounds(phoneme)) for phoneme, _ in events)


def focus(attention: NDArray[np.float32], path: NDArray[np.int64], radius: int = 3) -> float:
    """Share of the soft attention that lies within ``radius`` frames of the hard path.

    ``attention (T_mel, T_text)`` sums to 1 over the tokens; ``path (T_mel,)`` the token of each frame. The weight that
    frame ``t`` gives token ``j`` counts when the path is at ``j`` in some frame from ``t - radius`` to ``t + radius``.
    """
    frames, tokens = attention.shape
    near = np.zeros((frames, tokens), bool)
    for shift in range(-radius, radius + 1):
        inside = np.arange(max(0, -shift), min(frames, frames - shift))
        near[inside, path[inside + shift]] = True
    return float((attention * near).sum() / attention.sum())


def _sounds(phoneme: str) -> str:
    return "".join(c for c in phoneme if c not in STRESS and c not in SILENT)
