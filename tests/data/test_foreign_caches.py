"""Caches in a corpus folder that somebody else made, with checksums that fit: what cannot be ours is made again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nemo_ext.corpus.manifest import Corpus
from nemo_ext.data import cache
from nemo_ext.data.features import Features, FeatureStore, hash_of_file
from nemo_ext.data.tokens import encode_corpus
from nemo_ext.errors import NemoExtError
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend


@pytest.mark.parametrize("target", ["/dev/zero", "pipe"])
def test_a_recording_is_a_regular_file(target: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.wav").symlink_to(target)
    with pytest.raises(NemoExtError, match=r"no regular file.*make the corpus again"):
        hash_of_file(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "change",
    [
        lambda f: Features(f.mel[:40], f.pitch, f.energy),
        lambda f: Features(f.mel, f.pitch[:-1], f.energy),
        lambda f: Features(f.mel, f.pitch, f.energy[None]),
        lambda f: Features(f.mel.astype(np.float64), f.pitch, f.energy),
        lambda f: Features(f.mel, np.full_like(f.pitch, np.nan), f.energy),
    ],
)
def test_features_of_other_shapes_or_no_numbers_are_made_again(
    corpus: Corpus, change: Callable[[Features], Features]
) -> None:
    store = FeatureStore(corpus.dir)
    utterance = corpus.train[0]
    good = store.load(utterance)
    store._write(store.entry(utterance).audio_hash, change(good))
    fresh = FeatureStore(corpus.dir).load(utterance)
    np.testing.assert_array_equal(fresh.mel, good.mel)
    assert fresh.mel.dtype == np.float32
    np.testing.assert_array_equal(fresh.pitch, good.pitch)
    np.testing.assert_array_equal(fresh.energy, good.energy)


def test_a_pipe_in_the_cache_is_not_waited_for(corpus: Corpus) -> None:
    store = FeatureStore(corpus.dir)
    utterance = corpus.train[0]
    good = store.load(utterance)
    path = store.path(store.entry(utterance).audio_hash)
    path.unlink()
    os.mkfifo(path)
    np.testing.assert_array_equal(FeatureStore(corpus.dir).load(utterance).mel, good.mel)


def tokens_cache(folder: Path) -> Path:
    (path,) = folder.glob("tokens-*.safetensors")
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"ids": lambda ids: np.where(np.arange(len(ids)) == 2, 100_000, ids).astype(np.int32)},
        {"ids": lambda ids: -ids},
        {"ids": lambda ids: ids.astype(np.int64)},
        {"lens": lambda lens: lens + 1},
        {"lens": lambda lens: np.concatenate([lens[:-1] * 0, lens[-1:]])},
    ],
)
def test_tokens_that_no_table_gives_are_made_again(
    corpus: Corpus, tmp_path: Path, change: dict[str, Callable[[np.ndarray], np.ndarray]]
) -> None:
    frontend = TextFrontend(TextConfig(alphabet="chars", g2p="graphemes", normalize=False))
    good = encode_corpus(corpus.utterances, frontend, tmp_path)
    path = tokens_cache(tmp_path)
    held = cache.read(path, ("keys", "lens", "ids"), "tokens")
    assert held is not None
    cache.write(path, {name: change.get(name, lambda same: same)(values) for name, values in held.items()})
    for tokens, before in zip(encode_corpus(corpus.utterances, frontend, tmp_path), good, strict=True):
        np.testing.assert_array_equal(tokens, before)
        assert tokens.dtype == np.int32


def test_a_cache_that_is_a_device_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "c.safetensors").symlink_to("/dev/zero")
    assert cache.read(tmp_path / "c.safetensors", ("a",), "things") is None
    assert cache.read(tmp_path / "none.safetensors", ("a",), "things") is None
