"""Text of any length cut into sentences."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from nemo_ext.text.languages import language as find_language
from nemo_ext.text.normalize import all_rules
from nemo_ext.text.rules import readings

_END = re.compile(r"""[.!?…]+["'”’“»)\]]*(?=\s|$)|\n\s*\n""")
_INITIALS = re.compile(r"[^\W\d_](\.[^\W\d_])*(?<!^a\.m)(?<!^p\.m)")  # J. S. Bach, U.S. Army; not "It was I."
_WORD_BEFORE = re.compile(r"[^\s(\[\"'„“»]+$")


def split_sentences(text: str, language: str) -> list[str]:
    """The sentences of ``text``, each as it is written there, without the white space around it.

    A full stop ends no sentence after an abbreviation (``Dr.``, ``z. B.``), an initial, or a German ordinal
    (``am 3. Mai``), nor inside anything that a rule of the language reads as one. An empty line always ends one. What
    has neither letter nor digit stays with the sentence before it, or the one after it at the beginning.
    """
    code = find_language(language).code
    stops = _stops(text, code)
    ends = [match.end() for match in _END.finditer(text) if _ends(text, match, code, stops)]
    found: list[str] = []
    start = spoken = 0  # where this sentence begins, and where the one before it does
    for end in [*ends, len(text)]:
        piece = text[start:end].strip()
        if any(c.isalnum() for c in piece):
            found.append(piece)
            spoken, start = start, end
        elif piece and found:
            found[-1] = text[spoken:end].strip()
            start = end
    return found


def _stops(text: str, code: str) -> dict[int, bool]:
    """Places of full stops that a rule has read as a part of something, and whether one is left when it is spoken."""
    found: dict[int, bool] = {}
    for reading in readings(text, all_rules(code)):
        for place in range(reading.start, reading.end):
            if text[place] == ".":
                found[place] = place == reading.end - 1 and reading.spoken.endswith(".")
    return found


def _ends(text: str, match: re.Match[str], code: str, stops: Mapping[int, bool]) -> bool:
    marks = match.group()
    following = text[match.end() : match.end() + 60].lstrip()
    if not following or marks[0] == "\n":
        return True
    first = next((c for c in following if c.isalnum()), "")
    if first.islower():
        return False  # "Stop!" he said
    if marks != ".":
        return True
    if match.start() in stops:
        return stops[match.start()]
    last = _WORD_BEFORE.search(text[max(0, match.start() - 40) : match.start()])
    word = last.group().lower() if last else ""
    return not (
        word in _abbreviations(code)
        or (word in _numeric_abbreviations(code) and first.isdigit())
        or (_INITIALS.fullmatch(word) and not (word == "i" and code == "en"))
    )


@functools.cache
def _abbreviations(code: str) -> frozenset[str]:
    known = find_language(code)
    # those that may close a sentence do where a capital follows
    return frozenset(form for s in known.abbreviations if s not in known.closing for form in _forms(s))


@functools.cache
def _numeric_abbreviations(code: str) -> frozenset[str]:
    return frozenset(form for s in find_language(code).numeric_abbreviations for form in _forms(s))


def _forms(short: str) -> set[str]:
    """``z. B.`` is met as its last letter or, written without the blank, whole."""
    plain = short.lower().removesuffix(".")
    return {plain, plain.replace(" ", ""), plain.rpartition(" ")[2]}
