"""Text of any length cut into sentences."""

from __future__ import annotations

import functools
import re

from nemo_ext.text.languages import language as find_language

_END = re.compile(r"""[.!?…]+["'”’“»)\]]*(?=\s|$)|\n\s*\n""")
_INITIALS = re.compile(r"(?!i$)[^\W\d_](\.[^\W\d_])*(?<!^a\.m)(?<!^p\.m)")  # J. S. Bach, U.S. Army; not "It was I."
_WORD_BEFORE = re.compile(r"[^\s(\[\"'„“»]+$")


def split_sentences(text: str, language: str) -> list[str]:
    """The sentences of ``text``, each as it is written there, without the white space around it.

    A full stop ends no sentence after an abbreviation (``Dr.``, ``z. B.``), an initial, or a German ordinal
    (``am 3. Mai``), nor inside a number. An empty line always ends one. What has neither letter nor digit stays with
    the sentence before it, or the one after it at the beginning.
    """
    code = find_language(language).code
    ends = [match.end() for match in _END.finditer(text) if _ends(text, match, code)]
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


def _ends(text: str, match: re.Match[str], code: str) -> bool:
    marks = match.group()
    following = text[match.end() : match.end() + 60].lstrip()
    if not following or marks[0] == "\n":
        return True
    first = next((c for c in following if c.isalnum()), "")
    if first.islower():
        return False  # "Stop!" he said
    if marks != ".":
        return True
    last = _WORD_BEFORE.search(text[max(0, match.start() - 40) : match.start()])
    word = last.group().lower() if last else ""
    return not (
        word in _abbreviations(code)
        or (word in _numeric_abbreviations(code) and first.isdigit())
        or _INITIALS.fullmatch(word)
        or (word.isdigit() and _ordinal(word, text[: match.start()], following, code))
    )


_BEFORE_ORDINAL = re.compile(
    r"\b(der|die|das|dem|den|des|am|im|zum|zur|vom|beim|ein|eine[mnrs]?|jede[mnrs]?|[mds]eine?[mnrs]?|ihre?[mnrs]?"
    r"|unsere?[mnrs]?|und|bis|ab|seit|nach|vor)\s+\d+$",
    re.IGNORECASE,
)


def _ordinal(number: str, before: str, following: str, code: str) -> bool:
    """German writes ordinals with a full stop. Of three digits and more, an end of a sentence is likelier."""
    known = find_language(code)
    after = re.match(r"\w+", following)
    word = after.group().lower() if after else ""
    if not known.months or word in known.months:
        return bool(known.months)
    return len(number) <= 2 and (word not in known.beginners or bool(_BEFORE_ORDINAL.search(before[-40:])))


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
