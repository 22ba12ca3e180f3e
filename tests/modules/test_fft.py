"""NeMo's stacks and predictors, run by us: the same as NeMo's own where nothing is padded, and blind to padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nemo_ext import _nemo  # noqa: F401  before NeMo: it keeps its import quiet
from nemo_ext.modules.adapters import AdapterConfig, VoiceAdapters, VoiceWeights, predictor_sites, stack_sites
from nemo_ext.modules.alignment import mask_from_lens
from nemo_ext.modules.fft import run_predictor, run_stack

WIDTH = 16
LENS = (11, 4, 7)


@pytest.fixture(scope="module")
def stack() -> Any:
    from nemo.collections.tts.modules.transformer import FFTransformerDecoder

    torch.manual_seed(0)
    sizes = {"n_layer": 2, "n_head": 1, "d_model": WIDTH, "d_head": 8, "d_inner": 24, "kernel_size": 3}
    return FFTransformerDecoder(**sizes, dropout=0.1, dropatt=0.1, condition_types=["add"]).eval()


@pytest.fixture(scope="module")
def predictor() -> Any:
    from nemo.collections.tts.modules.fastpitch import TemporalPredictor

    torch.manual_seed(1)
    return TemporalPredictor(
        input_size=WIDTH, filter_size=WIDTH, kernel_size=3, dropout=0.1, n_layers=2, condition_types=["add"]
    ).eval()


def voices(count: int, seed: int = 5) -> VoiceWeights:
    sites = stack_sites("decoder", 2, WIDTH) + predictor_sites("pitch_predictor", 2, WIDTH)
    torch.manual_seed(seed)
    adapters = VoiceAdapters(AdapterConfig("shared", rank=4, predictor_rank=2), sites, WIDTH)
    return adapters.weights(0.3 * torch.randn(count, adapters.layout.size))


def silent(count: int) -> VoiceWeights:
    return VoiceAdapters(AdapterConfig(), [], WIDTH).weights(torch.zeros(count, WIDTH))


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``x (B, T, D)``, mask ``(B, T)``, condition ``(B, 1, D)``."""
    generator = torch.Generator().manual_seed(2)
    mask = mask_from_lens(torch.tensor(LENS), max(LENS))
    x = torch.randn(3, max(LENS), WIDTH, generator=generator) * mask[..., None]
    return x, mask, torch.randn(3, 1, WIDTH, generator=generator)


def part_of(voice: VoiceWeights, b: int) -> VoiceWeights:
    return voice._adapters.weights(voice._voice[b : b + 1])


@torch.no_grad()
def test_a_stack_without_padding_is_nemos(stack: Any) -> None:
    x, mask, condition = batch()
    ours = run_stack(stack, "decoder", x[:1], mask[:1], condition[:1], silent(1))
    theirs, _ = stack(input=x[:1], seq_lens=torch.tensor(LENS[:1]), conditioning=condition[:1])
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0.0)


@torch.no_grad()
def test_a_predictor_without_padding_is_nemos(predictor: Any) -> None:
    x, mask, condition = batch()
    ours = run_predictor(predictor, "pitch_predictor", x[:1], mask[:1], condition[:1], silent(1))
    theirs = predictor(x[:1], mask[:1, :, None], condition[:1])
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0.0)


@torch.no_grad()
@pytest.mark.parametrize("adapted", [False, True])
def test_an_utterance_is_the_same_beside_longer_ones(stack: Any, predictor: Any, adapted: bool) -> None:
    x, mask, condition = batch()
    voice = voices(3) if adapted else silent(3)
    stacked = run_stack(stack, "decoder", x, mask, condition, voice)
    predicted = run_predictor(predictor, "pitch_predictor", x, mask, condition, voice)
    for b, length in enumerate(LENS):
        alone = (x[b : b + 1, :length], mask[b : b + 1, :length], condition[b : b + 1], part_of(voice, b))
        single = run_stack(stack, "decoder", *alone)
        torch.testing.assert_close(stacked[b : b + 1, :length], single, atol=1e-5, rtol=0.0)
        single = run_predictor(predictor, "pitch_predictor", *alone)
        torch.testing.assert_close(predicted[b : b + 1, :length], single, atol=1e-5, rtol=0.0)
    assert (stacked[~mask] == 0).all()
    assert (predicted[~mask] == 0).all()


@torch.no_grad()
def test_nemos_own_forward_does_see_padding(predictor: Any) -> None:
    """Why the order of operations is written here. When this fails, modules/fft.py may go."""
    x, mask, condition = batch()
    together = predictor(x, mask[..., None], condition)
    alone = predictor(x[1:2, : LENS[1]], mask[1:2, : LENS[1], None], condition[1:2])
    assert (together[1:2, : LENS[1]] - alone).abs().max() > 1e-3


@torch.no_grad()
def test_adapters_act_in_every_layer(stack: Any) -> None:
    x, mask, condition = batch()
    plain = run_stack(stack, "decoder", x, mask, condition, silent(3))
    voice = voices(3)
    for slot in voice._adapters.layout.slots:
        if slot.name.startswith("decoder"):
            only = torch.zeros_like(voice._voice)
            only[:, slot.offset : slot.offset + slot.size] = 0.3
            changed = run_stack(stack, "decoder", x, mask, condition, voice._adapters.weights(only))
            assert (changed - plain).abs().max() > 1e-3, slot.name


def test_training_attends_as_nemo_does(stack):
    """With gradients by torch's fused attention, without by NeMo's operations: the same, and the same gradients."""
    from nemo_ext.modules.fft import _attention

    x, mask, condition = batch()
    module, given = stack.layers[0].dec_attn, torch.randn(x.shape) * mask[..., None]
    found = []
    for attend in (
        lambda x: _attention(module, x, mask, condition),
        lambda x: module(x, attn_mask=~mask, conditioning=condition),
    ):
        x = x.detach().requires_grad_()
        module.zero_grad()
        out = attend(x) * mask[..., None]
        (out * given).sum().backward()
        found.append([out.detach(), x.grad, *(p.grad.clone() for p in module.parameters())])
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        assert torch.equal(_attention(module, x, mask, condition), module(x, attn_mask=~mask, conditioning=condition))


def test_attention_of_two_heads_is_nemos():
    from nemo.collections.tts.modules.transformer import MultiHeadAttn

    from nemo_ext.modules.fft import _attention

    torch.manual_seed(3)
    x, mask, condition = batch()
    module = MultiHeadAttn(2, WIDTH, 8, dropout=0.0, dropatt=0.0, condition_types=["add"])
    ours = _attention(module, x, mask, condition)
    assert torch.allclose(ours, module(x, attn_mask=~mask, conditioning=condition), rtol=1e-4, atol=1e-6)
