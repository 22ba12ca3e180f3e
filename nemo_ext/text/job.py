"""The job ``nemo-ext text``: how a text is read, sentence by sentence, and the grammars compiled beforehand.

Loads no model and no torch.
"""

from __future__ import annotations

import sys
import time
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nemo_ext.config import option
from nemo_ext.console import clock, printable, tell
from nemo_ext.errors import NemoExtError, NothingToSpeak
from nemo_ext.jobs import Command
from nemo_ext.text.config import TextConfig
from nemo_ext.text.languages import LANGUAGES
from nemo_ext.text.languages import language as find_language

if TYPE_CHECKING:
    from nemo_ext.text.frontend import TextFrontend
    from nemo_ext.types import Tokens


@dataclass
class TextJobConfig:
    """Show how a text is read, or compile the grammars for it."""

    action: str = option(
        "show",
        "show: how a text is read; compile: the grammars of a language, which otherwise its first number waits for",
        choices=("show", "compile"),
    )
    text: str = option("", "what to read, of any length; '-' reads standard input", verbatim=True)
    language: str = option("", "language of the text, en or de; when left out en, for compile all", verbatim=True)
    alphabet: str = option("ipa", "what a token stands for", choices=("ipa", "arpabet", "chars"))
    g2p: str = option("auto", "who pronounces words", choices=("auto", "espeak", "cmudict", "graphemes"))
    lexicon: str = option("", "file of word<TAB>phones that wins over g2p", path=True)
    heteronyms: str = option("first", "words with several pronunciations", choices=("first", "graphemes"))

    def check(self) -> None:
        """Refuse what cannot be done, before anything is loaded.

        Raises:
            NemoExtError: names the option and what it may be.
        """
        if self.language:
            find_language(self.language)
        if self.action == "compile" and self.text:
            raise NemoExtError("text= and compile are both given: leave one out")


def text(config: TextJobConfig) -> None:
    """Print how ``config.text`` is read, or compile grammars.

    Raises:
        NemoExtError: an option that cannot be meant; a text without a word; a cache that cannot be written.
    """
    config.check()
    if config.action == "compile":
        _compile([find_language(config.language).code] if config.language else list(LANGUAGES))
        return
    written = _given(config.text)
    code = find_language(config.language or "en").code

    from nemo_ext.text.frontend import TextFrontend

    frontend = TextFrontend(
        TextConfig(
            alphabet=config.alphabet,
            g2p=config.g2p,
            languages=[code],
            lexicon=config.lexicon or None,
            heteronyms=config.heteronyms,
        )
    )
    _show(written, code, frontend)


def _given(typed: str) -> str:
    if typed and typed != "-":
        return typed
    if not typed and (sys.stdin is None or sys.stdin.isatty()):
        raise NemoExtError('nothing to read: give text="...", or pipe a text in')
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NemoExtError("the text on standard input is not UTF-8") from error


def _show(written: str, code: str, frontend: TextFrontend) -> None:
    sentences = frontend.sentences(written, code)
    if not sentences:
        raise NothingToSpeak("nothing to speak: give a text with at least one word")
    left_out: dict[str, int] = {}
    for number, sentence in enumerate(sentences):
        try:
            tokens = frontend.encode(sentence, code)
        except NothingToSpeak as error:
            if len(sentences) == 1:
                raise
            unknown = error.unknown
        else:
            unknown = tokens.unknown
            tell("\n".join([*([""] if number else []), *_lines(sentence, tokens, frontend)]))
        for character, _ in unknown:
            left_out[character] = left_out.get(character, 0) + 1
    for character, count in left_out.items():
        times = f" {count} times" if count > 1 else ""
        tell(f"warning: left out{times}, for the table of tokens lacks it: {_named(character)}", error=True)


def _lines(sentence: str, tokens: Tokens, frontend: TextFrontend) -> list[str]:
    between = " " if frontend.config.alphabet == "arpabet" else ""
    return [
        f"written     {printable(' '.join(sentence.split()))}",
        f"normalized  {printable(tokens.normalized)}",
        f"phonemes    {between.join(tokens.symbols).strip()}",
        f"tokens      {' '.join(map(str, tokens.ids.tolist()))}  ({len(tokens.ids)})",
    ]


def _named(character: str) -> str:
    names = ", ".join(f"U+{ord(c):04X} {unicodedata.name(c, 'without a name')}" for c in character)
    return f"{printable(character)!r} ({names})"


def _compile(codes: list[str]) -> None:
    from nemo_ext.text.normalize import compiled

    for code in codes:
        if not find_language(code).grammars:
            tell(f"{code}: needs no grammars, its rules read everything")
            continue
        began = time.monotonic()
        folder = compiled(code)
        tell(f"{code}: grammars are in {folder} ({clock(time.monotonic() - began)})")


def then(cfg: TextJobConfig, _result: object) -> Command | None:
    """The command to type next, when grammars were prepared."""
    return ("text", {"language": cfg.language, "text": "3:10"}) if cfg.action == "compile" else None
