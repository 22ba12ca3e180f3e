"""One file a corpus: its provenance, and how its own layout becomes utterances.

A recipe is a module with ``LANGUAGE``, ``PROVENANCE`` and ``read(source, config) -> Found``; one that reads a
publisher's layout has ``LAYOUT`` and ``IDS`` too.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, cast

from nemo_ext.corpus.config import CorpusConfig
from nemo_ext.corpus.found import Found
from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.types import Utterance

NAMES = ("ljspeech", "vctk", "librispeech", "hifitts", "emodb", "csv", "espeak", "joined")


class Recipe(Protocol):
    """What a recipe's module offers."""

    LANGUAGE: str  # of the recordings, where the user names none
    PROVENANCE: str  # one line: what, whose, licence; of the publisher's own corpus, where there is a LAYOUT
    LAYOUT: str  # name of the publisher's corpus, whose layout many others have taken
    IDS: str  # regular expression of its own utterances' ids

    def read(self, source: Path, config: CorpusConfig) -> Found:
        """Everything in ``source``. Recordings themselves are not opened here."""
        ...


def provenance(recipe: Recipe, rows: Iterable[Utterance]) -> str:
    """What, whose and under what licence ``rows`` are, as far as ``recipe`` can know.

    The publisher's own corpus, or a part of it, is known by its ids and its language; whatever else has its layout is
    not claimed to be it.
    """
    layout = getattr(recipe, "LAYOUT", "")
    if not layout or all(re.fullmatch(recipe.IDS, row.id) and row.language == recipe.LANGUAGE for row in rows):
        return recipe.PROVENANCE
    return f"in {layout}'s layout; whose recordings they are, and under what licence, was not stated (provenance=)"


def load(name: str) -> Recipe:
    """The recipe called ``name``; an unknown name is an error that names the nearest."""
    if name not in NAMES:
        raise NemoExtError(f"unknown recipe '{name}'{nearest(name, NAMES)}; known: {', '.join(NAMES)}")
    return cast(Recipe, importlib.import_module(f"{__name__}.{name}"))
