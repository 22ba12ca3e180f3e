"""The binding to espeak-ng: the same answer every time, from any thread, and text that is never taken for markup."""

from __future__ import annotations

import random
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nemo_ext.errors import NemoExtError
from nemo_ext.text import espeak

SENTENCES = [
    "The same words once more.",
    "She sells sea shells by the sea shore.",
    "Nothing here is left to chance.",
    "I have read the book that you read.",
    "Winter arrives early in the north.",
]


def test_the_same_call_makes_the_same_audio_whatever_came_before() -> None:
    first = espeak.synthesize(SENTENCES[0], "en-us+f3", pitch=60)
    espeak.synthesize(SENTENCES[1], "de", rate=250, pitch=10, range=0, volume=50, word_gap=5)
    espeak.phonemize("Etwas anderes", "de")
    again = espeak.synthesize(SENTENCES[0], "en-us+f3", pitch=60)
    np.testing.assert_array_equal(first[0], again[0])
    assert first[1:] == again[1:]


def test_phonemes_depend_on_the_text_alone() -> None:
    alone = {text: espeak.phonemize(text, "en-us") for text in SENTENCES}
    order = SENTENCES * 4
    random.Random(0).shuffle(order)
    for text in order:
        espeak.phonemize("Und dann lesen wir", "de")
        assert espeak.phonemize(text, "en-us") == alone[text]


def test_threads_do_not_mix() -> None:
    jobs = [(text, voice) for text in SENTENCES for voice in ("en-us", "de")]
    heard = [(espeak.phonemize(*job), len(espeak.synthesize(*job)[0])) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda job: (espeak.phonemize(*job), len(espeak.synthesize(*job)[0])), jobs * 3))
    assert together == heard * 3


def test_audio_and_events() -> None:
    audio, sample_rate, events = espeak.synthesize("Hello, world.", "en-us")
    assert audio.dtype == np.float32
    assert audio.ndim == 1
    assert 0.05 < np.abs(audio).max() <= 1.0
    assert sample_rate == 22050
    starts = [start for _, start in events]
    assert starts == sorted(starts)
    assert 0.0 <= starts[0] < starts[-1] <= len(audio) / sample_rate
    sounds = "".join(phoneme for phoneme, _ in events)
    assert all(sound in sounds for sound in "hlwd")


def test_parameters_are_heard() -> None:
    plain = espeak.synthesize(SENTENCES[0], "en-us")[0]
    assert len(espeak.synthesize(SENTENCES[0], "en-us", rate=300)[0]) < 0.8 * len(plain)
    assert len(espeak.synthesize(SENTENCES[0], "en-us", word_gap=20)[0]) > 1.2 * len(plain)
    quiet = espeak.synthesize(SENTENCES[0], "en-us", volume=30)[0]
    assert np.square(quiet).mean() < 0.5 * np.square(plain).mean()
    assert not np.array_equal(espeak.synthesize(SENTENCES[0], "en-us", pitch=90)[0][:5000], plain[:5000])


def test_text_is_never_markup() -> None:
    """In espeak-ng's own notation [[h@l'oU]] is "hello"."""
    assert espeak.phonemize("[[h@l'oU]]", "en-us") != espeak.phonemize("hello", "en-us")
    tagged, plain = (espeak.synthesize(t, "en-us")[0] for t in ("one <break time='9s'/> two", "one two"))
    assert len(tagged) < len(plain) + 22050 * 6
    assert espeak.phonemize("before\0after", "en-us") == espeak.phonemize("before after", "en-us")


def test_an_unknown_voice_is_named() -> None:
    with pytest.raises(NemoExtError, match="klingonese"):
        espeak.phonemize("hello", "klingonese")


def test_without_the_wheel_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "_library", None)
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(NemoExtError, match=r"pip install .nemo_ext\[espeak\]"):
        espeak.phonemize("hello", "en-us")
