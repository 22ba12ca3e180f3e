"""Part of a corpus as a corpus of its own, for what is trained on it or measured on it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from nemo_ext.corpus.manifest import Corpus, write_manifest


def subset(corpus: Corpus, folder: Path) -> Path:
    """Write ``corpus`` into ``folder``, its recordings where they are in ``corpus.dir``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", corpus.train), ("val", corpus.val), ("manifest", corpus.utterances)):
        there = [dataclasses.replace(u, audio_filepath=str(corpus.audio_path(u))) for u in rows]
        write_manifest(folder / f"{name}.jsonl", there)
    (folder / "corpus.yaml").write_bytes((corpus.dir / "corpus.yaml").read_bytes())
    return folder
