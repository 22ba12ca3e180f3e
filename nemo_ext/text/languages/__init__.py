"""What the text side knows of each language, and nothing of any corpus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module

from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.text.rules import Rule

LANGUAGES = ("en", "de")


@dataclass(frozen=True)
class Language:
    """The static facts of one language."""

    code: str  # ISO 639-1
    espeak_voice: str
    letters: str  # lower case
    ipa: str  # every character of espeak's IPA for this language
    abbreviations: Mapping[str, str]  # as written -> as spoken; always expanded
    numeric_abbreviations: Mapping[str, str]  # the same, only before a number
    closing: frozenset[str]  # abbreviations that may be the last word of a sentence
    symbols: Mapping[str, str]  # character -> as spoken, where the engine has left it
    heteronyms: frozenset[str]  # lower case words that are read in two ways, with two meanings
    rules: tuple[Rule, ...]  # numbers, signs and names that the language's own rules read; the first that fits wins
    interjections: tuple[tuple[str, str], ...] = ()  # patterns of words without a vowel, and their IPA
    letter_a: str = ""  # IPA of the letter A, where a lone capital A is a word besides
    lettered: frozenset[str] = field(default_factory=frozenset)  # words that a letter follows: "plan A"
    grammars: bool = True  # nemo_text_processing's read what the rules leave; without, the rules must read everything


def language(code: str) -> Language:
    """The language of an ISO code; ``de-DE`` is ``de``.

    Raises:
        NemoExtError: it is not one of `LANGUAGES`.
    """
    short = code.lower().replace("_", "-").partition("-")[0]
    if short not in LANGUAGES:
        raise NemoExtError(f"no language '{code}'{nearest(short, LANGUAGES)}; there are {', '.join(LANGUAGES)}")
    found: Language = import_module(f"{__name__}.{short}").LANGUAGE
    return found
