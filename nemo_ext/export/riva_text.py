"""The text side of a voice as Riva reads it: mapping.txt, and dictionaries of pronunciations.

Riva turns text into tokens by itself: it looks every word up in a dictionary, and spells out those that are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from nemo_ext import untrusted
from nemo_ext.errors import NemoExtError, NothingToSpeak
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.text.tokens import PAD, PUNCTUATION, SPACE

_NO_PHONES = {PAD, SPACE, *PUNCTUATION, "'", "-"}


def mapping(symbols: Sequence[str], alphabet: str) -> str:
    """mapping.txt: a row ``"{id} {token}"`` for each of ``symbols``, phones with ``@`` before them.

    As nemo2riva writes it for its two kinds of tables (nemo2riva/patches/tts/general.py). Beside ARPAbet, and in a
    table of letters, each lower-case letter has a second row in upper case: NeMo lowers text before it looks letters
    up, and Riva does not. In a table of IPA every symbol that is neither punctuation nor an upper-case letter is a
    phone; nemo2riva knows the phones of English only, and leaves some of other languages without ``@``.
    """
    rows = []
    for i, symbol in enumerate(symbols):
        if _is_phone(symbol, alphabet):
            rows.append(f"{i} @{symbol}")
            continue
        rows.append(f"{i} {symbol}")
        if alphabet != "ipa" and symbol.isalnum() and symbol.islower() and symbol.upper() != symbol:
            rows.append(f"{i} {_upper(symbol)}")
    return "\n".join(rows)


def _is_phone(symbol: str, alphabet: str) -> bool:
    if symbol in _NO_PHONES or alphabet == "chars":
        return False
    if alphabet == "arpabet":
        return symbol.isalnum() and not symbol.islower()
    return not (symbol.isalpha() and symbol.isupper())


def _upper(letter: str) -> str:
    return "ẞ" if letter == "ß" else letter.upper()


def read_words(path: Path) -> list[str]:
    """The words in a text file, one a line.

    Raises:
        NemoExtError: it cannot be read.
    """
    try:
        lines = untrusted.read_lines(path.expanduser(), what="list of words")
    except NemoExtError as error:
        raise NemoExtError(f"{path} cannot be read: give a text file in UTF-8 with a word a line") from error
    return [line.strip() for line in lines if line.strip()]


def dictionary(frontend: TextFrontend, words: Iterable[str], language: str) -> str:
    """Pronunciations of ``words`` and of the lexicon's as Riva reads them: upper-case word, two blanks, phones.

    Riva looks words up in upper case (nemo2riva#34). Phones stand one after the other in IPA, with blanks in ARPAbet.
    A word that ``frontend`` would spell out too is left to Riva, which does the same; so is one of several parts.
    A table of letters has no dictionary: the text is empty then.
    """
    alphabet = frontend.config.alphabet
    if alphabet == "chars":
        return ""
    found: dict[str, str] = {}
    for word in [*frontend.config.lexicon_entries, *words]:
        try:
            said = frontend.encode(word, language, normalized=word)
        except NothingToSpeak:
            continue
        if len(said.words) != 1 or said.unknown:
            continue
        _, first, behind = said.words[0]
        phones = said.symbols[first:behind]
        if not all(_is_phone(symbol, alphabet) for symbol in phones):
            continue
        spelt = (" " if alphabet == "arpabet" else "").join(phones)
        for key in {word.upper(), "".join(_upper(c) for c in word)}:  # of ß Riva may make SS or ẞ
            found.setdefault(key, spelt)
    return "".join(f"{word}  {phones}\n" for word, phones in sorted(found.items()))
