"""Chance that can be repeated: a pure function of the seed, the epoch and a name.

Nothing in this room draws from a global generator, so a sample does not depend on how many workers there are, what was
drawn before it, or where training was resumed.
"""

from __future__ import annotations

import hashlib

import numpy as np


def number(seed: int, epoch: int, name: str, size: int) -> int:
    """A whole number of ``size`` bytes."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{epoch}/{name}".encode(), digest_size=size).digest(), "big")


def fraction(seed: int, epoch: int, name: str) -> float:
    """A number in [0, 1), evenly spread over names and epochs."""
    return (number(seed, epoch, name, 8) >> 11) * 2.0**-53  # the 53 bits that a float holds


def generator(seed: int, epoch: int, name: str) -> np.random.Generator:
    """A generator for longer draws, for instance an order of batches."""
    return np.random.default_rng(number(seed, epoch, name, 16))
