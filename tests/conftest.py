"""Fixtures that every room's tests share. Real speech and real components; nothing is downloaded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def corpora() -> Path | None:
    """The folder of small real-speech sets named by NEMO_EXT_CORPORA, or None: then tests use the espeak corpus."""
    named = os.environ.get("NEMO_EXT_CORPORA")
    if not named:
        return None
    folder = Path(named).expanduser().resolve()
    if not folder.is_dir():
        pytest.fail(f"NEMO_EXT_CORPORA names {folder}, which is no folder")
    return folder


@pytest.fixture(scope="session")
def espeak_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished corpus folder of 40 utterances: two voices, two styles, with phoneme events."""
    from nemo_ext.corpus.build import build
    from nemo_ext.corpus.config import CorpusConfig, EspeakOptions

    out = tmp_path_factory.mktemp("corpus") / "espeak"
    build(CorpusConfig(out=str(out), espeak=EspeakOptions(sentences=40), processes=1))
    return out
