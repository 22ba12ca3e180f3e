"""How far two readings of one sentence are apart in pitch.

Root mean square of the F0 difference over the frames that are voiced in both, in Hz and in cents, and beside it the
share of frames whose voicing differs: the one figure alone can be bettered by worsening the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nemo_ext.errors import NemoExtError


@dataclass(frozen=True)
class PitchError:
    """Difference in F0 between two aligned contours."""

    rmse_hz: float
    rmse_cents: float
    voicing_error: float  # share of frames voiced in one and not in the other
    voiced_in_both: int  # frames


def pitch_error(reading: NDArray[np.float32], speech: NDArray[np.float32]) -> PitchError:
    """Compare two F0 contours ``(T,)`` in Hz, 0 where unvoiced, already aligned frame by frame.

    Raises:
        NemoExtError: the contours differ in length, or share no voiced frame.
    """
    if reading.shape != speech.shape:
        raise NemoExtError(f"pitch contours of {len(reading)} and {len(speech)} frames: align them first")
    both = (reading > 0) & (speech > 0)
    if not both.any():
        raise NemoExtError("no frame is voiced in both readings, so their pitch cannot be compared")
    hz = speech[both].astype(np.float64) - reading[both]
    cents = 1200.0 * np.log2(speech[both].astype(np.float64) / reading[both])
    return PitchError(
        rmse_hz=float(np.sqrt(np.mean(hz**2))),
        rmse_cents=float(np.sqrt(np.mean(cents**2))),
        voicing_error=float(np.mean((reading > 0) != (speech > 0))),
        voiced_in_both=int(both.sum()),
    )
