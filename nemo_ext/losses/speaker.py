"""Losses of speaker encoders."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def additive_angular_margin(cosines: Tensor, labels: Tensor, scale: float, margin: float) -> Tensor:
    """Cross entropy over speakers, with the right one's angle made ``margin`` radians larger: AAM-softmax.

    Deng and others, "ArcFace" (arXiv 1801.07698), equation 3. Beyond ``pi - margin``, where the cosine would rise
    again, it goes on falling in a straight line.

    Args:
        cosines: ``(B, speakers)`` between embeddings and the speakers' directions.
        labels: ``(B,)`` int64.
        scale: of the cosines, before the softmax.
        margin: radians.
    """
    cosine = cosines.clamp(-1.0 + 1e-6, 1.0 - 1e-6)
    sine = torch.sqrt(1.0 - cosine.square())
    harder = cosine * math.cos(margin) - sine * math.sin(margin)
    harder = torch.where(cosine > -math.cos(margin), harder, cosine - margin * math.sin(margin))
    right = F.one_hot(labels, cosines.shape[1]).bool()
    return F.cross_entropy(scale * torch.where(right, harder, cosine), labels)
