"""Speaker embeddings of a corpus: made once for each encoder and recording, and what batches hold of them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from nemo_ext.corpus.manifest import load_corpus
from nemo_ext.data.embeddings import embed_corpus, mean_embeddings
from nemo_ext.data.features import FeatureStore
from nemo_ext.data.loaders import acoustic_loaders
from nemo_ext.data.prepare import base_voices
from nemo_ext.errors import NemoExtError
from nemo_ext.models.speaker.encoders import speaker_encoder
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend


class Counting:
    """An encoder that counts what it is asked."""

    name, size = "counting", 256

    def __init__(self, identity="one"):
        self.identity, self.asked = identity, 0
        self.real = speaker_encoder("resemblyzer")

    def embed(self, audio, sample_rate):
        self.asked += 1
        return self.real.embed(audio, sample_rate)


@pytest.fixture(scope="module")
def corpus(espeak_corpus):
    found = load_corpus(espeak_corpus)
    found.train, found.val = found.train[:5], found.val[:1]
    return found


@pytest.fixture(scope="module")
def store(corpus, tmp_path_factory):
    return FeatureStore(corpus.dir, cache_dir=tmp_path_factory.mktemp("cache"))


def test_they_are_made_once_for_each_encoder_and_recording(corpus, store, caplog):
    encoder = Counting()
    found = embed_corpus(corpus.utterances, store, encoder)
    assert found.shape == (6, 256)
    assert encoder.asked == 6
    np.testing.assert_array_equal(embed_corpus(corpus.utterances[::-1], store, encoder), found[::-1])
    assert encoder.asked == 6
    other = Counting("two")
    embed_corpus(corpus.utterances[:2], store, other)
    assert other.asked == 2
    path = store.cache_dir / "embeddings-one.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1500] ^= 1
    path.write_bytes(raw)
    np.testing.assert_array_equal(embed_corpus(corpus.utterances, store, encoder), found)
    assert encoder.asked == 12
    assert "damaged cache of embeddings" in caplog.text


def test_a_recording_without_speech_is_named(corpus, tmp_path):
    from nemo_ext.audio import io

    folder = tmp_path / "corpus"
    (folder / "audio").mkdir(parents=True)
    utterance = corpus.train[0]
    shutil.copy(corpus.audio_path(utterance), folder / utterance.audio_filepath)
    io.write(folder / utterance.audio_filepath, np.zeros(22050, np.float32), 22050)
    with pytest.raises(NemoExtError, match=f"utterance '{utterance.id}': there is no speech in this recording"):
        embed_corpus([utterance], FeatureStore(folder), Counting())


def test_base_voices_are_means_of_unit_length(corpus, store):
    voices = base_voices(corpus.utterances, store)
    found = embed_corpus(corpus.utterances, store, Counting())
    table = mean_embeddings(corpus.utterances, found, voices)
    assert table.shape == (len(voices), 256)
    np.testing.assert_allclose(np.linalg.norm(table, axis=1), 1.0, atol=1e-5)
    mine = found[[u.speaker == voices[0].name for u in corpus.utterances]].sum(axis=0)
    np.testing.assert_allclose(table[0], mine / np.linalg.norm(mine), atol=1e-6)


def test_every_utterance_of_a_batch_has_its_own(corpus, store):
    frontend, voices = (
        TextFrontend(TextConfig(alphabet="chars", g2p="graphemes")),
        base_voices(corpus.utterances, store),
    )
    found = embed_corpus(corpus.utterances, store, Counting())
    by_id = {u.id: vector for u, vector in zip(corpus.utterances, found, strict=True)}
    for loader in acoustic_loaders(corpus, frontend, voices, store, 2000, embeddings=found):
        for batch in loader:
            assert batch.embedding.dtype == torch.float32
            np.testing.assert_array_equal(batch.embedding.numpy(), [by_id[name] for name in batch.ids])
    train, _ = acoustic_loaders(corpus, frontend, voices, store, 2000)
    assert next(iter(train)).embedding is None
