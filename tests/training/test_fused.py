"""A fused optimizer takes the same steps."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from nemo_ext.training.fused import FusedOptimizers, fuse


def steps(fused: bool) -> torch.Tensor:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(50, 7))
    optimizer = torch.optim.AdamW([weight], lr=1e-2, weight_decay=0.1)
    if fused:
        assert fuse(optimizer)
    for _ in range(5):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    return weight.detach()


def test_the_steps_are_the_same():
    assert torch.allclose(steps(True), steps(False), rtol=1e-5, atol=1e-7)


def test_what_has_no_fused_form_stays():
    weight = torch.nn.Parameter(torch.ones(3))
    assert not fuse(torch.optim.Adadelta([weight]))
    assert not fuse(torch.optim.AdamW([weight], foreach=True))
    assert not fuse(None)


def test_all_optimizers_of_a_training_are_switched():
    first, second = (torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))]) for _ in range(2))
    FusedOptimizers().on_fit_start(SimpleNamespace(optimizers=[first, second]), None)
    assert first.param_groups[0]["fused"]
    assert second.param_groups[0]["fused"]


def test_a_resumed_training_keeps_what_it_began_with():
    weight = torch.nn.Parameter(torch.ones(3))
    plain, other = torch.optim.AdamW([weight]), torch.optim.AdamW([weight])
    weight.sum().backward()
    plain.step()
    fuse(other)
    other.load_state_dict(plain.state_dict())
    assert not other.param_groups[0]["fused"]
    other.step()
