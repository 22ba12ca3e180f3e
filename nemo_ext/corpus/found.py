"""What a recipe finds in a source folder, and the few things that every recipe does to find it."""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from nemo_ext import untrusted
from nemo_ext.corpus.manifest import Dropped
from nemo_ext.errors import NemoExtError
from nemo_ext.types import Utterance

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")

# Reasons for leaving something out: always these words, so that they can be counted and looked up in docs/corpus.md.
UNREADABLE = "unreadable"
TRUNCATED = "truncated"
NOT_FINITE = "NaN or infinite samples"
SILENT = "silent"
TOO_SHORT = "too short"
EMPTY_TEXT = "empty text"
NO_RECORDING = "text without a recording"
NO_TEXT = "recording without a text"
SAME_ID = "same id again"
BAD_ROW = "row that does not fit its table"


@dataclass
class Speak:
    """An utterance that is synthesized rather than read from a file."""

    voice: str  # espeak-ng's name
    rate: int  # words a minute
    pitch: int  # 0-99
    range: int  # 0-99


@dataclass
class Found:
    """Everything in a source: ``len(utterances) + len(dropped)`` is what ``corpus.yaml`` calls found.

    ``audio_filepath`` of these utterances is the source recording; ``""`` where there is none.
    """

    utterances: list[Utterance] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # about the whole source
    speak: dict[str, Speak] = field(default_factory=dict)  # utterance id -> how to synthesize it
    linked: set[str] = field(default_factory=set)  # ids whose recording is a corpus's already: linked, not made again
    val: set[str] | None = None  # ids for validation, where the source has a split that is to be kept


def clean_text(text: str) -> str:
    """Composed letters (NFC), no control or format characters, single spaces.

    A control character stands where something else would part words; a format character (soft hyphen, zero-width space,
    joiner) stands within one, so nothing comes in its place, as in `nemo_ext.text.written`.
    """
    composed = plain_name(text)
    visible = "".join(c if unicodedata.category(c) not in ("Cc", "Cs") else " " for c in composed)
    return " ".join(visible.split())


def plain_name(name: str) -> str:
    """``name`` in the one form in which names are compared: composed letters, nothing invisible (U+FEFF)."""
    if name.isascii():
        return name
    return unicodedata.normalize("NFC", "".join(c for c in name if unicodedata.category(c) != "Cf"))


def audio_files(folder: Path) -> list[Path]:
    """Every audio file under ``folder``, sorted; hidden ones (``._x.wav`` of macOS archives) are no recordings."""
    found: list[Path] = []
    for where, names in folders_below(folder):
        found += [where / name for name in names if name.lower().endswith(AUDIO_SUFFIXES) and not name.startswith(".")]
    return sorted(found)


def folders_below(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """``folder`` and every folder below it that is not hidden, with the names of its files; links are followed.

    Each is visited once, so that links to a folder above, or to one another, lead nowhere.
    """
    seen: set[tuple[int, int]] = set()
    for where, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and _first_time(where, name, seen))
        yield Path(where), names


def _first_time(where: str, name: str, seen: set[tuple[int, int]]) -> bool:
    try:
        status, parent = os.stat(os.path.join(where, name)), os.stat(where)
    except OSError:
        return False
    seen.add((parent.st_dev, parent.st_ino))
    place = (status.st_dev, status.st_ino)
    new = place not in seen
    seen.add(place)
    return new


def find_audio(stem: Path) -> Path | None:
    """The recording ``stem`` + a known suffix, or None. ``stem`` may carry its suffix already.

    Names that look the same are the same: composed or decomposed letters (macOS), a byte order mark or none. Folders
    are listed once: a table may name a hundred thousand recordings that are not there.
    """
    wanted = [stem.name] if stem.suffix.lower() in AUDIO_SUFFIXES else []
    wanted += [stem.name + spelt for suffix in AUDIO_SUFFIXES for spelt in (suffix, suffix.upper())]
    folder = stem.parent if os.path.isdir(stem.parent) else _folder_in_another_form(stem.parent)
    if folder is None:
        return None
    names = _names(str(folder))
    spelt_so = (name for name in wanted if name in names.all)
    meant = (names.plain[name] for name in map(plain_name, wanted) if name in names.plain)
    return next((folder / name for name in (*spelt_so, *meant) if os.path.isfile(folder / name)), None)


def _folder_in_another_form(path: Path) -> Path | None:
    """The folder that is meant by ``path``, whose name or that of one above may be written in another form."""
    if str(path).isascii():
        return None
    here = path.anchor or "."
    for part in path.parts[1:] if path.anchor else path.parts:
        name = part if os.path.lexists(os.path.join(here, part)) else _names(here).plain.get(plain_name(part))
        if name is None:
            return None
        here = os.path.join(here, name)
    return Path(here) if os.path.isdir(here) else None


class _Names(NamedTuple):
    all: frozenset[str]
    plain: dict[str, str]  # those that have more than ASCII in them, by their plain form


@functools.lru_cache(maxsize=64)
def _names_of(folder: str, _changed: int) -> _Names:
    names = sorted(os.listdir(folder), reverse=True)
    return _Names(frozenset(names), {plain_name(name): name for name in names if not name.isascii()})


def _names(folder: str) -> _Names:
    try:
        return _names_of(folder, os.stat(folder).st_mtime_ns)
    except (OSError, ValueError):
        return _Names(frozenset(), {})


def unlisted(recordings: Iterable[Path], listed: Iterable[Path], source: Path) -> list[Dropped]:
    """A ``Dropped`` for every recording that no text belongs to."""
    known = {str(path) for path in listed}
    return [Dropped(path.stem, NO_TEXT, path=relative(path, source)) for path in recordings if str(path) not in known]


def relative(path: Path, source: Path) -> str:
    """``path`` as a person would name it: inside ``source`` where it lies there."""
    return str(path.relative_to(source)) if path.is_relative_to(source) else str(path)


def read_text(path: Path, encoding: str = "utf-8-sig", most: int = untrusted.MOST_TEXT) -> str:
    """The text file at ``path``, of ``most`` bytes at most.

    Raises:
        NemoExtError: it is missing, no regular file, too large, or in another encoding.
    """
    content = untrusted.read_bytes(path, most, "text file")
    try:
        return content.decode(encoding)
    except (UnicodeError, LookupError) as error:
        raise NemoExtError(f"{path} is not {encoding.removesuffix('-sig')} text; convert it to UTF-8") from error


def wanted(source: Path, recipe: str, expected: str) -> NemoExtError:
    """The error for a source folder that does not look like what the recipe reads."""
    if not source.is_dir():
        return NemoExtError(f"no folder at {source}: give source=DIR with the recordings")
    inside = sorted(p.name + ("/" if p.is_dir() else "") for p in source.iterdir())[:6]
    seen = ", ".join(inside) if inside else "nothing"
    return NemoExtError(f"{source} is not what recipe={recipe} reads: it wants {expected}, and found {seen}")
