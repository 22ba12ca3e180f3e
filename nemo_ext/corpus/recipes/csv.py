"""Anyone's recordings, listed in a table.

What: your own data; the licence is yours to know.
Layout: a text table with a column of paths and a column of texts, and where you have them speaker, language, style
    and id. Delimiter, quoting, encoding and the columns' names are options (``csv.*``); without a header, columns go
    by number: ``csv.header=false csv.path=1 csv.text=2``.
    Paths are relative to the source folder, or absolute; a missing suffix is looked for (.wav, .flac, .mp3 ...).
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from nemo_ext.corpus.config import CorpusConfig, CsvOptions
from nemo_ext.corpus.found import (
    AUDIO_SUFFIXES,
    BAD_ROW,
    NO_RECORDING,
    Found,
    clean_text,
    find_audio,
    plain_name,
    read_text,
    unlisted,
    wanted,
)
from nemo_ext.corpus.manifest import Dropped
from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.types import Utterance

LANGUAGE = "en"
PROVENANCE = "the user's own table"

_MOST_CELL = 1 << 26  # letters; too long a text is dropped later, by itself
_COLUMNS = ("path", "text", "id", "speaker", "language", "style")


def read(source: Path, config: CorpusConfig) -> Found:
    """Rows of the table ``csv.table`` with their recordings."""
    options = config.csv
    table = source / options.table
    if not table.is_file():
        raise wanted(source, "csv", f"a table {options.table} (name another with csv.table=FILE)")
    rows = _rows(table, options)
    where = _columns(rows, options, table)
    width = len(rows[0]) if rows else 0
    found, listed = Found(), []
    for number, row in enumerate(rows[1:] if options.header else rows, start=2 if options.header else 1):
        if len(row) != width:
            detail = f"row {number} of {table.name} has {len(row)} columns, the first has {width}"
            found.dropped.append(Dropped(f"row-{number}", BAD_ROW, detail, text=options.delimiter.join(row)[:500]))
            continue
        cell = {name: clean_text(row[index]) for name, index in where.items()}
        given = row[where["path"]].strip().strip("\ufeff")  # not cleaned: a file's name is what it is
        name = plain_name(cell.get("id") or (_name(given) if given else f"row-{number}"))
        recording = find_audio(source / given) if given else None
        if recording is None:
            found.dropped.append(
                Dropped(name, NO_RECORDING, f"no file {given[:200] or '(empty path)'}", text=cell["text"])
            )
            continue
        listed.append(recording)
        found.utterances.append(
            Utterance(
                id=name,
                audio_filepath=str(recording),
                text=cell["text"],
                speaker=cell.get("speaker") or config.speaker or source.name,
                language=cell.get("language") or config.language or LANGUAGE,
                style=cell.get("style") or None,
            )
        )
    if options.unlisted:
        beside = {path.parent for path in listed if path.is_relative_to(source)}
        here = sorted(p for folder in beside for p in folder.iterdir() if p.suffix.lower() in AUDIO_SUFFIXES)
        found.dropped += unlisted((p for p in here if not p.name.startswith(".")), listed, source)
    return found


def _rows(table: Path, options: CsvOptions) -> list[list[str]]:
    delimiter = "\t" if options.delimiter in ("tab", "\\t") else options.delimiter
    if len(delimiter) != 1:
        raise NemoExtError(f"csv.delimiter={delimiter!r} must be one character, or tab")
    text = read_text(table, options.encoding).lstrip("\ufeff")
    if options.quoting == "none":
        return [line.rstrip("\r").split(delimiter) for line in text.split("\n") if line.strip()]
    csv.field_size_limit(_MOST_CELL)
    try:
        return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
    except csv.Error as error:
        raise NemoExtError(f"{table} cannot be read as a quoted table ({error}); try csv.quoting=none") from error


def _columns(rows: list[list[str]], options: CsvOptions, table: Path) -> dict[str, int]:
    """Index of each column that the table has; path and text it must have, and those that the user named."""
    if not rows:
        raise NemoExtError(f"{table} is empty")
    names = [name.strip() for name in rows[0]] if options.header else [str(i + 1) for i in range(len(rows[0]))]
    defaults = CsvOptions()
    where = {}
    for column in _COLUMNS:
        name = getattr(options, column)
        if name in names:
            where[column] = names.index(name)
        elif column in ("path", "text") or name != getattr(defaults, column):
            raise NemoExtError(
                f"{table} has no column '{name}'{nearest(name, names)}; it has {', '.join(names)}: "
                f"set csv.{column}=COLUMN"
            )
    return where


def _name(path: str) -> str:
    """An id that says which file: ``spk1/a 1.wav`` -> ``spk1_a 1``."""
    parts = [part for part in Path(path).parts if part not in ("/", "\\", "..", ".")] or ["recording"]
    stem = parts[-1]
    known = Path(stem).suffix.lower() in AUDIO_SUFFIXES
    return "_".join([*parts[:-1], Path(stem).stem if known else stem])
