"""A voice adapted from under four minutes of speech: how close it comes to the speaker, and what it leaves untouched.

    python benchmarks/adaptation.py --work DIR [--steps 1300] [--threads 1]

A base is trained on vctk_mini and librispeech_multi (14 speakers), LJSpeech held out entirely, and adapted to 30 of the
36 utterances of ljspeech_mini; everything is measured on the other six, of which neither the adaptation nor its early
stopping knows. A base that DIR/base holds already is taken as it is. Writes
benchmarks/adaptation.md. Needs NEMO_EXT_CORPORA and the package resemblyzer.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import describe, table, write

from nemo_ext import _nemo, voices
from nemo_ext.audio.io import read_mono
from nemo_ext.audio.pitch import mel_f0
from nemo_ext.config import compose
from nemo_ext.corpus.build import build
from nemo_ext.corpus.manifest import Corpus, load_corpus
from nemo_ext.data.features import FeatureStore
from nemo_ext.data.loaders import acoustic_loaders
from nemo_ext.models.speaker.encoders import speaker_encoder
from nemo_ext.models.vocoder.griffin_lim import GriffinLim
from nemo_ext.training import alignments
from nemo_ext.training.adapt import Adapted, make
from nemo_ext.training.adapt_report import semitones, speak
from nemo_ext.training.run import train
from nemo_ext.training.voice_fit import evaluate
from nemo_ext.types import BaseVoice
from nemo_ext.voices import Voice

# Few recordings by many speakers: batches that hold several of them, and the attention sharpened late.
BASE = ["frames_per_batch=4000", "model.optim.lr=1e-3", "model.losses.bin_from_step=500"]
BASE += ["model.losses.bin_warmup_steps=300", "trainer.val_every=100", "trainer.checkpoint_every=100"]
BOUND, SEMITONE = 25.0, 1.0
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
EVERY = 6  # every sixth utterance of LJSpeech is held out of everything


def corpora(work: Path) -> tuple[Path, Path, Path]:
    """The base's corpus, and LJSpeech's in two parts: to adapt to, and to measure on."""
    source = Path(os.environ["NEMO_EXT_CORPORA"])
    for recipe, name in (("vctk", "vctk_mini"), ("librispeech", "librispeech_multi")):
        build(compose("corpus", [f"recipe={recipe}", f"source={source / name}", f"out={work}/corpora/{name}"]))
    build(compose("corpus", ["recipe=joined", f"source={work}/corpora", f"out={work}/base-corpus"]))
    rows = (source / "ljspeech_mini" / "metadata.csv").read_text(encoding="utf-8").splitlines()
    parts = {"lj": [r for i, r in enumerate(rows) if i % EVERY != EVERY - 1], "lj-unheard": rows[EVERY - 1 :: EVERY]}
    for name, part in parts.items():
        folder = work / "sources" / name
        (folder / "wavs").mkdir(parents=True, exist_ok=True)
        (folder / "metadata.csv").write_text("\n".join(part) + "\n", encoding="utf-8")
        for row in part:
            link = folder / "wavs" / f"{row.partition('|')[0]}.wav"
            if not link.exists():
                link.symlink_to((source / "ljspeech_mini" / "wavs" / link.name).resolve())
        options = ["recipe=ljspeech", f"source={folder}", f"out={work}/{name}", "speaker=lj"]
        build(compose("corpus", options))
    return work / "base-corpus", work / "lj", work / "lj-unheard"


class Measured:
    """The utterances that nobody heard, aligned once for every voice."""

    def __init__(self, base: Any, folder: Path, adapted: Adapted) -> None:
        corpus = load_corpus(folder)
        self.base, self.rows = base, sorted(corpus.utterances, key=lambda u: u.id)
        self.store = FeatureStore(corpus.dir)
        self.name = str(self.rows[0].speaker)
        self.told = BaseVoice(self.name, pitch_mean=adapted.voice.pitch_mean, pitch_std=adapted.voice.pitch_std)
        self.corpus, self.aligner = corpus, adapted.aligned.aligner
        self.health = alignments.measure(base, self.aligner, self.batches())
        self.durations = alignments.find(self.aligner, self.batches())
        self.decoder = GriffinLim(base.mel_spec)
        self.encoder = speaker_encoder("resemblyzer")
        self.recordings = [read_mono(self.store.audio_path(row))[0] for row in self.rows]
        self.target = self.embedding(self.recordings)

    def batches(self, mean: float = 0.0, std: float = 0.0) -> Any:
        """All utterances, their pitch normalised by ``mean`` and ``std`` in Hz; the new speaker's own unless given."""
        told = BaseVoice(self.name, pitch_mean=mean, pitch_std=std) if mean else self.told
        whole = Corpus(self.corpus.dir, self.corpus.train, self.corpus.utterances, self.corpus.info)
        return acoustic_loaders(whole, self.base.frontend, [told], self.store, 4000)[1]

    def distance(self, voice: Voice) -> dict[str, float]:
        """Losses with the recordings' durations, pitch and energy.

        The pitch is given in the recordings' own normalisation, and in that of the voice, which is to say in Hz; what
        comes closer counts.
        """
        vector = torch.from_numpy(voice.vector)
        found = [evaluate(self.base, vector, self.batches(), self.durations)]
        if voice.pitch_mean > 0:
            own = self.batches(voice.pitch_mean, voice.pitch_std)
            found.append(evaluate(self.base, vector, own, self.durations))
        return min(found, key=lambda losses: losses["mel_l1"])

    def speech(self, voice: Voice) -> list[np.ndarray]:
        """The texts spoken freely: durations, pitch and energy predicted."""
        return [self.decoder.decode(speak(self.base, row, voice))[0].numpy() for row in self.rows]

    def embedding(self, audios: list[np.ndarray]) -> np.ndarray:
        """Mean d-vector, of unit length."""
        mean = np.mean([self.encoder.embed(audio, self.base.mel_spec.sample_rate) for audio in audios], axis=0)
        return np.asarray(mean / np.linalg.norm(mean))

    def f0(self, audios: list[np.ndarray]) -> float:
        """Mean F0 in Hz over all voiced frames."""
        tracks = np.concatenate([mel_f0(np.ascontiguousarray(a), self.base.mel_spec, 65.0, 600.0) for a in audios])
        return float(tracks[tracks > 0].mean())


def speakers(corpus: Corpus, measured: Measured) -> dict[str, np.ndarray]:
    """Mean d-vector of five recordings of each base speaker."""
    found: dict[str, list[np.ndarray]] = {}
    for row in corpus.utterances:
        found.setdefault(str(row.speaker), []).append(read_mono(corpus.audio_path(row))[0])
    return {name: measured.embedding(audios[:5]) for name, audios in sorted(found.items())}


def mixes(voice: Voice, other: Voice, measured: Measured) -> list[list[str]]:
    """Rows of weight, F0 and similarity to the new speaker."""
    rows = []
    for weight in WEIGHTS:
        parts = [(voice, weight), (other, 1.0 - weight)]
        mixed = voices.mix([(v, w) for v, w in parts if w > 0])
        audios = measured.speech(mixed)
        near = float(measured.embedding(audios) @ measured.target)
        rows.append([f"{weight:g}", f"{measured.f0(audios):.1f}", f"{near:.3f}"])
    return rows


def rising(rows: list[list[str]]) -> str:
    """Whether the columns of ``mixes`` are monotone."""
    f0, near = ([float(row[i]) for row in rows] for i in (1, 2))

    def monotone(values: list[float]) -> bool:
        steps = np.diff(values)
        return bool((steps >= 0).all() or (steps <= 0).all())

    told = {True: "monotone", False: "NOT monotone"}
    return f"F0 {told[monotone(f0)]}, cosine {told[monotone(near)]}"


def main() -> None:
    """Train, adapt, measure, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, help="folder to work in")
    parser.add_argument("--steps", type=int, default=1300, help="of the base's training")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    if "NEMO_EXT_CORPORA" not in os.environ:
        raise SystemExit("set NEMO_EXT_CORPORA to a folder with vctk_mini, librispeech_multi and ljspeech_mini in it")
    work = Path(chosen.work).expanduser().resolve()
    base_corpus, new, unheard = corpora(work)
    options = ["model=fastpitch", "size=small", f"corpus={base_corpus}", f"out={work}/base", *BASE]
    options += [f"trainer.max_steps={chosen.steps}", f"trainer.threads={chosen.threads}", "logger.tensorboard=false"]
    path = work / "base" / "model.nemo"
    if not path.is_file():
        train(compose("train", options))
    trained = (path.stat().st_mtime - (path.parent / "config.yaml").stat().st_mtime) / 60

    base = _nemo.restore(path).requires_grad_(False)
    before = {k: v.clone() for k, v in base.state_dict().items()}
    hash_before = base.weights_hash()
    config = compose(
        "adapt", [f"base={path}", f"corpus={new}", f"out={work}/lj.voice", f"trainer.threads={chosen.threads}"]
    )
    began = time.monotonic()
    adapted = make(config, base, work / "lj.voice", "lj", voices.Consent.parse("unknown"))
    wall = (time.monotonic() - began) / 60
    after = base.state_dict()
    same = hash_before == base.weights_hash() and all(torch.equal(v, after[k]) for k, v in before.items())

    measured = Measured(base, unheard, adapted)
    voice = voices.load(work / "lj.voice")
    report(chosen, base, base_corpus, adapted, voice, measured, same, trained, wall)


def report(
    chosen: argparse.Namespace,
    base: Any,
    base_corpus: Path,
    adapted: Adapted,
    voice: Voice,
    measured: Measured,
    same: bool,
    trained: float,
    wall: float,
) -> None:
    """Measure and write the page."""
    distances = {told.name: measured.distance(base.base_voice(told.name)) for told in base.voices}
    nearest = min(distances, key=lambda name: distances[name]["mel_l1"])
    ours, theirs = measured.distance(voice), distances[nearest]
    gain = 100 * (1 - ours["mel_l1"] / theirs["mel_l1"])

    spoken, from_base = measured.speech(voice), measured.speech(base.base_voice(nearest))
    f0, f0_recorded = measured.f0(spoken), measured.f0(measured.recordings)
    apart = semitones(f0, f0_recorded)
    vector = measured.embedding(spoken)
    to_target = float(vector @ measured.target)
    others = {name: float(vector @ one) for name, one in speakers(load_corpus(base_corpus), measured).items()}
    closest = max(others, key=others.__getitem__)
    base_to_target = float(measured.embedding(from_base) @ measured.target)

    def met(is_met: bool) -> str:
        return "met" if is_met else "MISSED"

    rows = [
        ["mel L1, own durations", f"{theirs['mel_l1']:.3f} (`{nearest}`)", f"{ours['mel_l1']:.3f}"],
        ["fall, at least 25 %", "", f"{gain:.1f} %, {met(gain >= BOUND)}"],
        ["mel squared error", f"{theirs['mel']:.3f}", f"{ours['mel']:.3f}"],
        ["mean F0 of speech, Hz", f"{measured.f0(from_base):.1f}", f"{f0:.1f}"],
        [
            f"from the recordings' {f0_recorded:.1f} Hz, within 1 semitone",
            f"{semitones(measured.f0(from_base), f0_recorded):+.2f}",
            f"{apart:+.2f}, {met(abs(apart) <= SEMITONE)}",
        ],
        ["cosine to the speaker", f"{base_to_target:.3f}", f"{to_target:.3f}"],
        [
            "cosine to the nearest base speaker, below that",
            "",
            f"{others[closest]:.3f} (`{closest}`), {met(to_target > others[closest])}",
        ],
        ["base weights, bit by bit", "", "identical, met" if same else "CHANGED"],
    ]
    lowest = min(base.voices, key=lambda v: v.pitch_mean).name
    mixing = {name: mixes(voice, base.base_voice(name), measured) for name in [lowest]}
    recipe = adapted.recipe
    write(
        Path(__file__).with_suffix(".md"),
        "A voice from minutes of speech",
        f"python benchmarks/adaptation.py --work WORK --steps {chosen.steps} --threads {chosen.threads}",
        [
            f"Base: FastPitch, size=small, {' '.join(BASE)}, {len(base.voices)} speakers of vctk_mini and "
            f"librispeech_multi, {chosen.steps} steps on one CPU in {trained:.0f} min. Adapted to "
            f"{adapted.voice.provenance.seconds:.0f} s of ljspeech_mini in {wall:.1f} min ({recipe}; best at step "
            f"{adapted.steps}; alignment: {adapted.aligned}).",
            f"Measured on {len(measured.rows)} utterances of LJSpeech that neither training heard (alignment there: "
            f"{measured.health}). Mel L1: mean absolute error of the log-mel (natural log, 80 bands up to 8 kHz) with "
            "true pitch and energy, and one alignment for all voices; *before* is the best of all base voices on "
            "these utterances, with the pitch in its own normalisation or in the speaker's, whichever comes closer. "
            "F0 and cosines: the texts spoken freely, through Griffin-Lim; F0 by DIO. Cosines are between mean "
            "d-vectors (resemblyzer's encoder) of the speech and of real recordings.",
            table(["", "before: nearest base voice", "after"], rows),
            "A mix `lj:w+other:(1-w)` over five weights, spoken as above:",
            *(
                f"with `{name}` ({rising(found)}):\n\n" + table(["w", "mean F0, Hz", "cosine to the speaker"], found)
                for name, found in mixing.items()
            ),
            f"The voice has {voice.layout.size:,} values, the base {base.parameters_spoken_with():,} parameters.",
            describe(),
        ],
    )


if __name__ == "__main__":
    main()
