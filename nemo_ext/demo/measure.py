"""Speaks the unseen sentences and measures what came out. Everything is measured here; the page only shows it."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemo_ext import files
from nemo_ext.audio.io import write
from nemo_ext.corpus.config import EspeakOptions
from nemo_ext.corpus.recipes.espeak import read_events, reading
from nemo_ext.demo import pictures
from nemo_ext.errors import NemoExtError
from nemo_ext.evaluation import alignment, identify, mcd
from nemo_ext.synthesis.pipeline import Pipeline
from nemo_ext.types import MelSpec

Audio = NDArray[np.float32]
KINDS = ("speech", "copy", "reading")
# how one sentence is told otherwise
OTHERWISE: list[dict[str, Any]] = [{"pace": 0.75}, {"pace": 1.4}, {"pitch": -4.0}, {"pitch": 4.0}]


@dataclass
class Spoken:
    """One sentence in one voice, and what was measured of it. Recordings lie in audio/<key>-<kind>.wav."""

    key: str
    text: str
    voice: str
    seconds: dict[str, float]  # by kind
    taken: float = 0.0  # seconds that it took to make the speech
    heard: str = ""
    margin: float = 0.0
    mcd: float | None = None  # dB
    mcd_copy: float | None = None  # dB
    mcd_before: float | None = None  # dB, an adapted voice's: spoken by the base voice it started from
    semitones: float | None = None  # mean F0 of the speech above that of the reading
    failed: list[str] = field(default_factory=list)  # what could not be measured and why


@dataclass
class Aligned:
    """The alignment of the corpus against the phoneme times of its maker."""

    utterances: int = 0
    boundaries: int = 0
    phonemes: int = 0
    median_ms: float = float("nan")
    bias_ms: float = float("nan")  # median of the signed error: above 0, the model is late
    within_50_ms: float = float("nan")
    focus: float = float("nan")
    failed: dict[str, str] = field(default_factory=dict)
    pictures: list[dict[str, str]] = field(default_factory=list)  # title, svg, caption


@dataclass
class Results:
    """All that the demo found out."""

    sentences: list[Spoken] = field(default_factory=list)
    newcomer: list[Spoken] = field(default_factory=list)  # unseen sentences in the adapted voice
    styles: list[Spoken] = field(default_factory=list)  # one sentence in every voice and style
    otherwise: list[Spoken] = field(default_factory=list)
    aligned: Aligned = field(default_factory=Aligned)

    @property
    def identified(self) -> int:
        """How many sentences were heard as themselves."""
        return sum(s.heard == s.text for s in self.sentences)

    def mean_mcd(self, copy: bool = False) -> float:
        """Mean distortion in dB of the sentences in which both speech and copy synthesis could be measured."""
        both = [(s.mcd, s.mcd_copy) for s in self.sentences if s.mcd is not None and s.mcd_copy is not None]
        return float(np.mean([pair[copy] for pair in both])) if both else float("nan")

    @property
    def real_time_factor(self) -> float:
        """Seconds of work for a second of speech, over all sentences."""
        return sum(s.taken for s in self.sentences) / max(sum(s.seconds["speech"] for s in self.sentences), 1e-9)

    def save(self, path: Path) -> None:
        """Write as JSON; beside, then renamed."""
        with files.replacing(path) as beside:
            beside.write_text(json.dumps(dataclasses.asdict(self), ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote."""
        raw = json.loads(path.read_text(encoding="utf-8"))
        aligned = Aligned(**raw["aligned"])
        told = {k: [Spoken(**s) for s in raw[k]] for k in ("sentences", "newcomer", "styles", "otherwise")}
        return cls(**told, aligned=aligned)


def speak(
    pipeline: Pipeline, sentences: Sequence[str], voices: Sequence[str], out: Path, step: Callable[[], None]
) -> Results:
    """Say every sentence in every voice, beside the corpus maker's reading and its copy synthesis.

    Writes ``audio/*.wav`` and ``pictures/*.png`` below ``out``. ``step`` is called after each of them.
    """
    for folder in ("audio", "pictures"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    results = Results()
    pipeline.say(sentences[0], voices[0])  # the first call of a process pays for set-up; it is not measured
    for voice in voices:
        audio: dict[str, dict[str, Audio]] = {kind: {} for kind in KINDS}
        spoken = []
        for number, text in enumerate(sentences, start=1):
            said, made = one(pipeline, f"{voice}-{number:02d}", text, voice)
            for kind in KINDS:
                audio[kind][text] = made[kind]
                keep(out, f"{said.key}-{kind}", made[kind], pipeline.mel_spec)
            spoken.append(said)
            step()
        heard_as(spoken, audio, pipeline.mel_spec.sample_rate)
        results.sentences += spoken
    results.otherwise = _otherwise(pipeline, sentences[0], voices[0], out)
    return results


def one(
    pipeline: Pipeline, key: str, text: str, voice: str, options: EspeakOptions | None = None, file: str = ""
) -> tuple[Spoken, dict[str, Audio]]:
    """``text`` in ``voice``: the speech, the copy synthesis, the reading, and what was measured of them.

    ``file``: the voice file to speak with, where the voice is none of the model's; ``options``: whose readers has it.
    """
    rate = pipeline.mel_spec.sample_rate
    started = time.perf_counter()
    speech = pipeline.say(text, file or voice).audio
    taken = time.perf_counter() - started
    own, _ = reading(text, voice, options=options, sample_rate=rate)
    made = {"speech": speech, "copy": pipeline.copy(own), "reading": own}
    spoken = Spoken(key, text, voice, {kind: len(made[kind]) / rate for kind in KINDS}, taken)
    try:
        reference = mcd.mel_cepstrum(own)
        spoken.mcd_copy = mcd.cepstral_distortion(reference, mcd.mel_cepstrum(made["copy"]))
        spoken.mcd = mcd.cepstral_distortion(reference, mcd.mel_cepstrum(speech))
    except NemoExtError as error:
        spoken.failed.append(f"MCD: {error}")
    return spoken, made


def _otherwise(pipeline: Pipeline, text: str, voice: str, out: Path) -> list[Spoken]:
    """``text`` in other paces and pitches; each is labelled with what was asked for and what was measured."""
    plain = pipeline.say(text, voice).audio
    said = []
    for number, change in enumerate(OTHERWISE, start=1):
        speech = pipeline.say(text, voice, **change)
        key = f"otherwise-{number}"
        keep(out, f"{key}-speech", speech.audio, pipeline.mel_spec)
        ((name, value),) = change.items()
        if name == "pace":
            label = f"pace {value:g}, measured {len(plain) / len(speech.audio):.2f}"
        else:
            moved = semitones(plain, speech.audio, pipeline.mel_spec)
            label = f"pitch {value:+g}, measured {moved:+.1f}"
        said.append(Spoken(key, label, voice, {"speech": len(speech.audio) / speech.sample_rate}))
    return said


def styles(pipeline: Pipeline, text: str, out: Path) -> list[Spoken]:
    """``text`` in every base voice and named style, labelled with how it differs from the voice's first style.

    Beside each what the corpus maker itself does: pitch in semitones, span of the pitch and speed as factors.
    """
    said: list[Spoken] = []
    for voice in pipeline.acoustic.voices:
        names = sorted(pipeline.cast.find(voice.name).styles, key=lambda name: (name != "neutral", name))
        first: tuple[Audio, Audio] | None = None
        for name in names:
            speech = pipeline.say(text, voice.name, style=name).audio
            own, _ = reading(text, voice.name, name, sample_rate=pipeline.mel_spec.sample_rate)
            label = name
            if first is not None:
                changes = (_change(first[i], now, pipeline.mel_spec) for i, now in enumerate((speech, own)))
                label = f"{name}: {next(changes)}; the reading's own: {next(changes)}"
            first = first or (speech, own)
            key = f"style-{voice.name}-{name}"
            keep(out, f"{key}-speech", speech, pipeline.mel_spec)
            said.append(Spoken(key, label, voice.name, {"speech": len(speech) / pipeline.mel_spec.sample_rate}))
    return said


def _change(before: Audio, after: Audio, spec: MelSpec) -> str:
    from nemo_ext.audio.pitch import mel_f0

    spans = []
    for audio in (before, after):
        pitch = mel_f0(audio, spec, 50.0, 800.0)
        voiced = pitch[pitch > 0]
        spans.append(float(np.subtract(*np.percentile(np.log2(voiced), [90, 10]))) if len(voiced) else float("nan"))
    moved = semitones(before, after, spec)
    return f"{moved:+.1f} semitones, span × {spans[1] / spans[0]:.1f}, speed × {len(before) / len(after):.2f}"


def semitones(plain: Audio, moved: Audio, spec: MelSpec) -> float:
    """How much higher the median F0 of ``moved`` is than that of ``plain``."""
    from nemo_ext.audio.pitch import mel_f0

    medians = []
    for audio in (plain, moved):
        pitch = mel_f0(audio, spec, 50.0, 800.0)
        medians.append(float(np.median(pitch[pitch > 0])) if (pitch > 0).any() else float("nan"))
    return 12.0 * float(np.log2(medians[1] / medians[0]))


def heard_as(spoken: list[Spoken], audio: dict[str, dict[str, Audio]], sample_rate: int) -> None:
    """Look up each of ``spoken`` among the readings."""
    found = identify.identify(audio["speech"], audio["reading"], sample_rate)
    for one in spoken:
        one.heard = found.heard.get(one.text, "")
        one.margin = found.margin.get(one.text, 0.0)
        if one.text in found.failed:
            one.failed.append(f"identification: {found.failed[one.text]}")


def keep(out: Path, name: str, audio: Audio, spec: MelSpec) -> None:
    """Write ``audio`` and its picture below ``out``."""
    from nemo_ext.audio.mel import log_mel

    audio = np.clip(audio, -1.0, 1.0)
    write(out / "audio" / f"{name}.wav", audio, spec.sample_rate)
    pictures.mel_png(out / "pictures" / f"{name}.png", log_mel(audio, spec))


def align(model: Any, corpus_dir: Path, shown: Sequence[str], step: Callable[[int], None]) -> Aligned:
    """Boundaries and focus of ``model``'s alignment over the whole corpus; pictures of the utterances ``shown``.

    ``step`` is called with the number of utterances that were done.
    """
    import torch

    from nemo_ext.corpus.manifest import load_corpus
    from nemo_ext.data.features import FeatureConfig, FeatureStore
    from nemo_ext.data.loaders import acoustic_loaders

    corpus, events = load_corpus(corpus_dir), read_events(corpus_dir)
    texts = {row.id: row.text for row in corpus.utterances}
    store = FeatureStore(corpus_dir, FeatureConfig(mel=model.mel_spec))
    loaders = acoustic_loaders(corpus, model.frontend, model.voices, store, frames_per_batch=4000)
    symbols = model.frontend.table.symbols
    found, focuses, drawn = alignment.Boundaries(), [], {}
    for loader in loaders:
        for batch in loader:
            with torch.no_grad():
                aligned = model.learn(batch)[2]
            for i, name in enumerate(batch.ids):
                tokens, frames = int(batch.token_lens[i]), int(batch.mel_lens[i])
                spelled = [symbols[t] for t in batch.tokens[i, :tokens].tolist()]
                starts = alignment.token_starts(aligned.durations[i, :tokens].numpy(), model.mel_spec)
                soft, hard = aligned.attention[i, :frames, :tokens].numpy(), aligned.path[i, :frames].numpy()
                focuses.append(alignment.focus(soft, hard))
                known = events.get(name, [])
                errors = alignment.boundary_errors(spelled, starts, known)
                if not len(errors):
                    found.failed[name] = "no phoneme of the text was found among the tokens"
                    continue
                found.errors_ms[name] = errors
                found.phonemes += alignment.spoken_events(known)
                if name in shown:
                    svg = pictures.alignment_svg(soft, hard, spelled, model.mel_spec, known)
                    caption = f"median boundary error {np.median(np.abs(errors)):.0f} ms over {len(errors)} phonemes"
                    drawn[name] = {"title": f"“{texts[name]}”, {name}", "svg": svg, "caption": caption}
            step(len(batch.ids))
    signed = np.concatenate(list(found.errors_ms.values())) if found.errors_ms else np.zeros(0)
    return Aligned(
        utterances=len(focuses),
        boundaries=len(signed),
        phonemes=found.phonemes,
        median_ms=found.median_ms,
        bias_ms=float(np.median(signed)) if len(signed) else float("nan"),
        within_50_ms=found.within(50.0),
        focus=float(np.mean(focuses)) if focuses else float("nan"),
        failed=found.failed,
        pictures=[drawn[name] for name in shown if name in drawn],
    )
