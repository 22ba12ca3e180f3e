"""One file a corpus: its provenance, and how its own layout becomes utterances.

A recipe is a module with ``LANGUAGE``, ``PROVENANCE`` and ``read(source, config) -> Found``.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

from nemo_ext.corpus.config import CorpusConfig
from nemo_ext.corpus.found import Found
from nemo_ext.errors import NemoExtError, nearest

NAMES = ("ljspeech", "vctk", "librispeech", "hifitts", "emodb", "csv", "espeak", "joined")


class Recipe(Protocol):
    """What a recipe's module offers."""

    LANGUAGE: str  # of the recordings, where the user names none
    PROVENANCE: str  # one line: what, whose, licence

    def read(self, source: Path, config: CorpusConfig) -> Found:
        """Everything in ``source``. Recordings themselves are not opened here."""
        ...


def load(name: str) -> Recipe:
    """The recipe called ``name``; an unknown name is an error that names the nearest."""
    if name not in NAMES:
        raise NemoExtError(f"unknown recipe '{name}'{nearest(name, NAMES)}; known: {', '.join(NAMES)}")
    return cast(Recipe, importlib.import_module(f"{__name__}.{name}"))
