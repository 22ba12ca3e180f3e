"""The demo's third voice: a speaker that the base never heard, adapted from minutes as `nemo-ext adapt` does it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nemo_ext.corpus.config import CorpusConfig, EspeakOptions, EspeakVoice
from nemo_ext.demo.measure import KINDS, Audio, Spoken, heard_as, keep, one, semitones
from nemo_ext.errors import NemoExtError
from nemo_ext.evaluation import mcd
from nemo_ext.synthesis.pipeline import Pipeline

NAME = "cleo"
FILE = f"voices/{NAME}.voice"
CORPUS = "newcomer"
SPOKEN = 10  # unseen sentences in this voice
OPTIONS = EspeakOptions(voices=[EspeakVoice(NAME, "en-us+f4", 45)])


def make_corpus(out: Path, sentences: int) -> None:
    """The newcomer's recordings, below ``out``; the base is not trained on them."""
    from nemo_ext.corpus.build import build

    build(
        CorpusConfig(
            out=str(out / CORPUS),
            title="A third voice of espeak-ng",
            espeak=EspeakOptions(sentences=sentences, voices=OPTIONS.voices),
        )
    )


def adapt(out: Path, sentences: int, steps: int, trainer: str) -> str:
    """Make the voice file below ``out``; says what was made.

    Raises:
        NemoExtError: as `nemo-ext adapt` does.
    """
    from nemo_ext import voices
    from nemo_ext.config import compose
    from nemo_ext.training.adapt import adapt as run

    base, vocoder = out / "acoustic" / "model.nemo", out / "vocoder" / "model.nemo"
    options = [f"base={base}", f"vocoder={vocoder}", f"corpus={out / CORPUS}", f"out={out / FILE}"]
    options += ["consent=unknown", f"trainer={trainer}", f"trainer.max_steps={steps}", "aligner_steps=100"]
    (out / FILE).parent.mkdir(parents=True, exist_ok=True)
    voice = run(compose("adapt", options))
    size = (out / FILE).stat().st_size
    kept = len(voices.load(out / FILE).vector)
    return (
        f"'{voice.name}' from {sentences} sentences, {voice.provenance.seconds / 60:.1f} minutes: {kept:,} values, "
        f"{size / 1000:.0f} kB; the base is unchanged"
    )


def speak(pipeline: Pipeline, sentences: Sequence[str], out: Path) -> list[Spoken]:
    """The first of the unseen ``sentences`` in the adapted voice, measured against its reader."""
    file = str(out / FILE)
    audio: dict[str, dict[str, Audio]] = {kind: {} for kind in KINDS}
    before: dict[str, list[float | None]] = {voice.name: [] for voice in pipeline.acoustic.voices}
    spoken = []
    for number, text in enumerate(sentences[:SPOKEN], start=1):
        said, made = one(pipeline, f"{NAME}-{number:02d}", text, NAME, OPTIONS, file)
        said.semitones = semitones(made["reading"], made["speech"], pipeline.mel_spec)
        for voice, found in before.items():
            found.append(_distortion(pipeline, text, voice, made["reading"]))
        for kind in KINDS:
            audio[kind][text] = made[kind]
            keep(out, f"{said.key}-{kind}", made[kind], pipeline.mel_spec)
        spoken.append(said)
    nearest = min(before.values(), key=lambda found: sum(99.0 if v is None else v for v in found))
    for said, value in zip(spoken, nearest, strict=True):
        said.mcd_before = value
    heard_as(spoken, audio, pipeline.mel_spec.sample_rate)
    return spoken


def _distortion(pipeline: Pipeline, text: str, voice: str, own: Audio) -> float | None:
    """MCD in dB of ``text`` spoken by a base ``voice`` against the newcomer's reading; None where it fails."""
    try:
        return mcd.cepstral_distortion(mcd.mel_cepstrum(own), mcd.mel_cepstrum(pipeline.say(text, voice).audio))
    except NemoExtError:
        return None
