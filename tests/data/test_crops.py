"""Crops for speaker encoders: repeatable, of one length, from anywhere in a recording."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch

from nemo_ext.audio import io
from nemo_ext.corpus.manifest import load_corpus
from nemo_ext.data.crops import CropDataset, crop_loaders
from nemo_ext.errors import NemoExtError
from nemo_ext.types import MelSpec

SPEC = MelSpec()
SPEAKERS = ["ada", "ben"]


@pytest.fixture(scope="module")
def corpus(espeak_corpus):
    return load_corpus(espeak_corpus)


def dataset(corpus, samples=11025, seed=0, rate=22050):
    return CropDataset(corpus.dir, corpus.train, SPEAKERS, samples, dataclasses.replace(SPEC, sample_rate=rate), seed)


def test_a_crop_is_a_piece_of_its_recording_and_depends_on_seed_and_epoch_alone(corpus):
    crops = dataset(corpus)
    by_id = {u.id: u for u in corpus.train}
    for key in ((0, 0), (0, 7), (3, 7), (3, len(crops) - 1)):
        crop = crops[key]
        assert crop.audio.shape == (11025,)
        whole, _ = io.read_mono(corpus.audio_path(by_id[crop.id]))
        places = [i for i in np.flatnonzero(whole == crop.audio[0]) if np.array_equal(whole[i : i + 11025], crop.audio)]
        assert places
        assert SPEAKERS[crop.voice_id] == by_id[crop.id].speaker
        assert np.array_equal(dataset(corpus)[key].audio, crop.audio)
    assert not np.array_equal(crops[(0, 7)].audio, crops[(3, 7)].audio)
    assert not np.array_equal(crops[(0, 7)].audio, dataset(corpus, seed=1)[(0, 7)].audio)


def test_longer_recordings_give_more_crops(corpus):
    crops = dataset(corpus)
    counted = Counter(crops[(0, i)].id for i in range(len(crops)))
    assert set(counted) == {u.id for u in corpus.train}
    for utterance in corpus.train:
        assert counted[utterance.id] == max(1, round(utterance.duration / 0.5))


def test_both_channels_are_heard_and_an_inverted_one_cancels_nothing(corpus, tmp_path):
    utterance = min(corpus.train, key=lambda u: u.duration)
    whole, rate = io.read_mono(corpus.audio_path(utterance))
    for name, right, heard in (("half", np.zeros_like(whole), 0.5 * whole), ("inverted", -whole, whole)):
        soundfile.write(tmp_path / f"{name}.wav", np.stack([whole, right], axis=1), rate, "FLOAT")
        stereo = dataclasses.replace(utterance, audio_filepath=str(tmp_path / f"{name}.wav"))
        crop = CropDataset(corpus.dir, [stereo], SPEAKERS, len(whole), SPEC, 0)[(0, 0)]
        assert np.allclose(crop.audio, heard, atol=1e-6)


def test_a_short_recording_is_repeated(corpus):
    utterance = min(corpus.train, key=lambda u: u.duration)
    whole, _ = io.read_mono(corpus.audio_path(utterance))
    samples = 2 * len(whole) + 100
    crop = CropDataset(corpus.dir, [utterance], SPEAKERS, samples, SPEC, 0)[(0, 0)]
    assert np.array_equal(crop.audio, np.concatenate([whole, whole, whole[:100]]))


def test_batches(corpus):
    train, val = crop_loaders(corpus, SPEAKERS, SPEC, 0.5, 8)
    batch = next(iter(train))
    assert batch.audio.shape == (8, 11025)
    assert batch.audio.dtype == torch.float32
    assert batch.frames == 8 * SPEC.frames(11025)
    assert len(batch.ids) == len(batch.voice_ids) == 8
    first, second = ([b.audio for b in val] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    train.batch_sampler.set_epoch(1)
    assert not torch.equal(next(iter(train)).audio, batch.audio)


def test_mistakes_are_said(corpus):
    with pytest.raises(NemoExtError, match="has 22050 Hz and the mel wants 16000 Hz: make the corpus with sample_rate"):
        dataset(corpus, rate=16000)[(0, 0)]
    with pytest.raises(NemoExtError, match="is spoken by 'ben', who is none of the model's speakers"):
        CropDataset(corpus.dir, corpus.train, ["ada"], 11025, SPEC, 0)
    with pytest.raises(NemoExtError, match=r"model\.crop_seconds=0\.1: a crop takes at least 0\.25 s"):
        crop_loaders(corpus, SPEAKERS, SPEC, 0.1, 8)
