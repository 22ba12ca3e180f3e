"""Text of any length cut into sentences."""

from __future__ import annotations

import functools
import re

from nemo_ext.text.languages import language as find_language

_END = re.compile(r"""[.!?…]+["'”’“»)\]]*(?=\s|$)|\n\s*\n""")
_WORD_BEFORE = re.compile(r"[^\s(\[\"'„“»]+$")


def split_sentences(text: str, language: str) -> list[str]:
    """The sentences of ``text``, each as it is written there, without the white space around it.

    A full stop ends no sentence after an abbreviation (``Dr.``, ``z. B.``), an initial, or a German ordinal
    (``am 3. Mai``), nor inside a number. An empty line always ends one. Sentences without any letter or digit stay with
    the one before.
    """
    found: list[str] = []
    start = 0
    for match in _END.finditer(text):
        if match.end() <= start or not _ends(text, match, language):
            continue
        piece = text[start : match.end()].strip()
        if any(c.isalnum() for c in piece) or not found:
            if piece:
                found.append(piece)
            start = match.end()
    rest = text[start:].strip()
    if rest:
        found.append(rest)
    return found


def _ends(text: str, match: re.Match[str], code: str) -> bool:
    marks = match.group()
    following = text[match.end() :].lstrip()
    if not following or marks[0] == "\n":
        return True
    first = next((c for c in following if c.isalnum()), "")
    if marks != ".":
        # "Stop!" he said: what goes on in lower case is the same sentence
        return not first.islower()
    before = text[: match.start()]
    last = _WORD_BEFORE.search(before[-40:])
    word = last.group() if last else ""
    if first.islower():
        return False
    if word.lower() in _abbreviations(code):
        return False
    if len(word) == 1 and word.isalpha() and ((word.isupper() and word != "I") or code[:2] == "de"):
        return False  # J. S. Bach
    if word.isdigit() and code[:2] == "de":
        return not _ordinal(word, following, code)
    return True


def _ordinal(number: str, following: str, code: str) -> bool:
    """German writes ordinals with a full stop; four digits and more are years or amounts at the end of a sentence."""
    after = re.match(r"\w+", following)
    month = bool(after) and after.group().lower() in find_language(code).months  # type: ignore[union-attr]
    return month or len(number) <= 2


@functools.cache
def _abbreviations(code: str) -> frozenset[str]:
    known = find_language(code)
    # those that may close a sentence do where a capital follows
    listed = {
        form
        for s in [*known.abbreviations, *known.numeric_abbreviations]
        if s not in known.closing
        for form in _forms(s)
    }
    return frozenset(listed) | known.not_an_end


def _forms(short: str) -> set[str]:
    """``z. B.`` is met as its last letter or, written without the blank, whole."""
    plain = short.lower().removesuffix(".")
    return {plain, plain.replace(" ", ""), plain.rpartition(" ")[2]}
