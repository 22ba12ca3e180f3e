from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import betabinom

from nemo_ext.data.prior import beta_binomial_prior

SIZES = [(1, 1), (1, 40), (7, 3), (12, 80), (100, 612), (263, 2100)]


@pytest.mark.parametrize(("tokens", "frames"), SIZES)
def test_equals_scipy(tokens: int, frames: int) -> None:
    token = np.arange(tokens)
    i = np.arange(1, frames + 1)[:, None]
    expected = betabinom.pmf(token, tokens - 1, i, frames + 1 - i)
    found = beta_binomial_prior(tokens, frames)
    assert found.shape == (frames, tokens)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1, dtype=np.float64), 1.0, atol=1e-5)


@pytest.mark.parametrize(("tokens", "frames"), SIZES)
def test_equals_nemo_evaluated_exactly(tokens: int, frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """NeMo's own function: in its float32 to what float32 allows, and with its log-gamma in float64 to 1e-6."""
    import torch
    from nemo.collections.tts.parts.utils import tts_dataset_utils as stock

    found = beta_binomial_prior(tokens, frames)
    np.testing.assert_allclose(found, stock.beta_binomial_prior_distribution(tokens, frames), rtol=0, atol=2e-3)
    monkeypatch.setattr(stock, "gammaln", lambda x: torch.special.gammaln(x.double()))
    np.testing.assert_allclose(found, stock.beta_binomial_prior_distribution(tokens, frames), rtol=0, atol=1e-6)
