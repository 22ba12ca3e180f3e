"""Written text: one way to write each character, where it came from, and its words and punctuation."""

from __future__ import annotations

import difflib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

# Several ways to write one thing become one. Whatever stands neither here nor in a table is reported as unknown.
_SAME = {
    **dict.fromkeys("’‘ʼ`´‛", "'"),
    **dict.fromkeys("“”„‟«»″‹›", '"'),
    **dict.fromkeys("–―‒", "—"),
    **dict.fromkeys("−‐‑", "-"),
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
    | (?P<mark> [,.!?;:—\-"()]+ )
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

    def part(self, start: int, end: int) -> Written:
        """``text[start:end]`` by itself."""
        return Written(self.text[start:end], self.positions[start:end])

    def all_as(self, by: str) -> Written:
        """``by`` in place of the whole text, from where that began."""
        return self.replaced(0, len(self.text), by)

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


def joined(pieces: Iterable[Written]) -> Written:
    """One text of several."""
    parts = list(pieces)
    return Written("".join(p.text for p in parts), [place for p in parts for place in p.positions])


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
        composed = text[i:end] if end == i + 1 and text[i].isascii() else unicodedata.normalize("NFC", text[i:end])
        for offset, character in enumerate(composed):
            if unicodedata.category(character) == "Cf" or "\ufe00" <= character <= "\ufe0f":
                continue  # soft hyphen, zero-width joiner, variant of an emoji: nothing to see, nothing to say
            characters.append(_SAME.get(character, character))
            positions.append(min(i + offset, end - 1))
        i = end
    # between numbers a dash is "to" or "minus"
    return Written(re.sub(r"(?<=\d)—(?=\d)", "-", "".join(characters)), positions)


def segments(text: str) -> Iterator[Segment]:
    """The parts of ``text``, in order. Apostrophes around words are silent quotes or genitives, and no part."""
    for match in _SEGMENT.finditer(text):
        found = match.group()
        if match.lastgroup == "mark":
            yield from _marks(found, match.start())
        elif match.lastgroup == "space":
            yield Segment("space", found, match.start())
        elif match.lastgroup == "word":
            yield Segment("word", found, match.start())
            if found.endswith(".") and match.end() == len(text.rstrip()):
                yield Segment("mark", ".", match.end() - 1)  # "in the U.S." ends the sentence as well
        elif found != "'":
            yield Segment("other", found, match.start())


def _marks(run: str, start: int) -> Iterator[Segment]:
    """Repeated marks are one: ``...`` a full stop, ``?!`` a question mark, ``--`` and a lone hyphen a dash."""
    for match in re.finditer(r"[,.!?;:]+|[—-]+|([\"()])\1*", run):
        found = match.group()
        mark = "—" if found[0] in "—-" else min(found, key='?!.;:,"()'.find)
        yield Segment("mark", mark, start + match.start())


def folded(word: str) -> str:
    """Without accents: ``é`` is ``e``, ``ß`` is ``ss``; for tables and dictionaries that know only plain letters."""
    plain = "".join(_FOLDED.get(c, c) for c in word)
    return "".join(c for c in unicodedata.normalize("NFD", plain) if not unicodedata.combining(c))
