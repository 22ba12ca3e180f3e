"""What a speaker encoder trains on: pieces of recordings of one length, each with its speaker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from nemo_ext.audio import io
from nemo_ext.audio.channels import downmix
from nemo_ext.corpus.manifest import Corpus, audio_path
from nemo_ext.data.dataset import Items, items_of
from nemo_ext.data.loaders import loader_of
from nemo_ext.data.prepare import voice_name
from nemo_ext.data.randomness import fraction
from nemo_ext.data.sampler import SegmentSampler
from nemo_ext.errors import NemoExtError
from nemo_ext.types import CropBatch, MelSpec, Portion, Utterance


@dataclass(frozen=True)
class CropItem:
    """A piece of one recording."""

    id: str
    audio: np.ndarray  # (T_audio,) float32
    voice_id: int


class CropDataset(Dataset[CropItem]):
    """Crops of ``samples`` samples, indexed by ``(epoch, index)``.

    A recording gives as many crops an epoch as it is crops long. Where each begins is a pure function of seed, epoch,
    utterance id and the crop's number. A recording that is shorter is repeated until the crop is full.
    """

    def __init__(
        self,
        folder: Any,
        utterances: Sequence[Utterance],
        speakers: Sequence[str],
        samples: int,
        spec: MelSpec,
        seed: int,
    ) -> None:
        """``folder``: the corpus's; ``speakers``: the model's, whose order gives the voice ids.

        Raises:
            NemoExtError: an utterance is spoken by none of ``speakers``.
        """
        rows = {name: number for number, name in enumerate(speakers)}
        for utterance in utterances:
            if voice_name(utterance) not in rows:
                raise NemoExtError(
                    f"utterance '{utterance.id}' is spoken by '{voice_name(utterance)}', who is none of the model's "
                    "speakers"
                )
        self.folder, self.utterances, self.samples, self.seed, self.spec = folder, list(utterances), samples, seed, spec
        self.voice_ids = [rows[voice_name(utterance)] for utterance in utterances]
        lengths = np.array([utterance.duration * spec.sample_rate for utterance in utterances])
        self._starts = np.concatenate([[0], np.cumsum(np.maximum(1, np.round(lengths / samples).astype(int)))])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, key: tuple[int, int]) -> CropItem:
        epoch, index = key
        owner = int(np.searchsorted(self._starts, index, side="right")) - 1
        utterance, number = self.utterances[owner], index - int(self._starts[owner])
        path = audio_path(self.folder, utterance)
        header = io.info(path)
        if header.sample_rate != self.spec.sample_rate:
            raise NemoExtError(
                f"{path} has {header.sample_rate} Hz and the mel wants {self.spec.sample_rate} Hz: "
                f"make the corpus with sample_rate={self.spec.sample_rate}"
            )
        room = max(0, header.samples - self.samples)
        start = round(room * fraction(self.seed, epoch, f"{utterance.id}/{number}"))
        heard, _ = io.read(path, start, self.samples)
        mono = downmix(heard)
        if len(mono) == 0:
            raise NemoExtError(f"{path} has no samples: take it out of the corpus")
        return CropItem(utterance.id, np.resize(mono, self.samples).astype(np.float32), self.voice_ids[owner])

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Items[CropItem]:
        """What a loader asks for: the items of a part of a batch, and what they count for in it."""
        return items_of(self, keys)


def crop_loaders(
    corpus: Corpus,
    speakers: Sequence[str],
    spec: MelSpec,
    crop_seconds: float,
    batch_size: int,
    workers: int = 0,
    seed: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Loaders of ``types.CropBatch`` for training and for validation, which sees the same crops every time.

    Nothing is computed ahead: no features are needed.

    Args:
        corpus: from ``load_corpus``.
        speakers: names, in the model's order.
        spec: its sample rate is the corpus's.
        crop_seconds: s, of every crop.
        batch_size: crops in a batch.
        workers: processes that load.
        seed: of order and places.
        rank: of this process among those that train together; asked of torch.distributed unless given.
        world_size: how many they are.

    Raises:
        NemoExtError: a crop shorter than 0.25 s, which says little of a speaker.
    """
    if crop_seconds < 0.25:
        raise NemoExtError(f"model.crop_seconds={crop_seconds:g}: a crop takes at least 0.25 s")
    samples = round(crop_seconds * spec.sample_rate)
    train = CropDataset(corpus.dir, corpus.train, speakers, samples, spec, seed)
    val = CropDataset(corpus.dir, corpus.val, speakers, samples, spec, seed)
    collate = _Collate(spec)
    return (
        loader_of(train, SegmentSampler(len(train), batch_size, seed, rank, world_size), collate, workers),
        loader_of(val, SegmentSampler(len(val), batch_size, seed, rank, world_size, False), collate, workers),
    )


@dataclass(frozen=True)
class _Collate:
    """A class and no closure: spawned workers take it along."""

    spec: MelSpec

    def __call__(self, items: Sequence[CropItem]) -> CropBatch:
        return CropBatch(
            ids=[item.id for item in items],
            audio=torch.from_numpy(np.stack([item.audio for item in items])),
            voice_ids=torch.tensor([item.voice_id for item in items]),
            frames=sum(self.spec.frames(len(item.audio)) for item in items),
            portion=items.portion if isinstance(items, Items) else Portion(),
        )
