"""Where the segments that a vocoder learns from lie in their utterances."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from nemo_ext.data.randomness import fraction
from nemo_ext.errors import NemoExtError


class Segments:
    """Segments of ``segment_frames`` mel frames, indexed by ``(epoch, index)``.

    An utterance gets as many segments an epoch as it is segments long, spread evenly: each is placed at random within
    its own share of the utterance. The place is a pure function of seed, epoch, utterance id and the segment's number.
    """

    def __init__(
        self, ids: Sequence[str], frames: Sequence[int], segment_frames: int, seed: int = 0, one_each: bool = False
    ) -> None:
        """``frames``: mel frames of each utterance; ``one_each``: a single segment of each an epoch, for validation."""
        if segment_frames < 1:
            raise NemoExtError(f"segment_frames={segment_frames}: a segment has at least one frame")
        self.ids, self.segment_frames, self.seed = list(ids), segment_frames, seed
        self.frames = np.array(frames, dtype=np.int64)
        each = np.maximum(1, np.round(self.frames / segment_frames).astype(int))
        self._shares = np.ones_like(self.frames) if one_each else each
        self._starts: list[int] = [0, *np.cumsum(self._shares).tolist()]  # first index of each utterance

    def __len__(self) -> int:
        return self._starts[-1]

    def place(self, key: tuple[int, int]) -> tuple[int, int, str]:
        """Of the segment ``(epoch, index)``: number of its utterance, its first frame, and its name."""
        epoch, index = key
        owner = bisect_right(self._starts, index) - 1
        number, shares = index - self._starts[owner], int(self._shares[owner])
        places = max(1, int(self.frames[owner]) - self.segment_frames + 1)  # where a segment may begin
        name = f"{self.ids[owner]}/{number}"
        return owner, int((number + fraction(self.seed, epoch, name)) / shares * places), name
