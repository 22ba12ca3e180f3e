"""What a person may ask of how a text is spoken: of the whole, of its words, of its tokens.

The three lie on top of each other. What is asked of a word is relative to the whole, what is asked of a token relative
to its word: factors multiply, semitones and decibels add. Of two entries that hit the same word, the one that names it
by number wins over the one that spells it, setting by setting.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.text.written import written
from nemo_ext.types import SLOWEST, Tokens

# what a person may ask for: lowest, highest, unit
LIMITS = {
    "pace": (SLOWEST, 4.0, "times the normal speed"),
    "pitch": (-24.0, 24.0, "semitones"),
    "pitch_range": (0.0, 4.0, "times the normal range of the pitch"),
    "energy": (-20.0, 20.0, "dB"),
    "volume": (-60.0, 20.0, "dB"),
}
NEUTRAL = {"pace": 1.0, "pitch": 0.0, "pitch_range": 1.0, "energy": 0.0, "volume": 0.0}
EXAMPLE = "'never: pitch=3, pace=0.8; #2: energy=4'"
_FACTORS = ("pace", "pitch_range")
_NUMBERED = re.compile(r"([#@])\s*(\d+)(?:\s*-\s*(\d+))?")
_EDGES = " \t\n.,;:!?\"'()-—"

# of one sentence, by name: a number for all of it, or (T_text,), a value a token
Settings = dict[str, float | NDArray[np.float32]]


@dataclass(frozen=True)
class Control:
    """What is asked of a word or token, relative to what surrounds it. None: nothing."""

    pace: float | None = None  # factor on the speed
    pitch: float | None = None  # semitones
    pitch_range: float | None = None  # factor on the distance from the voice's mean pitch
    energy: float | None = None  # dB, how forcefully it is spoken
    volume: float | None = None  # dB, gain on the audio

    @property
    def given(self) -> dict[str, float]:
        """What is asked, by name."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Prosody:
    """What is asked of words and tokens.

    Attributes:
        words: by word as written (``never``, ``3:10``), phrase (``not at all``), or number from 1 over the whole text
            (``#2``, ``#2-4``). Capitals do not matter; a word that comes several times is changed each time.
        tokens: by range of tokens over the whole text, counted from 0 as in ``Speech.tokens``.
        curves: by name of a setting, one value for each token of the whole text.
    """

    words: Mapping[str, Control] = field(default_factory=dict)
    tokens: Mapping[range, Control] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float] | NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Prosody:
        """``"never: pitch=3, pace=0.8; #2: energy=4; @5-8: pitch=-1"``: entries by word, word number, token number.

        Both numbers count from 1 over the whole text; ``nemo-ext say timings=FILE`` writes them down.

        Raises:
            NemoExtError: it cannot be read, an unknown setting, or a value out of range.
        """
        words: dict[str, Control] = {}
        tokens: dict[range, Control] = {}
        for entry in filter(None, map(str.strip, text.split(";"))):
            key, colon, settings = entry.rpartition(":")
            key = key.strip()
            if not (colon and key and settings.strip()):
                raise NemoExtError(f"prosody: '{entry}' cannot be read: write {EXAMPLE}")
            asked = _read(key, settings)
            numbered = _NUMBERED.fullmatch(key)
            if numbered and numbered[1] == "@":
                first, last = _span(key, numbered)
                tokens[range(first - 1, last)] = _both(key, tokens.get(range(first - 1, last)), asked)
            else:
                words[key] = _both(key, words.get(key), asked)
        if not words and not tokens:
            raise NemoExtError(f"prosody='{text}' asks for nothing: write {EXAMPLE}, or leave it out")
        return cls(words, tokens)


def check_range(name: str, value: float, of: str = "") -> None:
    """Refuse what cannot be spoken.

    Raises:
        NemoExtError: ``value`` is no number, or outside what ``name`` may be.
    """
    lowest, highest, unit = LIMITS[name]
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)  # numpy's own are such, too
    if not (real and math.isfinite(value) and lowest <= value <= highest):
        raise NemoExtError(f"{name}={value}{of} cannot be spoken: give {lowest:g} to {highest:g} {unit}")


def plan(
    prosody: Prosody | None, whole: Mapping[str, float], said: Sequence[tuple[str, Tokens]]
) -> tuple[list[Settings], list[str]]:
    """Every sentence's settings, and notes for the person who asked.

    Args:
        prosody: what is asked of words and tokens; None for nothing.
        whole: what is asked of the whole text, by name.
        said: the sentences, each as written and as tokens.

    Returns:
        for each sentence a dict; a setting that is the same for the whole text stays the number it was, so that
        asking for nothing changes nothing.

    Raises:
        NemoExtError: a word that the text does not have, a number beyond its end, or a value out of range.
    """
    prosody = prosody or Prosody()
    lengths = [len(tokens.ids) for _, tokens in said]
    values = {name: np.full(sum(lengths), value, np.float32) for name, value in NEUTRAL.items()}
    notes = _set_words(prosody.words, said, values)
    for span, asked in prosody.tokens.items():
        if span.step != 1 or not 0 <= span.start < span.stop <= sum(lengths):
            raise NemoExtError(f"prosody: tokens {span.start + 1}-{span.stop}: the text has {sum(lengths)} tokens")
        _lay(values, slice(span.start, span.stop), asked, f"tokens {span.start + 1}-{span.stop}")
    for name, curve in prosody.curves.items():
        _lay_curve(values, name, curve)
    cuts = np.cumsum(lengths)[:-1]
    settings: list[Settings] = [dict(whole) for _ in said]
    for name, relative in values.items():
        if bool((relative == NEUTRAL[name]).all()):
            continue
        top = np.float32(whole[name])
        together = top * relative if name in _FACTORS else top + relative
        for extreme in (together.min(), together.max()):
            check_range(name, float(round(float(extreme), 4)), " of words and whole together")
        for sentence, part in zip(settings, np.split(together, cuts), strict=True):
            sentence[name] = part
    return settings, notes


@dataclass(frozen=True)
class _Word:
    spoken: str
    written: str  # the run of characters in the given text that it comes from: "3:10" of "three" and of "ten"
    place: tuple[int, int]  # sentence, and where its written form begins
    tokens: slice  # over the whole text


def _set_words(
    asked: Mapping[str, Control], said: Sequence[tuple[str, Tokens]], values: dict[str, NDArray[np.float32]]
) -> list[str]:
    if not asked:
        return []
    words = list(_words(said))
    if not words:
        raise NemoExtError("prosody: this model's tokenizer tells no words, so only tokens can be asked for: @N: ...")
    notes: list[str] = []
    by_word: list[dict[str, float]] = [{} for _ in words]
    for key, control in sorted(asked.items(), key=lambda item: _NUMBERED.fullmatch(item[0]) is not None):
        for name, value in control.given.items():
            check_range(_known(name, key), value, f" of '{key}'")
        hits = _numbered(key, words) or _spelled(key, words)
        if len(hits) > 1:
            where = ", ".join(f"#{hit.start + 1}" for hit in hits[:8]) + (", ..." if len(hits) > 8 else "")
            notes.append(f"prosody: '{key}' comes {len(hits)} times, and each is changed ({where})")
        for i in {i for hit in hits for i in hit}:
            by_word[i] |= control.given
    for word, together in zip(words, by_word, strict=True):
        _lay(values, word.tokens, Control(**together), f"'{word.spoken}'")
    return notes


def _words(said: Sequence[tuple[str, Tokens]]) -> Iterator[_Word]:
    before = 0
    for i, (text, tokens) in enumerate(said):
        positions = tokens.positions or [-1 - j for j in range(len(tokens.words))]
        runs = [(m.start(), m.end()) for m in re.finditer(r"\S+", text)]
        for (spoken, first, past), at in zip(tokens.words, positions, strict=True):
            start, end = next(((a, b) for a, b in runs if a <= at < b), (at, at))
            form = _folded(text[start:end]) if end > start else _folded(spoken)
            yield _Word(_folded(spoken), form, (i, start), slice(before + first, before + past))
        before += len(tokens.ids)


def _numbered(key: str, words: Sequence[_Word]) -> list[range]:
    found = _NUMBERED.fullmatch(key)
    if not found or found[1] != "#":
        return []
    first, last = _span(key, found)
    if last > len(words):
        raise NemoExtError(f"prosody: '{key}': the text has {len(words)} words")
    return [range(first - 1, last)]


def _spelled(key: str, words: Sequence[_Word]) -> list[range]:
    """Where the word or phrase ``key`` stands, as spoken or as written."""
    wanted = _folded(key).split()
    wanted = [folded for part in wanted if (folded := _folded(part))]
    spoken = [(word.spoken, range(i, i + 1)) for i, word in enumerate(words)]
    as_written = []
    for _, group in groupby(enumerate(words), key=lambda item: item[1].place):
        members = [i for i, _ in group]
        as_written.append((words[members[0]].written, range(members[0], members[-1] + 1)))
    hits: set[range] = set()
    for forms in (spoken, as_written):
        for i in range(len(forms) - len(wanted) + 1 if wanted else 0):
            window = forms[i : i + len(wanted)]
            one_sentence = words[window[0][1].start].place[0] == words[window[-1][1].start].place[0]
            if one_sentence and [form for form, _ in window] == wanted:
                hits.add(range(window[0][1].start, window[-1][1].stop))
    if not hits:
        known = list(dict.fromkeys([*(w.spoken for w in words), *(w.written for w in words)]))
        listed = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        raise NemoExtError(
            f"prosody: no word '{key}' in the text{nearest(_folded(key), known) or f'; it has {listed}'}"
        )
    return sorted(hits, key=lambda hit: hit.start)


def _lay(values: dict[str, NDArray[np.float32]], where: slice, asked: Control, what: str) -> None:
    for name, value in asked.given.items():
        check_range(name, value, f" of {what}")
        _apply(name)(values[name], where, np.float32(value))


def _lay_curve(values: dict[str, NDArray[np.float32]], name: str, curve: Sequence[float] | NDArray[np.float32]) -> None:
    given, have = np.asarray(curve, np.float32), values[_known(name, "curves")]
    if given.shape != have.shape:
        raise NemoExtError(f"prosody: the curve of {name} has shape {given.shape}, and the text {len(have)} tokens")
    for extreme in (given.min(), given.max()):
        check_range(name, float(extreme), " of a curve")
    _apply(name)(have, slice(None), given)


def _apply(name: str) -> Callable[[NDArray[np.float32], slice, np.float32 | NDArray[np.float32]], None]:
    def multiply(values: NDArray[np.float32], where: slice, by: np.float32 | NDArray[np.float32]) -> None:
        values[where] *= by

    def add(values: NDArray[np.float32], where: slice, by: np.float32 | NDArray[np.float32]) -> None:
        values[where] += by

    return multiply if name in _FACTORS else add


def _read(key: str, settings: str) -> Control:
    found: dict[str, float] = {}
    for setting in settings.split(","):
        name, equals, value = (part.strip() for part in setting.partition("="))
        if not equals:
            raise NemoExtError(f"prosody: '{key}: {setting.strip()}' cannot be read: write {EXAMPLE}")
        try:
            number = float(value)
        except ValueError:
            raise NemoExtError(f"prosody: {name}={value} of '{key}' is no number") from None
        if _known(name, key) in found:
            raise NemoExtError(f"prosody: '{key}' has {name}= twice: leave one out")
        check_range(name, number, f" of '{key}'")
        found[name] = number
    return Control(**found)


def _known(name: str, key: str) -> str:
    if name not in LIMITS:
        hint = nearest(name, LIMITS) or f"; give one of {', '.join(LIMITS)}"
        raise NemoExtError(f"prosody: '{key}' has an unknown setting '{name}'{hint}")
    return name


def _both(key: str, one: Control | None, other: Control) -> Control:
    """Two entries of one name."""
    if one is None:
        return other
    if twice := set(one.given) & set(other.given):
        raise NemoExtError(f"prosody: '{key}' has {min(twice)}= twice: leave one out")
    return Control(**one.given, **other.given)


def _span(key: str, found: re.Match[str]) -> tuple[int, int]:
    first, last = int(found[2]), int(found[3] or found[2])
    if not 1 <= first <= last:
        raise NemoExtError(f"prosody: '{key}' is no place in the text: numbers count from 1, and the lower comes first")
    return first, last


def _folded(word: str) -> str:
    return written(word).text.casefold().strip(_EDGES)
