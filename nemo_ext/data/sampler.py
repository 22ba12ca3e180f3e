"""Which utterances, or which segments, make up each batch. A pure function of lengths, seed and epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from torch import distributed
from torch.utils.data import Sampler

from nemo_ext.data.randomness import generator
from nemo_ext.errors import NemoExtError
from nemo_ext.losses.ranks import together
from nemo_ext.types import Portion


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
            return int(distributed.get_rank()) if together() else 0
        return self._rank

    @property
    def world_size(self) -> int:
        """How many processes."""
        if self._world_size is None:
            return int(distributed.get_world_size()) if together() else 1
        return self._world_size


class Share(list[int]):
    """One part of a batch: the indices in it. It knows the whole, by whose counts its losses are divided."""

    def __init__(
        self, mine: Sequence[int], whole: Sequence[int], parts: int, spare: bool = False, draw: tuple[int, int] = (0, 0)
    ) -> None:
        """``parts``: how many there are; ``spare``: there was nothing left for this one, it only keeps step.

        ``draw``: seed and epoch of what is drawn for its utterances.
        """
        super().__init__(mine)
        self.whole, self.parts, self.spare, self.draw = list(whole), parts, spare, draw


class FrameBudgetSampler(Sampler[Share]):
    """Batches of utterances of similar length that cost about the same: at most ``frames_per_batch`` padded frames.

    Utterances are sorted by length and cut into buckets whose shortest is at least ``1 - spread`` of the longest. A
    bucket holds whole batches of ``frames_per_batch // longest`` utterances; who goes into which batch of the bucket is
    drawn anew each epoch, and so is the order of batches. The number of batches is therefore the same every epoch.

    Who is in a batch, and the order of batches, do not depend on how many processes train together: a batch is dealt
    out to the ranks, and on each rank to ``accumulate`` steps that are added up, its longest utterances first and back
    and forth, so that none waits long for another. Where a batch has fewer utterances than parts, the others get its
    shortest one as a spare, which counts nothing. Nothing is ever left out: an utterance longer than the budget gets a
    batch of its own.
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
        accumulate: int = 1,
    ) -> None:
        """Set up once; nothing is drawn yet.

        Args:
            lengths: mel frames of each utterance.
            frames_per_batch: budget of padded frames, over all ranks and accumulated steps.
            seed: of every draw, with the epoch.
            rank: of this process; asked of torch.distributed each time unless given.
            world_size: as ``rank``.
            shuffle: without it, the longest come first, the same every epoch.
            spread: how much shorter than the longest of its bucket an utterance may be, as a share.
            accumulate: in how many steps a rank takes its part of a batch.
        """
        if frames_per_batch < 1:
            raise NemoExtError(f"frames_per_batch={frames_per_batch}: a batch needs room for at least one frame")
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.frames_per_batch, self.seed, self.shuffle, self.accumulate = frames_per_batch, seed, shuffle, accumulate
        self.place = Place(rank, world_size)
        self.epoch = 0
        self.skip = 0  # shares that the next iteration leaves out: a resumed training has had them
        self._buckets = list(self._cut(spread))

    @property
    def sampler(self) -> FrameBudgetSampler:
        """Itself: Lightning calls ``set_epoch`` on a loader's ``batch_sampler.sampler``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets) * self.accumulate

    def __iter__(self) -> Iterator[Share]:
        first, self.skip = self.skip, 0
        parts = self.place.world_size * self.accumulate
        for number, batch in enumerate(self._batches()):
            dealt = self._deal(batch, parts)
            mine = dealt[self.place.rank :: self.place.world_size]
            yield from mine[max(0, first - number * self.accumulate) :]

    def padding(self) -> float:
        """Share of this epoch's frames that is padding, where a batch is not shared."""
        batches = self._batches()
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

    def _batches(self) -> list[np.ndarray]:
        """The whole batches of this epoch, in order."""
        draw = generator(self.seed, self.epoch, "batches")
        batches: list[np.ndarray] = []
        for bucket in self._buckets:
            if not self.shuffle or len(bucket) == 1:
                batches += bucket
                continue
            mixed = draw.permutation(np.concatenate(bucket))
            batches += np.split(mixed, np.cumsum([len(batch) for batch in bucket])[:-1])
        return [batches[i] for i in draw.permutation(len(batches))] if self.shuffle else batches

    def _deal(self, batch: np.ndarray, parts: int) -> list[Share]:
        """``batch`` in so many parts of about the same size, one with more next to none with fewer than it need be."""
        whole, draw = [int(i) for i in batch], (self.seed, self.epoch if self.shuffle else 0)
        if parts == 1:
            return [Share(whole, whole, 1, draw=draw)]
        longest_first = [whole[i] for i in np.argsort(-self.lengths[batch], kind="stable")]
        dealt: list[list[int]] = [[] for _ in range(parts)]
        for number, index in enumerate(longest_first):
            turn, place = divmod(number, parts)
            dealt[place if turn % 2 == 0 else parts - 1 - place].append(index)
        return [Share(mine or longest_first[-1:], whole, parts, not mine, draw) for mine in dealt]


class Keys(list[tuple[int, int]]):
    """One process's part of a batch of segments: ``(epoch, index)`` of each, and what they count for in it."""

    def __init__(self, mine: Sequence[tuple[int, int]], portion: Portion) -> None:
        super().__init__(mine)
        self.portion = portion


class SegmentSampler(Sampler[Keys]):
    """Batches of ``(epoch, index)`` for a dataset whose samples depend on the epoch.

    The epoch travels with the index because workers that stay alive between epochs never hear of ``set_epoch``.
    With ``shuffle`` every batch is full (a few indices come twice); without, the last may be short and the epoch
    is always 0, so that a validation sees the same segments every time. A batch, whose order does not depend on how
    many processes train together, is dealt out to the ranks; every rank gets as many segments of it, but of a short
    one: there a rank that would have none gets the last segment as a spare, which counts nothing.
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
        return math.ceil(self.length / self.batch_size)

    def __iter__(self) -> Iterator[Keys]:
        rank, world_size = self.place.rank, self.place.world_size
        if self.batch_size % world_size:
            raise NemoExtError(
                f"model.batch_size={self.batch_size} cannot be shared evenly by {world_size} processes: give a "
                f"multiple of {world_size}"
            )
        epoch = self.epoch if self.shuffle else 0
        order = np.arange(self.length)
        if self.shuffle:
            order = generator(self.seed, epoch, "segments").permutation(self.length)
            order = np.resize(order, len(self) * self.batch_size)
        first, self.skip = self.skip, 0
        for start in range(first * self.batch_size, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            mine = batch[rank::world_size]
            share = world_size * len(mine) / len(batch)
            portion = Portion(share, share, share, share, whole=len(batch))
            yield Keys([(epoch, int(i)) for i in (mine if len(mine) else batch[-1:])], portion)
