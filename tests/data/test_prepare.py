from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nemo_ext.corpus.manifest import Corpus
from nemo_ext.data.features import FeatureConfig, FeatureStore
from nemo_ext.data.prepare import Prepared, base_voices, prepare
from nemo_ext.errors import NemoExtError
from nemo_ext.types import Utterance


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


_ALSO = """
import sys
from nemo_ext.corpus.manifest import load_corpus
from nemo_ext.data.features import FeatureStore
from nemo_ext.data.prepare import prepare

corpus = load_corpus(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(prepare(corpus.utterances, FeatureStore(corpus.dir)).made)
"""


def test_processes_that_train_together_make_each_once(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process finds everything missing and waits for this one, which then leaves it nothing to do."""
    make, begun = FeatureStore.make, []
    other = subprocess.Popen(
        [sys.executable, "-c", _ALSO, str(corpus.dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"

    def while_it_waits(store: FeatureStore, utterance: Utterance) -> object:
        if not begun:
            begun.append(utterance)
            other.stdin.write("\n")
            other.stdin.flush()
            lock = store.cache_dir / store.fingerprint / ".lock"
            until(lambda: any(f"{lock.stat().st_ino} " in row and "->" in row for row in locks()))
        return make(store, utterance)

    monkeypatch.setattr(FeatureStore, "make", while_it_waits)
    assert prepare(corpus.utterances, FeatureStore(corpus.dir)).made == 12
    assert other.communicate()[0] == "0\n"
    assert other.returncode == 0


def locks() -> list[str]:
    """Locks of the machine, one a row; ``->`` marks a process that waits for one."""
    return Path("/proc/locks").read_text(encoding="ascii").splitlines()


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


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
