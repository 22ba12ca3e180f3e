"""The monotonic path against NeMo's, and what follows from a path."""

import numpy as np
import pytest
import torch

from nemo_ext.modules.alignment import average_per_token, distance_attention, expand, gather_tokens, monotonic_path


@pytest.fixture(scope="module")
def attention():
    generator = torch.Generator().manual_seed(3)
    soft = torch.softmax(3 * torch.randn(6, 200, 40, generator=generator), dim=-1)
    token_lens = torch.tensor([40, 1, 2, 33, 20, 40])
    mel_lens = torch.tensor([200, 7, 150, 33, 199, 41])
    return soft, token_lens, mel_lens


def test_path_is_the_one_nemo_finds(attention):
    from nemo_ext import _nemo  # noqa: F401  keeps NeMo's import quiet

    from nemo.collections.tts.parts.utils.helpers import binarize_attention_parallel  # isort: skip

    several = attention[1] > 1  # of a one-token text stock reads memory that is not its own
    soft, token_lens, mel_lens = (tensor[several] for tensor in attention)
    path, durations = monotonic_path(torch.log(soft), token_lens, mel_lens)
    stock = binarize_attention_parallel(soft[:, None], token_lens, mel_lens)[:, 0]
    assert torch.equal(stock.sum(1).long(), durations)
    for b in range(len(soft)):
        ours = torch.log(soft[b]).gather(1, path[b, : mel_lens[b], None]).sum()
        assert float(ours) == pytest.approx(float((torch.log(soft[b]) * stock[b]).sum()), rel=1e-5)


def test_path_is_the_best_of_all_by_exhaustion():
    import itertools

    scores = torch.randn(1, 9, 4, generator=torch.Generator().manual_seed(0))
    _, durations = monotonic_path(scores, torch.tensor([4]), torch.tensor([9]))
    best = max(
        (d for d in itertools.product(range(1, 7), repeat=4) if sum(d) == 9),
        key=lambda d: float(
            scores[0, torch.arange(9), torch.repeat_interleave(torch.arange(4), torch.tensor(d))].sum()
        ),
    )
    assert durations[0].tolist() == list(best)


def test_every_token_has_a_frame_and_every_frame_a_token(attention):
    soft, token_lens, mel_lens = attention
    path, durations = monotonic_path(torch.log(soft), token_lens, mel_lens)
    assert torch.equal(durations.sum(1), mel_lens)
    for b in range(len(soft)):
        assert (durations[b, : token_lens[b]] >= 1).all()
        assert (np.diff(path[b, : mel_lens[b]].numpy()) >= 0).all()


def test_expand_repeats_each_token_for_its_frames():
    durations = torch.tensor([[2, 0, 3], [1, 1, 0]])
    encoded = torch.arange(6.0).view(2, 3, 1)
    expanded, lens = expand(encoded, durations)
    assert lens.tolist() == [5, 2]
    assert expanded[..., 0].tolist() == [[0, 0, 2, 2, 2], [3, 4, 0, 0, 0]]


def test_expand_is_exact_far_beyond_what_half_precision_can_count():
    durations = torch.full((1, 700), 7)
    _, lens = expand(torch.ones(1, 700, 2, dtype=torch.bfloat16), durations)
    assert lens.tolist() == [4900]


def test_average_counts_voiced_frames_only():
    values = torch.tensor([[100.0, 0.0, 200.0, 0.0, 0.0]])
    assert average_per_token(values, torch.tensor([[3, 2]])).tolist() == [[150.0, 0.0]]
    normalised = torch.tensor([[-1.0, 0.0, -2.0, 1.0, -2.0]])  # below the voice's mean is voiced, too
    assert average_per_token(normalised, torch.tensor([[3, 2]])).tolist() == [[-1.5, -0.5]]


def test_a_shorter_text_does_not_see_the_batchs_longest():
    queries, keys, prior = torch.randn(2, 5, 8), torch.randn(2, 5, 6), torch.rand(2, 8, 6)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    together = distance_attention(queries, keys, mask, prior, 0.1)
    alone = distance_attention(queries[1:], keys[1:, :, :4], mask[1:, :4], prior[1:, :, :4], 0.1)
    for ours, its_own in zip(together, alone, strict=True):
        assert torch.allclose(ours[1:, :, :4], its_own, atol=1e-6)


def test_distance_attention_is_the_expanded_square():
    queries, keys = torch.randn(2, 5, 8), torch.randn(2, 5, 4)
    mask = torch.tensor([[True] * 4, [True, True, True, False]])
    attention, log_probability = distance_attention(queries, keys, mask, None, 0.1)
    distance = (queries[:, :, :, None] - keys[:, :, None, :]).square().sum(1)
    assert torch.allclose(log_probability, torch.where(mask[:, None], -0.1 * distance, -torch.inf), atol=1e-5)
    assert torch.allclose(attention.sum(-1), torch.ones(2, 8))
    assert (attention[1, :, 3] == 0).all()


def test_the_attention_is_multiplied_by_the_prior():
    queries, keys, prior = torch.randn(2, 5, 8), torch.randn(2, 5, 4), torch.rand(2, 8, 4)
    mask = torch.ones(2, 4, dtype=torch.bool)
    alone, _ = distance_attention(queries, keys, mask, None, 0.1)
    attention, _ = distance_attention(queries, keys, mask, prior, 0.1)
    product = alone * prior
    assert torch.allclose(attention, product / product.sum(-1, keepdim=True), atol=1e-5)


def test_gather_takes_each_frames_token():
    assert gather_tokens(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[1, 0, 1]]))[..., 0].tolist() == [[2, 1, 2]]
