"""Changes of the recordings at random, for training only. A pure function of seed, epoch and the sample's name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nemo_ext.config import option
from nemo_ext.data.randomness import fraction, generator
from nemo_ext.errors import NemoExtError


@dataclass(frozen=True)
class Augment:
    """Options of loader=dali; without them nothing is changed."""

    gain_db: float = option(0.0, "make each sample quieter, by up to this much", "dB")
    noise_db: float | None = option(
        None, "a vocoder's mels hear white noise of this level under the clean audio, -60 for instance", "dBFS"
    )

    def check(self) -> None:
        """
        Raises:
            NemoExtError: a value that makes no sense.
        """
        if not 0.0 <= self.gain_db <= 60.0:
            raise NemoExtError(f"augment.gain_db={self.gain_db:g}: give 0 (off) to 60 dB")
        if self.noise_db is not None and not -140.0 <= self.noise_db <= -6.0:
            raise NemoExtError(f"augment.noise_db={self.noise_db:g}: give -140 to -6 dBFS, or null for none")

    def gain(self, seed: int, epoch: int, name: str) -> np.float32:
        """The factor for a sample, between ``-gain_db`` and 0 dB, even in dB."""
        return np.float32(10.0 ** (-self.gain_db * fraction(seed, epoch, f"{name}/gain") / 20.0))

    def noise(self, seed: int, epoch: int, name: str, samples: int) -> np.ndarray:
        """White noise ``(samples,)`` float32 for a sample, of ``noise_db`` (root mean square)."""
        assert self.noise_db is not None
        level = np.float32(10.0 ** (self.noise_db / 20.0))
        return generator(seed, epoch, f"{name}/noise").standard_normal(samples, dtype=np.float32) * level
