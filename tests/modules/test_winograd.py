"""Convolutions by minimal filtering are the same convolutions, and so are their gradients."""

from __future__ import annotations

import copy

import pytest
import torch

from nemo_ext import _nemo  # noqa: F401  before NeMo: it keeps its import quiet
from nemo_ext.modules import winograd
from nemo_ext.modules.adapters import AdapterConfig, VoiceAdapters
from nemo_ext.modules.alignment import mask_from_lens
from nemo_ext.modules.fft import run_stack

LENS = (90, 61, 1, 37)
WIDTH, HIDDEN = 24, 40


@pytest.fixture(scope="module")
def layers() -> tuple[torch.nn.Conv1d, torch.nn.Conv1d]:
    torch.manual_seed(0)
    return torch.nn.Conv1d(WIDTH, HIDDEN, 3, padding=1), torch.nn.Conv1d(HIDDEN, WIDTH, 3, padding=1)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    mask = mask_from_lens(torch.tensor(LENS), max(LENS))
    mask[1, 20] = False  # a pad in the middle of a text is a position without a value
    x = torch.randn(len(LENS), max(LENS), WIDTH, generator=torch.Generator().manual_seed(1))
    return x * mask[..., None], mask


def torchs_own(x, mask, first, second):
    hidden = torch.relu(first(x.transpose(1, 2))) * mask[:, None, :]
    return second(hidden).transpose(1, 2) * mask[..., None]


def results(function, x, mask, first, second) -> list[torch.Tensor]:
    first, second = copy.deepcopy(first).to(x.dtype), copy.deepcopy(second).to(x.dtype)
    x = x.detach().clone().requires_grad_()
    out = function(x, mask, first, second) * mask[..., None]
    given = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).to(x.dtype)
    (out * given).sum().backward()
    found = [out, x.grad * mask[..., None], *(p.grad for layer in (first, second) for p in layer.parameters())]
    return [tensor.detach() for tensor in found]


def packed(x, mask, first, second):
    return winograd.feed_forward(x, winograd.Packing.of(mask), first, second)


def test_output_and_gradients_are_as_exact_as_the_direct_sum(layers):
    x, mask = batch()
    exact = results(torchs_own, x.double(), mask, *layers)
    direct = results(torchs_own, x, mask, *layers)
    ours = results(packed, x, mask, *layers)
    for reference, theirs, mine in zip(exact, direct, ours, strict=True):
        scale = float(reference.abs().max())
        allowed = max(5 * float((theirs - reference).abs().max()), 2e-6 * scale)
        assert float((mine - reference).abs().max()) <= allowed


def test_what_is_frozen_gets_no_gradient(layers):
    first, second = (copy.deepcopy(layer).requires_grad_(False) for layer in layers)
    x, mask = batch()
    x.requires_grad_()
    packed(x, mask, first, second).sum().backward()
    assert x.grad is not None
    assert first.weight.grad is None


def test_packing_goes_there_and_back():
    x, mask = batch()
    packing = winograd.Packing.of(mask)
    stream = packing.stream(x)
    assert len(stream) == 4 * packing.tiles + 2
    assert torch.equal(packing.batch(stream, x.shape[1]), x)
    assert not stream[packing.between].any()
    assert int((stream != 0).any(1).sum()) == int(mask.sum())


@pytest.fixture
def stack():
    from nemo.collections.tts.modules.transformer import FFTransformerDecoder

    torch.manual_seed(0)
    sizes = {"n_layer": 2, "n_head": 1, "d_model": WIDTH, "d_head": 8, "d_inner": HIDDEN, "kernel_size": 3}
    return FFTransformerDecoder(**sizes, dropout=0.0, dropatt=0.0, condition_types=["add"]).train()


def test_a_stack_is_the_same_with_it_and_without(stack, monkeypatch):
    monkeypatch.setattr(winograd, "_LEAST_ROWS", 1)
    x, mask = batch()
    voice = VoiceAdapters(AdapterConfig(), [], WIDTH).weights(torch.zeros(len(LENS), WIDTH))
    condition, given = torch.randn(len(LENS), 1, WIDTH), torch.randn(x.shape)
    used = []
    monkeypatch.setattr(winograd, "feed_forward", lambda *a, of=winograd.feed_forward: used.append(1) or of(*a))

    def run() -> list[torch.Tensor]:
        stack.zero_grad()
        out = run_stack(stack, "decoder", x, mask, condition, voice)
        # weighed at random: the square of what a layer norm gives hardly has a gradient
        (out * given).sum().backward()
        return [out.detach(), *(p.grad.clone() for p in stack.parameters() if p.grad is not None)]

    ours = run()
    assert len(used) == 2
    with winograd.direct():
        theirs = run()
    assert len(used) == 2
    for mine, reference in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, reference, rtol=1e-4, atol=5e-6 * float(reference.abs().max()))


def test_it_is_for_float32_training_on_a_cpu(stack, monkeypatch):
    monkeypatch.setattr(winograd, "_LEAST_ROWS", 100)
    _, mask = batch()
    assert winograd.packing(mask, stack.layers) is not None
    assert winograd.packing(mask[2:], stack.layers) is None  # too few rows
    with torch.no_grad():
        assert winograd.packing(mask, stack.layers) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert winograd.packing(mask, stack.layers) is None
    with winograd.direct():
        assert winograd.packing(mask, stack.layers) is None
    assert winograd.packing(mask, stack.double().layers) is None
