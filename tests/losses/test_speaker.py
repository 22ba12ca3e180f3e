"""The loss of speaker encoders."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from nemo_ext.losses.speaker import additive_angular_margin


def test_without_a_margin_it_is_cross_entropy():
    cosines = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9
    labels = torch.tensor([0, 3, 2, 4])
    expected = F.cross_entropy(30.0 * cosines, labels)
    assert additive_angular_margin(cosines, labels, 30.0, 0.0) == pytest.approx(expected.item(), rel=1e-4)


def test_the_margin_is_added_to_the_right_speakers_angle():
    cosines, labels = torch.tensor([[math.cos(0.5), 0.3]]), torch.tensor([0])
    expected = F.cross_entropy(torch.tensor([[20 * math.cos(0.7), 20 * 0.3]]), labels)
    assert additive_angular_margin(cosines, labels, 20.0, 0.2) == pytest.approx(expected.item(), rel=1e-4)


def test_beyond_the_margin_from_the_opposite_it_is_a_straight_line():
    cosines, labels = torch.tensor([[math.cos(3.0), 0.3]]), torch.tensor([0])  # 3.0 + 0.5 is more than pi
    expected = F.cross_entropy(torch.tensor([[20 * (math.cos(3.0) - 0.5 * math.sin(0.5)), 20 * 0.3]]), labels)
    assert additive_angular_margin(cosines, labels, 20.0, 0.5) == pytest.approx(expected.item(), rel=1e-4)


def test_it_falls_all_the_way_as_the_angle_closes_and_its_gradients_are_finite():
    cosine = torch.linspace(-1.0, 1.0, 201, requires_grad=True)
    losses = torch.stack(
        [additive_angular_margin(torch.stack([c, c.new_zeros(())])[None], torch.tensor([0]), 10.0, 0.2) for c in cosine]
    )
    assert (losses[1:] <= losses[:-1] + 1e-6).all()
    losses.sum().backward()
    assert torch.isfinite(cosine.grad).all()
