"""A person's own pronunciations: ``word<TAB>phones``, in IPA or ARPAbet, for tables of either."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from nemo_ext.errors import NemoExtError
from nemo_ext.text import arpabet
from nemo_ext.text.tokens import TokenTable
from nemo_ext.untrusted import read_lines

_MOST_BYTES = 64 << 20  # of a lexicon: cmudict has 4 MB


def read_lexicon(path: str | Path) -> dict[str, str]:
    """Word -> phones as written in the file; a tab or two blanks between them, ``#`` begins a comment.

    Raises:
        NemoExtError: the file cannot be read, a line is not ``word<TAB>phones``, or a word stands there twice.
    """
    try:
        lines = read_lines(Path(path).expanduser(), _MOST_BYTES, "lexicon")
    except NemoExtError as error:
        raise NemoExtError(f"lexicon={path} cannot be read: {error}; give a text file in UTF-8") from error
    entries: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        content = re.sub(r"(^|\s)#.*", "", line).strip()
        if not content:
            continue
        parts = re.split(r"\t\s*| {2,}", content, maxsplit=1)
        word = unicodedata.normalize("NFC", parts[0]).strip().replace("’", "'")
        if len(parts) != 2 or not parts[1].strip() or not word or " " in word:
            raise NemoExtError(
                f"{path}, line {number}: write one word, a tab and its phones, not {line.strip()[:40]!r}"
            )
        if word in entries:
            raise NemoExtError(f"{path}, line {number}: '{word}' stands there twice; leave one line")
        entries[word] = unicodedata.normalize("NFC", parts[1].strip())
    return entries


class Lexicon:
    """Entries ready to use with one table.

    Raises:
        NemoExtError: an entry has a phone that the table does not know.
    """

    def __init__(self, entries: Mapping[str, str], alphabet: str, table: TokenTable) -> None:
        self._symbols: dict[str, list[str]] = {}
        self._any_case: dict[str, list[str]] = {}
        for word, phones in entries.items():
            symbols = _symbols(phones, alphabet)
            unknown = [s for s in symbols if s not in table]
            if unknown or not symbols:
                which = unknown[0] if unknown else phones
                raise NemoExtError(f"lexicon entry '{word}': the {alphabet} table does not know {which!r}")
            self._symbols[word] = symbols
            self._any_case.setdefault(word.casefold(), symbols)

    def get(self, word: str) -> list[str] | None:
        """Symbols of ``word``: as written, or in any case; None where the lexicon has nothing to say."""
        if not self._symbols:
            return None
        return self._symbols.get(word) or self._any_case.get(word.casefold())


def _symbols(phones: str, alphabet: str) -> list[str]:
    if alphabet == "chars":
        return list(phones.lower())  # another spelling
    parts = phones.split()
    if arpabet.is_arpabet(parts):
        parts = arpabet.with_stress(parts)
        return parts if alphabet == "arpabet" else list(arpabet.to_ipa(parts))
    ipa = "".join(parts)
    if alphabet == "arpabet":
        # a phone that is none must not vanish on the way
        return arpabet.from_ipa(ipa) if arpabet.reads(ipa) else parts
    # as espeak writes it: a nasal vowel is a vowel and a tilde, but ç is one sound
    return list(unicodedata.normalize("NFD", ipa).replace("c\u0327", "ç"))
