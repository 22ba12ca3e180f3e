"""What a stranger's reference is measured with."""

from __future__ import annotations

import pytest

from nemo_ext.audio.reference import typical_range
from nemo_ext.types import BaseVoice


def test_the_typical_range_is_the_mean_of_the_voices_own() -> None:
    voices = [BaseVoice("a", "en", 200.0, 20.0), BaseVoice("b", "en", 100.0, 40.0), BaseVoice("not measured")]
    assert typical_range(voices) == pytest.approx(0.25)
    assert typical_range([]) == 0.2
