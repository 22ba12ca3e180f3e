"""How well embeddings tell speakers apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nemo_ext.errors import NemoExtError


@dataclass(frozen=True)
class Separation:
    """Cosines between embeddings of one speaker and of two."""

    same: float  # mean cosine of pairs by one speaker
    same_std: float
    different: float  # mean cosine of pairs by two speakers
    different_std: float
    equal_error_rate: float  # share, 0 to 1
    threshold: float  # cosine at which both kinds of error are equally frequent
    pairs: int


def separation(embeddings: np.ndarray, speakers: Sequence[str]) -> Separation:
    """Over all pairs of ``embeddings (N, E)``, of which ``speakers`` names each one's.

    Raises:
        NemoExtError: no two of one speaker, or one speaker only.
    """
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-9)
    first, second = np.triu_indices(len(unit), k=1)
    cosines = (unit @ unit.T)[first, second]
    names = np.asarray(speakers)
    same = names[first] == names[second]
    if same.all() or not same.any():
        raise NemoExtError("telling speakers apart takes two recordings of one speaker and one of another")
    rate, threshold = equal_error_rate(cosines[same], cosines[~same])
    return Separation(
        same=float(cosines[same].mean()),
        same_std=float(cosines[same].std()),
        different=float(cosines[~same].mean()),
        different_std=float(cosines[~same].std()),
        equal_error_rate=rate,
        threshold=threshold,
        pairs=len(cosines),
    )


def equal_error_rate(same: np.ndarray, different: np.ndarray) -> tuple[float, float]:
    """The share of errors, 0 to 1, at the threshold where as many of ``same`` lie below as of ``different`` above.

    Both are scores ``(N,)`` of pairs, higher for more alike. Between two thresholds, the mean of both shares where
    they are closest (NIST's practice); the threshold comes second.
    """
    thresholds = np.unique(np.concatenate([same, different]))
    missed = np.searchsorted(np.sort(same), thresholds, side="left") / len(same)
    accepted = 1.0 - np.searchsorted(np.sort(different), thresholds, side="left") / len(different)
    at = int(np.argmin(np.abs(missed - accepted)))
    return float((missed[at] + accepted[at]) / 2), float(thresholds[at])
