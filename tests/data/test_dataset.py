from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

from nemo_ext.audio import io
from nemo_ext.audio.mel import log_mel
from nemo_ext.corpus.manifest import Corpus
from nemo_ext.data.dataset import AcousticDataset, SegmentDataset
from nemo_ext.data.features import FeatureStore
from nemo_ext.data.prepare import base_voices
from nemo_ext.data.segments import Segments
from nemo_ext.errors import NemoExtError

HOP = 256


def letters(corpus: Corpus) -> list[np.ndarray]:
    return [np.frombuffer(utterance.text.encode(), dtype=np.uint8).astype(np.int32) for utterance in corpus.utterances]


def test_a_segment_may_begin_anywhere_that_leaves_it_whole() -> None:
    places = {Segments(["a"], [33], 32, one_each=True).place((epoch, 0))[1] for epoch in range(50)}
    assert places == {0, 1}


def test_pitch_is_normalized_by_the_voice(corpus: Corpus) -> None:
    store = FeatureStore(corpus.dir)
    voices = base_voices(corpus.utterances, store)
    dataset = AcousticDataset(corpus.utterances, letters(corpus), store, voices)
    of_voice: dict[int, list[np.ndarray]] = {0: [], 1: []}
    for index, utterance in enumerate(corpus.utterances):
        item, hz = dataset[index], store.load(utterance).pitch
        assert voices[item.voice_id].name == utterance.speaker
        assert (item.pitch_normalized[hz == 0] == 0).all()
        back = item.pitch_normalized * voices[item.voice_id].pitch_std + voices[item.voice_id].pitch_mean
        np.testing.assert_allclose(back[hz > 0], hz[hz > 0], rtol=1e-4)
        of_voice[item.voice_id].append(item.pitch_normalized[hz > 0])
        assert item.mel.shape[1] == dataset.lengths[index] == len(item.energy)
    for values in of_voice.values():
        assert np.concatenate(values).mean() == pytest.approx(0, abs=1e-3)
        assert np.concatenate(values).std() == pytest.approx(1, abs=1e-3)


def test_too_many_tokens_are_left_out_and_named(corpus: Corpus, caplog: pytest.LogCaptureFixture) -> None:
    store, tokens = FeatureStore(corpus.dir), letters(corpus)
    voices = base_voices(corpus.utterances, store)
    tokens[2] = np.zeros(5000, dtype=np.int32)
    dataset = AcousticDataset(corpus.utterances, tokens, store, voices)
    assert dataset.left_out == [corpus.utterances[2].id]
    assert corpus.utterances[2].id in caplog.text
    assert len(dataset) == len(corpus.utterances) - 1
    assert dataset[2].id == corpus.utterances[3].id
    np.testing.assert_array_equal(dataset[2].tokens, tokens[3])
    with pytest.raises(NemoExtError, match="none is left"):
        AcousticDataset(corpus.utterances, [np.zeros(5000, dtype=np.int32)] * 12, store, voices)


def test_an_unknown_voice_names_the_nearest(corpus: Corpus) -> None:
    store = FeatureStore(corpus.dir)
    voices = base_voices(corpus.utterances, store)
    wrong = [dataclasses.replace(utterance, speaker="adda") for utterance in corpus.utterances]
    with pytest.raises(NemoExtError, match="did you mean 'ada'"):
        AcousticDataset(wrong, letters(corpus), store, voices)


def test_segments_are_frames_and_exactly_their_audio(corpus: Corpus) -> None:
    store = FeatureStore(corpus.dir)
    dataset = SegmentDataset(corpus.utterances, store, 24)
    seen = 0
    for index in range(len(dataset)):
        item = dataset[(0, index)]
        utterance = next(utterance for utterance in corpus.utterances if utterance.id == item.id)
        whole, mel = io.read_mono(corpus.audio_path(utterance))[0], store.load(utterance).mel
        start = next(s for s in range(mel.shape[1]) if np.array_equal(mel[:, s : s + 24], item.mel))
        expected = np.zeros(24 * HOP, dtype=np.float32)
        part = whole[start * HOP : (start + 24) * HOP]
        expected[: len(part)] = part
        np.testing.assert_array_equal(item.audio, expected)
        # and it is the audio of these frames: away from the edges, its own mel says the same
        np.testing.assert_allclose(log_mel(item.audio, store.config.mel)[:, 2:22], item.mel[:, 2:22], atol=1e-3)
        seen += 1
    assert seen == len(dataset) > len(corpus.utterances)


def test_a_whole_utterance_decodes_to_its_frames(corpus: Corpus) -> None:
    """The segment that is a whole utterance has ``T_mel * hop`` samples and begins with the first one spoken."""
    store, utterance = FeatureStore(corpus.dir), corpus.train[0]
    frames = store.entry(utterance).frames
    item = SegmentDataset([utterance], store, frames)[(0, 0)]
    whole = io.read_mono(corpus.audio_path(utterance))[0]
    assert item.audio.shape == (frames * HOP,)
    np.testing.assert_array_equal(item.audio[: len(whole)], whole)
    assert 0 < frames * HOP - len(whole) <= HOP
    assert not item.audio[len(whole) :].any()


def test_short_utterances_are_padded_with_silence(corpus: Corpus) -> None:
    store, utterance = FeatureStore(corpus.dir), corpus.train[0]
    mel = store.load(utterance).mel
    item = SegmentDataset([utterance], store, mel.shape[1] + 20)[(3, 0)]
    np.testing.assert_array_equal(item.mel[:, : mel.shape[1]], mel)
    np.testing.assert_array_equal(
        item.mel[:, mel.shape[1] :], np.broadcast_to(log_mel(np.zeros(1, np.float32), store.config.mel), (80, 20))
    )
    assert item.audio.shape == ((mel.shape[1] + 20) * HOP,)
    assert not item.audio[mel.shape[1] * HOP :].any()


def test_segments_depend_on_seed_epoch_and_utterance_alone(corpus: Corpus) -> None:
    store, utterance = FeatureStore(corpus.dir), corpus.train[4]
    alone, among = SegmentDataset([utterance], store, 16), SegmentDataset(corpus.utterances, store, 16)
    np.random.seed(0)
    first = [alone[(2, i)].audio for i in range(len(alone))]
    np.random.seed(1)
    again = [item.audio for i in range(len(among)) if (item := among[(2, i)]).id == utterance.id]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, [alone[(3, i)].audio for i in range(len(alone))])
    other = SegmentDataset([utterance], store, 16, seed=1)
    assert not np.array_equal(first, [other[(2, i)].audio for i in range(len(other))])


def test_an_epoch_covers_the_utterance(corpus: Corpus) -> None:
    """Over epochs every frame is seen, the last ones too."""
    store, utterance = FeatureStore(corpus.dir), corpus.train[0]
    mel, dataset = store.load(utterance).mel, SegmentDataset([utterance], store, 16)
    assert len(dataset) == round(mel.shape[1] / 16)
    seen = np.zeros(mel.shape[1], dtype=bool)
    for epoch in range(40):
        for index in range(len(dataset)):
            part = dataset[(epoch, index)].mel
            start = next(s for s in range(mel.shape[1]) if np.array_equal(mel[:, s : s + 16], part))
            seen[start : start + 16] = True
    assert seen.mean() > 0.97


def test_datasets_can_be_pickled(corpus: Corpus) -> None:
    store = FeatureStore(corpus.dir)
    dataset = AcousticDataset(corpus.utterances, letters(corpus), store, base_voices(corpus.utterances, store))
    copy = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(copy[1].mel, dataset[1].mel)
    segments = SegmentDataset(corpus.utterances, store, 8)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(segments))[(0, 1)].audio, segments[(0, 1)].audio)


def test_labels_become_style_ids_and_unknown_ones_none(corpus: Corpus) -> None:
    store = FeatureStore(corpus.dir)
    voices = base_voices(corpus.utterances, store)
    labels = ["sad", None, "sung", "calm"]
    marked = [dataclasses.replace(u, style=labels[i % 4]) for i, u in enumerate(corpus.utterances)]
    dataset = AcousticDataset(marked, letters(corpus), store, voices, ["calm", "sad"])
    assert [dataset[i].style_id for i in range(4)] == [1, -1, -1, 0]
    assert dataset[4].style_id == 1
    unasked = AcousticDataset(marked, letters(corpus), store, voices)
    assert {unasked[i].style_id for i in range(4)} == {-1}
