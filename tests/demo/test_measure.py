"""Figures of the demo's page."""

from __future__ import annotations

import numpy as np
import pytest

from nemo_ext.demo.measure import semitones
from nemo_ext.types import MelSpec


def test_an_octave_up_is_twelve_semitones_and_down_as_many_less() -> None:
    spec = MelSpec()
    times = np.arange(22050) / spec.sample_rate
    low, high = (
        sum(0.2 / n * np.sin(2 * np.pi * n * f0 * times) for n in range(1, 6)).astype(np.float32)
        for f0 in (110.0, 220.0)
    )
    assert semitones(low, high, spec) == pytest.approx(12.0, abs=0.1)
    assert semitones(high, low, spec) == pytest.approx(-12.0, abs=0.1)
    assert np.isnan(semitones(np.zeros(22050, np.float32), high, spec))
