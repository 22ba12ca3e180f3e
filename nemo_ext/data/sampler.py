"""Which utterances, or which segments, make up each batch. A pure function of lengths, seed and epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from torch import distributed
from torch.utils.data import Sampler

from nemo_ext.data.randomness import generator
from nemo_ext.errors import NemoExtError


class Place:
    """Which of how many processes that train together this one is."""

    def __init__(self, rank: int | None = None, world_size: int | None = None) -> None:
        """Both given, or neither: then torch.distributed is asked each time, for it may start later than we do."""
        if (rank is None) != (world_size is None) or not 0 <= (rank or 0) < (world_size or 1):
            raise NemoExtError(f"rank {rank} of {world_size}: give both or none; ranks run from 0 to world_size - 1")
        self._rank, self._world_size = rank, world_size

    @property
    def rank(self) -> int:
        """From 0."""
        if self._rank is None:
            return int(distributed.get_rank()) if _together() else 0
        return self._rank

    @property
    def world_size(self) -> int:
        """How many processes."""
        if self._world_size is None:
            return int(distributed.get_world_size()) if _together() else 1
        return self._world_size


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()


class FrameBudgetSampler(Sampler[list[int]]):
    """Batches of utterances of similar length that cost about the same: at most ``frames_per_batch`` padded frames.

    Utterances are sorted by length and cut into buckets whose shortest is at least ``1 - spread`` of the longest. A
    bucket holds whole batches of ``frames_per_batch // longest`` utterances; who goes into which batch of the bucket is
    drawn anew each epoch, and so is the order of batches. The number of batches is therefore the same every epoch.

    Every rank gets the same number of batches, and at each step batches of neighbouring lengths, so that none waits
    long for another; if the batches do not divide evenly, some are given to two ranks. Nothing is ever left out: an
    utterance longer than the budget gets a batch of its own.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        frames_per_batch: int,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        shuffle: bool = True,
        spread: float = 0.1,
    ) -> None:
        """Set up once; nothing is drawn yet.

        Args:
            lengths: mel frames of each utterance.
            frames_per_batch: budget of padded frames.
            seed: of every draw, with the epoch.
            rank: of this process; asked of torch.distributed each time unless given.
            world_size: as ``rank``.
            shuffle: without it, the longest come first, the same every epoch.
            spread: how much shorter than the longest of its bucket an utterance may be, as a share.
        """
        if frames_per_batch < 1:
            raise NemoExtError(f"frames_per_batch={frames_per_batch}: a batch needs room for at least one frame")
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.frames_per_batch, self.seed, self.shuffle = frames_per_batch, seed, shuffle
        self.place = Place(rank, world_size)
        self.epoch = 0
        self.skip = 0  # batches that the next iteration leaves out: a resumed training has had them
        self._buckets = list(self._cut(spread))

    @property
    def sampler(self) -> FrameBudgetSampler:
        """Itself: Lightning calls ``set_epoch`` on a loader's ``batch_sampler.sampler``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(sum(len(bucket) for bucket in self._buckets) / self.place.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        first, self.skip = self.skip, 0
        for step in self._steps()[first:]:
            yield [int(i) for i in step[self.place.rank]]

    def padding(self) -> float:
        """Share of this epoch's frames, over all ranks, that is padding."""
        batches = [batch for step in self._steps() for batch in step]
        padded = sum(len(batch) * int(self.lengths[batch].max()) for batch in batches)
        spoken = sum(int(self.lengths[batch].sum()) for batch in batches)
        return 1.0 - spoken / padded if padded else 0.0

    def describe(self) -> str:
        """One line for the log: how many batches, of how many utterances, how much padding."""
        batches, utterances = sum(len(bucket) for bucket in self._buckets), len(self.lengths)
        return (
            f"{utterances} utterances in {batches} batches of up to {self.frames_per_batch} frames, "
            f"{utterances / max(1, batches):.1f} utterances a batch, {100 * self.padding():.1f} % padding"
        )

    def _cut(self, spread: float) -> Iterator[list[np.ndarray]]:
        """Buckets, longest first, each a list of batches (indices of utterances)."""
        order = np.argsort(-self.lengths, kind="stable")
        start = 0
        while start < len(order):
            longest = max(1, int(self.lengths[order[start]]))
            size = max(1, self.frames_per_batch // longest)
            similar = int(np.sum(self.lengths[order[start:]] >= (1.0 - spread) * longest))
            batches = max(1, similar // size)
            bucket = order[start : start + batches * size]
            yield [bucket[i : i + size] for i in range(0, len(bucket), size)]
            start += len(bucket)

    def _steps(self) -> list[list[np.ndarray]]:
        """For each step, one batch a rank."""
        draw = generator(self.seed, self.epoch, "batches")
        batches: list[np.ndarray] = []
        for bucket in self._buckets:
            if not self.shuffle or len(bucket) == 1:
                batches += bucket
                continue
            mixed = draw.permutation(np.concatenate(bucket))
            batches += np.split(mixed, np.cumsum([len(batch) for batch in bucket])[:-1])
        world_size = self.place.world_size
        last = len(batches)
        batches += [batches[last - 1 - i % last] for i in range(-last % world_size)]
        steps = [batches[i : i + world_size] for i in range(0, len(batches), world_size)]
        return [steps[i] for i in draw.permutation(len(steps))] if self.shuffle else steps


class SegmentSampler(Sampler[list[tuple[int, int]]]):
    """Batches of ``(epoch, index)`` for a dataset whose samples depend on the epoch.

    The epoch travels with the index because workers that stay alive between epochs never hear of ``set_epoch``.
    With ``shuffle`` every batch is full (a few indices come twice); without, the last may be short and the epoch
    is always 0, so that a validation sees the same segments every time. Every rank gets as many batches.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        shuffle: bool = True,
    ) -> None:
        """``length`` of the dataset; ``rank`` and ``world_size`` as in ``FrameBudgetSampler``."""
        if batch_size < 1:
            raise NemoExtError(f"batch_size={batch_size}: a batch needs at least one segment")
        self.length, self.batch_size, self.seed, self.shuffle = length, batch_size, seed, shuffle
        self.place = Place(rank, world_size)
        self.epoch = 0
        self.skip = 0  # as in FrameBudgetSampler

    @property
    def sampler(self) -> SegmentSampler:
        """Itself: Lightning calls ``set_epoch`` on a loader's ``batch_sampler.sampler``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose segments the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(math.ceil(self.length / self.place.world_size) / self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch = self.epoch if self.shuffle else 0
        order = np.arange(self.length)
        if self.shuffle:
            order = generator(self.seed, epoch, "segments").permutation(self.length)
        rank, world_size = self.place.rank, self.place.world_size
        each = len(self) * self.batch_size if self.shuffle else math.ceil(self.length / world_size)
        mine = np.resize(order, each * world_size)[rank::world_size]
        first, self.skip = self.skip, 0
        for start in range(first * self.batch_size, len(mine), self.batch_size):
            yield [(epoch, int(i)) for i in mine[start : start + self.batch_size]]
