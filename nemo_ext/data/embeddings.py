"""Speaker embeddings of a corpus, cached by the recordings' content and by what made them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nemo_ext.audio import io
from nemo_ext.data import cache
from nemo_ext.data.features import FeatureStore
from nemo_ext.data.prepare import voice_name
from nemo_ext.errors import NemoExtError
from nemo_ext.types import BaseVoice, SpeakerEncoder, Utterance


def embed_corpus(utterances: Sequence[Utterance], store: FeatureStore, encoder: SpeakerEncoder) -> np.ndarray:
    """Embeddings ``(N, E)`` float32 of ``utterances``, from the cache where it knows them.

    The cache is one file for each ``encoder.identity``; its keys are hashes of the recordings' bytes.

    Raises:
        NemoExtError: a recording cannot be read, or has no speech in it.
    """
    path = store.cache_dir / f"embeddings-{encoder.identity}.safetensors"
    known = _read(path, encoder.size)
    hashes = [bytes.fromhex(store.entry(utterance).audio_hash) for utterance in utterances]
    if not set(hashes) <= known.keys():
        with cache.in_turn(store.cache_dir):
            known = _read(path, encoder.size)
            new = {key: utterance for key, utterance in zip(hashes, utterances, strict=True) if key not in known}
            if new:
                _embed(new, known, store, encoder, path)
    return np.stack([known[key] for key in hashes]) if hashes else np.zeros((0, encoder.size), np.float32)


def mean_embeddings(utterances: Sequence[Utterance], embeddings: np.ndarray, voices: Sequence[BaseVoice]) -> np.ndarray:
    """The base voices' embeddings ``(voices, E)``: of each the mean over its utterances, brought to unit length."""
    rows = {voice.name: number for number, voice in enumerate(voices)}
    sums = np.zeros((len(voices), embeddings.shape[1]))
    for utterance, embedding in zip(utterances, embeddings, strict=True):
        sums[rows[voice_name(utterance)]] += embedding
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9), dtype=np.float32)


def _embed(
    new: dict[bytes, Utterance],
    known: dict[bytes, np.ndarray],
    store: FeatureStore,
    encoder: SpeakerEncoder,
    path: Path,
) -> None:
    def embed(utterance: Utterance) -> np.ndarray:
        audio, rate = io.read_mono(store.audio_path(utterance))
        try:
            return encoder.embed(audio, rate)
        except NemoExtError as error:
            raise NemoExtError(f"utterance '{utterance.id}': {error}; take it out of the corpus") from error

    cache.fill(new, known, embed, lambda: _write(path, known), f"embedding voices with {encoder.name}")


def _write(path: Path, known: dict[bytes, np.ndarray]) -> None:
    if not known:
        return
    keys: np.ndarray = np.frombuffer(b"".join(known), dtype=np.uint8)
    cache.write(path, {"keys": keys, "values": np.stack(list(known.values())).astype(np.float32)})


def _read(path: Path, size: int) -> dict[bytes, np.ndarray]:
    """What is cached; a missing or damaged file is an empty cache, and so is one of vectors of another size."""
    held = cache.read(path, ("keys", "values"), "embeddings")
    if held is None or held["values"].shape[1:] != (size,) or held["keys"].shape != (16 * len(held["values"]),):
        return {}
    if held["values"].dtype != np.float32 or not np.isfinite(held["values"]).all():
        return {}
    return {held["keys"][16 * i : 16 * i + 16].tobytes(): value for i, value in enumerate(held["values"])}
