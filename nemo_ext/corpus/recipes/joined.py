"""Several finished corpora as one, to train one base model on all their voices.

What: folders that ``nemo-ext corpus`` made, anywhere below the source folder.
Licence: each corpus's own; its provenance goes into the joined corpus's notes.
Layout: ``<folder>/corpus.yaml`` with ``manifest.jsonl``, ``val.jsonl`` and ``audio/`` beside it. The folder that is
    being made, and others that were joined, are passed over.
Ids that several corpora have are prefixed by their folder's name; speakers of one name are taken to be one person,
and the notes say so. Every utterance stays on its side of the split. Recordings are hard-linked where that is
possible and copied where not; those at another sample rate are resampled.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from nemo_ext.corpus.config import CorpusConfig
from nemo_ext.corpus.found import Found, folders_below, wanted
from nemo_ext.corpus.manifest import Corpus, audio_path, load_corpus, read_manifest
from nemo_ext.errors import NemoExtError
from nemo_ext.types import Utterance

LANGUAGE = "en"
PROVENANCE = "several corpora joined; whose each is stands in the notes"


def read(source: Path, config: CorpusConfig) -> Found:
    """Every utterance of the finished corpora below ``source``."""
    corpora = _corpora(source, Path(config.out).resolve())
    if not corpora:
        raise wanted(source, "joined", "folders that `nemo-ext corpus` has finished (with a corpus.yaml)")
    val: set[str] = set()
    found = Found(val=val)
    rows = {name: read_manifest(corpus.dir / "manifest.jsonl") for name, corpus in corpora.items()}
    count = Counter(row.id for those in rows.values() for row in those)
    homes: dict[str, list[str]] = defaultdict(list)  # voice -> folders
    for name, corpus in corpora.items():
        trained = {row.id for row in corpus.train}
        held_out = {row.id for row in corpus.val} - trained
        for row in rows[name]:
            aside = row.id in held_out
            _adopt(row, name, corpus, config, clashes=count[row.id] > 1)
            found.utterances.append(row)
            found.linked.add(row.id)
            val |= {row.id} if aside else set()
        for voice in sorted({row.speaker or "" for row in rows[name]}):
            homes[voice].append(name)
        whose = corpus.info.get("provenance") or "of unknown provenance"
        found.notes.append(f"{corpus.info.get('title') or name}: {whose}")
    clashing = sum(n > 1 for n in count.values())
    if clashing:
        found.notes.append(f"{clashing} ids were in more than one corpus and have been prefixed by the folder's name")
    found.notes += [
        f"voice '{voice}' is in {' and '.join(names)}: taken as one person"
        for voice, names in homes.items()
        if len(names) > 1
    ]
    return found


def _corpora(source: Path, out: Path) -> dict[str, Corpus]:
    """The finished corpora below ``source``, by their folder's name (``a-b`` for ``a/b``), sorted."""
    if (source / "corpus.yaml").is_file():
        raise NemoExtError(f"{source} is one corpus by itself: give the folder above it, or train on it as it stands")
    found = {}
    inside: list[Path] = []  # nothing is looked for within a corpus
    for here, files in folders_below(source):
        if any(here.is_relative_to(folder) for folder in inside[-1:]):
            continue
        if "corpus.yaml" in files or here.resolve() == out:
            inside.append(here)
        if "corpus.yaml" not in files or here.resolve() == out:
            continue
        corpus = load_corpus(here)
        if corpus.info.get("recipe") != "joined":
            found["-".join(here.relative_to(source).parts)] = corpus
    return found


def _adopt(row: Utterance, name: str, corpus: Corpus, config: CorpusConfig, clashes: bool) -> None:
    row.audio_filepath = str(audio_path(corpus.dir, row))
    row.id = f"{name}-{row.id}" if clashes else row.id
    row.speaker = row.speaker or config.speaker or name
    row.language = row.language or config.language or corpus.info.get("language") or LANGUAGE
