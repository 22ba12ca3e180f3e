"""Datasets: what one utterance, or one segment, is. Plain data inside, so that spawned workers can take them along."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from torch.utils.data import Dataset

from nemo_ext.audio import io
from nemo_ext.audio.channels import downmix
from nemo_ext.data.features import FeatureStore
from nemo_ext.data.prepare import voice_name
from nemo_ext.data.randomness import fraction
from nemo_ext.data.sampler import Keys, Share
from nemo_ext.data.segments import Segments
from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.types import BaseVoice, Portion, Utterance

if TYPE_CHECKING:
    from nemo_ext.data.predicted import PredictedMels

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AcousticItem:
    """One utterance as an acoustic model learns it."""

    id: str
    tokens: np.ndarray  # (T_text,) int
    mel: np.ndarray  # (n_mels, T_mel) float32
    pitch_normalized: np.ndarray  # (T_mel,) float32
    energy: np.ndarray  # (T_mel,) float32
    voice_id: int
    style_id: int = -1  # none is labelled
    embedding: np.ndarray | None = None  # (E,) float32, of a speaker encoder
    audio: np.ndarray | None = None  # (T_mel * hop_length,) float32, for models that make audio


Item = TypeVar("Item")


class Items(list[Item]):
    """The items of one part of a batch, and what they count for in it."""

    def __init__(self, items: Sequence[Item], portion: Portion, drawn: Sequence[float] = ()) -> None:
        """``drawn``: a number in [0, 1) for each utterance, drawn anew every epoch."""
        super().__init__(items)
        self.portion, self.drawn = portion, list(drawn)


def items_of(dataset: Dataset[Item], keys: Sequence[tuple[int, int]]) -> Items[Item]:
    """The items of ``dataset`` for ``keys``, from a SegmentSampler or from somebody whose batch is not shared."""
    return Items([dataset[key] for key in keys], keys.portion if isinstance(keys, Keys) else Portion())


class AcousticDataset(Dataset[AcousticItem]):
    """Utterances with their tokens, features and voice.

    Utterances with more tokens than mel frames cannot be aligned; they are left out and named in ``left_out``.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        tokens: Sequence[np.ndarray],
        store: FeatureStore,
        voices: Sequence[BaseVoice],
        styles: Sequence[str] = (),
        embeddings: np.ndarray | None = None,
        audio: bool = False,
    ) -> None:
        """``tokens``: token ids of each utterance; ``voices``: the model's, whose order gives the voice ids.

        ``styles``: names of the model's styles; an utterance of another style, or of none, has the style id -1.
        ``embeddings (N, E)``: of each utterance, for a model whose voices are a speaker encoder's.
        ``audio``: items bring their recordings along.

        Raises:
            NemoExtError: an utterance's speaker is none of ``voices``, or every utterance is left out.
        """
        rows = {voice.name: number for number, voice in enumerate(voices)}
        self._style_ids = {name: number for number, name in enumerate(styles)}
        self.store, self.voices, self.audio = store, list(voices), audio
        self.utterances: list[Utterance] = []
        self.tokens: list[np.ndarray] = []
        self.voice_ids: list[int] = []
        self.left_out: list[str] = []
        kept: list[int] = []
        for number, (utterance, ids) in enumerate(zip(utterances, tokens, strict=True)):
            name = voice_name(utterance)
            if name not in rows:
                raise NemoExtError(
                    f"utterance '{utterance.id}' is spoken by '{name}', which is none of the model's voices"
                    f"{nearest(name, rows)}; they are {', '.join(list(rows)[:12])}"
                )
            if len(ids) > store.entry(utterance).frames:
                self.left_out.append(utterance.id)
                continue
            self.utterances.append(utterance)
            self.tokens.append(ids)
            self.voice_ids.append(rows[name])
            kept.append(number)
        self.embeddings = None if embeddings is None else embeddings[kept]
        if self.left_out:
            shown = ", ".join(self.left_out[:5]) + (", ..." if len(self.left_out) > 5 else "")
            message = f"{len(self.left_out)} utterances have more tokens than mel frames and cannot be aligned: {shown}"
            if not self.utterances:
                raise NemoExtError(f"{message}; none is left: do the texts belong to the recordings?")
            _log.warning("%s; they are left out", message)

    @property
    def lengths(self) -> list[int]:
        """Mel frames of each utterance."""
        return [self.store.entry(utterance).frames for utterance in self.utterances]

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> AcousticItem:
        features = self.store.load(self.utterances[index])
        return self._item(index, features.mel, features.pitch, features.energy)

    def _item(self, index: int, mel: np.ndarray, pitch: np.ndarray, energy: np.ndarray) -> AcousticItem:
        utterance, voice_id = self.utterances[index], self.voice_ids[index]
        voice = self.voices[voice_id]
        normalized = (pitch - np.float32(voice.pitch_mean)) / np.float32(voice.pitch_std)
        normalized[pitch == 0] = 0.0
        return AcousticItem(
            id=utterance.id,
            tokens=self.tokens[index],
            mel=mel,
            pitch_normalized=normalized,
            energy=energy,
            voice_id=voice_id,
            style_id=self._style_id(index),
            embedding=None if self.embeddings is None else self.embeddings[index],
            audio=_heard(self.store, utterance, 0, mel.shape[1]) if self.audio else None,
        )

    def __getitems__(self, indices: Sequence[int]) -> Items[AcousticItem]:
        """What a loader asks for: the items of a part of a batch, and what they count for in it."""
        return self._part([self[i] for i in indices], indices)

    def without_mels(self, indices: Sequence[int]) -> Items[AcousticItem]:
        """The same for a loader that makes mel and energy itself: they are zeros, and what is kept is not read."""
        bands, found = self.store.config.mel.n_mels, []
        for index in indices:
            pitch = self.store.pitch(self.utterances[index])
            nothing = np.broadcast_to(np.float32(0.0), (bands, len(pitch)))  # a number in memory
            found.append(self._item(index, nothing, pitch, nothing[0]))
        return self._part(found, indices)

    def _part(self, items: Sequence[AcousticItem], indices: Sequence[int]) -> Items[AcousticItem]:
        draw = indices.draw if isinstance(indices, Share) else (0, 0)
        drawn = [fraction(*draw, self.utterances[i].id) for i in indices]
        return Items(items, self._portion(indices), drawn)

    def _portion(self, indices: Sequence[int]) -> Portion:
        if not isinstance(indices, Share) or indices.parts == 1:
            return Portion()
        here, whole = self._counts([] if indices.spare else indices), self._counts(indices.whole)
        utterances, frames, tokens, labelled = (
            indices.parts * ours / max(all_, 1) for ours, all_ in zip(here, whole, strict=True)
        )
        return Portion(utterances, frames, tokens, labelled, len(indices.whole))

    def _counts(self, indices: Sequence[int]) -> tuple[int, int, int, int]:
        """Utterances, frames, tokens and labelled utterances, in the order of Portion."""
        frames = sum(self.store.entry(self.utterances[i]).frames for i in indices)
        labelled = sum(self._style_id(i) >= 0 for i in indices)
        return len(indices), frames, sum(len(self.tokens[i]) for i in indices), labelled

    def _style_id(self, index: int) -> int:
        return self._style_ids.get(self.utterances[index].style or "", -1)


@dataclass(frozen=True)
class SegmentItem:
    """A segment as a vocoder learns it."""

    id: str
    audio: np.ndarray  # (T_mel * hop_length,) float32
    mel: np.ndarray  # (n_mels, T_mel) float32


class SegmentDataset(Dataset[SegmentItem]):
    """Segments of ``segment_frames`` mel frames, cut at frame boundaries, and exactly their audio.

    Frame ``i`` of a centred STFT looks at the samples around ``i * hop``. Frames ``[i, i + n)`` go with the samples
    ``[i * hop, (i + n) * hop)``, so that decoding a whole utterance of ``T_mel`` frames gives its ``T_mel * hop``
    samples from the very first one: what is spoken stays where it was, and the surplus (less than a hop) is silence at
    the end. (A mel that is not centred, as in HiFi-GAN's own code, sits half a hop later; the two do not mix.)
    Mels are cut from the whole utterance's, so a segment's edge frames know what lies beyond the segment.

    Indexed by ``(epoch, index)``; see ``Segments``. An utterance shorter than a segment is padded with silence.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        store: FeatureStore,
        segment_frames: int,
        seed: int = 0,
        one_each: bool = False,
        predicted: PredictedMels | None = None,
    ) -> None:
        """``one_each``: a single segment of each utterance an epoch, for validation.

        ``predicted``: where the mels come from instead of the recordings, of every one of ``utterances``.
        """
        self.utterances, self.store, self.predicted = list(utterances), store, predicted
        self.segment_frames = segment_frames
        ids, frames = [u.id for u in self.utterances], [store.entry(u).frames for u in self.utterances]
        self.segments = Segments(ids, frames, segment_frames, seed, one_each)

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, key: tuple[int, int]) -> SegmentItem:
        owner, start, _ = self.segments.place(key)
        utterance = self.utterances[owner]
        mel = self.predicted.load(utterance) if self.predicted else self.store.load(utterance).mel
        return self.cut(utterance, mel, start)

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Items[SegmentItem]:
        """What a loader asks for: the items of a part of a batch, and what they count for in it."""
        return items_of(self, keys)

    def cut(self, utterance: Utterance, mel: np.ndarray, start: int) -> SegmentItem:
        """The segment of ``utterance``, whose whole mel is given, that begins at frame ``start``."""
        spec, frames = self.store.config.mel, self.segment_frames
        audio = _heard(self.store, utterance, start, frames)
        part = np.full((spec.n_mels, frames), np.log(spec.log_guard), dtype=np.float32)
        known = mel[:, start : start + frames]
        part[:, : known.shape[1]] = known
        return SegmentItem(utterance.id, audio, part)


def _heard(store: FeatureStore, utterance: Utterance, start: int, frames: int) -> np.ndarray:
    """The recording's samples ``(frames * hop_length,)`` from frame ``start`` on, silence where it has ended."""
    hop = store.config.mel.hop_length
    heard, _ = io.read(store.audio_path(utterance), start * hop, frames * hop)
    mono = downmix(heard)
    audio = np.zeros(frames * hop, dtype=np.float32)
    audio[: len(mono)] = mono
    return audio
