"""The beta-binomial attention prior: which token a frame is likely to belong to, before anything is learned.

Shih and others, "RAD-TTS: Parallel Flow-Based TTS with Robust Alignment Learning and Diverse Synthesis" (2021), as NeMo
uses it with scaling factor 1: frame ``i`` (from 1) of ``T`` draws its token from a beta-binomial distribution over
``N`` tokens with ``alpha = i`` and ``beta = T + 1 - i``.

What we changed is only how it is computed. With ``k`` the token (from 0) and ``lG`` the log-gamma function,

    log p(i, k) = lG(N) - lG(k+1) - lG(N-k)                               a row over tokens
                + lG(T+1) - lG(i) - lG(T+1-i) - lG(N+T)                   a column over frames
                + lG(i+k) + lG(N+T-(i+k))                                 a function of i+k alone

so two vectors and a Hankel matrix that is only a view are added, and one exponential a cell remains. All arguments are
whole numbers: log-gamma is a table of sums of logarithms.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_table = np.zeros(2)  # log-gamma of 0 (never asked for), 1, ...; grows when a longer utterance comes


def beta_binomial_prior(tokens: int, frames: int) -> np.ndarray:
    """Prior ``(frames, tokens)`` float32; every row sums to 1."""
    log_gamma = _log_gamma(tokens + frames)
    n, t = tokens, frames
    i, k, both = np.arange(1, t + 1), np.arange(n), np.arange(n + t)
    row = log_gamma[n] - log_gamma[k + 1] - log_gamma[n - k]
    column = log_gamma[t + 1] - log_gamma[i] - log_gamma[t + 1 - i] - log_gamma[n + t]
    # both = i + k runs from 1 to n + t - 1; its windows of n are the rows of the Hankel matrix
    hankel = sliding_window_view((log_gamma[both] + log_gamma[n + t - both])[1:], n)
    # The sum is rounded to float32 only when the large terms have cancelled: errors stay below 1e-6.
    exponent: np.ndarray = (hankel + (column[:, None] + row)).astype(np.float32)
    np.exp(exponent, out=exponent)
    return exponent


def _log_gamma(largest: int) -> np.ndarray:
    """``lG(0 .. largest)``, float64."""
    global _table
    if len(_table) <= largest:
        _table = np.concatenate([[0.0, 0.0], np.cumsum(np.log(np.arange(1, 2 * largest)))])
    return _table
