"""The chain text -> tokens -> mel -> audio: the only place that knows it.

Whoever speaks, in a job, a notebook, a server or a test, does so through `Pipeline.say`. It works on arrays; who
computes is a `Side`: models in torch, known by the two protocols in types.py and by no class, or a bundle, which
needs no torch.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nemo_ext.errors import NemoExtError, NothingToSpeak
from nemo_ext.synthesis import joining
from nemo_ext.synthesis.casting import Cast
from nemo_ext.synthesis.config import check_runner
from nemo_ext.synthesis.prosody import Prosody, Settings, check_range, plan
from nemo_ext.synthesis.sides import Side
from nemo_ext.synthesis.styling import find_style
from nemo_ext.types import AcousticModel, Speech, Tokens, VocoderModel, check_mels
from nemo_ext.voices import Vector, Voice

if TYPE_CHECKING:
    from nemo_ext.runtime.vocoder import VocoderRunner
    from nemo_ext.synthesis.bundled import BundledAcoustic

SENTENCE_PAUSE = 0.40  # seconds at pace 1, from the last sound of one to the first of the next
CLAUSE_PAUSE = 0.20  # where a sentence was too long for one breath
PARAGRAPH_PAUSE = 0.80  # across an empty line
MAX_CHARACTERS = 240  # of one piece: about 16 s; FastPitch's quality falls off beyond what it was trained on
SENTENCE_END = re.compile(r"[.!?…。:;][\"'”’»)\]]*$")


@dataclass
class _Piece:
    """One sentence, spoken. Times are frames from its own start."""

    tokens: Tokens
    durations: np.ndarray  # (T_text,) frames
    pitch: np.ndarray  # (T_text,) Hz
    mel: np.ndarray  # (n_mels, T_mel)
    audio: np.ndarray  # (T_mel * hop,)
    pause: float  # seconds of silence wanted before it
    gain: np.ndarray | None  # (T_text,) dB of single tokens, beside the volume of the whole
    notes: list[str]


def load(
    acoustic: str | Path | AcousticModel | None = None,
    vocoder: str | Path | VocoderModel | None = None,
    device: str = "auto",
    voices: str | Path | None = None,
    *,
    bundle: str | Path | None = None,
    backend: str = "auto",
    threads: int = 0,
    precision: str = "auto",
) -> Pipeline:
    """A voice ready to speak: ``load("A/model.nemo", "B/model.nemo").say("Hello.")``.

    Args:
        acoustic: path of an acoustic model's ``.nemo`` file, or the model itself.
        vocoder: the same for the vocoder; without one the audio comes from Griffin-Lim.
        device: ``cpu``, ``cuda``, ``cuda:1`` ..., or ``auto``, the first GPU where there is one; not of a bundle.
        voices: folder of voice files, which can then be named without path and ending.
        bundle: folder that ``nemo-ext export`` made, instead of the two models; needs no torch.
        backend: what runs a bundle's graphs, ``auto`` or one of runtime/choose.py.
        threads: of the processor, for a bundle; 0 takes every core.
        precision: of a bundle: ``auto``, or ``fp32`` for a vocoder that is never run in bf16.

    Raises:
        NemoExtError: a file cannot be restored, is not a model of that kind, or the two differ in their MelSpec; a
            bundle is damaged, or its backend not there; models and a bundle are both given, or neither is.
    """
    if bundle is not None:
        if acoustic is not None or vocoder is not None:
            raise NemoExtError("bundle= holds an acoustic model and a vocoder: leave acoustic= and vocoder= out")
        check_runner(True, device, backend, precision)
        from nemo_ext.synthesis.bundled import open_bundle

        return Pipeline(*open_bundle(bundle, backend, threads, precision), device, voices)
    if acoustic is None:
        raise NemoExtError("acoustic= is missing: give an acoustic model's .nemo file, or bundle=")
    check_runner(False, device, backend, precision)
    from nemo_ext.synthesis.models import restored

    return Pipeline(restored(acoustic, device), None if vocoder is None else restored(vocoder, device), device, voices)


class Pipeline:
    """An acoustic model and a vocoder that speak together."""

    def __init__(
        self,
        acoustic: AcousticModel | BundledAcoustic,
        vocoder: VocoderModel | VocoderRunner | None = None,
        device: str = "auto",
        voices: str | Path | None = None,
    ) -> None:
        self.side = _side(acoustic, vocoder, device)
        self.acoustic, self.vocoder, self.device = self.side.acoustic, self.side.vocoder, self.side.device
        self.notes: list[str] = self.side.notes
        check_mels(self.acoustic.mel_spec, self.vocoder.mel_spec)
        self.mel_spec = self.acoustic.mel_spec
        self.cast = Cast(self.acoustic, voices)

    @property
    def backend(self) -> str:
        """What computes, as a person reads it."""
        return self.side.backend

    @property
    def voices(self) -> list[str]:
        """Names of the voices, the default one first."""
        return self.cast.names

    def say(
        self,
        text: str,
        voice: str | None = None,
        *,
        pace: float = 1.0,
        pitch: float = 0.0,
        pitch_range: float = 1.0,
        energy: float = 0.0,
        volume: float = 0.0,
        prosody: str | Prosody | None = None,
        language: str | None = None,
        style: str | None = None,
    ) -> Speech:
        """Speak ``text``, of any length.

        Args:
            text: as written; it is normalized and split into sentences here.
            voice: a base voice's name, a voice file, or a mix ``anna:0.7+bob:0.3``; the first base voice when None.
            pace: factor on the speed, 0.25 to 4.
            pitch: shift in semitones, -24 to 24.
            pitch_range: factor on the distance from the voice's mean pitch, 0 (a monotone) to 4.
            energy: dB on the energy that the model is asked for, -20 to 20: how forcefully it is spoken.
            volume: gain in dB, -60 to 20. Never clips: peaks are limited, and the notes say so.
            prosody: the same for single words and tokens: ``"never: pitch=3, pace=0.8; #2: energy=4"``, see
                ``Prosody.parse``, or a ``Prosody``.
            language: ISO 639-1; the voice's own when None.
            style: a name, with a strength or a sum of them, a recording, or token weights: synthesis/styling.py; the
                voice's neutral style when None.

        Raises:
            NemoExtError: nothing to speak in ``text``, an unknown voice, style or word, or a value out of range.
        """
        asked = {"pace": pace, "pitch": pitch, "pitch_range": pitch_range, "energy": energy, "volume": volume}
        for name, value in asked.items():
            check_range(name, value)
        prosody = Prosody.parse(prosody) if isinstance(prosody, str) else prosody
        chosen, notes = self._voice(voice)
        manner = find_style(style, self.acoustic, chosen, self.cast)
        language = language or chosen.language
        notes = [*self.notes, *notes]
        if language != chosen.language:
            notes.append(f"voice '{chosen.name}' has learned {chosen.language}, not {language}: it may sound foreign")
        said: list[tuple[str, Tokens]] = []
        pauses: list[float] = []
        unknown: list[tuple[str, int]] = []
        for sentence, position, pause in _sentences(text, self.acoustic.frontend, language):
            try:
                tokens = self.acoustic.frontend.encode(sentence, language)
            except NothingToSpeak as error:  # a row of stars is no reason to stay silent on the rest
                unknown += [(character, position + at) for character, at in error.unknown]
                continue
            unknown += [(character, position + at) for character, at in tokens.unknown]
            said.append((sentence, tokens))
            pauses.append(pause / pace)
        if not said:
            reason = f"; {_left_out(unknown)}" if unknown else ""
            raise NothingToSpeak(f"nothing to speak in {_shortened(text)}: give at least one word{reason}", unknown)
        notes += [_left_out(unknown)] if unknown else []
        planned, remarks = plan(prosody, asked, said)
        notes += remarks
        pieces = [
            self._speak(tokens, chosen, manner, settings, pause, volume)
            for (_, tokens), settings, pause in zip(said, planned, pauses, strict=True)
        ]
        notes += dict.fromkeys(note for piece in pieces for note in piece.notes)
        levels = [0.0]  # of one sentence it does not matter
        if len(pieces) > 1:
            levels = [self._level(*given, chosen, manner, energy) for given in zip(pieces, planned, strict=True)]
        return self._join(pieces, levels, chosen.name, volume, notes)

    def copy(self, audio: np.ndarray) -> np.ndarray:
        """Copy synthesis: the vocoder's reading of a recording's own mel; ``(T_audio,)`` in and out.

        What it lacks against the recording is the vocoder's doing, not the acoustic model's.
        """
        return _finite(self.side.copy(np.ascontiguousarray(audio, dtype=np.float32)))[: len(audio)]

    def _voice(self, name: str | None) -> tuple[Voice, list[str]]:
        if name is not None:
            return self.cast.find(name), []
        names = self.voices
        others = f" of {len(names)}" if len(names) > 1 else ""
        return self.cast.find(names[0]), [f"no voice was given: '{names[0]}', the first{others}"]

    def _speak(
        self, tokens: Tokens, voice: Voice, style: Vector | None, settings: Settings, pause: float, volume: float
    ) -> _Piece:
        said = self.side.speak(tokens, voice, style, settings)
        gain = settings["volume"]
        relative = gain - np.float32(volume) if isinstance(gain, np.ndarray) else None
        return _Piece(tokens, said.durations, said.pitch, said.mel, _finite(said.audio), pause, relative, said.notes)

    def _level(self, piece: _Piece, settings: Settings, voice: Voice, style: Vector | None, energy: float) -> float:
        """Level in dBFS of ``piece`` without the energy asked of its words, so that levelling does not take it back."""
        audio = piece.audio
        if np.any(settings["energy"] != energy):
            audio = _finite(self.side.speak(piece.tokens, voice, style, {**settings, "energy": energy}).audio)
        return joining.active_level(audio, self.mel_spec.hop_length)

    def _join(self, pieces: list[_Piece], levels: list[float], voice: str, volume: float, notes: list[str]) -> Speech:
        spec, hop = self.mel_spec, self.mel_spec.hop_length
        levelled = joining.level([piece.audio for piece in pieces], levels)
        edges = [joining.silent_edges(audio, hop) for audio in levelled]
        audios, mels = [], []
        words: list[tuple[str, float, float]] = []
        spoken: list[tuple[str, float, float]] = []
        token_frames: list[tuple[int, int]] = []
        word_tokens: list[tuple[int, int]] = []
        token_pitch: list[float] = []
        start = 0  # frames of the whole so far
        cut_before = 0
        for i, (piece, audio) in enumerate(zip(pieces, levelled, strict=True)):
            frames = piece.mel.shape[1]
            cut_after, next_cut_before, silence = 0, 0, 0
            if i + 1 < len(pieces):
                pause = round(pieces[i + 1].pause * spec.sample_rate / hop)
                cut_after, next_cut_before, silence = joining.pause_cuts(edges[i].after, edges[i + 1].before, pause)
            kept = slice(cut_before, max(frames - cut_after, cut_before + 1))
            if piece.gain is not None:
                audio = joining.shaped(audio, np.repeat(piece.gain, piece.durations), hop, spec.sample_rate)
            audios += [
                joining.fade(audio[kept.start * hop : kept.stop * hop], spec.sample_rate),
                np.zeros(silence * hop, np.float32),
            ]
            mels += [piece.mel[:, kept], np.full((spec.n_mels, silence), math.log(spec.log_guard), np.float32)]
            times = _Times(piece.durations, start - cut_before, start, start + kept.stop - kept.start, spec.seconds(1))
            spoken += [(s, *times.of(j, j + 1)) for j, s in enumerate(piece.tokens.symbols)]
            words += [(word, *times.of(first, past)) for word, first, past in piece.tokens.words]
            before = len(token_frames)
            word_tokens += [(before + first, before + past) for _, first, past in piece.tokens.words]
            token_frames += [times.frames(j) for j in range(len(piece.durations))]
            token_pitch += piece.pitch.tolist()
            start += kept.stop - kept.start + silence
            cut_before = next_cut_before
        whole = np.concatenate(audios) * np.float32(10.0 ** (volume / 20.0))
        whole, note = joining.limit(whole, spec.sample_rate)
        notes = [*notes, note] if note else notes
        mel = np.concatenate(mels, axis=1)
        return Speech(whole, spec.sample_rate, voice, words, spoken, mel, token_frames, token_pitch, word_tokens, notes)


class _Times:
    """Seconds of tokens, from frames; the part of a sentence that was cut off is not spoken."""

    def __init__(self, durations: np.ndarray, offset: int, first: int, last: int, frame: float) -> None:
        self._ends = np.clip(np.concatenate([[0], np.cumsum(durations)]) + offset, first, last)
        # frame i is centred at sample i * hop, so it begins half a hop earlier
        self._seconds = np.clip(self._ends - 0.5, 0.0, None) * frame

    def of(self, first: int, past: int) -> tuple[float, float]:
        """Start and end of the tokens from ``first`` to the one before ``past``."""
        return float(self._seconds[first]), float(self._seconds[past])

    def frames(self, token: int) -> tuple[int, int]:
        """First frame of a token and one past its last, in the whole."""
        return int(self._ends[token]), int(self._ends[token + 1])


def _sentences(text: str, frontend: Any, language: str) -> list[tuple[str, int, float]]:
    """``(sentence, its position in the text, pause before it in seconds)`` of pieces short enough for one breath."""
    found: list[tuple[str, int, float]] = []
    end = 0
    for sentence in frontend.sentences(text, language):
        at = text.find(sentence, end)
        at = at if at >= 0 else end
        between = text[end:at]
        pause = PARAGRAPH_PAUSE if between.count("\n") > 1 else SENTENCE_PAUSE
        if found and not SENTENCE_END.search(found[-1][0].rstrip()) and "\n" not in between:
            pause = CLAUSE_PAUSE
        for part, offset in _breaths(sentence):
            found.append((part, at + offset, CLAUSE_PAUSE if offset else pause))
        end = at + len(sentence)
    return found


def _breaths(sentence: str) -> list[tuple[str, int]]:
    """A sentence that is too long, split near its middle: after a comma where there is one, or between two words."""
    if len(sentence) <= MAX_CHARACTERS:
        return [(sentence, 0)]
    middle = len(sentence) / 2
    for pattern in (r"[,;:–—](?=\s)", r"(?=\s)"):
        ends = [m.end() for m in re.finditer(pattern, sentence) if 0.2 < m.end() / len(sentence) < 0.8]
        if ends:
            cut = min(ends, key=lambda end: abs(end - middle))
            break
    else:
        cut = round(middle)
    return [*_breaths(sentence[:cut]), *((part, cut + at) for part, at in _breaths(sentence[cut:]))]


def _left_out(unknown: list[tuple[str, int]], most: int = 8) -> str:
    """Which characters of a text no table knows, by name and position (counted from 1)."""
    named = [f"{c!r} ({unicodedata.name(c[0], f'U+{ord(c[0]):04X}')}) at {at + 1}" for c, at in unknown[:most]]
    more = f" and {len(unknown) - most} more" if len(unknown) > most else ""
    return f"left out, since no token stands for it: {', '.join(named)}{more}"


def _finite(audio: np.ndarray) -> np.ndarray:
    if not np.isfinite(audio).all():
        raise NemoExtError("the model's audio has NaN or infinite samples: its training failed; train it again")
    return audio


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _side(acoustic: Any, vocoder: Any, device: str) -> Side:
    from nemo_ext.synthesis.bundled import BundledAcoustic, BundleSide

    if isinstance(acoustic, BundledAcoustic):
        return BundleSide(acoustic, vocoder)
    from nemo_ext.synthesis.models import ModelSide

    return ModelSide(acoustic, vocoder, device)
