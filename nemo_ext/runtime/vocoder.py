"""A vocoder's graph, run whole or in chunks of one length that join without a seam.

A vocoder hears only some frames to either side of what it makes: its *reach*, measured here and not believed. A chunk
that is computed with that much context equals the same part of the whole utterance, so chunks may all have one length,
which a backend compiles once, and an engine speaks what is longer than its profile. The first and the last chunk lie at
the ends of the utterance, where the network pads with its own zeros; none is made longer with silence, which would be
something else.
"""

from __future__ import annotations

import numpy as np

from nemo_ext.runtime.chunks import windows
from nemo_ext.runtime.session import Session
from nemo_ext.types import MelSpec

LONGEST_REACH = 48  # frames; what hears further is run whole
_QUIET = -5.0  # log-mel that the reach is measured on


class VocoderRunner:
    """mel -> audio with one or two sessions of the same graph; whole, or in chunks where they take no more at once."""

    def __init__(
        self, session: Session, mel_spec: MelSpec, fixed: Session | None = None, reach: int | None = None
    ) -> None:
        """``fixed``: takes only ``(1, n_mels, chunk)``; ``reach``: frames of context that chunks need.

        A reach that is left out is measured when it is first needed.
        """
        self.session, self.mel_spec, self.fixed = session, mel_spec, fixed
        self._reach, self._known = reach, reach is not None

    def decode(self, mel: np.ndarray) -> np.ndarray:
        """Log-mel ``(n_mels, T_mel)`` float32 -> audio ``(T_mel * hop_length,)`` in [-1, 1].

        Raises:
            NemoExtError: the session does not take it, and it cannot be decoded in chunks.
        """
        session, width = self._in_chunks(mel.shape[1])
        reach = self._context(width) if width else None
        if reach is None or width <= 2 * reach:
            return _run(self.session, mel)
        hop, frames = self.mel_spec.hop_length, mel.shape[1]
        audio = np.empty(frames * hop, np.float32)
        for window in windows(frames, width, reach):
            part = _run(session, mel[:, window.start : window.start + width])
            kept = part[(window.first - window.start) * hop : (window.last - window.start) * hop]
            audio[window.first * hop : window.last * hop] = kept
        return audio

    def _in_chunks(self, frames: int) -> tuple[Session, int]:
        """Which session decodes so many frames in chunks, and of how many; 0: none does, or none has to."""
        if self.fixed is not None:
            width = self.fixed.inputs[0].shape[2]
            return self.fixed, width if isinstance(width, int) and frames >= width else 0
        largest = self.session.limits.get("spec")
        return self.session, largest[1][2] if largest is not None and frames > largest[1][2] else 0

    def _context(self, width: int) -> int | None:
        if not self._known:
            # measured on no more frames than the session takes; a reach of half a chunk would be of no use
            longest = LONGEST_REACH if self.fixed is not None else min(LONGEST_REACH, (width - 5) // 2)
            self._reach = measured_reach(self.session, self.mel_spec, longest) if longest > 0 else None
            self._known = True
        return self._reach


def measured_reach(session: Session, mel_spec: MelSpec, longest: int = LONGEST_REACH) -> int | None:
    """How many frames to either side of a frame its samples depend on; None where it is more than ``longest``.

    One frame in the middle is changed, and the furthest sample that moves tells. Moves below a millionth of the largest
    one are rounding.
    """
    least, _ = session.limits.get("spec", ((0, 0, 0), ()))
    frames = max(2 * longest + 5, least[2])
    middle, hop = frames // 2, mel_spec.hop_length
    noise = np.random.default_rng(0).normal(_QUIET, 2.0, (mel_spec.n_mels, frames)).astype(np.float32)
    changed = noise.copy()
    changed[:, middle] += 4.0
    moved = np.abs(_run(session, changed) - _run(session, noise)).reshape(-1, hop).max(axis=1)
    heard = np.flatnonzero(moved > 1e-6 * moved.max())
    reach = int(max(middle - heard[0], heard[-1] - middle)) if len(heard) else 0
    return reach if reach <= longest else None


def _run(session: Session, mel: np.ndarray) -> np.ndarray:
    audio: np.ndarray = session.run({"spec": mel[None]}, ["audio"])["audio"][0, 0]
    return audio
