"""An acoustic model's mels of a corpus: as long as the recordings, made once, refused where they cannot be."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from nemo_ext import _nemo
from nemo_ext.data.collate import collate_segments
from nemo_ext.data.dataset import SegmentDataset
from nemo_ext.data.features import FeatureConfig, FeatureStore
from nemo_ext.data.loaders import vocoder_loaders
from nemo_ext.data.predicted import aligned, predict_mels
from nemo_ext.errors import NemoExtError
from nemo_ext.types import MelSpec


@pytest.fixture
def acoustic(tiny_acoustic):
    return _nemo.restore(tiny_acoustic)


@pytest.fixture
def store(corpus):
    return FeatureStore(corpus.dir)


def test_a_prediction_is_as_long_as_its_recording_and_like_it(corpus, store, acoustic):
    acoustic.train()
    made = predict_mels(corpus, acoustic, store)
    assert acoustic.training  # as it was
    for utterance in corpus.utterances:
        mel, recorded = made.load(utterance), store.load(utterance).mel
        assert mel.shape == recorded.shape
        assert mel.dtype == np.float32
        assert 0.05 < np.abs(mel - recorded).mean() < 2.0  # the model learned for a few dozen batches
        # teacher-forced: louder where the recording is
        assert np.corrcoef(mel.mean(0), recorded.mean(0))[0, 1] > 0.4


def test_predictions_are_made_once_and_again_by_another_model(corpus, store, acoustic, capfd):
    made = predict_mels(corpus, acoustic, store)
    assert f"predicting mels: {len(corpus.utterances)}/{len(corpus.utterances)}" in capfd.readouterr().err
    written = {name: path.stat().st_mtime_ns for name, path in made.paths.items()}
    victim = corpus.utterances[3]
    before = made.load(victim)
    again = predict_mels(corpus, acoustic, store)
    assert again == made
    assert "predicting" not in capfd.readouterr().err
    assert {name: path.stat().st_mtime_ns for name, path in again.paths.items()} == written
    # a damaged file is made again, the same to the bit; the others are left alone
    made.paths[victim.id].write_bytes(b"damaged")
    with pytest.raises(NemoExtError, match="damaged: start the training again"):
        made.load(victim)
    predict_mels(corpus, acoustic, store)
    assert "predicting mels: 1/1" in capfd.readouterr().err
    np.testing.assert_array_equal(made.load(victim), before)
    with torch.no_grad():
        acoustic.aligner.key_proj[0].conv.bias += 0.01  # weights_hash leaves the aligner out; this cache must not
    assert predict_mels(corpus, acoustic, store).identity != made.identity


def test_predictions_belong_to_the_voices_they_were_made_with(corpus, store, acoustic):
    made = predict_mels(corpus, acoustic, store)
    acoustic.voices[0] = dataclasses.replace(acoustic.voices[0], pitch_mean=acoustic.voices[0].pitch_mean + 10.0)
    assert predict_mels(corpus, acoustic, store).identity != made.identity


def test_segments_take_the_mel_from_there_and_the_audio_from_the_recording(corpus, store, acoustic):
    made = predict_mels(corpus, acoustic, store)
    plain, taught = (SegmentDataset(corpus.utterances, store, 24, predicted=p) for p in (None, made))
    assert len(plain) == len(taught)
    for index in range(len(plain)):
        one, other = plain[(2, index)], taught[(2, index)]
        assert one.id == other.id
        np.testing.assert_array_equal(one.audio, other.audio)
        whole = made.load(next(u for u in corpus.utterances if u.id == one.id))
        starts = range(whole.shape[1] - 23)
        start = next(s for s in starts if np.array_equal(whole[:, s : s + 24], other.mel))
        recorded = store.load(next(u for u in corpus.utterances if u.id == one.id)).mel
        np.testing.assert_array_equal(recorded[:, start : start + 24], one.mel)
    # a spawned worker reads the same
    loader = DataLoader(taught, batch_sampler=[[(2, 0), (2, 1)]], collate_fn=collate_segments, num_workers=1)
    (batch,) = list(loader)
    np.testing.assert_array_equal(batch.mel[1].numpy(), taught[(2, 1)].mel)


def test_utterances_that_cannot_be_aligned_are_left_out(corpus, store, acoustic):
    odd = dataclasses.replace(corpus.train[0], text="Far too long for it. " * 40, normalized_text=None)
    corpus.train[0] = odd
    made = predict_mels(corpus, acoustic, store)
    assert odd.id not in made.paths
    assert [u.id for u in aligned(corpus, made).train] == [u.id for u in corpus.train[1:]]
    train, val = vocoder_loaders(corpus, store, 16, 4, predicted=made)
    assert odd.id not in {name for batch in train for name in batch.ids}
    assert {name for batch in val for name in batch.ids} == {u.id for u in corpus.val}


def test_what_does_not_fit_is_told(corpus, acoustic, tiny_vocoder, store):
    other = FeatureStore(corpus.dir, FeatureConfig(MelSpec(f_max=7600.0)))
    with pytest.raises(NemoExtError, match=r"different mels.*f_max: 8000\.0 != 7600\.0"):
        predict_mels(corpus, acoustic, other)
    with pytest.raises(NemoExtError, match="is a Vocos without an aligner"):
        predict_mels(corpus, _nemo.restore(tiny_vocoder), store)
    corpus.train[2] = dataclasses.replace(corpus.train[2], speaker="cleo")
    with pytest.raises(NemoExtError, match=r"acoustic= cannot speak this corpus.*'cleo', which is none of the model's"):
        predict_mels(corpus, acoustic, store)
