"""Normalization by rules: each span of a text is read by the first rule that claims it, and then by nothing else.

A language's rules stand in order in one table. Every pattern looks at the text as it was written, so no rule depends on
what another has made of its neighbours, and what a rule has read is out of reach of later rules, of the grammars of
nemo_text_processing, and of the table of single signs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

_MOST_DIGITS = 18  # longer numbers are read digit by digit


@dataclass(frozen=True)
class Rule:
    """One kind of written form.

    Attributes:
        name: what it is, as the field calls it.
        pattern: where it may stand; only its match is replaced, its lookaround is context.
        read: the spoken words of a match, or None where it is something else after all.
        examples: written and spoken, checked by the tests.
    """

    name: str
    pattern: re.Pattern[str]
    read: Callable[[re.Match[str]], str | None]
    examples: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Reading:
    """``text[start:end]``, which is spoken as ``spoken``; ``rule`` names who says so."""

    start: int
    end: int
    spoken: str
    rule: str


def readings(text: str, rules: Iterable[Rule]) -> list[Reading]:
    """What ``rules`` read in ``text``, in the order of the text, without overlaps."""
    taken = bytearray(len(text))
    found: list[Reading] = []
    for rule in rules:
        at = 0
        while match := rule.pattern.search(text, at):
            start, end = match.span()
            spoken = None if end == start or any(taken[start:end]) else rule.read(match)
            if spoken is None:
                at = start + 1
                continue
            found.append(Reading(start, end, spoken, rule.name))
            taken[start:end] = b"\1" * (end - start)
            at = end
    return sorted(found, key=lambda reading: reading.start)


def before(match: re.Match[str], most: int = 80) -> str:
    """What stands before a match, up to ``most`` characters of it, without white space at its end."""
    return match.string[max(0, match.start() - most) : match.start()].rstrip()


def after(match: re.Match[str], most: int = 80) -> str:
    """What stands behind a match, up to ``most`` characters of it, without white space at its beginning."""
    return match.string[match.end() : match.end() + most].lstrip()


def last_word(text: str) -> str:
    """The word at the end of ``text`` in lower case, or an empty string where it ends in something else."""
    found = re.search(r"[^\W\d_]+\.?$", text[-40:])
    return found.group().rstrip(".").lower() if found else ""


def first_word(text: str) -> str:
    """The word at the beginning of ``text``, as written, or an empty string."""
    found = re.match(r"[^\W\d_]+", text[:60])
    return found.group() if found else ""


def alternatives(words: Iterable[str]) -> str:
    """A pattern for any of ``words``, the longest first; a blank in one may be missing."""
    return "|".join(re.escape(word).replace(r"\ ", r"\s?") for word in sorted(words, key=len, reverse=True))


def whole(text: str) -> int | None:
    """The number in ``text``, or None where it is so long, or begins with a zero, that its digits are read."""
    return None if len(text) > _MOST_DIGITS or (len(text) > 1 and text[0] == "0") else int(text)


def spelled(text: str) -> str:
    """The letters of ``text`` apart, as capitals, so that each is read by its name."""
    return " ".join(text.upper())


_ROMAN = re.compile(r"(?=[IVXLCDM])M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})")
_ROMAN_DIGITS = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def roman(text: str) -> int | None:
    """The value of a Roman numeral in capitals, written as it should be; None for anything else."""
    if not _ROMAN.fullmatch(text):
        return None
    values = [_ROMAN_DIGITS[letter] for letter in text]
    return sum(-v if v < later else v for v, later in zip(values, [*values[1:], 0], strict=True))


_TOP = """com org net info edu gov mil int eu de at ch li uk us fr it es nl be dk se no fi pl cz ru jp cn in ca au nz br
mx ie pt gr tr io ai tv me app dev shop online blog biz name club wiki berlin"""
_LABEL = r"[A-Za-z0-9äöüÄÖÜß](?:[\w-]{0,61}[A-Za-z0-9äöüÄÖÜß])?"
_HOST = rf"(?:{_LABEL}\.)+(?:{'|'.join(sorted(_TOP.split(), key=len, reverse=True))})(?![\w-])"
_PATH = r"(?::\d{1,5})?(?:/[\w\-./~%+#?=&]*[\w/])?"
_MAIL = re.compile(rf"(?<![\w.@])[A-Za-z0-9][\w.+-]*@(?:{_LABEL}\.)+[A-Za-z]{{2,}}(?![\w-])")
_LINK = re.compile(
    rf"(?<![\w.@/])(?:(?:(?:https?|ftp)://|www\.)(?:{_LABEL}\.)*{_LABEL}|(?-i:{_HOST})){_PATH}", re.IGNORECASE
)


def address_rules(words: Mapping[str, str], number: Callable[[str], str]) -> list[Rule]:
    """Rules for mail addresses and domains; ``words`` says how each sign in them is read, ``number`` reads digits."""

    def part(piece: str) -> str:
        if piece in words:
            return words[piece]
        if piece.isdigit():
            return number(piece)
        unreadable = not re.search(r"[aeiouyäöü]", piece, re.I) or len(piece) <= 2
        return spelled(piece) if unreadable and len(piece) <= 5 else piece

    def read(match: re.Match[str]) -> str:
        text = re.sub(r"^\w+://", "", match.group())
        return " ".join(part(piece) for piece in re.findall(r"\d+|[^\W\d_]+|.", text))

    return [Rule("mail address", _MAIL, read), Rule("internet address", _LINK, read)]
