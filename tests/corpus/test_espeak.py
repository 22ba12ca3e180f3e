from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from nemo_ext.audio import pitch
from nemo_ext.corpus.build import build
from nemo_ext.corpus.config import CorpusConfig, EspeakOptions, EspeakStyle, EspeakVoice
from nemo_ext.corpus.manifest import load_corpus
from nemo_ext.corpus.recipes.espeak import read_events, reading
from nemo_ext.corpus.sentences import sentences, unseen_sentences
from nemo_ext.errors import NemoExtError
from nemo_ext.text.espeak import phonemize


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def test_sentences_are_many_distinct_and_of_speakable_length() -> None:
    made = sentences(1000)
    assert len({" ".join(words(one)) for one in made}) == 1000
    assert all(3 <= len(words(one)) <= 13 for one in made)
    assert all(re.fullmatch(r"[A-Z][A-Za-z ,']*[.?!]", one) for one in made), "no numerals, no markup"
    assert not any(re.search(r"\ba [aeio]|\ban (?!hour|un)[^aeio]|\b(\w+) \1\b", one) for one in made)


def test_sentences_are_the_same_for_the_same_seed_and_only_grow() -> None:
    assert sentences(400) == sentences(400)
    assert sentences(400)[:100] == sentences(100)
    assert sentences(100, seed=1) != sentences(100)
    with pytest.raises(NemoExtError, match="20000"):
        sentences(20001)


def test_every_english_phoneme_comes_often() -> None:
    counts: Counter[str] = Counter()
    for one in sentences(300):
        ipa = re.sub("[ˈˌ]", "", phonemize(one, "en-us"))
        for phoneme in ("dʒ", "tʃ", "aɪ", "aʊ", "ɔɪ", "eɪ", "oʊ", "ɜː", "iː", "uː", "ɑː", "ɔː"):
            counts[phoneme] += ipa.count(phoneme)
            ipa = ipa.replace(phoneme, " ")
        counts.update(ipa.replace(" ", ""))
    for phoneme in [*"pbtdkɡfvθðszʃʒhmnŋlɹwjɪɛæʌʊə", "dʒ", "tʃ", "aɪ", "aʊ", "ɔɪ", "eɪ", "oʊ", "ɜː", "iː", "uː"]:
        assert counts[phoneme] >= 10, f"/{phoneme}/ comes {counts[phoneme]} times in 300 sentences"


def test_unseen_sentences_are_unseen() -> None:
    unseen = unseen_sentences(50)
    assert len({" ".join(words(one)) for one in unseen}) == 50
    seen = {" ".join(words(one)) for one in sentences(5000)}
    assert not seen & {" ".join(words(one)) for one in unseen}
    # and no piece of four words either
    pieces = {tuple(w[i : i + 4]) for one in sentences(5000) if (w := words(one)) for i in range(len(w) - 3)}
    shared = [
        w[i : i + 4] for one in unseen if (w := words(one)) for i in range(len(w) - 3) if tuple(w[i : i + 4]) in pieces
    ]
    assert shared == []
    with pytest.raises(NemoExtError, match="50 unseen"):
        unseen_sentences(51)


def test_two_voices_two_styles(espeak_corpus: Path) -> None:
    corpus = load_corpus(espeak_corpus)
    assert Counter(row.speaker for row in corpus.utterances) == {"ada": 20, "ben": 20}
    by_style = Counter((row.speaker, row.style) for row in corpus.utterances)
    assert set(by_style) == {(v, s) for v in ("ada", "ben") for s in ("neutral", "lively")}
    assert len({row.text for row in corpus.utterances}) == 40
    assert {row.speaker for row in corpus.val} == {"ada", "ben"}
    assert 1.5 < np.mean([row.duration for row in corpus.utterances]) < 4
    heights: dict[tuple[str, str], list[float]] = {}
    for row in corpus.utterances:
        audio, rate = soundfile.read(str(corpus.audio_path(row)), dtype="float32")
        f0 = pitch.f0(audio, rate, 256)
        heights.setdefault((str(row.speaker), str(row.style)), []).append(float(np.median(f0[f0 > 0])))
    mean = {key: float(np.mean(values)) for key, values in heights.items()}
    assert mean["ada", "neutral"] > 1.5 * mean["ben", "neutral"], "one is a woman's voice, one a man's"
    for voice in ("ada", "ben"):
        assert mean[voice, "lively"] > 1.1 * mean[voice, "neutral"]


def test_events_follow_the_audio(espeak_corpus: Path) -> None:
    corpus = load_corpus(espeak_corpus)
    events = read_events(espeak_corpus)
    assert set(events) == {row.id for row in corpus.utterances}
    for row in corpus.utterances:
        starts = [start for _, start in events[row.id]]
        assert starts == sorted(starts)
        assert 0 <= starts[0] < 0.3
        assert row.duration - 1.0 < starts[-1] <= row.duration + 0.05
        spoken = sum(bool(ipa) for ipa, _ in events[row.id])
        assert 0.5 * len(row.text.replace(" ", "")) < spoken < 1.2 * len(row.text.replace(" ", ""))


def test_a_reading_is_what_the_corpus_holds(espeak_corpus: Path) -> None:
    corpus = load_corpus(espeak_corpus)
    events = read_events(espeak_corpus)
    for row in (corpus.train[0], corpus.train[-1]):
        audio, again = reading(row.text, str(row.speaker), str(row.style))
        held, _ = soundfile.read(str(corpus.audio_path(row)), dtype="float32")
        assert len(audio) == len(held)
        np.testing.assert_allclose(audio, held, atol=1 / 32768)
        assert again == events[row.id]


def test_an_unknown_voice_or_style_names_the_nearest() -> None:
    with pytest.raises(NemoExtError, match="no voice 'bem'; did you mean 'ben'"):
        reading("Hello.", "bem")
    with pytest.raises(NemoExtError, match="no style 'livly'; did you mean 'lively'"):
        reading("Hello.", "ben", "livly")


def test_voices_and_styles_are_options(tmp_path: Path) -> None:
    options = EspeakOptions(
        sentences=8,
        voices=[EspeakVoice("zoe", "en-gb-x-rp+f2", 60)],
        styles=[EspeakStyle("calm", share=3.0, rate=140), EspeakStyle("brisk", share=1.0, rate=220)],
    )
    corpus = build(CorpusConfig(out=str(tmp_path / "out"), espeak=options, sample_rate=16000, processes=1))
    assert Counter(row.style for row in corpus.utterances) == {"calm": 6, "brisk": 2}
    assert {row.speaker for row in corpus.utterances} == {"zoe"}
    assert soundfile.info(str(corpus.audio_path(corpus.train[0]))).samplerate == 16000
    with pytest.raises(NemoExtError, match="at least one"):
        build(CorpusConfig(out=str(tmp_path / "none"), espeak=EspeakOptions(voices=[])))
