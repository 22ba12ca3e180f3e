"""The options of the text side of an acoustic model. With `symbols` filled they travel in its .nemo."""

from __future__ import annotations

from dataclasses import dataclass

from nemo_ext.config import option


@dataclass
class TextConfig:
    """How text becomes tokens. Chosen by the group ``text``: conf/text/ipa.yaml, arpabet.yaml, chars.yaml."""

    alphabet: str = option("ipa", "what a token stands for", choices=("ipa", "arpabet", "chars"))
    g2p: str = option(
        "auto",
        "who pronounces words: auto is espeak where it is installed, otherwise cmudict (arpabet: always cmudict); "
        "cmudict knows English, other languages stay graphemes",
        choices=("auto", "espeak", "cmudict", "graphemes"),
    )
    languages: list[str] = option(
        ["en"], "languages whose symbols the table holds: en, de; a training that names none takes those of its corpus"
    )
    lexicon: str | None = option(None, "file of word<TAB>phones that wins over g2p", path=True)
    normalize: bool = option(True, "write out numbers, dates, units and abbreviations")
    heteronyms: str = option(
        "first",
        "words with several pronunciations: first takes the dictionary's first (espeak decides by its context), "
        "graphemes leaves them as letters",
        choices=("first", "graphemes"),
    )
    symbols: list[str] = option([], "the token table as it is; empty: built from alphabet and languages")
    lexicon_entries: dict[str, str] = option({}, "what the lexicon file held; filled by training")
