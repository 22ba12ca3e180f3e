"""Operations of a step against a count by hand, and peaks by the names that GPUs give themselves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from nemo_ext.modules import winograd
from nemo_ext.training.flops import peak_flops, peak_of, step_flops, utilisation


class Toy(torch.nn.Module):
    """Two matrix products and a convolution; batch norm and dropout, which must not notice."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(8, 16)
        self.conv = torch.nn.Conv1d(16, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm1d(4)
        self.drop = torch.nn.Dropout(0.5)
        self.norm.eval()
        self.was_direct = False

    def learn(self, x):
        self.was_direct = not winograd._enabled
        return self.drop(self.norm(self.conv(self.first(x).transpose(1, 2))))


def test_a_step_is_three_forward_passes():
    model, x = Toy(), torch.randn(2, 10, 8)
    before = torch.get_rng_state(), model.norm.running_mean.clone()
    assert step_flops(model, x) == 3 * 2 * (2 * 10 * 8 * 16 + 2 * 10 * 16 * 4 * 3)
    assert model.was_direct  # counted as the model is defined
    assert winograd._enabled
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(model.norm.running_mean, before[1])
    assert model.training
    assert not model.norm.training
    assert all(p.grad is None for p in model.parameters())


def test_of_a_model_without_learn_it_is_not_known():
    assert step_flops(SimpleNamespace(), None) == 0.0


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("Tesla T4", None),
    ],
)
def test_peak_by_name(name, peak):
    assert peak_of(name) == peak


def test_a_processor_has_no_known_peak():
    assert peak_flops("cpu") is None


def test_utilisation():
    assert utilisation(312e12, 2.0, 312e12) == 0.5
    assert utilisation(1.0, 1.0, None) is None
    assert utilisation(0.0, 1.0, 312e12) is None
