"""Loaders whose decoding, resampling and mels are NVIDIA DALI's (``loader=dali``).

Our own samplers drive it: which utterances or segments make up a batch, their order, the rank's share, the place in a
resumed epoch are those of the torch loaders, and so are the batches, mels within 1e-3. A vocoder needs no features made
ahead, and its recordings may have any sample rate: segments are cut out of the files as they are.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.dlpack import from_dlpack

from nemo_ext.corpus.manifest import Corpus
from nemo_ext.data.augment import Augment
from nemo_ext.data.dali_graph import Graph, require
from nemo_ext.data.dataset import AcousticDataset
from nemo_ext.data.recordings import Recording, survey
from nemo_ext.data.sampler import Keys, SegmentSampler
from nemo_ext.data.segments import Segments
from nemo_ext.errors import NemoExtError
from nemo_ext.types import Batch, MelSpec, SegmentBatch, Utterance


@dataclass(frozen=True)
class Heard:
    """What is to be heard of one recording."""

    id: str  # the utterance's
    recording: Recording
    first: int  # mel frame
    frames: int
    known: int  # of these, before the utterance ends
    name: str  # of which chance is a function


class Work(Protocol):
    """What the samples of a loader are, and what becomes of a batch of them."""

    dataset: Any

    def samples(self, keys: Sequence[Any]) -> list[Heard]:
        """What is heard for a batch of the sampler's ``keys``."""
        ...

    def batch(self, keys: Any, samples: Sequence[Heard], mel: torch.Tensor, other: torch.Tensor) -> Any:
        """The batch of ``samples``: log-mel ``(B, n_mels, T_mel)``, and the other output of ``Graph``."""
        ...


def _column(values: Sequence[Any], kind: Any) -> np.ndarray:
    """``(B, 1)``: one number for each sample."""
    return np.array(values, kind)[:, None]


class _Feed:
    """The source of a pipeline, which serves one iteration after another."""

    def __init__(self, work: Work, inputs: Callable[[Sequence[Heard], int], list[Any]]) -> None:
        self._work, self._inputs = work, inputs
        # keys and samples of the batches that the pipeline was given and has not given back
        self.begun: deque[tuple[Any, list[Heard]]] = deque()

    def start(self, batch_sampler: Any) -> None:
        """Begin with the sampler's next iteration."""
        self._keys, self._epoch = iter(batch_sampler), getattr(batch_sampler, "epoch", 0)

    def __call__(self) -> list[Any]:
        keys = next(self._keys)
        samples = self._work.samples(keys)
        self.begun.append((keys, samples))
        return self._inputs(samples, self._epoch)


class DaliLoader:
    """A loader in the order of one of our samplers, which is its ``batch_sampler``; Lightning takes it as it is.

    Its pipeline works ahead while the batches it gave are trained on. What is left of an epoch depends on batches
    consumed alone: a resumed training sets ``batch_sampler.skip``.
    """

    def __init__(
        self,
        work: Work,
        batch_sampler: Any,
        batch_size: int,
        graph: Graph,
        seed: int = 0,
        gpu: bool = False,
    ) -> None:
        """``batch_size``: the largest; ``gpu``: spectra and batches on the current CUDA device instead of the CPU.

        Raises:
            NemoExtError: DALI is not installed.
        """
        require()
        self.batch_sampler, self.batch_size = batch_sampler, max(1, batch_size)
        self._work, self._graph, self._seed, self._gpu = work, graph, seed, gpu
        self._idle: list[tuple[_Feed, Any]] = []  # pipelines whose iteration is over

    @property
    def dataset(self) -> Any:
        """What the sampler's keys index."""
        return self._work.dataset

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Any]:
        feed, pipeline = self._idle.pop() if self._idle else self._new()
        feed.start(self.batch_sampler)
        while True:
            try:
                mel, other = (from_dlpack(output.as_tensor()) for output in pipeline.run())
            except StopIteration:
                break
            except RuntimeError as error:
                raise self._refusal([heard for _, samples in feed.begun for heard in samples], error) from error
            yield self._work.batch(*feed.begun.popleft(), self._graph.log_mel(mel), other)
        pipeline.reset()
        self._idle.append((feed, pipeline))  # one that was left half-way is not used again

    def _new(self) -> tuple[_Feed, Any]:
        graph = dataclasses.replace(self._graph, device_id=torch.cuda.current_device() if self._gpu else None)
        feed = _Feed(self._work, self._inputs)
        return feed, graph.build(feed, self.batch_size)

    def _inputs(self, samples: Sequence[Heard], epoch: int) -> list[Any]:
        """What ``Graph`` asks of its source."""
        graph, augment = self._graph, self._graph.augment
        margin, hop = graph.margin(), graph.spec.hop_length
        lengths = [graph.length(heard.frames) for heard in samples]
        files, begins = zip(
            *(heard.recording.around(heard.first * hop - margin, n) for heard, n in zip(samples, lengths, strict=True)),
            strict=True,
        )
        columns: list[Any] = [list(files), _column(begins, np.int32), _column(lengths, np.int32)]
        if augment.gain_db > 0:
            columns.append(_column([augment.gain(self._seed, epoch, heard.name) for heard in samples], np.float32))
        if augment.noise_db is not None:
            drawn = zip(samples, lengths, strict=True)
            columns.append([augment.noise(self._seed, epoch, heard.name, n) for heard, n in drawn])
        return columns

    def _refusal(self, samples: Sequence[Heard], error: RuntimeError) -> NemoExtError:
        """Names the recording that DALI could not decode, which DALI does not."""
        graph = dataclasses.replace(self._graph, segment_frames=None, augment=Augment())
        for heard in samples:
            data, begin = heard.recording.around(0, graph.spec.n_fft)
            given = [[data], _column([begin], np.int32), _column([graph.length(1)], np.int32)]
            try:
                graph.build(itertools.repeat(given), 1).run()
            except RuntimeError as reason:
                return NemoExtError(f"{heard.recording.path} cannot be decoded by DALI: {_reason(reason)}; {_REMEDY}")
        return NemoExtError(f"DALI stopped: {_reason(error)}; {_REMEDY}")


_REMEDY = "make the corpus again, or take loader=torch"


def _reason(error: RuntimeError) -> str:
    """What DALI says between its traceback and its C++ context."""
    said = str(error).partition("encountered:")[2] or str(error)
    return " ".join(said.partition("C++ context:")[0].split())[:300].rstrip(".")


# ----------------------------------------------------------------------- vocoder


class _SegmentWork:
    def __init__(self, recordings: list[Recording], segments: Segments, spec: MelSpec) -> None:
        self.dataset, self._recordings, self._silence = segments, recordings, math.log(spec.log_guard)

    def samples(self, keys: Sequence[tuple[int, int]]) -> list[Heard]:
        found, of = [], self.dataset
        for key in keys:
            owner, start, name = of.place(key)
            known = min(of.segment_frames, int(of.frames[owner]) - start)
            found.append(Heard(of.ids[owner], self._recordings[owner], start, of.segment_frames, known, name))
        return found

    def batch(
        self,
        keys: Keys,
        samples: Sequence[Heard],
        mel: torch.Tensor,
        other: torch.Tensor,
    ) -> SegmentBatch:
        for row, heard in enumerate(samples):
            if heard.known < heard.frames:  # beyond the utterance's last frame there is silence
                mel[row, :, heard.known :] = self._silence
        return SegmentBatch([heard.id for heard in samples], audio=other, mel=mel, portion=keys.portion)


def dali_vocoder_loaders(
    corpus: Corpus,
    spec: MelSpec,
    segment_frames: int = 32,
    batch_size: int = 16,
    threads: int = 1,
    seed: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
    augment: Augment | None = None,
    gpu: bool = False,
) -> tuple[DaliLoader, DaliLoader]:
    """What ``vocoder_loaders`` gives, without any features made ahead.

    Args:
        corpus: from ``load_corpus``; recordings of another rate than ``spec``'s are resampled as they are read.
        spec: of the mels.
        segment_frames: mel frames of a segment.
        batch_size: segments in a batch.
        threads: of DALI, beside the training's.
        seed: of order, places and augmentation.
        rank: as in ``vocoder_loaders``.
        world_size: likewise.
        augment: of training segments.
        gpu: compute mels on the current CUDA device.

    Raises:
        NemoExtError: DALI is not installed, a recording is missing, or an option makes no sense.
    """
    require()
    augment = augment or Augment()
    augment.check()

    def loader(utterances: list[Utterance], train: bool) -> DaliLoader:
        recordings = survey([corpus.audio_path(utterance) for utterance in utterances], spec.sample_rate)
        frames = [spec.frames(recording.samples) for recording in recordings]
        segments = Segments([u.id for u in utterances], frames, segment_frames, seed, one_each=not train)
        order = SegmentSampler(len(segments), batch_size, seed, rank, world_size, train)
        graph = Graph(spec, segment_frames, augment if train else Augment(), threads)
        return DaliLoader(_SegmentWork(recordings, segments, spec), order, batch_size, graph, seed, gpu)

    return loader(corpus.train, train=True), loader(corpus.val, train=False)


# ---------------------------------------------------------------------- acoustic


class _AcousticWork:
    def __init__(self, dataset: AcousticDataset, collate: Callable[[Any], Batch]) -> None:
        self.dataset, self._collate = dataset, collate
        paths = [dataset.store.audio_path(utterance) for utterance in dataset.utterances]
        self._recordings = survey(paths, dataset.store.config.mel.sample_rate)

    def samples(self, keys: Sequence[int]) -> list[Heard]:
        found = []
        for key in keys:
            utterance = self.dataset.utterances[key]
            frames = self.dataset.store.entry(utterance).frames
            found.append(Heard(utterance.id, self._recordings[key], 0, frames, frames, utterance.id))
        return found

    def batch(self, keys: Sequence[int], samples: Sequence[Heard], mel: torch.Tensor, other: torch.Tensor) -> Batch:
        for row, heard in enumerate(samples):
            mel[row, :, heard.frames :] = 0.0
        return dataclasses.replace(self._collate(self.dataset.without_mels(keys)), mel=mel, energy=other)


def dali_acoustic_loader(
    loader: DataLoader[Any],
    threads: int = 1,
    augment: Augment | None = None,
    gpu: bool = False,
) -> DaliLoader:
    """The batches of ``loader``, one of ``acoustic_loaders``, with mel and energy made by DALI from the recordings.

    Tokens and their padding, pitch, prior, voices and styles are those of the loader.

    Raises:
        NemoExtError: DALI is not installed, or an option makes no sense.
    """
    require()
    augment = augment or Augment()
    augment.check()
    if augment.noise_db is not None:
        raise NemoExtError("augment.noise_db is for vocoders: an acoustic model would learn to say the noise")
    dataset: Any = loader.dataset
    order: Any = loader.batch_sampler
    shortest = min(dataset.lengths, default=1)
    largest = min(len(dataset), max(1, order.frames_per_batch // max(1, shortest)))
    graph = Graph(dataset.store.config.mel, None, augment, threads)
    return DaliLoader(_AcousticWork(dataset, loader.collate_fn), order, largest, graph, order.seed, gpu)
