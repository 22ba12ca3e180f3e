"""Corpora that keep each text beside its recording, under the same name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from nemo_ext.corpus.found import NO_RECORDING, NO_TEXT, SAME_ID, Found, clean_text, plain_name, read_text, relative
from nemo_ext.corpus.manifest import Dropped
from nemo_ext.errors import NemoExtError
from nemo_ext.types import Utterance

Thing = TypeVar("Thing")
_MOST_TEXT = 1 << 20  # bytes: what is said in one recording


def pair(recordings: Iterable[tuple[str, Path]], texts: Iterable[tuple[str, str]], source: Path) -> Found:
    """Utterances of the names that have both; what has only one, or comes twice, is dropped with its reason."""
    sound, sound_again = _first_of_each(recordings)
    words, words_again = _first_of_each(texts)
    found = Found()
    for name in sorted(sound.keys() | words.keys()):
        if name not in sound:
            found.dropped.append(Dropped(name, NO_RECORDING, text=words[name]))
        elif name not in words:
            found.dropped.append(Dropped(name, NO_TEXT, path=relative(sound[name], source)))
        else:
            found.utterances.append(Utterance(name, str(sound[name]), words[name]))
    found.dropped += [
        Dropped(name, SAME_ID, f"{relative(sound[name], source)} was taken", path=relative(path, source))
        for name, path in sound_again
    ]
    found.dropped += [Dropped(name, SAME_ID, "its first text was taken", text=text) for name, text in words_again]
    return found


def texts_of_files(folder: Path, pattern: str, ending: str = ".txt") -> list[tuple[str, str]]:
    """``(name without the ending, content)`` of the text files under ``folder`` that fit ``pattern``."""
    paths = sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
    return [(path.name.removesuffix(ending), clean_text(read_text(path, most=_MOST_TEXT))) for path in paths]


def texts_of_table(path: Path) -> list[tuple[str, str]]:
    """``(id, text)`` of an unquoted ``|`` table whose header names both; empty where there is no such table.

    Raises:
        NemoExtError: a row with another number of columns than the header.
    """
    if not path.is_file():
        return []
    lines = [line.rstrip("\r") for line in read_text(path).split("\n")]
    header = lines[0].split("|")
    if "id" not in header or "text" not in header:
        return []
    texts = []
    for number, line in enumerate(lines[1:], start=2):
        row = line.split("|")
        if len(row) == len(header):
            texts.append((row[header.index("id")], clean_text(row[header.index("text")])))
        elif line.strip():
            raise NemoExtError(f"{path} line {number} has {len(row)} columns, its header {len(header)}: mend the row")
    return texts


def _first_of_each(things: Iterable[tuple[str, Thing]]) -> tuple[dict[str, Thing], list[tuple[str, Thing]]]:
    first: dict[str, Thing] = {}
    again = []
    for written, thing in things:
        name = plain_name(written)
        if name in first:
            again.append((name, thing))
        else:
            first[name] = thing
    return first, again
