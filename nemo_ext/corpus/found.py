"""What a recipe finds in a source folder, and the few things that every recipe does to find it."""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

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

    Names that look the same are the same: composed or decomposed letters (macOS), a byte order mark or none.
    """
    known = stem.suffix.lower() in AUDIO_SUFFIXES
    candidates = [stem] if known else []
    candidates += [stem.with_name(stem.name + spelt) for suffix in AUDIO_SUFFIXES for spelt in (suffix, suffix.upper())]
    found = next((path for path in candidates if os.path.isfile(path)), None)
    return found or next((path for path in map(_in_another_form, candidates) if path), None)


def _in_another_form(path: Path) -> Path | None:
    """The file that is meant by ``path``, whose name or a folder's of which may be written in another form."""
    if str(path).isascii() and not os.path.isdir(path.parent):
        return None
    here = Path(path.anchor or ".")
    for part in path.parts[1:] if path.anchor else path.parts:
        if os.path.lexists(here / part):
            here /= part
            continue
        name = _names(str(here)).get(plain_name(part))
        if name is None:
            return None
        here /= name
    return here if os.path.isfile(here) else None


@functools.lru_cache(maxsize=64)
def _names_of(folder: str, _changed: int) -> dict[str, str]:
    return {plain_name(name): name for name in sorted(os.listdir(folder), reverse=True) if not name.isascii()}


def _names(folder: str) -> dict[str, str]:
    """The names in ``folder`` that have more than ASCII in them, by their plain form."""
    try:
        return _names_of(folder, os.stat(folder).st_mtime_ns)
    except (OSError, ValueError):
        return {}


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
