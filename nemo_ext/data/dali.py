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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.dlpack import from_dlpack

from nemo_ext.corpus.manifest import Corpus
from nemo_ext.data.augment import Augment
from nemo_ext.data.collate import collate_acoustic
from nemo_ext.data.dali_graph import Graph, require
from nemo_ext.data.dataset import AcousticDataset
from nemo_ext.data.recordings import Recording, survey
from nemo_ext.data.sampler import SegmentSampler
from nemo_ext.data.segments import Segments
from nemo_ext.errors import NemoExtError
from nemo_ext.types import Batch, MelSpec, SegmentBatch, Utterance


@dataclass(frozen=True)
class Heard:
    """What is to be heard of one recording."""

    recording: Recording
    first: int  # mel frame
    frames: int
    name: str  # of which chance is a function


class Work(Protocol):
    """What the samples of a loader are, and what becomes of a batch of them."""

    dataset: Any

    def samples(self, keys: Sequence[Any]) -> list[Heard]:
        """What is heard for a batch of the sampler's ``keys``."""
        ...

    def batch(self, keys: Sequence[Any], first: torch.Tensor, second: torch.Tensor) -> Any:
        """The batch, of the two outputs of ``Graph``."""
        ...


class DaliLoader:
    """A loader in the order of one of our samplers, which is its ``batch_sampler``; Lightning takes it as it is.

    Each iteration is a pipeline of its own, which works ahead while the batches it gave are trained on. What is left
    of the epoch depends on batches consumed alone: a resumed training sets ``batch_sampler.skip``.
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

    @property
    def dataset(self) -> Any:
        """What the sampler's keys index."""
        return self._work.dataset

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Any]:
        epoch = getattr(self.batch_sampler, "epoch", 0)
        keys = iter(self.batch_sampler)
        begun: deque[Any] = deque()  # what the pipeline was given and has not given back

        def source() -> list[list[np.ndarray]]:
            chosen = next(keys)
            begun.append(chosen)
            return self._inputs(chosen, epoch)

        graph = dataclasses.replace(self._graph, device_id=torch.cuda.current_device() if self._gpu else None)
        pipeline = graph.build(source, self.batch_size)
        while True:
            try:
                first, second = (from_dlpack(output.as_tensor()) for output in pipeline.run())
            except StopIteration:
                return
            except RuntimeError as error:
                raise self._refusal([key for batch in begun for key in batch], error) from error
            yield self._work.batch(begun.popleft(), first, second)

    def _inputs(self, keys: Sequence[Any], epoch: int) -> list[list[np.ndarray]]:
        """What ``Graph`` asks of its source, for each sample of a batch."""
        graph, augment, columns = self._graph, self._graph.augment, []
        for heard in self._work.samples(keys):
            length = graph.length(heard.frames)
            begin = heard.first * graph.spec.hop_length - graph.margin()
            data, begin = heard.recording.around(begin, length)
            row = [data, np.array([begin], np.int32), np.array([length], np.int32)]
            if augment.gain_db > 0:
                row.append(np.array([augment.gain(self._seed, epoch, heard.name)], np.float32))
            if augment.noise_db is not None:
                row.append(augment.noise(self._seed, epoch, heard.name, length))
            columns.append(row)
        return [list(column) for column in zip(*columns, strict=True)]

    def _refusal(self, keys: Sequence[Any], error: RuntimeError) -> NemoExtError:
        """Names the recording that DALI could not decode, which DALI does not."""
        graph = dataclasses.replace(self._graph, segment_frames=None, augment=Augment())
        for heard in self._work.samples(keys):
            data, begin = heard.recording.around(0, graph.spec.n_fft)
            given = [[data], [np.array([begin], np.int32)], [np.array([graph.length(1)], np.int32)]]
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
    def __init__(self, utterances: Sequence[Utterance], recordings: list[Recording], segments: Segments, spec: MelSpec):
        self.dataset, self.recordings, self.spec = segments, recordings, spec
        self.ids = [utterance.id for utterance in utterances]

    def samples(self, keys: Sequence[tuple[int, int]]) -> list[Heard]:
        found = []
        for key in keys:
            owner, start, name = self.dataset.place(key)
            found.append(Heard(self.recordings[owner], start, self.dataset.segment_frames, name))
        return found

    def batch(self, keys: Sequence[tuple[int, int]], first: torch.Tensor, second: torch.Tensor) -> SegmentBatch:
        owners = []
        for row, key in enumerate(keys):
            owner, start, _ = self.dataset.place(key)
            known = int(self.dataset.frames[owner]) - start
            if known < self.dataset.segment_frames:  # beyond the utterance's last frame there is silence
                second[row, :, known:] = math.log(self.spec.log_guard)
            owners.append(owner)
        return SegmentBatch([self.ids[owner] for owner in owners], first, second)


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
        return DaliLoader(_SegmentWork(utterances, recordings, segments, spec), order, batch_size, graph, seed, gpu)

    return loader(corpus.train, train=True), loader(corpus.val, train=False)


# ---------------------------------------------------------------------- acoustic


class _AcousticWork:
    def __init__(self, dataset: AcousticDataset) -> None:
        self.dataset = dataset
        paths = [dataset.store.audio_path(utterance) for utterance in dataset.utterances]
        self.recordings = survey(paths, dataset.store.config.mel.sample_rate)

    def samples(self, keys: Sequence[int]) -> list[Heard]:
        lengths = [self.dataset.store.entry(self.dataset.utterances[key]).frames for key in keys]
        return [
            Heard(self.recordings[key], 0, frames, self.dataset.utterances[key].id)
            for key, frames in zip(keys, lengths, strict=True)
        ]

    def batch(self, keys: Sequence[int], first: torch.Tensor, second: torch.Tensor) -> Batch:
        return dataclasses.replace(collate_acoustic(self.dataset.__getitems__(keys)), mel=first, energy=second)


def dali_acoustic_loader(
    loader: DataLoader[Any],
    threads: int = 1,
    augment: Augment | None = None,
    gpu: bool = False,
) -> DaliLoader:
    """The batches of ``loader``, one of ``acoustic_loaders``, with mel and energy made by DALI from the recordings.

    Tokens, pitch, prior, voices and styles are those of the loader's dataset.

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
    return DaliLoader(_AcousticWork(dataset), order, largest, graph, order.seed, gpu)
