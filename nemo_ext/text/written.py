"""Written text: one way to write each character, where it came from, and its words and punctuation."""

from __future__ import annotations

import difflib
import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

# Several ways to write one thing become one. Whatever stands neither here nor in a table is reported as unknown.
_SAME = {
    **dict.fromkeys("’‘ʼ`´‛", "'"),
    **dict.fromkeys("“”„‟«»″‹›", '"'),
    **dict.fromkeys("–—―−‒‐‑", "-"),
    **dict.fromkeys("[{", "("),
    **dict.fromkeys("]}", ")"),
    "…": ".",
    "，": ",",
    "。": ".",
    "！": "!",
    "？": "?",
}
_FOLDED = {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"}
_FOLDED |= {"đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i"}

_LETTER = "A-Za-zÀ-ÖØ-öø-ɏḀ-ỿ"
_ELIDED = "tis|twas|em|til|cause|cos|n"
_SEGMENT = re.compile(
    rf"""
    (?P<word> (?:[{_LETTER}]\.){{2,}}                                # U.S.
            | (?:(?<!\w)'(?=(?:{_ELIDED})\b))?                       # 'tis
              [{_LETTER}0-9]+ (?: (?:['-] | (?<=[0-9])[.,:](?=[0-9])) [{_LETTER}0-9]+ )* )
    | (?P<space> \s+ )
    | (?P<mark> [,.!?;:\-"()]+ )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True)
class Written:
    """A text with the place of every character in the text that somebody gave."""

    text: str
    positions: list[int]  # as many as characters

    def replaced(self, start: int, end: int, by: str) -> Written:
        """``text[start:end]`` exchanged; all new characters come from where the old ones began."""
        where = self.positions[start] if start < len(self.positions) else len(self.positions)
        positions = [*self.positions[:start], *[where] * len(by), *self.positions[end:]]
        return Written(self.text[:start] + by + self.text[end:], positions)

    def rewritten(self, text: str) -> Written:
        """``text`` made from this one: words that stayed keep their places, new ones come from where theirs began."""
        if text == self.text:
            return self
        old, new = re.findall(r"\s+|\S+", self.text), re.findall(r"\s+|\S+", text)
        starts = [0, *itertools.accumulate(map(len, old))]
        positions: list[int] = []
        for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            if kind == "equal":
                positions += self.positions[starts[a] : starts[b]]
            else:
                where = self.positions[min(starts[a], len(self.positions) - 1)]
                positions += [where] * sum(map(len, new[c:d]))
        return Written(text, positions)


@dataclass(frozen=True)
class Segment:
    """A word, white space, one punctuation mark, or a character that is none of these."""

    kind: Literal["word", "space", "mark", "other"]
    text: str
    start: int


def written(text: str) -> Written:
    """``text`` in composed characters (NFC), with one kind of quote and dash, without invisible characters."""
    characters: list[str] = []
    positions: list[int] = []
    i = 0
    while i < len(text):
        end = i + 1
        while end < len(text) and unicodedata.combining(text[end]):
            end += 1
        for offset, character in enumerate(
            unicodedata.normalize("NFC", text[i:end]) if not text[i].isascii() or end > i + 1 else text[i]
        ):
            if unicodedata.category(character) == "Cf" or "\ufe00" <= character <= "\ufe0f":
                continue  # soft hyphen, zero-width joiner, variant of an emoji: nothing to see, nothing to say
            characters.append(_SAME.get(character, character))
            positions.append(min(i + offset, end - 1))
        i = end
    return Written("".join(characters), positions)


def segments(text: str) -> Iterator[Segment]:
    """The parts of ``text``, in order. A run of punctuation is one mark: the strongest of those that end, or its first."""
    for match in _SEGMENT.finditer(text):
        kind = match.lastgroup
        found = match.group()
        if kind == "mark":
            yield from _marks(found, match.start())
        else:
            yield Segment(kind, found, match.start())  # type: ignore[arg-type]


def _marks(run: str, start: int) -> Iterator[Segment]:
    """``...`` is one full stop, ``?!`` a question mark, ``--`` a dash; quotes and brackets stay apart."""
    for match in re.finditer(r"[,.!?;:]+|-+|.", run):
        found = match.group()
        best = min(found, key="?!.;:,".find) if found[0] in "?!.;:," else found[0]
        yield Segment("mark", best, start + match.start())


def folded(word: str) -> str:
    """Without accents: ``é`` is ``e``, ``ß`` is ``ss``; for tables and dictionaries that know only plain letters."""
    plain = "".join(_FOLDED.get(c, c) for c in word)
    return "".join(c for c in unicodedata.normalize("NFD", plain) if not unicodedata.combining(c))
