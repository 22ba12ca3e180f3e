"""Adversarial losses against their equations, written out."""

import pytest
import torch

from nemo_ext.losses.adversarial import discriminator_loss, feature_matching, generator_loss

REAL = [torch.tensor([[0.5, 2.0]]), torch.tensor([[1.0]])]
MADE = [torch.tensor([[0.0, -2.0]]), torch.tensor([[0.5]])]


def test_least_squares():
    real = (0.5**2 + 1.0) / 2 + 0.0
    made = (0.0 + 4.0) / 2 + 0.25
    assert float(discriminator_loss(REAL, MADE, "lsgan")) == pytest.approx(real + made)
    assert float(generator_loss(MADE, "lsgan")) == pytest.approx((1.0 + 9.0) / 2 + 0.25)


def test_hinge():
    real = (0.5 + 0.0) / 2 + 0.0
    made = (1.0 + 0.0) / 2 + 1.5
    assert float(discriminator_loss(REAL, MADE, "hinge")) == pytest.approx(real + made)
    assert float(generator_loss(MADE, "hinge")) == pytest.approx((1.0 + 3.0) / 2 + 0.5)
    assert float(generator_loss([torch.tensor([[3.0]])], "hinge")) == 0.0  # taken for a recording is good enough


def test_feature_matching_sums_layers_and_teaches_the_generator_only():
    real = [[torch.zeros(2, 3, requires_grad=True), torch.ones(1)], [torch.ones(4)]]
    made = [[torch.full((2, 3), 2.0, requires_grad=True), torch.zeros(1)], [torch.ones(4)]]
    loss = feature_matching(real, made)
    assert loss.item() == pytest.approx(2.0 + 1.0 + 0.0)
    loss.backward()
    assert real[0][0].grad is None
    assert made[0][0].grad is not None


@pytest.mark.parametrize("kind", ["lsgan", "hinge"])
def test_telling_them_apart_is_rewarded(kind):
    good = discriminator_loss([torch.ones(1, 4)], [-torch.ones(1, 4) if kind == "hinge" else torch.zeros(1, 4)], kind)
    bad = discriminator_loss([torch.zeros(1, 4)], [torch.ones(1, 4)], kind)
    assert float(good) == 0.0
    assert float(bad) > 1.0
