"""Adapters whose weights are an input: zeros add nothing, the rest is linear, gradients flow, the layout stays."""

from __future__ import annotations

import pytest
import torch

from nemo_ext.errors import NemoExtError
from nemo_ext.modules.adapters import AdapterConfig, VoiceAdapters, pack, predictor_sites, stack_sites

WIDTH, EMBEDDING = 16, 12
SITES = [
    *stack_sites("encoder", 2, WIDTH),
    *predictor_sites("pitch_predictor", 2, 8),
    *stack_sites("decoder", 1, WIDTH),
]


def make(**changes: object) -> VoiceAdapters:
    torch.manual_seed(0)
    return VoiceAdapters(
        AdapterConfig(**{"kind": "shared", "rank": 4, "predictor_rank": 2, **changes}), SITES, EMBEDDING
    )  # type: ignore[arg-type]


def features(batch: int, width: int = WIDTH) -> torch.Tensor:
    return torch.randn(batch, 7, width, generator=torch.Generator().manual_seed(3))


KINDS = [
    {},
    {"film": False},
    {"rank": 0, "predictor_rank": 0},
    {"activation": "swish"},
    {"kind": "linear"},
    {"kind": "linear", "norm_position": "post"},
]


@pytest.mark.parametrize("changes", KINDS)
def test_zero_adapters_are_an_exact_identity(changes: dict[str, object]) -> None:
    adapters = make(**changes)
    voice = torch.zeros(3, adapters.layout.size)
    voice[:, :EMBEDDING] = torch.randn(3, EMBEDDING)
    for site in SITES:
        y = features(3, site.width)
        assert torch.equal(adapters.weights(voice)(site.name, y), y), site


def test_without_adapters_only_the_embedding_is_left() -> None:
    adapters = make(kind="none")
    assert [slot.name for slot in adapters.layout.slots] == ["embedding"]
    y = features(2)
    assert adapters.weights(torch.randn(2, EMBEDDING))("encoder.0.ff", y) is y


@pytest.mark.parametrize("changes", KINDS[:4])
def test_what_a_voice_adds_is_linear_in_its_vector(changes: dict[str, object]) -> None:
    adapters, y = make(**changes), features(1)
    one, other = torch.randn(1, adapters.layout.size), torch.randn(1, adapters.layout.size)

    def added(voice: torch.Tensor, site: str) -> torch.Tensor:
        return adapters.weights(voice)(site, y) - y

    for site in ("encoder.0.attention", "encoder.1.ff", "decoder.0.ff"):
        mixed = added(0.7 * one + 0.3 * other, site)
        torch.testing.assert_close(mixed, 0.7 * added(one, site) + 0.3 * added(other, site), atol=1e-5, rtol=1e-4)
        assert mixed.abs().max() > 0.01 or (site.endswith("attention") and not adapters.config.film)


def test_it_is_the_formula_of_the_page() -> None:
    adapters, y = make(), features(1)
    voice = torch.randn(1, adapters.layout.size)
    slots = {s.name: voice[0, s.offset : s.offset + s.size].reshape(s.shape) for s in adapters.layout.slots}
    film, up = slots["encoder.1.ff/film"], slots["encoder.1.ff/up"]
    down = dict(adapters.named_buffers())["down_encoder_1_ff"]
    expected = y + film[0] * y + film[1] + torch.relu(y @ down.T) @ up.T
    torch.testing.assert_close(adapters.weights(voice)("encoder.1.ff", y), expected)


@pytest.mark.parametrize("changes", KINDS)
def test_gradients_flow_into_the_vector_and_nowhere_else(changes: dict[str, object]) -> None:
    adapters = make(**changes)
    voice = (0.1 * torch.randn(2, adapters.layout.size)).requires_grad_()
    weights = adapters.weights(voice)
    total = sum((weights(site.name, features(2, site.width)) ** 2).sum() for site in SITES) + weights.embedding.sum()
    assert isinstance(total, torch.Tensor)
    total.backward()
    assert voice.grad is not None
    for slot in adapters.layout.slots:
        part = voice.grad[:, slot.offset : slot.offset + slot.size]
        assert torch.isfinite(part).all()
        assert (part.abs().sum(dim=1) > 0).all(), slot.name
    assert not list(adapters.parameters())


def test_each_utterance_of_a_batch_has_its_own_voice() -> None:
    adapters, y = make(), features(3)
    voices = torch.randn(3, adapters.layout.size)
    together = adapters.weights(voices)("encoder.0.ff", y)
    for b in range(3):
        alone = adapters.weights(voices[b : b + 1])("encoder.0.ff", y[b : b + 1])
        torch.testing.assert_close(together[b : b + 1], alone, atol=1e-6, rtol=1e-6)
    assert not torch.allclose(adapters.weights(voices.flip(0))("encoder.0.ff", y), together)


def test_down_projections_belong_to_the_model_and_are_orthonormal() -> None:
    adapters = make()
    found = dict(adapters.named_buffers())
    assert sorted(found) == [
        *("down_decoder_0_ff", "down_encoder_0_ff", "down_encoder_1_ff"),
        *("down_pitch_predictor_0", "down_pitch_predictor_1"),
    ]
    for down in found.values():
        torch.testing.assert_close(down @ down.T, torch.eye(len(down)), atol=1e-5, rtol=0.0)
    assert set(found) <= set(adapters.state_dict())


def test_the_layout_is_pinned() -> None:
    """An interface: voice files hold its hash, so a change here makes every one that exists unreadable."""
    layout = make().layout
    assert [(slot.name, slot.shape) for slot in layout.slots][:5] == [
        ("embedding", (12,)),
        ("encoder.0.attention/film", (2, 16)),
        ("encoder.0.ff/film", (2, 16)),
        ("encoder.0.ff/up", (16, 4)),
        ("encoder.1.attention/film", (2, 16)),
    ]
    assert (layout.size, layout.hash) == (460, "bf0e0eb696c55d95")
    assert make(parts=["decoder"]).layout.hash != layout.hash
    assert {slot.name.split(".")[0] for slot in make(parts=["decoder"]).layout.slots} == {"embedding", "decoder"}


def test_a_vector_from_parts() -> None:
    layout = make().layout
    slot = next(slot for slot in layout.slots if slot.name == "encoder.0.ff/up")
    part = torch.arange(slot.size, dtype=torch.float32).reshape(slot.shape)
    vector = pack(layout, {slot.name: part})
    assert torch.equal(vector[slot.offset : slot.offset + slot.size].reshape(slot.shape), part)
    assert vector.count_nonzero() == slot.size - 1
    for name, tensor in (("encoder.9.ff/up", part), (slot.name, part.T)):
        with pytest.raises(NemoExtError, match="has no place in this model's voices"):
            pack(layout, {name: tensor})


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(NemoExtError, match="kind=lora is not one of none, shared, linear"):
        make(kind="lora")
    with pytest.raises(NemoExtError, match="activation=tahn is not one of"):
        make(activation="tahn")
    with pytest.raises(NemoExtError, match="461 values does not fit this model, which takes 460"):
        make().weights(torch.zeros(1, 461))
