from __future__ import annotations

import numpy as np
import pytest

from nemo_ext.errors import NemoExtError
from nemo_ext.evaluation.pitch_error import pitch_error


def test_a_semitone_is_a_hundred_cents_and_voicing_is_counted_apart() -> None:
    reading = np.array([0, 100, 200, 200, 0, 150], np.float32)
    speech = reading * np.float32(2 ** (1 / 12))
    speech[4], speech[5] = 150, 0  # one is voiced on this side only, and one on the other
    error = pitch_error(reading, speech)
    assert error.rmse_cents == pytest.approx(100.0, abs=1e-3)
    assert error.rmse_hz == pytest.approx(np.sqrt((5.9463**2 + 2 * 11.8926**2) / 3), abs=1e-2)
    assert error.voicing_error == pytest.approx(2 / 6)
    assert error.voiced_in_both == 3


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(NemoExtError, match="align them first"):
        pitch_error(np.ones(3, np.float32), np.ones(4, np.float32))
    with pytest.raises(NemoExtError, match="no frame is voiced in both"):
        pitch_error(np.zeros(3, np.float32), np.ones(3, np.float32))
