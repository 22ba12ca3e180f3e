"""The table of tokens: fixed by alphabet and languages, never by a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nemo_ext.errors import NemoExtError
from nemo_ext.text import arpabet
from nemo_ext.text.languages import language

if TYPE_CHECKING:
    from nemo_ext.text.config import TextConfig

PAD = "<pad>"
SPACE = " "
PUNCTUATION = [",", ".", "!", "?", ";", ":", "—", '"', "(", ")"]


class TokenTable:
    """Symbols and their ids. ``pad`` is the id of the padding token."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = list(symbols)
        self._ids = {symbol: i for i, symbol in enumerate(self.symbols)}
        if len(self._ids) != len(self.symbols):
            twice = next(s for i, s in enumerate(self.symbols) if self._ids[s] != i)
            raise NemoExtError(f"text.symbols holds {twice!r} twice; leave one out")
        for needed in (PAD, SPACE):
            if needed not in self._ids:
                raise NemoExtError(f"text.symbols lacks {needed!r}; add it, or leave text.symbols empty")
        self.pad = self._ids[PAD]
        self.space = self._ids[SPACE]

    def __len__(self) -> int:
        return len(self.symbols)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._ids

    def index(self, symbol: str) -> int:
        """The id of ``symbol``.

        Raises:
            KeyError: the table has none.
        """
        return self._ids[symbol]


def built_symbols(cfg: TextConfig) -> list[str]:
    """Padding (id 0), space, punctuation, letters, phonemes: the union over ``cfg.languages``.

    Letters stand for words that g2p does not know. They are upper case beside IPA and lower case beside ARPAbet, so
    that none is taken for a phoneme.
    """
    known = [language(code) for code in cfg.languages]
    letters = sorted({c for one in known for c in one.letters})
    common = [PAD, SPACE, *PUNCTUATION, "'", "-"]  # the last two inside words that stay letters
    if cfg.alphabet == "chars":
        return [*common, *letters]
    if cfg.alphabet == "arpabet":
        return [*common, *letters, *arpabet.SYMBOLS]
    return [*common, *(upper(c) for c in letters), *sorted({c for one in known for c in one.ipa})]


def upper(letter: str) -> str:
    """One character in upper case, ``ß`` too."""
    return "ẞ" if letter == "ß" else letter.upper()
