"""From a finished corpus to the loaders that a trainer takes."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from nemo_ext.corpus.manifest import Corpus
from nemo_ext.data.collate import collate_acoustic, collate_segments
from nemo_ext.data.dataset import AcousticDataset, SegmentDataset
from nemo_ext.data.features import FeatureStore
from nemo_ext.data.predicted import PredictedMels, aligned
from nemo_ext.data.prepare import prepare
from nemo_ext.data.sampler import FrameBudgetSampler, SegmentSampler
from nemo_ext.data.tokens import encode_corpus
from nemo_ext.errors import NemoExtError
from nemo_ext.types import BaseVoice, Utterance

if TYPE_CHECKING:
    from nemo_ext.text.frontend import TextFrontend


def acoustic_loaders(
    corpus: Corpus,
    frontend: TextFrontend,
    voices: Sequence[BaseVoice],
    features: FeatureStore,
    frames_per_batch: int,
    workers: int = 0,
    seed: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
    styles: Sequence[str] = (),
    embeddings: np.ndarray | None = None,
    accumulate: int = 1,
    audio: bool = False,
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Loaders of ``types.Batch`` for training and for validation.

    Features and tokens that are missing are made. The training loader's order changes with
    ``loader.batch_sampler.set_epoch(n)``, which Lightning calls; validation is the same every time, longest first.

    Args:
        corpus: from ``load_corpus``.
        frontend: of the model.
        voices: of the model; every speaker of the corpus is one of them.
        features: the corpus' store; its settings are the model's ``MelSpec``.
        frames_per_batch: budget of padded mel frames, over all that train together.
        workers: processes that load; 0 loads in the training process, which is the best choice for few cores.
        seed: of the order of batches.
        rank: of this process among those that train together; asked of torch.distributed unless given.
        world_size: how many they are; each gets its part of every batch.
        styles: names of the model's styles, whose order gives the style ids.
        embeddings: ``(N, E)`` of the corpus's utterances, training before validation; see data.embeddings.
        accumulate: in how many steps that are added up a training batch is taken.
        audio: batches bring the recordings along.

    Raises:
        NemoExtError: a speaker that is no voice, a recording that cannot be read, a text without a token.
    """

    def loader(utterances: list[Utterance], part: slice, train: bool) -> DataLoader[Any]:
        vectors = None if embeddings is None else embeddings[part]
        dataset = AcousticDataset(utterances, tokens[part], features, voices, styles, vectors, audio)
        order = FrameBudgetSampler(
            dataset.lengths, frames_per_batch, seed, rank, world_size, train, accumulate=accumulate if train else 1
        )
        return loader_of(dataset, order, functools.partial(collate_acoustic, pad=frontend.pad), workers)

    _ready(corpus, features)
    tokens = encode_corpus(corpus.utterances, frontend, features.cache_dir)
    cut = len(corpus.train)
    return loader(corpus.train, slice(cut), train=True), loader(corpus.val, slice(cut, None), train=False)


def vocoder_loaders(
    corpus: Corpus,
    features: FeatureStore,
    segment_frames: int = 32,
    batch_size: int = 16,
    workers: int = 0,
    seed: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
    val_segment_frames: int | None = None,
    predicted: PredictedMels | None = None,
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Loaders of ``types.SegmentBatch`` for training and for validation; see ``SegmentDataset``.

    A training epoch has about as many seconds of segments as the corpus; a validation has one segment of each
    utterance, the same every time, of ``val_segment_frames`` (as long as in training unless given). With ``predicted``
    the mels are an acoustic model's, and utterances without one are left out.
    """
    _ready(corpus, features)
    if predicted is not None:
        corpus = aligned(corpus, predicted)
    train = SegmentDataset(corpus.train, features, segment_frames, seed, predicted=predicted)
    val = SegmentDataset(corpus.val, features, val_segment_frames or segment_frames, seed, True, predicted)
    return (
        loader_of(train, SegmentSampler(len(train), batch_size, seed, rank, world_size), collate_segments, workers),
        loader_of(val, SegmentSampler(len(val), batch_size, seed, rank, world_size, False), collate_segments, workers),
    )


def in_order(loader: DataLoader[Any], frames_per_batch: int) -> DataLoader[Any]:
    """Every utterance of an acoustic ``loader`` once, the same every time, loaded by this process alone."""
    dataset: Any = loader.dataset
    order = FrameBudgetSampler(dataset.lengths, frames_per_batch, 0, 0, 1, shuffle=False)
    return loader_of(dataset, order, loader.collate_fn, 0)


def _ready(corpus: Corpus, features: FeatureStore) -> None:
    unknown = [utterance for utterance in corpus.utterances if utterance.id not in features.entries]
    if unknown:
        prepare(unknown, features)


def loader_of(
    dataset: Dataset[Any], order: Sampler[Any], collate: Callable[[Any], Any], workers: int
) -> DataLoader[Any]:
    """A loader of ``dataset`` in the sampler's ``order``.

    Raises:
        NemoExtError: less than no processes.
    """
    if workers < 0:
        raise NemoExtError(f"trainer.workers={workers}: it must be at least 0, which loads in the training process")
    # spawn: a forked worker of a process that runs torch's threads may hang, and CUDA refuses to be forked
    kept: dict[str, Any] = {"persistent_workers": True, "multiprocessing_context": "spawn", "prefetch_factor": 4}
    kept["worker_init_fn"] = _leave_signals_to_the_trainer
    return _Loader(
        dataset,
        batch_sampler=order,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        **(kept if workers else {}),
    )


# A terminal's and a cluster's signals reach whole groups of processes; the step in hand still wants its batches.
_TO_GROUPS = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM)
_PATIENCE = 60  # seconds that a loading process outlives SIGTERM, by which torch ends one that does not end by itself


class _Loader(DataLoader[Any]):
    """A DataLoader whose processes are born with those signals held back, until they say what becomes of them."""

    def _get_iterator(self) -> Any:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_GROUPS if self.num_workers else ())
        try:
            return super()._get_iterator()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_signals_to_the_trainer(worker: int) -> None:  # noqa: ARG001
    for number in _TO_GROUPS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_PATIENCE))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _TO_GROUPS)
