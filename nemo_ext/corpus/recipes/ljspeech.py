"""LJSpeech, and every single-speaker corpus in its layout.

What: 13,100 clips (24 h) of one English reader, Linda Johnson of LibriVox; cut and annotated by Keith Ito, 2017,
    https://keithito.com/LJ-Speech-Dataset. 22,050 Hz, 16 bit, mono.
Licence: public domain. The layout is used by many others (kerstin, thorsten ...), each with its own terms.
Cite: K. Ito and L. Johnson, "The LJ Speech Dataset", 2017.
Layout: ``metadata.csv`` without header or quoting: ``id|text[|normalized text]``; ``wavs/<id>.wav`` (or .flac ...).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from nemo_ext.corpus.config import CorpusConfig
from nemo_ext.corpus.found import (
    BAD_ROW,
    NO_RECORDING,
    Found,
    audio_files,
    clean_text,
    find_audio,
    plain_name,
    read_text,
    unlisted,
    wanted,
)
from nemo_ext.corpus.manifest import Dropped
from nemo_ext.types import Utterance

LANGUAGE = "en"
LAYOUT, IDS = "LJSpeech", r"LJ\d{3}-\d{4}"
PROVENANCE = "LJSpeech 1.1 (K. Ito, L. Johnson, 2017); public domain"


def read(source: Path, config: CorpusConfig) -> Found:
    """Rows of ``metadata.csv`` with their recordings in ``wavs/``."""
    table, folder = source / "metadata.csv", source / "wavs"
    if not table.is_file() or not folder.is_dir():
        raise wanted(source, "ljspeech", "metadata.csv (id|text|normalized text) and wavs/")
    found, listed = Found(), []
    # Split by hand: the csv module would take a quotation mark in a text for the start of a quoted column.
    rows = [(n, line.rstrip("\r").split("|")) for n, line in enumerate(read_text(table).split("\n"), 1) if line.strip()]
    width = _width(columns for _, columns in rows)
    for number, columns in rows:
        name = plain_name(columns[0].strip().strip("\ufeff"))
        wrong = _wrong(name, columns, width)
        if wrong:
            line = "|".join(columns).strip()[:500]
            detail = f"metadata.csv line {number} {wrong}"
            found.dropped.append(Dropped(name[:200] or f"line-{number}", BAD_ROW, detail, text=line))
            recording = find_audio(folder / name) if name and _inside(name) else None
            listed += [recording] if recording else []
            continue
        recording = find_audio(folder / name)
        if recording is None:
            found.dropped.append(Dropped(name, NO_RECORDING, f"no wavs/{name}.wav", text=columns[1]))
            continue
        listed.append(recording)
        spoken = clean_text(columns[2]) if len(columns) == 3 else ""
        found.utterances.append(
            Utterance(
                id=Path(name).stem if name.lower().endswith((".wav", ".flac")) else name,
                audio_filepath=str(recording),
                text=clean_text(columns[1]) or spoken,
                normalized_text=spoken or None,
                speaker=config.speaker or source.name,
                language=config.language or LANGUAGE,
            )
        )
    found.dropped += unlisted(audio_files(folder), listed, source)
    return found


def _width(rows: Iterable[list[str]]) -> int:
    """How many columns this table has: what most of its rows have, 2 or 3 (all may have 3 in the original)."""
    counts = Counter(len(columns) for columns in rows)
    return 2 if counts[2] > counts[3] else 3


def _wrong(name: str, columns: list[str], width: int) -> str:
    """What is wrong with a row, or nothing. A row of two columns has no normalized text, and does no harm."""
    if not 2 <= len(columns) <= 3 or not name:
        return f"has {len(columns)} columns; id|text|normalized text are expected"
    if len(columns) > width:
        return f"has {len(columns)} columns, most others {width}: is there a | in its text?"
    return "" if _inside(name) else "names a recording outside wavs/"


def _inside(name: str) -> bool:
    return not (Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name)
