"""The nouns of the house. Every floor may import this file; it imports nothing of ours but errors.

Shape suffixes used everywhere: B batch, T_text tokens, T_mel frames, T_audio samples,
D embedding width, P length of the voice vector.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from nemo_ext.errors import NemoExtError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from nemo_ext.voices import Voice


SLOWEST = 0.25  # pace, a factor on the speed: what a person may ask for
NO_FRAME = "no sound of this text lasts even one frame: ask for a lower pace or a weaker style"


def _setting(default: Any, help: str, unit: str = "", **limits: float) -> Any:
    """A field that tells the command line's ``--help`` what it is; ``limits``: least, most, above (_options.Option)."""
    return field(default=default, metadata={"help": help, "unit": unit, **limits})


def _limited(default: Any, **limits: float) -> Any:
    return field(default=default, metadata=limits)


@dataclass(frozen=True)
class MelSpec:
    """The settings that define a mel: an acoustic model and a vocoder must agree on all of them.

    The mel is ``log(mel_basis @ |STFT| ** mag_power + log_guard)`` (natural log, Slaney mel scale and norm),
    with a centred STFT, so ``n`` samples make ``n // hop_length + 1`` frames.
    """

    sample_rate: int = _setting(22050, "of the audio", "Hz", least=1000, most=384_000)
    n_fft: int = _setting(1024, "length of the Fourier transform", "samples", least=16, most=65_536)
    hop_length: int = _setting(256, "from one frame to the next", "samples", least=1, most=65_536)
    win_length: int = _setting(1024, "Hann window", "samples", least=1, most=65_536)
    n_mels: int = _setting(80, "mel bands", least=1, most=1024)
    f_min: float = _setting(0.0, "lower edge of the lowest band", "Hz", least=0.0)
    f_max: float = _setting(8000.0, "upper edge of the highest band", "Hz", above=0.0)
    mag_power: float = _setting(1.0, "exponent of the magnitudes", above=0.0, most=4.0)
    log_guard: float = _setting(1e-5, "added before the logarithm", above=0.0, most=1.0)

    def check(self) -> None:
        """
        Raises:
            NemoExtError: settings that make no mel, each of which may be right by itself.
        """
        if self.win_length > self.n_fft:
            raise NemoExtError(
                f"win_length={self.win_length} is longer than n_fft={self.n_fft}: make it as long at most"
            )
        if self.hop_length > self.win_length:
            raise NemoExtError(
                f"hop_length={self.hop_length} is longer than win_length={self.win_length}: samples would be lost"
            )
        if not self.f_min < self.f_max <= self.sample_rate / 2:
            raise NemoExtError(
                f"f_min={self.f_min:g} and f_max={self.f_max:g} Hz are no band below half the sample rate, "
                f"{self.sample_rate / 2:g} Hz"
            )

    def frames(self, samples: int) -> int:
        """Number of mel frames that ``samples`` audio samples make."""
        return samples // self.hop_length + 1

    def seconds(self, frames: int) -> float:
        """Duration in seconds of ``frames`` frames."""
        return frames * self.hop_length / self.sample_rate

    def differences(self, other: MelSpec) -> list[str]:
        """One ``name: ours != theirs`` for every setting in which the two differ."""
        ours, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return [f"{k}: {ours[k]} != {theirs[k]}" for k in ours if ours[k] != theirs[k]]


def check_mels(acoustic: MelSpec, vocoder: MelSpec) -> None:
    """
    Raises:
        NemoExtError: the two differ; every difference is told.
    """
    if differing := acoustic.differences(vocoder):
        raise NemoExtError(
            "the acoustic model and the vocoder were made for different mels, so they cannot speak together: "
            f"{', '.join(differing)}; train one of them with the other's settings"
        )


@dataclass
class Utterance:
    """One row of a manifest. JSON keys are the field names; None and empty values are left out."""

    id: str
    audio_filepath: str  # relative to the manifest's folder, or absolute
    text: str
    duration: float = 0.0  # seconds
    normalized_text: str | None = None  # given by the publisher; otherwise made by text.normalize
    speaker: str | None = None  # name of the base voice (NeMo's manifest key)
    language: str | None = None  # ISO 639-1: en, de
    style: str | None = None  # neutral, anger, ...
    notes: list[str] = field(default_factory=list)  # what was done to the recording: "mixed down from 2 channels"


@dataclass
class BaseVoice:
    """A voice that a model was trained with: a row of its embedding table, and no adapters."""

    name: str
    language: str = "en"
    pitch_mean: float = _limited(0.0, least=0.0, most=2000.0)  # Hz, over voiced frames
    pitch_std: float = _limited(1.0, least=0.0, most=2000.0)  # Hz
    style: str | None = None
    utterances: int = _limited(0, least=0)
    seconds: float = _limited(0.0, least=0.0)


@dataclass(frozen=True)
class Portion:
    """What this part of a batch counts for, where processes, or parts that are added up, share the batch.

    Each is the share of the whole's count that is here, times the number of parts, so that the mean over the parts of
    ``portion * (mean over what is here)`` is the mean over the whole batch, however it was dealt out. All are 1 for a
    batch that is not shared, and 0 for a spare one that only keeps step.
    """

    utterances: float = 1.0
    frames: float = 1.0
    tokens: float = 1.0
    labelled: float = 1.0  # utterances whose style is known
    whole: int = 0  # utterances of the whole batch; 0: those that are here


@dataclass
class Batch:
    """What an acoustic model trains on. Padded with zeros; masks come from the lengths."""

    ids: list[str]
    tokens: Tensor  # (B, T_text) int64
    token_lens: Tensor  # (B,) int64
    mel: Tensor  # (B, n_mels, T_mel) float32, log-mel
    mel_lens: Tensor  # (B,) int64
    pitch_normalized: Tensor  # (B, T_mel) float32: (F0 - voice mean) / voice std where voiced, 0 where not
    energy: Tensor  # (B, T_mel) float32: L2 norm of the linear magnitude spectrum's frame
    attn_prior: Tensor  # (B, T_mel, T_text) float32, beta-binomial
    voice_ids: Tensor  # (B,) int64, index into the model's base voices
    style_ids: Tensor | None = None  # (B,) int64, index into the model's named styles; -1 where none is labelled
    embedding: Tensor | None = None  # (B, E) float32, of a speaker encoder; for models that take it instead of a table
    portion: Portion = Portion()  # of a batch that is shared
    audio: Tensor | None = None  # (B, T_mel * hop) float32 in [-1, 1]; for models that make audio themselves
    drawn: Tensor | None = None  # (B,) float64 in [0, 1), of each utterance and epoch: where a segment of it is cut

    def to(self, device: Any) -> Batch:
        """The same batch with every tensor on ``device``."""
        return _moved(self, device)

    def pin_memory(self) -> Batch:
        """The same batch with every tensor in page-locked memory."""
        return _map_tensors(self, lambda t: t.pin_memory())


@dataclass
class SegmentBatch:
    """What a vocoder trains on: random segments cut at frame boundaries."""

    ids: list[str]
    audio: Tensor  # (B, T_mel * hop) float32 in [-1, 1]
    mel: Tensor  # (B, n_mels, T_mel) float32, log-mel of exactly that audio within its whole utterance
    portion: Portion = Portion()  # of a batch that is shared, by its segments

    def to(self, device: Any) -> SegmentBatch:
        """The same batch with every tensor on ``device``."""
        return _moved(self, device)

    def pin_memory(self) -> SegmentBatch:
        """The same batch with every tensor in page-locked memory."""
        return _map_tensors(self, lambda t: t.pin_memory())


@dataclass
class CropBatch:
    """What a speaker encoder trains on: pieces of recordings, all of one length."""

    ids: list[str]
    audio: Tensor  # (B, T_audio) float32 in [-1, 1]
    voice_ids: Tensor  # (B,) int64, index into the model's speakers
    frames: int = 0  # mel frames in all of them
    portion: Portion = Portion()  # of a batch that is shared, by its crops

    def to(self, device: Any) -> CropBatch:
        """The same batch with every tensor on ``device``."""
        return _moved(self, device)

    def pin_memory(self) -> CropBatch:
        """The same batch with every tensor in page-locked memory."""
        return _map_tensors(self, lambda t: t.pin_memory())


def _moved(batch: Any, device: Any) -> Any:
    """``batch`` on ``device``. To a GPU without waiting: what is computed there next comes after the copy.

    Never so from it: the processor would read what has not arrived.
    """
    to_gpu = isinstance(device, int) or str(device).startswith("cuda")
    return _map_tensors(batch, lambda t: t.to(device, non_blocking=to_gpu))


def _map_tensors(batch: Any, function: Any) -> Any:
    changed = {f.name: function(v) for f in dataclasses.fields(batch) if hasattr(v := getattr(batch, f.name), "dim")}
    return dataclasses.replace(batch, **changed)


@dataclass
class Tokens:
    """A text as an acoustic model reads it."""

    ids: np.ndarray  # (T_text,) int64
    symbols: list[str]  # T_text symbols of the token table
    words: list[tuple[str, int, int]]  # (written word, first token, one past its last token)
    normalized: str  # what was spoken, after normalization
    unknown: list[tuple[str, int]] = field(default_factory=list)  # (character, position in the given text), left out
    positions: list[int] = field(default_factory=list)  # of each word, in the given text: where its written form begins


@dataclass
class AcousticOutput:
    """What an acoustic model says of ``tokens``."""

    mel: Tensor  # (B, n_mels, T_mel) float32, log-mel; frames beyond mel_lens are undefined
    mel_lens: Tensor  # (B,) int64
    durations: Tensor  # (B, T_text) int64 frames per token, after pace
    pitch: Tensor  # (B, T_text) Hz per token


@dataclass
class Speech:
    """What ``say`` gives back."""

    audio: np.ndarray  # (T_audio,) float32 in [-1, 1]
    sample_rate: int
    voice: str
    words: list[tuple[str, float, float]]  # (word, start in s, end in s)
    tokens: list[tuple[str, float, float]]  # (symbol, start in s, end in s)
    mel: np.ndarray  # (n_mels, T_mel), sentences joined
    token_frames: list[tuple[int, int]] = field(default_factory=list)  # of each token: first frame, one past its last
    token_pitch: list[float] = field(default_factory=list)  # Hz that the model was asked for, of each token
    word_tokens: list[tuple[int, int]] = field(default_factory=list)  # of each word: first token, one past its last
    notes: list[str] = field(default_factory=list)  # what the speaker should know: "Griffin-Lim", unknown characters


class AcousticModel(Protocol):
    """tokens + voice vector -> mel. Implemented by models/acoustic."""

    mel_spec: MelSpec
    frontend: Any  # text.frontend.TextFrontend
    voices: list[BaseVoice]

    def base_voice(self, name: str) -> Voice:
        """The base voice ``name``; an unknown name is an error that names the nearest."""
        ...

    def predict_mel(
        self,
        tokens: torch.Tensor,
        token_lens: torch.Tensor,
        voice: torch.Tensor,
        *,
        pitch_stats: torch.Tensor | None = None,
        pace: float | torch.Tensor = 1.0,
        pitch_shift: float | torch.Tensor = 0.0,
        pitch_range: float | torch.Tensor = 1.0,
        energy: float | torch.Tensor = 0.0,
    ) -> AcousticOutput:
        """Speak ``tokens (B, T_text)`` with ``voice (B, P)``.

        ``pace`` and ``pitch_range`` are factors, ``pitch_shift`` is in semitones, ``energy`` in dB; each a number, or
        ``(B, T_text)``, one value a token.
        ``pitch_stats (B, 2)``: mean and standard deviation of each voice's F0 in Hz.
        """
        ...


class VocoderModel(Protocol):
    """mel -> audio. Implemented by models/vocoder and by Griffin-Lim."""

    mel_spec: MelSpec

    def decode(self, mel: torch.Tensor) -> torch.Tensor:
        """``mel (B, n_mels, T_mel)`` log-mel -> audio ``(B, T_mel * hop_length)`` in [-1, 1]."""
        ...


class SpeakerEncoder(Protocol):
    """A recording -> a vector that tells its speaker from others. Implemented by models/speaker."""

    name: str  # "resemblyzer", or the .nemo file's name
    size: int  # E
    identity: str  # hash of weights and method: embeddings of different identities are never brought together

    def embed(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        """``audio (T_audio,)`` in [-1, 1] -> ``(E,)`` float32 of unit length.

        Raises:
            NemoExtError: there is no speech in it.
        """
        ...


@dataclass
class Preview:
    """What a model shows of itself after a validation: arrays only, drawn by training.callbacks."""

    mels: dict[str, np.ndarray] = field(default_factory=dict)  # name -> (n_mels, T_mel)
    alignments: dict[str, np.ndarray] = field(default_factory=dict)  # name -> (T_text, T_mel)
    curves: dict[str, np.ndarray] = field(default_factory=dict)  # name -> (T,), for instance pitch in Hz
    audio: dict[str, np.ndarray] = field(default_factory=dict)  # name -> (T_audio,)
