from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed

from nemo_ext.data.randomness import fraction, generator
from nemo_ext.data.sampler import FrameBudgetSampler, SegmentSampler
from nemo_ext.errors import NemoExtError

LENGTHS = np.random.default_rng(0).gamma(4.0, 110.0, 500).astype(int) + 30  # like LJSpeech's, in frames


def epoch(sampler: FrameBudgetSampler, number: int) -> list[list[int]]:
    sampler.set_epoch(number)
    return list(sampler)


def test_every_utterance_once_within_the_budget() -> None:
    sampler = FrameBudgetSampler(LENGTHS, 6000, seed=1)
    for number in range(3):
        batches = epoch(sampler, number)
        assert len(batches) == len(sampler)
        assert sorted(i for batch in batches for i in batch) == list(range(len(LENGTHS)))
        assert max(len(batch) * LENGTHS[batch].max() for batch in batches) <= 6000


def test_similar_lengths_come_together() -> None:
    sampler = FrameBudgetSampler(LENGTHS, 6000)
    assert sampler.padding() < 0.1
    shuffled = np.random.default_rng(0).permutation(LENGTHS)[: 12 * 40].reshape(40, 12)
    by_chance = 1 - shuffled.sum() / (12 * shuffled.max(axis=1)).sum()
    assert by_chance > 3 * sampler.padding()
    assert f"{100 * sampler.padding():.1f} % padding" in sampler.describe()


def test_a_pure_function_of_seed_and_epoch() -> None:
    first, again = FrameBudgetSampler(LENGTHS, 6000, seed=3), FrameBudgetSampler(LENGTHS, 6000, seed=3)
    epoch(again, 5)  # what came before does not matter
    torch.manual_seed(99)
    np.random.seed(99)
    assert epoch(first, 2) == epoch(again, 2)
    assert epoch(first, 2) != epoch(first, 3)
    assert epoch(first, 2) != epoch(FrameBudgetSampler(LENGTHS, 6000, seed=4), 2)
    together = [{frozenset(batch) for batch in epoch(first, number)} for number in (0, 1)]
    assert together[0] != together[1]  # not only the order of batches is new, but who is with whom


def test_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    sampler = FrameBudgetSampler([50, 900, 60, 2000, 70], 300)
    batches = list(sampler)
    assert [3] in batches
    assert [1] in batches
    assert sorted(i for batch in batches for i in batch) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("world_size", "accumulate"), [(2, 1), (3, 1), (7, 1), (1, 4), (2, 3), (64, 1)])
def test_a_batch_is_the_same_however_many_share_it(world_size: int, accumulate: int) -> None:
    alone = epoch(FrameBudgetSampler(LENGTHS, 60_000, rank=0, world_size=1), 1)
    samplers = [
        FrameBudgetSampler(LENGTHS, 60_000, rank=r, world_size=world_size, accumulate=accumulate)
        for r in range(world_size)
    ]
    shares = [epoch(sampler, 1) for sampler in samplers]
    assert {len(share) for share in shares} == {len(samplers[0])} == {len(alone) * accumulate}
    for number, batch in enumerate(alone):
        parts = [part for share in shares for part in share[number * accumulate : (number + 1) * accumulate]]
        assert {part.parts for part in parts} == {world_size * accumulate}
        assert all(part.whole == batch for part in parts)
        assert sorted(i for part in parts if not part.spare for i in part) == sorted(batch)
        # nobody waits long for another: as many utterances, but for one, and about as many frames
        sizes = [len(part) for part in parts if not part.spare]
        assert max(sizes) - min(sizes) <= 1
        frames = np.array([LENGTHS[part].sum() for part in parts])
        assert frames.max() - frames.min() <= LENGTHS[batch].max()


def test_a_rank_without_an_utterance_keeps_step() -> None:
    shares = [list(FrameBudgetSampler([10, 20], 100, rank=r, world_size=4)) for r in range(4)]
    assert shares == [[[1]], [[0]], [[0]], [[0]]]
    assert [share[0].spare for share in shares] == [False, False, True, True]


@pytest.mark.parametrize("consumed", [0, 1, 3, 7, 8])
def test_an_epoch_goes_on_after_the_parts_that_were_consumed(consumed: int) -> None:
    whole = list(FrameBudgetSampler(LENGTHS, 60_000, seed=1, rank=1, world_size=2, accumulate=2))
    again = FrameBudgetSampler(LENGTHS, 60_000, seed=1, rank=1, world_size=2, accumulate=2)
    again.skip = consumed
    assert list(again) == whole[consumed:]
    assert list(again) == whole  # the next epoch is whole


def test_asks_torch_distributed_when_it_has_started(tmp_path: Path) -> None:
    sampler = FrameBudgetSampler(LENGTHS, 6000)
    alone = len(sampler)
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        assert len(sampler) == alone
        assert sampler.place.world_size == distributed.get_world_size()
    finally:
        distributed.destroy_process_group()


def test_validation_is_the_same_every_time() -> None:
    sampler = FrameBudgetSampler(LENGTHS, 6000, shuffle=False)
    assert epoch(sampler, 0) == epoch(sampler, 8)
    longest = [int(LENGTHS[batch].max()) for batch in sampler]
    assert longest == sorted(longest, reverse=True)


def test_nothing_to_sample() -> None:
    assert list(FrameBudgetSampler([], 100)) == []
    assert FrameBudgetSampler([], 100).padding() == 0.0


def test_impossible_settings() -> None:
    with pytest.raises(NemoExtError, match="frames_per_batch=0"):
        FrameBudgetSampler([1], 0)
    with pytest.raises(NemoExtError, match="batch_size=0"):
        SegmentSampler(3, 0)
    with pytest.raises(NemoExtError, match="rank 2 of 2"):
        FrameBudgetSampler([1], 10, rank=2, world_size=2)
    with pytest.raises(NemoExtError, match="both or none"):
        SegmentSampler(3, 2, rank=1)


def test_segments_carry_their_epoch() -> None:
    sampler = SegmentSampler(21, 4, seed=2)
    sampler.set_epoch(6)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 6
    assert all(len(batch) == 4 for batch in batches)  # full, so a few come twice
    assert {key[0] for batch in batches for key in batch} == {6}
    assert {key[1] for batch in batches for key in batch} == set(range(21))


@pytest.mark.parametrize("shuffle", [True, False])
def test_segments_of_a_batch_are_the_same_however_many_share_it(shuffle: bool) -> None:
    alone = list(SegmentSampler(21, 8, seed=2, shuffle=shuffle))
    shares = [list(SegmentSampler(21, 8, seed=2, rank=r, world_size=4, shuffle=shuffle)) for r in range(4)]
    assert [len(share) for share in shares] == [len(alone)] * 4
    for number, batch in enumerate(alone):
        assert {key for share in shares for key in share[number]} == set(batch)
        if shuffle:
            assert [len(share[number]) for share in shares] == [2] * 4
        portions = [share[number].portion for share in shares]
        assert [p.utterances for p in portions] == [p.frames for p in portions]
        assert [p.utterances * len(batch) / 4 for p in portions] == [len(batch[r::4]) for r in range(4)]  # a spare: 0
        assert {p.whole for p in portions} == {len(batch)}
    with pytest.raises(NemoExtError, match=r"batch_size=8 cannot be shared evenly by 3 .*give a multiple of 3"):
        list(SegmentSampler(21, 8, rank=0, world_size=3))


def test_segments_of_a_validation() -> None:
    sampler = SegmentSampler(5, 2, shuffle=False)
    sampler.set_epoch(3)
    assert list(sampler) == [[(0, 0), (0, 1)], [(0, 2), (0, 3)], [(0, 4)]]
    assert len(sampler) == 3


def test_chance_is_even_and_repeatable() -> None:
    drawn = np.array([fraction(0, epoch, f"u{i}") for epoch in range(20) for i in range(200)])
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert np.abs(np.histogram(drawn, 10, (0, 1))[0] - 400).max() < 100
    assert fraction(1, 2, "a") == fraction(1, 2, "a") != fraction(1, 3, "a")
    assert generator(1, 2, "a").random() == generator(1, 2, "a").random() != generator(2, 2, "a").random()


@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
def test_lightning_tells_the_epoch() -> None:
    """Lightning looks for ``set_epoch`` on ``batch_sampler.sampler``; without it every epoch would be the first."""
    from lightning.pytorch import LightningModule, Trainer
    from torch.utils.data import DataLoader

    class Notes(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))
            self.seen: list[list[int]] = []

        def training_step(self, batch: list[int], batch_idx: int) -> torch.Tensor:
            self.seen.append(batch)
            return self.weight.sum()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    lengths = LENGTHS[:100]
    loader = DataLoader(list(range(100)), batch_sampler=FrameBudgetSampler(lengths, 4000), collate_fn=list)
    model = Notes()
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    Trainer(max_epochs=3, use_distributed_sampler=False, enable_model_summary=False, **options).fit(model, loader)
    expected = FrameBudgetSampler(lengths, 4000)
    assert model.seen == [batch for number in range(3) for batch in epoch(expected, number)]
