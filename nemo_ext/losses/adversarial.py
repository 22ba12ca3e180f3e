"""Adversarial losses over the scores and feature maps of several discriminators.

- ``lsgan``: Mao et al., "Least Squares Generative Adversarial Networks" (arXiv 1611.04076), with 1 for real and 0 for
  made, as in HiFi-GAN (arXiv 2010.05646), equations 1-2.
- ``hinge``: Lim and Ye, "Geometric GAN" (arXiv 1705.02894), as in Vocos (arXiv 2306.00814), section 3.3.
- Feature matching: Larsen et al. (arXiv 1512.09300) as in HiFi-GAN, equation 4.

All are sums over discriminators, as HiFi-GAN's are: a weight found there means the same here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Kind = Literal["lsgan", "hinge"]


def discriminator_loss(real: Sequence[Tensor], made: Sequence[Tensor], kind: Kind) -> Tensor:
    """Sum over discriminators of how badly they tell recordings from made audio, given their scores of both."""
    if kind == "lsgan":
        losses = [(1 - r).square().mean() + m.square().mean() for r, m in zip(real, made, strict=True)]
    else:
        losses = [F.relu(1 - r).mean() + F.relu(1 + m).mean() for r, m in zip(real, made, strict=True)]
    return torch.stack(losses).sum()


def generator_loss(made: Sequence[Tensor], kind: Kind) -> Tensor:
    """Sum over discriminators of how far their scores of made audio are from a recording's."""
    losses = [(1 - m).square().mean() if kind == "lsgan" else F.relu(1 - m).mean() for m in made]
    return torch.stack(losses).sum()


def feature_matching(real: Sequence[Sequence[Tensor]], made: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean absolute difference of the discriminators' feature maps, summed over layers and discriminators."""
    losses = [
        F.l1_loss(m, r.detach())
        for real_maps, made_maps in zip(real, made, strict=True)
        for r, m in zip(real_maps, made_maps, strict=True)
    ]
    return torch.stack(losses).sum()
