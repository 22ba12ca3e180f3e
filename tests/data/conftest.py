from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nemo_ext.corpus.manifest import Corpus, load_corpus, write_manifest


@pytest.fixture
def corpus(espeak_corpus: Path, tmp_path: Path) -> Corpus:
    """A corpus of one's own: twelve utterances of two voices, the shortest first; one may break what one likes."""
    whole = load_corpus(espeak_corpus)
    chosen = sorted(whole.utterances, key=lambda utterance: utterance.duration)[:12]
    folder = tmp_path / "corpus"
    for utterance in chosen:
        copy = folder / utterance.audio_filepath
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(whole.audio_path(utterance), copy)
    write_manifest(folder / "train.jsonl", chosen[:9])
    write_manifest(folder / "val.jsonl", chosen[9:])
    shutil.copy(whole.dir / "corpus.yaml", folder)
    return load_corpus(folder)
