"""How far a bundle's graphs are from the models that they were made of, on every backend that is here.

Texts are tokens drawn at random: what matters to a graph is their number. Cases are those of cases.py; the voices and
styles of the bundle speak in turn.

A duration is rounded to whole frames, so a difference of 1e-6 can move one that lies within a hair of a half. Such a
*tie* is counted and not held against the graph; the mel is compared with the graph's own durations.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from nemo_ext.console import Progress
from nemo_ext.errors import NemoExtError
from nemo_ext.export.cases import CASES, LONGEST, REFERENCES, RIVA_CASES, SHORTEST, Case
from nemo_ext.export.graphs import VocoderGraph
from nemo_ext.export.ragged import PER_TOKEN, offsets_of
from nemo_ext.export.subvoices import Tables
from nemo_ext.models.acoustic.fastpitch_parts import longest_token
from nemo_ext.runtime.session import Session

# Largest difference of a log-mel, a style, a pitch; least ratio of signal to difference of audio, in dB.
LARGEST = {"fp32": 1e-4, "fp16": 0.1}
LEAST_DB = {"fp32": 60.0, "fp16": 30.0}
_TIE = 1e-3  # frames from a half
_MEAN, _STD = 200.0, 40.0  # Hz, of the pitch that semitones are counted in


@dataclass(frozen=True)
class Row:
    """One comparison."""

    graph: str
    backend: str
    case: str
    worst: float  # largest absolute difference of the graph's main output
    decibels: float | None = None  # of audio: signal over difference
    frames: int = 0  # of the longest utterance in it
    ties: int = 0
    faults: tuple[str, ...] = ()  # what is beyond the tolerance
    against: str = "torch"  # what it was compared with


@dataclass(frozen=True)
class Left:
    """A comparison that was not made."""

    graph: str
    file: str  # the engine's
    case: str  # empty: none of them
    reason: str


@dataclass(frozen=True)
class Asked:
    """What a model is asked for, in the units of a person, and what the graph takes for it."""

    text: np.ndarray  # (B, T_text)
    voice: np.ndarray  # (B, P)
    style: np.ndarray | None  # (B, S)
    semitones: np.ndarray  # (B, T_text), and so the others
    pitch_range: np.ndarray
    decibels: np.ndarray | None  # of energy
    pace: np.ndarray
    volume: np.ndarray

    def feeds(self) -> dict[str, np.ndarray]:
        """Inputs of the graph, in its own names."""
        ratio = 2.0 ** (self.semitones / np.float32(12.0))
        given = {
            "text": self.text,
            "pitch": _MEAN * (ratio - 1.0) / _STD,
            "pitch_scale": ratio * self.pitch_range,
            "pace": self.pace,
            "volume": self.volume,
            "voice": self.voice,
        }
        if self.decibels is not None:
            given["energy_scale"] = 10.0 ** (self.decibels / np.float32(20.0))
        if self.style is not None:
            given["style"] = self.style
        return {k: v if v.dtype == np.int64 else v.astype(np.float32) for k, v in given.items()}

    def of_model(self, model: Any, durations: np.ndarray | None = None) -> Any:
        """What ``model.predict_mel`` makes of it; ``durations`` instead of the predicted ones."""
        more = {"energy": self.decibels, "style": self.style, "durations": durations}
        tensors = {name: torch.from_numpy(value) for name, value in more.items() if value is not None}
        return model.predict_mel(
            torch.from_numpy(self.text),
            torch.from_numpy((self.text != model.fastpitch.encoder.padding_idx).sum(1)),
            torch.from_numpy(self.voice),
            pitch_stats=torch.tensor([[_MEAN, _STD]]).expand(len(self.text), 2),
            pace=torch.from_numpy(self.pace),
            pitch_shift=torch.from_numpy(self.semitones),
            pitch_range=torch.from_numpy(self.pitch_range),
            **tensors,
        )


def ask(model: Any, case: Case, seed: int, voices: np.ndarray, styles: np.ndarray) -> Asked:
    """``case`` for ``model``; ``voices (V, P)`` and ``styles (S_n, S)`` are gone through in turn."""
    random, encoder = np.random.default_rng(seed), model.fastpitch.encoder
    batch, length = len(case.lens), max(case.lens)
    symbols = [i for i in range(encoder.word_emb.num_embeddings) if i != encoder.padding_idx]
    text = np.full((batch, length), encoder.padding_idx, np.int64)
    for row, tokens in zip(text, case.lens, strict=True):
        row[:tokens] = random.choice(symbols, tokens)

    def between(low: float, high: float) -> np.ndarray:
        return random.uniform(low, high, text.shape).astype(np.float32)

    turn = seed + np.arange(batch)
    asked = Asked(
        text=text,
        voice=voices[turn % len(voices)],
        style=styles[turn % len(styles)] if model.style is not None else None,
        semitones=between(-3.0, 3.0),
        pitch_range=between(0.5, 1.5),
        decibels=between(-6.0, 6.0) if model.fastpitch.energy_predictor is not None else None,
        pace=np.ones(text.shape, np.float32),
        volume=between(0.5, 1.0),
    )
    spoken = float(asked.of_model(model).durations.sum(1).max())
    # an untrained model may give no frames at all: three a token let it be compared
    wanted = case.frames or (0 if spoken >= length else 3 * length)
    while wanted and spoken < wanted:
        asked.pace[:] *= max(spoken, 1.0) / wanted / 1.1 if spoken else 0.1
        before, spoken = spoken, float(asked.of_model(model).durations.sum(1).max())
        if spoken == before > 0:  # every token is as long as it may be
            break
    if case.skip:
        asked.pace[:, ::3] = 1e4
    return asked


def acoustic(
    model: Any,
    session: Session,
    precision: str,
    voices: np.ndarray,
    styles: np.ndarray,
    progress: Progress,
    cases: Sequence[Case] = CASES,
) -> list[Row]:
    """Compare ``session``, the acoustic graph in the open layout, with ``model``."""
    rows = []
    for seed, case in enumerate(cases):
        rows.append(acoustic_row(model, session, precision, case, ask(model, case, seed, voices, styles)))
        progress.step()
    return rows


def acoustic_row(
    model: Any, session: Session, precision: str, case: Case, asked: Asked, speaker: np.ndarray | None = None
) -> Row:
    """One case; ``speaker (B,)``: the rows of ``asked``'s voices, for a graph that has tables of them."""
    feeds, faults, worst = asked.feeds(), [], 0.0
    feeds |= {} if speaker is None else {"speaker": speaker.astype(np.int64)}
    got = session.run({port.name: feeds[port.name] for port in session.inputs})
    frames, rounded = got["num_frames"], np.floor(got["durs_predicted"] / asked.pace + np.float32(0.5))
    rounded = np.minimum(rounded, longest_token(model.fastpitch))
    durations = got["durations"] if speaker is None else rounded.astype(np.int64)  # Riva's layout does not tell
    expected, said = asked.of_model(model), got["durs_predicted"] / asked.pace
    own = expected.durations.numpy()
    moved = own != durations
    ties = moved & (np.abs(said - np.floor(said) - 0.5) < _TIE) & (np.abs(own - durations) == 1)
    if flipped := int((moved & ~ties).sum()):
        faults.append(f"{flipped} of {moved.size} durations differ")
    expected = asked.of_model(model, durations) if moved.any() else expected
    if not np.array_equal(frames, durations.sum(1)) or got["spect"].shape[2] != max(int(frames.max()), 1):
        faults.append(f"num_frames {frames.tolist()} and spect {got['spect'].shape} do not belong to the durations")
    else:
        for i, n in enumerate(frames):
            difference = np.abs(expected.mel[i, :, :n].numpy() - got["spect"][i, :, :n])
            worst = float(np.maximum(worst, difference.max(initial=0.0)))  # Python's max passes over NaN
            if not np.array_equal(np.repeat(feeds["volume"][i], durations[i]), got["volume_aligned"][i, :n]):
                faults.append("volume_aligned is not the volume of each frame's token")
    spoken = asked.text != model.fastpitch.encoder.padding_idx
    pitch = float(np.abs((expected.pitch.numpy() - _MEAN) / _STD - got["pitch_predicted"])[spoken].max())
    for what, value, allowed in (("pitch", pitch, LARGEST["fp32"]), ("mel", worst, LARGEST[precision])):
        if not value <= allowed:  # no number is no agreement either
            faults.append(f"{what} differs by {value:.2g}, allowed are {allowed:g}")
    name = "acoustic" if speaker is None else "acoustic_riva"
    return Row(name, session.backend, case.name, worst, None, int(frames.max()), int(ties.sum()), tuple(faults))


def riva(
    model: Any,
    session: Session,
    precision: str,
    tables: Tables,
    progress: Progress,
    cases: Sequence[Case] = RIVA_CASES,
) -> list[Row]:
    """Compare ``session``, the acoustic graph in Riva's layout, with ``model``: every row of ``tables`` in turn."""
    rows = []
    for seed, case in enumerate(cases):
        rows.append(acoustic_row(model, session, precision, case, *ask_speakers(model, case, seed, tables)))
        progress.step()
    return rows


def ask_speakers(model: Any, case: Case, seed: int, tables: Tables) -> tuple[Asked, np.ndarray]:
    """``case`` in Riva's layout, from row ``seed`` of ``tables`` on, and the number of each one's row ``(B,)``."""
    speaker = (seed + np.arange(len(case.lens))) % len(tables.rows)
    voice, style = tables.rows[speaker].T
    styles = np.zeros((1, 0), np.float32) if tables.styles is None else tables.styles[style]
    asked = ask(model, case, 0, tables.voices[voice], styles)
    # what Riva's layout has no input for
    for name, neutral in (("semitones", 0.0), ("pitch_range", 1.0)):
        getattr(asked, name)[:] = neutral
    if asked.decibels is not None:
        asked.decibels[:] = 0.0
    return asked, speaker


def ragged_row(
    name: str, session: Session, dense: Session, precision: str, case: Case, asked: Asked, speaker: np.ndarray | None
) -> Row:
    """``session``, the ragged form of the graph ``dense``, against it: texts one after the other, and in rows."""
    feeds: dict[str, np.ndarray] = asked.feeds() | ({} if speaker is None else {"speaker": speaker.astype(np.int64)})
    expected = dense.run({port.name: feeds[port.name] for port in dense.inputs})
    for token in set(PER_TOKEN) & set(feeds):
        feeds[token] = np.concatenate([row[:n] for row, n in zip(feeds[token], case.lens, strict=True)])
        feeds[offsets_of(token)] = np.cumsum([0, *case.lens]).astype(np.int32)
    got = session.run({port.name: feeds[port.name] for port in session.inputs})
    faults, worst, frames = [], 0.0, expected["num_frames"]
    if not np.array_equal(got["num_frames"], frames):
        faults.append(f"num_frames are {got['num_frames'].tolist()}, expected {frames.tolist()}")
    else:
        pairs = [(got["spect"][i, :, :n], expected["spect"][i, :, :n]) for i, n in enumerate(frames)]
        worst = float(np.max([np.abs(one - other).max(initial=0.0) for one, other in pairs]))
        if not worst <= LARGEST[precision]:
            faults.append(f"mel differs by {worst:.2g}, allowed are {LARGEST[precision]:g}")
    return Row(name, session.backend, case.name, worst, None, int(frames.max()), 0, tuple(faults), "the dense graph")


def vocoder(model: Any, session: Session, precision: str, mels: Sequence[np.ndarray], progress: Progress) -> list[Row]:
    """Compare ``session``, the vocoder's graph, with ``model`` on ``mels``, each ``(B, n_mels, T_mel)``."""
    rows = []
    for mel in mels:
        expected = model.decode(torch.from_numpy(mel)).numpy()
        got = session.run({"spec": mel})["audio"][:, 0]
        faults, worst, ratio = [], float("inf"), float("-inf")
        if got.shape != expected.shape:
            faults.append(f"audio has shape {got.shape}, expected {expected.shape}")
        else:
            worst, ratio = float(np.abs(got - expected).max()), decibels(expected, got)
            if not ratio >= LEAST_DB[precision]:
                faults.append(f"signal over difference is {ratio:.1f} dB, wanted are {LEAST_DB[precision]:g}")
        case = f"{len(mel)} of {mel.shape[2]} frames"
        rows.append(Row("vocoder", session.backend, case, worst, round(ratio, 1), mel.shape[2], 0, tuple(faults)))
        progress.step()
    return rows


@torch.inference_mode()
def bf16_decibels(model: Any, mel: np.ndarray) -> float:
    """Signal over difference in dB of the audio of ``mel (B, n_mels, T_mel)`` if the vocoder ``model`` ran in bf16.

    On any processor: weights, inputs and results of every layer are rounded, sums are float32's, as bf16 units do it.
    On two trained HiFi-GANs OpenVINO's bf16 was within 1 dB of this. A Vocos, which sums phases, is not worth it.
    """
    graph, given = VocoderGraph(model), torch.from_numpy(mel)
    coarse = copy.deepcopy(graph)
    for layer in coarse.modules():
        if next(layer.children(), None) is None:
            layer.register_forward_pre_hook(lambda _, inputs: tuple(_bf16(x) for x in inputs))
            layer.register_forward_hook(lambda _, inputs, result: _bf16(result))  # noqa: ARG005
    for weight in coarse.parameters():
        weight.copy_(_bf16(weight))
    return round(decibels(coarse(given).numpy(), graph(given).numpy()), 1)


def _bf16(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.bfloat16).to(x.dtype)


def mel_of(model: Any, voices: np.ndarray, frames: int, batch: int) -> np.ndarray:
    """What ``model`` says of random tokens: ``(batch, n_mels, frames)``. It is said again where ``frames`` are many."""
    spoken = min(frames, LONGEST)
    case = Case("", (max(spoken // 6, SHORTEST),) * batch, spoken)
    asked = ask(model, case, spoken, voices, np.zeros((1, model.style_size), np.float32))
    asked.pace[:] *= 0.5  # every utterance is long enough then, for what is cut off
    mel = asked.of_model(model).mel[:, :, :spoken].numpy()
    return np.ascontiguousarray(np.tile(mel, (1, 1, -(-frames // spoken)))[:, :, :frames])


def style_encoder(model: Any, session: Session, progress: Progress, cases: Sequence[Case] = REFERENCES) -> list[Row]:
    """Compare ``session``, the style encoder's graph, with ``model`` on references of several lengths."""
    rows = []
    for case in cases:
        lens = case.lens
        random = torch.Generator().manual_seed(len(lens))
        shape = (len(lens), model.mel_spec.n_mels, max(lens))
        feeds = {
            "mel": torch.randn(shape, generator=random) * 2.0 - 5.0,
            "pitch": torch.randn(shape[0], shape[2], generator=random).clamp(min=0.0),
            "lens": torch.tensor(lens),
            "statistics": torch.stack([torch.full(shape[:2], -5.0), torch.full(shape[:2], 2.0)], 1),
            "alone": (torch.arange(len(lens)) % 2).float(),
        }
        with torch.inference_mode():
            expected = model.style.encoder(*feeds.values()).numpy()
        got = session.run({name: value.numpy() for name, value in feeds.items()})["style"]
        worst = float(np.abs(got - expected).max())
        allowed = LARGEST["fp32"]
        faults = () if worst <= allowed else (f"style differs by {worst:.2g}, allowed are {allowed:g}",)
        rows.append(Row("style_encoder", session.backend, case.name, worst, None, max(lens), 0, faults))
        progress.step()
    return rows


def decibels(signal: np.ndarray, other: np.ndarray) -> float:
    """Energy of ``signal`` over that of its difference from ``other``, in dB, at most 200; NaN where one holds NaN."""
    difference = np.square(signal.astype(np.float64) - other).sum()
    energy = np.square(signal, dtype=np.float64).sum()
    # silence is compared as if at -100 dB
    ratio = np.maximum(energy, 1e-10 * signal.size) / np.maximum(difference, 1e-30)
    return float(np.minimum(200.0, 10.0 * np.log10(ratio)))


def report(rows: Sequence[Row], precision: str, left: Sequence[Left] = ()) -> dict[str, Any]:
    """What parity.json holds."""
    allowed = {"largest_difference": LARGEST[precision], "least_decibels_of_audio": LEAST_DB[precision]}
    return {
        "precision": precision,
        "allowed": allowed,
        "rows": [asdict(row) for row in rows],
        "not_compared": [asdict(one) for one in left],
    }


def worst(rows: Sequence[Row]) -> str:
    """The worst case of each graph and backend, a line each."""
    lines = []
    for key in dict.fromkeys((row.graph, row.backend) for row in rows):
        row = max((row for row in rows if (row.graph, row.backend) == key), key=lambda row: row.worst)
        audio = f", {row.decibels:.0f} dB signal over difference" if row.decibels is not None else ""
        lines.append(
            f"  {row.graph}, {row.backend}: differs from {row.against} by {row.worst:.1e} at most{audio} ({row.case})"
        )
    return "\n".join(lines)


def refuse(rows: Sequence[Row]) -> None:
    """
    Raises:
        NemoExtError: a row is beyond the tolerance.
    """
    bad = [row for row in rows if row.faults]
    if bad:
        first = bad[0]
        more = f" and {len(bad) - 1} cases more" if len(bad) > 1 else ""
        raise NemoExtError(
            f"the export is not the model: {first.graph} on {first.backend}, {first.case}: "
            f"{'; '.join(first.faults)}{more}; nothing was written"
        )
