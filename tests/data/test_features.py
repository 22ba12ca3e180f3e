from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path

import numpy as np
import pytest

from nemo_ext.audio import io
from nemo_ext.audio.mel import energy, log_mel
from nemo_ext.audio.pitch import mel_f0
from nemo_ext.corpus.manifest import Corpus
from nemo_ext.data import features
from nemo_ext.data.features import FeatureConfig, FeatureStore, extract
from nemo_ext.errors import NemoExtError
from nemo_ext.types import MelSpec, Utterance


def cached(store: FeatureStore, utterance: Utterance) -> Path:
    return store.path(store.entry(utterance).audio_hash)


def test_holds_what_the_audio_room_says(corpus: Corpus) -> None:
    store, utterance = FeatureStore(corpus.dir), corpus.train[0]
    audio, _ = io.read_mono(corpus.audio_path(utterance))
    found, spec = store.load(utterance), store.config.mel
    np.testing.assert_array_equal(found.mel, log_mel(audio, spec))
    np.testing.assert_array_equal(found.energy, energy(audio, spec))
    np.testing.assert_array_equal(found.pitch, mel_f0(audio, spec, 65.0, 600.0, "dio"))
    assert found.mel.dtype == found.pitch.dtype == found.energy.dtype == np.float32
    assert store.entry(utterance).frames == found.mel.shape[1] == spec.frames(len(audio))
    assert found.pitch.max() > 65


@pytest.mark.parametrize(
    "change",
    [{"pitch_f_min": 80.0}, {"pitch_f_max": 500.0}, {"pitch_method": "harvest"}]
    + [{"mel": dataclasses.replace(MelSpec(), **{name.name: 2})} for name in dataclasses.fields(MelSpec)],
)
def test_every_setting_changes_the_key(change: dict[str, object]) -> None:
    assert dataclasses.replace(FeatureConfig(), **change).fingerprint() != FeatureConfig().fingerprint()


def test_the_algorithm_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = FeatureConfig().fingerprint()
    monkeypatch.setattr(features, "ALGORITHM", features.ALGORITHM + 1)
    assert FeatureConfig().fingerprint() != before


def test_equal_settings_have_one_key() -> None:
    same = FeatureConfig(MelSpec(f_min=0, f_max=8000), pitch_f_min=65)
    assert same.fingerprint() == FeatureConfig().fingerprint()


def test_the_version_of_the_algorithm_stands_for_these_numbers() -> None:
    """When this fails, the features have changed: raise ``features.ALGORITHM``, then write the new numbers here."""
    t = np.arange(22050) / 22050
    phase = 2 * np.pi * np.cumsum(120 + 60 * t) / 22050
    found = extract((0.1 * sum(np.sin(k * phase) / k for k in range(1, 9))).astype(np.float32), FeatureConfig())
    voiced = found.pitch[found.pitch > 0]
    seen = [found.mel.mean(), found.mel[20].std(), found.energy.mean(), voiced.mean(), len(voiced)]
    assert (features.ALGORITHM, [round(float(x), 2) for x in seen]) == (1, KNOWN)


KNOWN = [-7.82, 1.49, 38.48, 150.29, 86.0]


def test_changed_settings_never_reuse_a_file(corpus: Corpus) -> None:
    utterance = corpus.train[0]
    narrow = FeatureStore(corpus.dir, FeatureConfig(pitch_f_min=65.0, pitch_f_max=110.0))
    wide = FeatureStore(corpus.dir, FeatureConfig())
    assert narrow.load(utterance).pitch.max() <= 110.0
    assert wide.load(utterance).pitch.max() > 110.0
    assert narrow.load(utterance).pitch.max() <= 110.0


def test_changed_audio_never_reuses_a_file(corpus: Corpus) -> None:
    utterance, path = corpus.train[0], corpus.audio_path(corpus.train[0])
    before = FeatureStore(corpus.dir).load(utterance)
    stamp = path.stat()
    audio, rate = io.read_mono(path)
    io.write(path, audio[::-1].copy(), rate)  # as many bytes
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # and as old
    assert path.stat().st_size == stamp.st_size
    after = FeatureStore(corpus.dir).load(utterance)
    np.testing.assert_array_equal(after.mel, log_mel(audio[::-1].copy(), MelSpec()))
    assert not np.array_equal(after.mel, before.mel)


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped bit", "not a file of features", "another's"])
def test_damaged_files_are_made_again(damage: str, corpus: Corpus, caplog: pytest.LogCaptureFixture) -> None:
    utterance, other = corpus.train[0], corpus.train[1]
    store = FeatureStore(corpus.dir)
    good, path = store.load(utterance), cached(store, utterance)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    damaged = {
        "cut": path.read_bytes()[:-100],
        "empty": b"",
        "flipped bit": bytes(raw),
        "not a file of features": b"<html>" * 100,
        "another's": cached(store, other).read_bytes(),
    }[damage]
    for fresh in (True, False):  # found at the start of a run, and in the middle of one
        path.write_bytes(damaged)
        again = (FeatureStore(corpus.dir) if fresh else store).load(utterance)
        np.testing.assert_array_equal(again.mel, good.mel)
        np.testing.assert_array_equal(again.pitch, good.pitch)
    assert caplog.text.count("made again") == 2
    assert FeatureStore(corpus.dir).check(utterance) == store.entry(utterance)


def test_a_lost_file_is_made_again(corpus: Corpus) -> None:
    store = FeatureStore(corpus.dir)
    good = store.load(corpus.train[0])
    cached(store, corpus.train[0]).unlink()
    np.testing.assert_array_equal(store.load(corpus.train[0]).mel, good.mel)


def test_pitch_alone(corpus: Corpus) -> None:
    """Where the file was lost or cut meanwhile, it is made again."""
    store, utterance = FeatureStore(corpus.dir), corpus.train[0]
    good, path = store.load(utterance).pitch, cached(store, utterance)
    np.testing.assert_array_equal(store.pitch(utterance), good)
    for damaged in (None, path.read_bytes()[:-100]):
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        np.testing.assert_array_equal(store.pitch(utterance), good)


def test_a_full_disk_leaves_nothing_half_written(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore(corpus.dir)
    write = Path.write_bytes

    def half(path: Path, data: bytes) -> int:
        write(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(NemoExtError, match=r"No space left on device.*free some space"):
        store.load(corpus.train[0])
    assert [path for path in store.cache_dir.rglob("*") if path.is_file()] == []


def test_wrong_sample_rate_names_the_remedy(corpus: Corpus) -> None:
    store = FeatureStore(corpus.dir, FeatureConfig(MelSpec(sample_rate=16000)))
    with pytest.raises(NemoExtError, match="sample_rate=16000"):
        store.load(corpus.train[0])


def test_missing_recording_names_the_remedy(corpus: Corpus) -> None:
    corpus.audio_path(corpus.train[0]).unlink()
    with pytest.raises(NemoExtError, match="make the corpus again"):
        FeatureStore(corpus.dir).load(corpus.train[0])


def test_bytes_needed(corpus: Corpus) -> None:
    store, utterance = FeatureStore(corpus.dir), corpus.train[0]
    written = cached(store, utterance).stat().st_size
    assert written == pytest.approx(store.bytes_needed(utterance.duration), rel=0.02)
