"""Manifests: one JSON object a line, in NeMo's keys, UTF-8; and the corpus folder they stand in.

A corpus folder holds ``manifest.jsonl`` (every utterance), ``train.jsonl``, ``val.jsonl``, ``dropped.jsonl``
(what was left out, each with its reason), ``corpus.yaml``, ``report.html`` and ``audio/<id>.wav``;
the espeak corpus also ``events.jsonl`` (when each phoneme starts).
"""

from __future__ import annotations

import dataclasses
import json
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nemo_ext import files, untrusted
from nemo_ext.errors import NemoExtError
from nemo_ext.types import Utterance

_MOST_SECONDS = 24 * 3600.0  # of one recording
_MOST_TEXT = 100_000  # letters of one text
_MOST_NAME = 4096  # letters: a path may have as many
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


def check_folder(directory: str | Path) -> Path:
    """The corpus folder ``directory``, of which nothing is read.

    Raises:
        NemoExtError: it is no finished corpus.
    """
    folder = Path(directory)
    for name in ("corpus.yaml", "train.jsonl", "val.jsonl"):
        if not (folder / name).is_file():
            raise NemoExtError(
                f"no finished corpus at {folder}: {name} is missing; "
                f"make one with `nemo-ext corpus recipe=... source=... out={folder}`"
            )
    return folder


def load_corpus(directory: str | Path) -> Corpus:
    """Read the corpus folder that ``nemo-ext corpus`` made.

    Raises:
        NemoExtError: the folder is no finished corpus, or a line of it is damaged.
    """
    folder = check_folder(directory)
    info = untrusted.read_yaml(folder / "corpus.yaml", what="corpus.yaml") or {}
    _check_info(info, folder / "corpus.yaml")
    return Corpus(folder, read_manifest(folder / "train.jsonl"), read_manifest(folder / "val.jsonl"), info)


def _check_info(info: Any, path: Path) -> None:
    """Refuse a corpus.yaml whose values are not what `corpus` writes; what it does not name is nobody's matter."""
    if not isinstance(info, dict):
        raise NemoExtError(f"{path} is no corpus.yaml: make the corpus again")
    for name in ("recipe", "provenance", "language", "title"):
        if info.get(name) is not None:
            untrusted.string(info[name], f"{path}: {name}", 2000)
    for name in ("sample_rate", "found", "kept", "dropped", "train", "val"):
        if info.get(name) is not None:
            untrusted.whole_number(info[name], f"{path}: {name}", 0, 1_000_000_000)
    if info.get("seconds") is not None:
        untrusted.number(info["seconds"], f"{path}: seconds", 0)
    if not isinstance(info.get("voices") or {}, dict):
        raise NemoExtError(f"{path}: voices is no table of voices: make the corpus again")


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
        rows.append(_utterance(row, f"{path} line {number}"))
    return rows


def _utterance(row: dict[str, Any], where: str) -> Utterance:
    """The utterance in a manifest's ``row``, every value of which is what it ought to be; ``where`` names it."""
    name = row.get("id") or Path(row["audio_filepath"]).stem
    speaker = row.get("speaker")
    notes = row.get("notes") or []
    if not isinstance(notes, list):
        raise NemoExtError(f"{where}: notes is {untrusted.shown(notes)}, not a list of texts")
    texts = {key: _text(row.get(key), f"{where}: {key}") for key in ("normalized_text", "language", "style")}
    return Utterance(
        id=_name(str(name), f"{where}: id"),
        audio_filepath=_name(row["audio_filepath"], f"{where}: audio_filepath"),
        text=_text(row["text"], f"{where}: text") or "",
        duration=_seconds(row.get("duration", 0.0), where),
        normalized_text=texts["normalized_text"],
        speaker=None if speaker is None else _name(str(speaker), f"{where}: speaker"),  # NeMo's are numbers
        language=None if texts["language"] is None else _name(texts["language"], f"{where}: language"),
        style=None if texts["style"] is None else _name(texts["style"], f"{where}: style"),
        notes=[_text(note, f"{where}: notes") or "" for note in notes],
    )


def _text(value: Any, where: str) -> str | None:
    """``value`` as a text that can be written down again, or None."""
    if value is None:
        return None
    text = untrusted.string(value, where, _MOST_TEXT)
    if not text.isascii() and any(0xD800 <= ord(letter) < 0xE000 for letter in text):
        raise NemoExtError(f"{where} has half a letter (a surrogate): write it as UTF-8")
    return text


def _name(value: str, where: str) -> str:
    """``value`` as a name: a text in one line without control characters, for it is printed and becomes a file's."""
    text = _text(value, where) or ""
    if len(text) > _MOST_NAME or not (text.isprintable() or not any(unicodedata.category(c) == "Cc" for c in text)):
        raise NemoExtError(f"{where}={untrusted.shown(text)} is no name: too long, or with control characters in it")
    return text


def write_manifest(path: str | Path, rows: Iterable[Utterance]) -> Path:
    """Write ``rows`` as a manifest, beside first and then renamed; None and empty values are left out."""
    return write_jsonl(path, ({k: v for k, v in _as_dict(row).items() if v not in (None, [], "")} for row in rows))


def read_dropped(path: str | Path) -> list[Dropped]:
    """What a corpus left out, from its ``dropped.jsonl``."""
    known = {f.name for f in dataclasses.fields(Dropped)}
    blank = {"id": "", "reason": ""}
    return [Dropped(**blank | {k: str(v) for k, v in row.items() if k in known}) for _, row in read_jsonl(path)]


def write_dropped(path: str | Path, rows: Iterable[Dropped]) -> Path:
    """Write what was left out as ``dropped.jsonl``."""
    return write_jsonl(path, ({k: v for k, v in dataclasses.asdict(row).items() if v} for row in rows))


def read_jsonl(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """``(line number, object)`` of every non-empty line of a JSON-lines file; an error names the damaged line."""
    for number, line in enumerate(untrusted.read_lines(path, what="manifest"), start=1):
        if not line.strip():
            continue
        try:
            row = untrusted.parse_json(line, "")
        except NemoExtError as error:
            raise NemoExtError(f"{path} line {number} is not JSON ({str(error).partition('(')[2]}") from error
        if not isinstance(row, dict):
            raise NemoExtError(f"{path} line {number} is not a JSON object")
        yield number, row


def write_jsonl(path: str | Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write one JSON object a line, UTF-8, letters as they are."""
    return write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file beside its place and rename it, so that it is never half there."""
    path = Path(path)
    try:
        with files.replacing(path) as beside:
            beside.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NemoExtError(f"{path} could not be written: {error.strerror or error}") from error
    return path


def _as_dict(row: Utterance) -> dict[str, Any]:
    # Not dataclasses.asdict: it would keep our field order, but NeMo's readers and people like the path first.
    first = {"audio_filepath": row.audio_filepath, "text": row.text, "duration": round(row.duration, 4)}
    return first | {name: getattr(row, name) for name in _FIELDS if name not in first}


def _seconds(value: Any, where: str) -> float:
    try:
        seconds = float(value or 0.0)
    except (TypeError, ValueError, OverflowError) as error:
        shown = untrusted.shown(value)
        raise NemoExtError(f"{where}: duration {shown} is not a number of seconds") from error
    return untrusted.number(seconds, f"{where}: duration", 0.0, _MOST_SECONDS)
