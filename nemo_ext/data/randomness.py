"""Chance that can be repeated: a pure function of the seed, the epoch and a name.

Nothing in this room draws from a global generator, so a sample does not depend on how many workers there are, what was
drawn before it, or where training was resumed.
"""

from __future__ import annotations

import hashlib

import numpy as np


def fraction(seed: int, epoch: int, name: str) -> float:
    """A number in [0, 1), evenly spread over names and epochs."""
    digest = hashlib.blake2b(f"{seed}/{epoch}/{name}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) * 2.0**-53  # the 53 bits that a float holds


def generator(seed: int, epoch: int, name: str) -> np.random.Generator:
    """A generator for longer draws, for instance an order of batches."""
    digest = hashlib.blake2b(f"{seed}/{epoch}/{name}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
