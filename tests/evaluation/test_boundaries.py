from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nemo_ext.evaluation.alignment import Boundaries, boundary_errors, focus, spoken_events, token_starts
from nemo_ext.types import MelSpec

SPEC = MelSpec()
SOUNDS = "həloʊðɛɹ"


def perfect_starts(symbols: list[str], events: list[tuple[str, float]], shift: float) -> np.ndarray:
    """Starts of ``symbols``, each that of the event whose sound it spells, moved by ``shift`` seconds."""
    sounds = iter([(c, start) for phoneme, start in events for c in phoneme if c in SOUNDS])
    starts, now = [], 0.0
    for symbol in symbols:
        if symbol in SOUNDS:
            now = next(sounds)[1]
        starts.append(now + shift)
    # a stress mark starts where its vowel does
    for i in range(len(symbols) - 2, -1, -1):
        if symbols[i] in "ˈˌ":
            starts[i] = starts[i + 1]
    return np.array(starts)


def test_a_shift_of_ten_milliseconds_is_measured_as_such() -> None:
    events = [
        ("_", 0.0),
        ("h", 0.05),
        ("ə", 0.11),
        ("l", 0.17),
        ("oʊ", 0.25),
        ("_", 0.5),
        ("ð", 0.6),
        ("ɛ", 0.66),
        ("ɹ", 0.75),
    ]
    symbols = list("həlˈoʊ, ðˈɛɹ.")
    errors = boundary_errors(symbols, perfect_starts(symbols, events, 0.010), events)
    assert len(errors) == spoken_events(events) == 7
    np.testing.assert_allclose(errors, 10.0, atol=1e-6)


def test_the_stress_mark_belongs_to_its_vowel() -> None:
    symbols, events = list("lˈoʊ"), [("l", 0.0), ("oʊ", 0.100)]
    errors = boundary_errors(symbols, np.array([0.0, 0.080, 0.120, 0.200]), events)
    np.testing.assert_allclose(errors, [0.0, -20.0])


def test_a_phoneme_without_partner_is_unmatched_not_guessed() -> None:
    symbols, events = list("kæt"), [("k", 0.0), ("ɑ", 0.1), ("t", 0.2), ("s", 0.3)]
    errors = boundary_errors(symbols, np.array([0.0, 0.1, 0.2]), events)
    np.testing.assert_allclose(errors, [0.0, 0.0])
    found = Boundaries({"cat": errors}, phonemes=4)
    assert found.matched == 0.5
    assert found.median_ms == 0.0
    assert found.within(20) == 1.0
    assert np.isnan(Boundaries().median_ms)


def test_frames_are_centred() -> None:
    starts = token_starts(np.array([4, 2, 3]), SPEC)
    np.testing.assert_allclose(starts, np.array([0.0, 3.5, 5.5]) * 256 / 22050)


def test_espeaks_own_phonemes_match_the_tokens_of_the_text(readings: list[Any]) -> None:
    """The measure's footing: nearly every phoneme event of espeak has a partner among the tokens."""
    from nemo_ext.text.espeak import phonemize

    matched = known = 0
    for reading in readings:
        symbols = list(phonemize(reading.text, "en-us"))
        errors = boundary_errors(symbols, np.zeros(len(symbols)), reading.events)
        matched, known = matched + len(errors), known + spoken_events(reading.events)
        # starts of 0 everywhere: the errors are the events' own times, in order
        assert (np.diff(errors) <= 0).all()
    assert matched / known > 0.97


def test_focus_is_one_on_the_path_and_small_off_it() -> None:
    path = np.repeat(np.arange(10), 8)
    hard = np.eye(10, dtype=np.float32)[path]
    assert focus(hard, path) == pytest.approx(1.0)
    assert focus(np.roll(hard, 3, axis=0), path) > 0.95
    uniform = np.full((80, 10), 0.1, np.float32)
    # each frame's own token, and for 3 of 8 frames at either edge the neighbour's
    assert focus(uniform, path) == pytest.approx(0.1 * (1 + 6 / 8 * 0.9), abs=0.01)
    assert focus(np.roll(hard, 30, axis=0), path) < 0.1
