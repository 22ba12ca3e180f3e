from __future__ import annotations

import numpy as np
import pytest

from nemo_ext.corpus.manifest import Corpus
from nemo_ext.data.features import FeatureConfig, FeatureStore
from nemo_ext.data.prepare import Prepared, base_voices, prepare
from nemo_ext.errors import NemoExtError


def test_goes_on_from_where_it_stopped(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    make, made = FeatureStore.make, []

    def stops_at_the_fifth(store: FeatureStore, utterance: object) -> object:
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(utterance)
        return make(store, utterance)

    monkeypatch.setattr(FeatureStore, "make", stops_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus.utterances, FeatureStore(corpus.dir))
    monkeypatch.setattr(FeatureStore, "make", make)
    assert prepare(corpus.utterances, FeatureStore(corpus.dir)) == Prepared(reused=5, made=7)
    assert prepare(corpus.utterances, FeatureStore(corpus.dir)) == Prepared(reused=12, made=0)


def test_processes_give_the_same(corpus: Corpus, tmp_path: object) -> None:
    inline, spread = FeatureStore(corpus.dir), FeatureStore(corpus.dir, cache_dir=corpus.dir / "elsewhere")
    prepare(corpus.utterances, inline, processes=1)
    assert prepare(corpus.utterances, spread, processes=2) == Prepared(reused=0, made=12)
    assert spread.entries == inline.entries
    for utterance in corpus.utterances:
        np.testing.assert_array_equal(spread.load(utterance).mel, inline.load(utterance).mel)


def test_shows_how_far_it_is(corpus: Corpus, capfd: pytest.CaptureFixture[str]) -> None:
    prepare(corpus.utterances, FeatureStore(corpus.dir))
    shown = capfd.readouterr().err
    assert "computing mel, pitch and energy: 12/12, 100 %" in shown


def test_an_unreadable_recording_is_named(corpus: Corpus) -> None:
    path = corpus.audio_path(corpus.train[3])
    path.write_bytes(b"no audio")
    with pytest.raises(NemoExtError, match=path.name):
        prepare(corpus.utterances, FeatureStore(corpus.dir))


def test_voices_have_the_pitch_of_their_frames(corpus: Corpus) -> None:
    store = FeatureStore(corpus.dir)
    voices = base_voices(corpus.utterances, store)
    assert [voice.name for voice in voices] == ["ada", "ben"]
    for voice in voices:
        spoken = [utterance for utterance in corpus.utterances if utterance.speaker == voice.name]
        pitch = np.concatenate([store.load(utterance).pitch for utterance in spoken])
        assert voice.pitch_mean == pytest.approx(pitch[pitch > 0].mean(), abs=0.01)
        assert voice.pitch_std == pytest.approx(pitch[pitch > 0].std(), abs=0.01)
        assert voice.utterances == len(spoken)
        assert voice.seconds == pytest.approx(sum(u.duration for u in spoken), abs=0.02 * len(spoken))
        assert voice.language == "en"
    assert voices[0].pitch_mean > voices[1].pitch_mean  # a woman's and a man's


def test_the_order_of_the_manifest_does_not_matter(corpus: Corpus) -> None:
    store = FeatureStore(corpus.dir)
    assert base_voices(corpus.utterances[::-1], store) == base_voices(corpus.utterances, store)


def test_a_voice_without_voiced_frames(corpus: Corpus) -> None:
    store = FeatureStore(corpus.dir, FeatureConfig(pitch_f_min=2000.0, pitch_f_max=2100.0))
    for utterance in corpus.utterances:
        utterance.speaker = None
    (voice,) = base_voices(corpus.utterances, store)
    assert (voice.name, voice.pitch_mean, voice.pitch_std) == ("default", 0.0, 1.0)
