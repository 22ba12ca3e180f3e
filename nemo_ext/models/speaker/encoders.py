"""Finding a speaker encoder by what a person writes."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from nemo_ext.errors import NemoExtError
from nemo_ext.types import SpeakerEncoder


def speaker_encoder(spec: str) -> SpeakerEncoder:
    """The encoder that ``spec`` names: ``resemblyzer``, or the path of a speaker model (``.nemo``).

    Made once a process, and again when the file has changed.

    Raises:
        NemoExtError: neither; or its package is not installed, or the file is not there or holds something else.
    """
    with torch.random.fork_rng(devices=[]):  # modules draw their first weights: a training's chance is left alone
        return _found(spec)


def _found(spec: str) -> SpeakerEncoder:
    if spec == "resemblyzer":
        return _resemblyzer()
    if not spec.endswith(".nemo"):
        raise NemoExtError(
            f"'{spec}' is no speaker encoder: write resemblyzer, or the path of a speaker model (.nemo) such as TitaNet"
        )
    path = Path(spec).expanduser().resolve()
    if not path.is_file():
        raise NemoExtError(f"no speaker model at {path}: give the path of a .nemo file, or resemblyzer")
    return _from_file(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _resemblyzer() -> SpeakerEncoder:
    from nemo_ext.models.speaker.resemblyzer import Resemblyzer

    return Resemblyzer()


@functools.lru_cache(maxsize=2)
def _from_file(path: Path, changed: int) -> SpeakerEncoder:  # noqa: ARG001
    from nemo_ext.models.speaker.nemo_encoder import NemoEncoder

    return NemoEncoder(path)
