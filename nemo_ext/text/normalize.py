"""Numbers, dates, units and abbreviations written out: a language's rules, and the grammars of nemo_text_processing.

The grammars take half a minute and more to compile, once for a machine: they are kept in the user's cache. They see
only what the rules have left, the numbers with the words around them, and plain text costs nothing.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nemo_ext import files
from nemo_ext.console import Progress
from nemo_ext.errors import NemoExtError
from nemo_ext.text.languages import Language
from nemo_ext.text.languages import language as find_language
from nemo_ext.text.rules import Reading, Rule, after, alternatives, readings
from nemo_ext.text.written import Written, joined

_FOR_ENGINE = re.compile(r"\d|@|www\.|://")  # what needs more than a word for a sign
_MOST_CHUNKS = 12  # that the grammars get at once: they need more than linear time
_NEIGHBOURS = 1  # chunks of text before and after a number that say how to read it: "5 pounds", "on May 3"


def normalized(text: Written, code: str) -> Written:
    """``text`` as it is spoken, with the place of every character in the given text.

    The language's rules and abbreviations read what they know. What is left between goes to the grammars, where the
    language has any, and single signs become words at the end.
    """
    known = find_language(code)
    found = readings(text.text, all_rules(known.code))
    if not found and not _SIGN.search(text.text) and not _FOR_ENGINE.search(text.text):
        return text
    stopped = text.text.rstrip().endswith(".")
    text = _symbols(_put_together(text, found, known), known)
    if stopped and text.text[-1:].isalnum():  # the engine takes the last full stop for that of "a.m."
        text = text.rewritten(text.text + ".")
    return text


# Hundredths of the time that each English grammar takes to compile, and what comes after the last.
_COMPILING = {"cardinal": 5, "ordinal": 1, "measure": 23, "date": 1, "telephone": 1, "money": 14, "whitelist": 2}
_COMPILING |= {"punct": 3, "word": 6, "serial": 17, "range": 2, "all in one": 25}
_SIGN = re.compile(r"[^\w\s.,;:!?'\"()—-]|[²³¹½⅓⅔¼¾⅕⅛]")


def _put_together(text: Written, found: list[Reading], known: Language) -> Written:
    """``text`` with what the rules have read in its place, and what is left between given to the grammars."""
    pieces: list[Written] = []
    at = 0
    for reading in found:
        pieces.append(_numbers(text.part(at, reading.start), known))
        pieces.append(text.part(reading.start, reading.end).all_as(reading.spoken))
        at = reading.end
    pieces.append(_numbers(text.part(at, len(text.text)), known))
    return joined(pieces)


@functools.cache
def all_rules(code: str) -> tuple[Rule, ...]:
    """The rules of a language, then its abbreviations, which are the last to claim a span."""
    known = find_language(code)
    always, numeric = alternatives(known.abbreviations), alternatives(known.numeric_abbreviations)
    pattern = re.compile(rf"(?<![\w.])(?:(?:{always})|(?:{numeric})(?=\s*\d))(?!\w)")
    return (*known.rules, Rule("abbreviation", pattern, lambda match: _expanded(match, known)))


def _expanded(match: re.Match[str], known: Language) -> str:
    short = re.sub(r"\s", "", match.group())
    following = after(match)
    ends = short.endswith(".") and (not following or (short in _closing(known.code) and following[:1].isupper()))
    return _abbreviation_table(known.code)[short] + "." * ends


@functools.cache
def _closing(code: str) -> frozenset[str]:
    return frozenset(short.replace(" ", "") for short in find_language(code).closing)


@functools.cache
def _abbreviation_table(code: str) -> dict[str, str]:
    known = find_language(code)
    both = {**known.abbreviations, **known.numeric_abbreviations}
    return {short.replace(" ", ""): spoken for short, spoken in both.items()}


def _numbers(text: Written, known: Language) -> Written:
    """A stretch that no rule has touched, its numbers read by the grammars with a word on either side."""
    if not known.grammars or not _FOR_ENGINE.search(text.text):
        return text
    chunks = [(m.start(), m.end()) for m in re.finditer(r"\S+", text.text)]
    hot = [bool(_FOR_ENGINE.search(text.text[start:end])) for start, end in chunks]
    spans: list[tuple[int, int]] = []
    for i, is_hot in enumerate(hot):
        if not is_hot:
            continue
        first, last = max(0, i - _NEIGHBOURS), min(len(chunks) - 1, i + _NEIGHBOURS)
        if spans and first <= spans[-1][1] + 1 and last - spans[-1][0] < _MOST_CHUNKS:
            spans[-1] = (spans[-1][0], last)
        elif not spans or i > spans[-1][1]:
            spans.append((max(first, spans[-1][1] + 1) if spans else first, last))
    pieces: list[Written] = []
    at = 0
    for first, last in spans:
        start, end = chunks[first][0], chunks[last][1]
        spoken = _spoken(re.sub(r"\s+", " ", text.text[start:end]), known.code)
        pieces += [text.part(at, start), text.part(start, end).rewritten(spoken)]
        at = end
    return joined([*pieces, text.part(at, len(text.text))])


def _symbols(text: Written, known: Language) -> Written:
    for i in reversed(range(len(text.text))):
        spoken = known.symbols.get(text.text[i])
        if spoken:
            before = " " if i and not text.text[i - 1].isspace() else ""
            after = " " if i + 1 < len(text.text) and text.text[i + 1].isalnum() else ""
            text = text.replaced(i, i + 1, before + spoken + after)
    return text


@functools.lru_cache(maxsize=20000)
def _spoken(text: str, code: str) -> str:
    spoken: str = _engine(code).normalize(text, verbose=False, punct_post_process=True)
    return spoken


def cache_dir() -> Path:
    """Where compiled grammars are kept: under NEMO_EXT_CACHE, XDG_CACHE_HOME or ~/.cache."""
    named = os.environ.get("NEMO_EXT_CACHE")
    if named:
        return Path(named).expanduser() / "normalizer"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nemo_ext" / "normalizer"


@functools.cache
def _engine(code: str) -> Any:
    """The engine of one language."""
    folder = compiled(code)
    logging.getLogger("NeMo-text-processing").disabled = True  # it has a line for every punctuation mark of a text
    return _normalizer(code, str(folder))


def compiled(code: str) -> Path:
    """The folder with a language's grammars; compiled beside it and renamed, so that no process meets half of them.

    Raises:
        NemoExtError: the cache cannot be written.
    """
    folder = cache_dir() / f"{version('nemo_text_processing')}-{version('pynini')}" / code
    if folder.is_dir():
        return folder
    print(
        f"compiling the text normalizer for '{code}', once on this machine: 20 seconds to minutes ...",
        file=sys.stderr,
        flush=True,
    )
    held = contextlib.ExitStack()
    try:
        files.sweep(folder.parent)
        building = held.enter_context(files.workspace(folder))
    except OSError as error:
        raise NemoExtError(f"cannot write to {folder.parent}: name another folder in NEMO_EXT_CACHE") from error
    with held:
        with _progress(code):
            _normalizer(code, str(building))
        try:
            os.rename(building, folder)
        except OSError:
            if not folder.is_dir():  # another process was first: its folder is as good
                raise
    return folder


@contextlib.contextmanager
def _progress(code: str) -> Iterator[None]:
    """How far compiling has come, by what nemo_text_processing logs when a grammar is done."""
    from nemo_text_processing.utils.logging import logger as log  # importing it sets its level and a handler

    before = log.level, log.handlers, log.propagate, log.disabled
    with Progress(sum(_COMPILING.values()), f"compiling the text normalizer for '{code}'") as progress:
        log.setLevel(logging.DEBUG)
        log.handlers, log.propagate, log.disabled = [_Steps(progress)], False, False
        try:
            yield
            progress.step(progress.total - progress.done)
        finally:
            log.setLevel(before[0])
            log.handlers, log.propagate, log.disabled = before[1:]


class _Steps(logging.Handler):
    """Moves a progress on by the share of each grammar that is reported as done."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self._progress.step(_COMPILING.get(record.getMessage().partition(":")[0], 0))


def _normalizer(code: str, folder: str) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies, about other things
        from nemo_text_processing.text_normalization.normalize import Normalizer

        return Normalizer(input_case="cased", lang=code, cache_dir=folder, overwrite_cache=False)
