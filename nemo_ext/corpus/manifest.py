"""Manifests: one JSON object a line, in NeMo's keys, UTF-8; and the corpus folder they stand in.

A corpus folder holds ``manifest.jsonl`` (every utterance), ``train.jsonl``, ``val.jsonl``, ``dropped.jsonl``
(what was left out, each with its reason), ``corpus.yaml``, ``report.html`` and ``audio/<id>.wav``;
the espeak corpus also ``events.jsonl`` (when each phoneme starts).
"""

from __future__ import annotations

import dataclasses
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nemo_ext.errors import NemoExtError
from nemo_ext.types import Utterance

_FIELDS = tuple(f.name for f in dataclasses.fields(Utterance))


@dataclass
class Dropped:
    """A recording or a text that was left out. JSON keys are the field names."""

    id: str
    reason: str  # in plain words, the same words for the same cause: they are counted
    detail: str = ""  # what exactly was seen
    path: str = ""  # of the recording, where there is one
    text: str = ""


@dataclass
class Corpus:
    """A finished corpus folder."""

    dir: Path
    train: list[Utterance]
    val: list[Utterance]
    info: dict[str, Any] = field(default_factory=dict)  # what corpus.yaml says

    @property
    def utterances(self) -> list[Utterance]:
        """Training and validation utterances together."""
        return self.train + self.val

    def audio_path(self, utterance: Utterance) -> Path:
        """Where the recording of ``utterance`` lies."""
        return audio_path(self.dir, utterance)


def audio_path(corpus_dir: str | Path, utterance: Utterance) -> Path:
    """Where the recording lies: ``audio_filepath`` is absolute, or relative to the manifest's folder."""
    return Path(corpus_dir) / utterance.audio_filepath


def load_corpus(directory: str | Path) -> Corpus:
    """Read the corpus folder that ``nemo-ext corpus`` made.

    Raises:
        NemoExtError: the folder is no finished corpus, or a line of it is damaged.
    """
    import yaml

    folder = Path(directory)
    for name in ("corpus.yaml", "train.jsonl", "val.jsonl"):
        if not (folder / name).is_file():
            raise NemoExtError(
                f"no finished corpus at {folder}: {name} is missing; "
                f"make one with `nemo-ext corpus recipe=... source=... out={folder}`"
            )
    info = yaml.safe_load((folder / "corpus.yaml").read_text(encoding="utf-8"))
    return Corpus(folder, read_manifest(folder / "train.jsonl"), read_manifest(folder / "val.jsonl"), info or {})


def read_manifest(path: str | Path) -> list[Utterance]:
    """Utterances of the manifest at ``path``. Keys that we do not know are ignored; a missing id is the file's stem.

    Raises:
        NemoExtError: no such file, or a line that is not an utterance (the line is named).
    """
    rows: list[Utterance] = []
    for number, row in read_jsonl(path):
        missing = [key for key in ("audio_filepath", "text") if not isinstance(row.get(key), str)]
        if missing:
            raise NemoExtError(f"{path} line {number}: no '{missing[0]}'; every line needs audio_filepath and text")
        known = {key: row[key] for key in _FIELDS if key in row}
        known["id"] = str(row.get("id") or Path(row["audio_filepath"]).stem)
        known["duration"] = _seconds(row.get("duration", 0.0), path, number)
        if row.get("speaker") is not None:
            known["speaker"] = str(row["speaker"])  # NeMo's manifests number their speakers
        rows.append(Utterance(**known))
    return rows


def write_manifest(path: str | Path, rows: Iterable[Utterance]) -> Path:
    """Write ``rows`` as a manifest, beside first and then renamed; None and empty values are left out."""
    return write_jsonl(path, ({k: v for k, v in _as_dict(row).items() if v not in (None, [], "")} for row in rows))


def read_dropped(path: str | Path) -> list[Dropped]:
    """What a corpus left out, from its ``dropped.jsonl``."""
    return [Dropped(**{k: str(v) for k, v in row.items()}) for _, row in read_jsonl(path)]


def write_dropped(path: str | Path, rows: Iterable[Dropped]) -> Path:
    """Write what was left out as ``dropped.jsonl``."""
    return write_jsonl(path, ({k: v for k, v in dataclasses.asdict(row).items() if v} for row in rows))


def read_jsonl(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """``(line number, object)`` of every non-empty line of a JSON-lines file; an error names the damaged line."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")  # splitlines() would cut at U+2028 inside a text
    except FileNotFoundError as error:
        raise NemoExtError(f"no manifest at {path}") from error
    except UnicodeDecodeError as error:
        raise NemoExtError(f"{path} is not UTF-8 text") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise NemoExtError(f"{path} line {number} is not JSON ({error.msg})") from error
        if not isinstance(row, dict):
            raise NemoExtError(f"{path} line {number} is not a JSON object")
        yield number, row


def write_jsonl(path: str | Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write one JSON object a line, UTF-8, letters as they are."""
    return write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file beside its place and rename it, so that it is never half there."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".writing-{uuid.uuid4().hex}")  # a process id may come twice on a shared disk
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise NemoExtError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)
    return path


def _as_dict(row: Utterance) -> dict[str, Any]:
    # Not dataclasses.asdict: it would keep our field order, but NeMo's readers and people like the path first.
    first = {"audio_filepath": row.audio_filepath, "text": row.text, "duration": round(row.duration, 4)}
    return first | {name: getattr(row, name) for name in _FIELDS if name not in first}


def _seconds(value: Any, path: str | Path, number: int) -> float:
    try:
        return float(value or 0.0)
    except (TypeError, ValueError) as error:
        raise NemoExtError(f"{path} line {number}: duration {value!r} is not a number of seconds") from error
