"""What is traced: models as functions of tensors by Riva's names, with copies of the parts that become fp16.

The text side (encoder, predictors, durations, length regulation) stays float32 in every precision: a float16 encoder
turns durations, and a float16 cumulative sum miscounts frames beyond 2,048. With ``fp16`` the decoder and the vocoder
compute in float16 between casts; inputs and outputs are float32 always. The models are not changed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nemo_ext.errors import NemoExtError
from nemo_ext.modules.adapters import VoiceWeights
from nemo_ext.modules.alignment import gather_tokens, mask_from_lens
from nemo_ext.modules.fft import run_stack
from nemo_ext.types import SLOWEST

PRECISIONS = ("fp32", "fp16")
Outputs = tuple[Tensor, ...]
_LEAST_PACE = 1e-6  # for anything that is less, or no number
OUTPUTS = ("spect", "num_frames", "durs_predicted", "log_durs_predicted", "pitch_predicted", "volume_aligned")


class AcousticGraph(nn.Module):
    """FastPitch with voices and styles as inputs: the open layout."""

    outputs = (*OUTPUTS, "durations")

    def __init__(self, model: Any, precision: str = "fp32") -> None:
        super().__init__()
        self.model = model
        self.energy, self.styled = model.fastpitch.energy_predictor is not None, model.style is not None
        self.dtype = torch.float16 if precision == "fp16" else torch.float32
        module = model.fastpitch
        if precision == "fp16":
            self.decoder, self.proj = copy.deepcopy(module.decoder).half(), copy.deepcopy(module.proj).half()
            self.decoder.pos_emb = copy.deepcopy(module.decoder.pos_emb)
        else:
            self.decoder, self.proj = module.decoder, module.proj

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the arguments of ``forward``."""
        energy = ("energy_scale",) if self.energy else ()
        return (
            *("text", "pitch", "pitch_scale", *energy, "pace", "volume", "voice"),
            *(("style",) if self.styled else ()),
        )

    def forward(self, *given: Tensor) -> Outputs:
        """The arguments of ``inputs``, see docs/export.md -> the values of ``outputs``.

        ``text (B, T_text)``; ``pitch``, ``pitch_scale``, ``energy_scale``, ``pace``, ``volume``: ``(B, T_text)``;
        ``voice (B, P)``; ``style (B, S)``. ``spect (B, n_mels, T_mel)``, ``num_frames (B,)``, ``durs_predicted``,
        ``log_durs_predicted``, ``pitch_predicted`` and ``durations (B, T_text)``, ``volume_aligned (B, T_mel)``.
        """
        named = dict(zip(self.inputs, given, strict=True))
        conditions = self.model._conditions(named["voice"], named.get("style"))
        encoded, mask = self.model._encode(named["text"], conditions)
        said = self.model.read(
            encoded,
            mask,
            conditions,
            pace=torch.where(named["pace"] > _LEAST_PACE, named["pace"], _LEAST_PACE),
            pitch_scale=named["pitch_scale"],
            pitch_added=named["pitch"],
            energy_scale=named.get("energy_scale", 1.0),
        )
        # strangers share a server's batch, and a pace near 0 would make everybody's mel endless
        durations = said.durations.clamp(max=math.ceil(self.model.fastpitch.max_token_duration / SLOWEST))
        token, inside, lens = frame_tokens(durations)
        expanded = gather_tokens(said.encoded, token) * inside[..., None]
        volume = torch.gather(named["volume"], 1, token) * inside
        mel = self._decode(expanded, lens, conditions)
        return mel, lens, said.frames, said.log_durations, said.pitch_normalized, volume, durations

    def _decode(self, expanded: Tensor, lens: Tensor, conditions: Any) -> Tensor:
        mask, added = mask_from_lens(lens, expanded.shape[1]), conditions.added
        voice: VoiceWeights = conditions.voice.to(self.dtype)
        added = None if added is None else added.to(self.dtype)
        decoded = run_stack(self.decoder, "decoder", expanded.to(self.dtype), mask, added, voice)
        mel: Tensor = self.proj(decoded).float().transpose(1, 2)
        # silence behind a shorter utterance: the vocoder hears some frames beyond its end
        silent = math.log(self.model.mel_spec.log_guard)
        return torch.where(mask[:, None], mel, torch.full_like(mel[:, :, :1], silent))


class RivaGraph(nn.Module):
    """Riva's contract: a speaker's number, and voices and styles in tables inside."""

    outputs = OUTPUTS
    inputs = ("text", "pitch", "pace", "volume", "speaker")
    rows: Tensor
    voices: Tensor
    styles: Tensor

    def __init__(self, graph: AcousticGraph, rows: Tensor, voices: Tensor, styles: Tensor | None = None) -> None:
        """``rows (N, 2)`` int64: voice and style of each speaker; ``voices (V, P)``; ``styles (S_n, S)``."""
        super().__init__()
        self.graph = graph
        self.register_buffer("rows", rows)
        self.register_buffer("voices", voices)
        self.register_buffer("styles", torch.zeros(1, 1) if styles is None else styles)

    def forward(self, text: Tensor, pitch: Tensor, pace: Tensor, volume: Tensor, speaker: Tensor) -> Outputs:
        """``text``, ``pitch``, ``pace``, ``volume (B, T_text)``, ``speaker (B,)`` -> the values of ``outputs``."""
        row = self.rows[speaker]
        named = {"text": text, "pitch": pitch, "pace": pace, "volume": volume, "voice": self.voices[row[:, 0]]}
        named |= {"pitch_scale": torch.ones_like(pitch), "energy_scale": torch.ones_like(pitch)}
        named |= {"style": self.styles[row[:, 1]]} if self.graph.styled else {}
        said: Outputs = self.graph(*(named[name] for name in self.graph.inputs))
        return said[: len(OUTPUTS)]


class VocoderGraph(nn.Module):
    """``spec (B, n_mels, T_mel)`` -> ``audio (B, 1, T_mel * hop)``."""

    inputs, outputs = ("spec",), ("audio",)

    def __init__(self, model: Any, precision: str = "fp32") -> None:
        """
        Raises:
            NemoExtError: the vocoder cannot become a graph.
        """
        super().__init__()
        if not hasattr(model, "deployable_generator"):
            raise NemoExtError(
                f"vocoder= is a {type(model).__name__}, which has no graph: train one, nemo-ext train model=hifigan"
            )
        self.generator = model.deployable_generator(precision)

    def forward(self, spec: Tensor) -> Tensor:
        """As the class says; samples in [-1, 1]."""
        audio: Tensor = self.generator(spec).clamp(-1.0, 1.0)
        return audio if audio.dim() == 3 else audio[:, None]


class StyleGraph(nn.Module):
    """A recording's features -> style ``(B, S)``; see StyleEncoder."""

    inputs, outputs = ("mel", "pitch", "lens", "statistics", "alone"), ("style",)

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model.style.encoder

    def forward(self, mel: Tensor, pitch: Tensor, lens: Tensor, statistics: Tensor, alone: Tensor) -> Tensor:
        """``mel (B, n_mels, T)``, ``pitch (B, T)``, ``lens (B,)``, ``statistics (B, 2, n_mels)``, ``alone (B,)``."""
        style: Tensor = self.encoder(mel, pitch, lens, statistics, alone)
        return style


def frame_tokens(durations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which token each frame belongs to, in operations that a graph has: no search, no number read from a tensor.

    ``durations (B, T_text)`` int64 -> token ``(B, T_mel)``, whether the frame lies inside ``(B, T_mel)``, and the
    number of frames ``(B,)``. There is one frame at least, so that no axis is empty.
    """
    ends = durations.cumsum(1)
    longest: Any = ends[:, -1].max().clamp(min=1)  # stays a tensor: a number would be a constant of the graph
    frames = torch.arange(longest, device=durations.device)
    token = (frames[None, :, None] >= ends[:, None, :]).sum(-1)
    last = ends.shape[1] - 1
    return token.clamp(max=last), token <= last, ends[:, -1]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[nn.Module]:
    """``module`` without dropout and gradients; afterwards every part is in the mode in which it was found."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield module
    finally:
        for part, training in modes.items():
            part.training = training
