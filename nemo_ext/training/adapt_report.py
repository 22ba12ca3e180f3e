"""The page beside an adapted voice: nearest base voice, new voice and recordings, to look at and listen to."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nemo_ext.audio.io import read_mono
from nemo_ext.audio.mel import log_mel
from nemo_ext.audio.pitch import mel_f0
from nemo_ext.audio.resample import resample
from nemo_ext.corpus.manifest import write_text
from nemo_ext.errors import NemoExtError
from nemo_ext.evaluation import mcd
from nemo_ext.models.speaker.encoders import speaker_encoder
from nemo_ext.synthesis.casting import Cast
from nemo_ext.synthesis.styling import find_style
from nemo_ext.training.adapt_config import AdaptConfig
from nemo_ext.training.adapt_data import Recordings
from nemo_ext.types import MelSpec, Utterance
from nemo_ext.voices import Voice

_SHOWN = 4  # utterances with players
_MEASURED = 12
_LOWEST, _HIGHEST = -10.0, 1.5  # log-mel drawn as black and as white, on every picture the same


@dataclass
class Sound:
    """One reading of a text."""

    label: str
    audio: np.ndarray  # (T_audio,)
    mel: np.ndarray  # (n_mels, T_mel)
    f0: np.ndarray  # (T_mel,) Hz, 0 where unvoiced
    mcd: float | None = None  # dB, against the recording

    @property
    def mean_f0(self) -> float:
        """Over voiced frames, in Hz; NaN where there is none."""
        voiced = self.f0[self.f0 > 0]
        return float(voiced.mean()) if len(voiced) else math.nan


@dataclass
class Reading:
    """One held-out utterance: spoken by the start, spoken by the new voice, recorded."""

    text: str
    before: Sound
    after: Sound
    recording: Sound
    clips: list[dict[str, str]] = field(default_factory=list)


def read_aloud(
    base: Any,
    voices: dict[str, Voice],
    rows: list[Utterance],
    recordings: Recordings,
    decoder: Any,
    config: AdaptConfig,
) -> list[Reading]:
    """Speak ``rows`` with the voices ``before`` and ``after``, and set the recordings beside them."""
    spec, found = base.mel_spec, []
    for row in rows:
        audio, _ = read_mono(recordings.store.audio_path(row))
        recorded = _sound("recording", audio, log_mel(audio, spec), spec, config)
        spoken = {}
        for key, label in (("before", f"before: {voices['before'].name}"), ("after", "after")):
            mel = speak(base, row, voices[key])
            heard = decoder.decode(mel)[0].float().cpu().numpy()
            spoken[key] = _sound(label, heard, mel[0].float().cpu().numpy(), spec, config)
            spoken[key].mcd = _distortion(audio, heard, spec.sample_rate)
        found.append(Reading(row.text, spoken["before"], spoken["after"], recorded))
    return found


@torch.inference_mode()
def speak(base: Any, row: Utterance, voice: Voice) -> torch.Tensor:
    """The text of ``row`` in ``voice``, as `say` speaks it without being asked: log-mel ``(1, n_mels, T_mel)``."""
    style = find_style(None, base, voice, Cast(base))
    tokens = base.frontend.encode(row.text, row.language or voice.language, row.normalized_text)
    ids = torch.from_numpy(tokens.ids).long().to(base.device)[None]
    said = base.predict_mel(
        ids,
        torch.tensor([ids.shape[1]], device=base.device),
        torch.from_numpy(voice.vector).to(base.device)[None],
        pitch_stats=torch.tensor([[voice.pitch_mean, voice.pitch_std]], device=base.device),
        style=None if style is None else torch.from_numpy(style).to(base.device)[None],
    )
    mel: torch.Tensor = said.mel[:, :, : int(said.mel_lens[0])]
    return mel


def semitones(ours: float, theirs: float) -> float:
    """How far ``ours`` lies above ``theirs``, both in Hz."""
    return 12.0 * math.log2(ours / theirs) if ours > 0 and theirs > 0 else math.nan


def write_report(
    path: Path, config: AdaptConfig, base: Any, recordings: Recordings, adapted: Any, decoder: Any
) -> Path:
    """Write the page to ``path``: one file with pictures and audio inside, heard through ``decoder``."""
    import jinja2

    rows = sorted(recordings.corpus.val, key=lambda u: u.id)[:_MEASURED]
    voices = {"before": adapted.start, "after": adapted.voice}
    readings = read_aloud(base, voices, rows, recordings, decoder, config)
    for reading in readings[:_SHOWN]:
        reading.clips = [_clip(s, base.mel_spec) for s in (reading.before, reading.after, reading.recording)]
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((Path(__file__).parent / "adapt_report.html.jinja").read_text(encoding="utf-8"))
    figures, remarks = _figures(readings, adapted, _likeness(readings, base.mel_spec.sample_rate))
    page = template.render(
        voice=adapted.voice,
        start=adapted.start,
        figures=figures,
        remarks=remarks,
        facts=_facts(config, base, recordings, adapted),
        readings=readings[:_SHOWN],
        curve=_curve(adapted),
        notes=recordings.notes,
    )
    return write_text(path, page)


def _likeness(readings: list[Reading], rate: int) -> dict[str, float]:
    """How near the speech is to the speaker in timbre; empty where no encoder is installed or it hears nobody."""
    try:
        encoder = speaker_encoder("resemblyzer")
        before, after, recorded = (
            encoder.embed(np.concatenate([getattr(r, k).audio for r in readings]), rate)
            for k in ("before", "after", "recording")
        )
    except NemoExtError:
        return {}
    return {"before": float(before @ recorded), "after": float(after @ recorded)}


def _figures(
    readings: list[Reading], adapted: Any, likeness: dict[str, float]
) -> tuple[list[dict[str, str]], list[str]]:
    """Rows of the table (name, before, after, change, recording), and remarks on what became worse."""

    def mean(values: list[float]) -> float:
        known = [v for v in values if not math.isnan(v)]
        return float(np.mean(known)) if known else math.nan

    f0 = {k: mean([getattr(r, k).mean_f0 for r in readings]) for k in ("before", "after", "recording")}
    seconds = {k: sum(getattr(r, k).mel.shape[1] for r in readings) for k in ("before", "after", "recording")}
    distortion = {k: mean([getattr(r, k).mcd or math.nan for r in readings]) for k in ("before", "after")}
    apart = {k: semitones(f0[k], f0["recording"]) for k in ("before", "after")}
    length = {k: seconds[k] / max(seconds["recording"], 1) for k in ("before", "after")}
    losses = {name: {"before": adapted.before[name], "after": adapted.after[name]} for name in adapted.after}
    rows = [
        _row("mel L1, own durations", losses["mel_l1"], _share),
        _row("distortion (MCD-DTW), dB", distortion, _difference),
        _row("cosine to the recordings (d-vector)", likeness, _difference) if likeness else {},
        _row("mean F0, Hz", f0, lambda *_: "", "{:.0f}"),
        _row("F0 from the recordings', semitones", apart, _nearer(0.0), "{:+.2f}"),
        _row("length, times the recordings'", length, _nearer(1.0), "{:.2f}"),
        *(_row(f"loss of {name}", losses[name], _share) for name in ("duration", "pitch", "energy") if name in losses),
    ]
    remarks = []
    if abs(apart["after"]) > abs(apart["before"]):
        remarks.append(
            f"The mean F0 became worse: {abs(apart['after']):.2f} semitones from the recordings', where the base voice "
            f"was {abs(apart['before']):.2f}. More recordings help, or pitch= when it speaks."
        )
    if losses["mel_l1"]["after"] >= losses["mel_l1"]["before"]:
        remarks.append("The mel is no nearer to the recordings' than the base voice's was: nothing was gained.")
    return [row for row in rows if row], remarks


def _row(
    name: str, of: dict[str, float], change: Callable[[float, float], str], form: str = "{:.3f}"
) -> dict[str, str]:
    shown = {k: "–" if math.isnan(v) else form.format(v) for k, v in of.items()}
    known = not any(math.isnan(of[k]) for k in ("before", "after"))
    return {"recording": "", **shown, "name": name, "change": change(of["before"], of["after"]) if known else ""}


def _share(before: float, after: float) -> str:
    less = 100 * (1 - after / before) if before else 0.0
    return f"{abs(less):.0f} % {'less' if less >= 0 else 'more'}"


def _difference(before: float, after: float) -> str:
    return f"{after - before:+.3f}"


def _nearer(goal: float) -> Callable[[float, float], str]:
    def told(before: float, after: float) -> str:
        return "nearer" if abs(after - goal) <= abs(before - goal) else "farther"

    return told


def _facts(config: AdaptConfig, base: Any, recordings: Recordings, adapted: Any) -> list[tuple[str, str]]:
    layout = base.voice_layout
    return [
        ("base", f"{base.origin} ({adapted.voice.base_hash}), unchanged"),
        ("started from", f"'{adapted.start.name}', the nearest of {len(base.voices)} base voices"),
        ("learned", str(adapted.recipe)),
        ("values in the voice", f"{layout.size:,}"),
        ("speech", f"{recordings.seconds:.0f} s to learn from, {len(recordings.corpus.val)} utterances held out"),
        ("alignment", str(adapted.aligned)),
        ("best at step", f"{adapted.steps} of {adapted.history[-1][0]}"),
        ("time", f"{adapted.seconds:.0f} s"),
        ("language", recordings.voice.language),
        ("pitch", f"{recordings.voice.pitch_mean:.1f} Hz, deviation {recordings.voice.pitch_std:.1f} Hz"),
        ("consent", str(adapted.voice.provenance.consent)),
        ("heard through", config.vocoder or "Griffin-Lim, which sounds metallic"),
    ]


def decoder_for(config: AdaptConfig, base: Any) -> Any:
    """What makes audio of the report's mels: ``config.vocoder``, or Griffin-Lim.

    Raises:
        NemoExtError: the vocoder cannot be restored, or was made for other mels.
    """
    if not config.vocoder:
        from nemo_ext.models.vocoder.griffin_lim import GriffinLim

        return GriffinLim(base.mel_spec).to(base.device)
    from nemo_ext import _nemo

    decoder = _nemo.restore(config.vocoder, base.device)
    if not hasattr(decoder, "decode") or base.mel_spec.differences(decoder.mel_spec):
        raise NemoExtError(
            f"vocoder={config.vocoder} is no vocoder for this base's mels: leave it out, or give another"
        )
    return decoder


def _sound(label: str, audio: np.ndarray, mel: np.ndarray, spec: MelSpec, config: AdaptConfig) -> Sound:
    heard = np.ascontiguousarray(audio, np.float32)
    return Sound(label, heard, mel, mel_f0(heard, spec, config.pitch_f_min, config.pitch_f_max, config.pitch_method))


def _distortion(recording: np.ndarray, speech: np.ndarray, rate: int) -> float | None:
    try:
        return mcd.mcd(resample(recording, rate, mcd.SAMPLE_RATE), resample(speech, rate, mcd.SAMPLE_RATE))
    except NemoExtError:  # silent, or no longer than a window: an untrained base may speak so
        return None


def _clip(sound: Sound, spec: MelSpec) -> dict[str, str]:
    import matplotlib.image
    import soundfile

    picture, file = io.BytesIO(), io.BytesIO()
    tall = np.repeat(np.asarray(sound.mel, np.float32), 2, axis=0)
    matplotlib.image.imsave(picture, tall, vmin=_LOWEST, vmax=_HIGHEST, cmap="magma", origin="lower", format="png")
    soundfile.write(file, np.clip(sound.audio, -1.0, 1.0), spec.sample_rate, format="FLAC", subtype="PCM_16")
    f0 = "" if math.isnan(sound.mean_f0) else f"F0 {sound.mean_f0:.0f} Hz"
    distortion = "" if sound.mcd is None else f"MCD {sound.mcd:.1f} dB"
    return {
        "label": sound.label,
        "told": ", ".join(part for part in (f0, distortion) if part),
        "picture": _uri("image/png", picture.getvalue()),
        "audio": _uri("audio/flac", file.getvalue()),
    }


def _curve(adapted: Any) -> str:
    """Held-out losses over the steps, as a picture."""
    from matplotlib.figure import Figure

    steps = [step for step, _ in adapted.history]
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    for i, (name, title) in enumerate((("loss", "held-out loss"), ("mel_l1", "held-out mel L1"))):
        axes = figure.add_subplot(1, 2, i + 1)
        axes.plot(steps, [losses[name] for _, losses in adapted.history], color="#6b4ce6", marker=".")
        axes.axvline(adapted.steps, color="#1f8a5b", linestyle=":")
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("steps", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110, format="png")
    return _uri("image/png", picture.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
