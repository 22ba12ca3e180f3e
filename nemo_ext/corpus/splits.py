"""Which utterances are kept for validation.

- The choice follows from a hash of seed and text: the same corpus always gives the same split, and a corpus that
  grows keeps most of it.
- Every voice with ten utterances or more has at least one for validation, and about ``val_fraction`` of them.
- Utterances with the same text stay together, whoever speaks them: a validation text was never heard in training.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

from nemo_ext.types import Utterance

_ENOUGH = 10  # utterances that a voice needs before one is taken away from its training


def split(
    rows: Sequence[Utterance], val_fraction: float, seed: int
) -> tuple[list[Utterance], list[Utterance], list[str]]:
    """``(train, val, notes)``: both in the order of ``rows``, both never empty, together all of ``rows``.

    Where a corpus is too small or too uniform to keep the promises above, the notes say which one was broken.
    """
    if len(rows) < 2:
        return list(rows), list(rows), ["one utterance only: validation is the training utterance itself"]
    groups = _by_text(rows, seed)
    if len(groups) == 1:
        kept = {min(rows, key=lambda row: _hash(seed, row.id)).id}
        notes = ["every recording says the same: validation has a text that training has too"]
    else:
        kept = _choose(groups, Counter(_voice(row) for row in rows), val_fraction)
        notes = []
    return [row for row in rows if row.id not in kept], [row for row in rows if row.id in kept], notes


def _choose(groups: list[list[Utterance]], size: Counter[str], val_fraction: float) -> set[str]:
    wanted = {voice: max(1, round(val_fraction * n)) if n >= _ENOUGH else 0 for voice, n in size.items()}
    taken: Counter[str] = Counter()
    kept: set[str] = set()
    for group in groups:
        here = Counter(_voice(row) for row in group)
        needed = any(taken[voice] < wanted[voice] for voice in here)
        # A text that is half of what some voice says is worth more in training.
        affordable = all(taken[voice] + n <= size[voice] // 2 for voice, n in here.items())
        if needed and affordable:
            kept |= {row.id for row in group}
            taken += here
    # Only voices with very few utterances, or very few texts: one text all the same.
    return kept or {row.id for row in min(groups, key=len)}


def _by_text(rows: Sequence[Utterance], seed: int) -> list[list[Utterance]]:
    """Utterances with the same words in one group; the groups in the order of their hashes."""
    groups: dict[str, list[Utterance]] = defaultdict(list)
    for row in rows:
        words = "".join(letter if letter.isalnum() else " " for letter in row.text.casefold()).split()
        groups[" ".join(words)].append(row)
    return [groups[words] for words in sorted(groups, key=lambda words: _hash(seed, words))]


def _hash(seed: int, name: str) -> str:
    return hashlib.sha1(f"{seed}\n{name}".encode()).hexdigest()


def _voice(row: Utterance) -> str:
    return f"{row.language}/{row.speaker}"
