"""Telling speakers apart, in figures."""

from __future__ import annotations

import numpy as np
import pytest

from nemo_ext.errors import NemoExtError
from nemo_ext.evaluation.speakers import equal_error_rate, separation


def test_scores_that_do_not_overlap_have_no_errors():
    rate, threshold = equal_error_rate(np.array([0.8, 0.9, 0.7]), np.array([0.1, 0.3]))
    assert rate == 0.0
    assert 0.3 < threshold <= 0.7


def test_scores_that_say_nothing_are_wrong_half_of_the_time():
    scores = np.linspace(0, 1, 1001)
    assert equal_error_rate(scores, scores)[0] == pytest.approx(0.5, abs=0.01)


def test_two_normal_distributions():
    """Two deviations apart: errors on both sides of the middle are what the normal tail says, 15.9 %."""
    draw = np.random.default_rng(0)
    rate, threshold = equal_error_rate(draw.normal(2, 1, 100_000), draw.normal(0, 1, 100_000))
    assert rate == pytest.approx(0.1587, abs=0.003)
    assert threshold == pytest.approx(1.0, abs=0.03)


def test_pairs_of_speakers():
    vectors = np.array([[1, 0], [2, 0], [0, 1], [0.6, 0.8]])
    found = separation(vectors, ["a", "a", "b", "b"])
    assert found.pairs == 6
    assert found.same == pytest.approx(0.9)  # 1.0 and 0.8
    assert found.different == pytest.approx(0.3)  # 0, 0, 0.6, 0.6
    assert found.equal_error_rate == 0.0


@pytest.mark.parametrize("speakers", [["a", "a"], ["a", "b"]])
def test_too_few_speakers_are_said(speakers):
    with pytest.raises(NemoExtError, match="takes two recordings of one speaker and one of another"):
        separation(np.eye(2), speakers)
