"""What `nemo-ext adapt` chooses for 1, 5 and 30 minutes of speech, and how near that comes to the speaker.

    python benchmarks/adaptation_lengths.py --work DIR [--threads 1]

DIR is that of benchmarks/adaptation.py, whose base (14 speakers, 12 minutes) is taken as it is. Real speech: LJSpeech,
of which 4 minutes are at hand. For 5 and 30 minutes a voice of espeak-ng reads the corpus maker's sentences. Each voice
is measured on utterances that no row of it learned from. Writes benchmarks/adaptation_lengths.md. Needs
NEMO_EXT_CORPORA and the packages resemblyzer and espeakng-loader.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from pathlib import Path
from typing import Any

from adaptation import Measured, corpora
from hardware import describe, table, write
from subset import subset

from nemo_ext import _nemo, voices
from nemo_ext.config import compose
from nemo_ext.corpus.build import build
from nemo_ext.corpus.manifest import Corpus, load_corpus
from nemo_ext.training.adapt import make
from nemo_ext.training.adapt_report import semitones
from nemo_ext.types import Utterance

LJ, ESPEAK = "LJSpeech", "espeak-ng"
ROWS = ((LJ, 1.0), (LJ, 3.0), (ESPEAK, 1.0), (ESPEAK, 5.0), (ESPEAK, 30.0))
UNHEARD = 12  # sentences of espeak-ng's that nothing learns from
SENTENCES = 900
READER = "{name:eve,voice:en-us+f4,pitch:55}"
HEAD = ["voice", "speech, s", "best step of", "wall, min", "mel L1", "fall, %"]
HEAD += ["F0 of speech, semitones off", "cosine to the speaker"]


def of(rows: list[Utterance], minutes: float) -> list[Utterance]:
    """The first ``rows``, up to so many minutes of speech."""
    kept, seconds = [], 0.0
    for row in rows:
        if seconds + row.duration <= 60 * minutes:
            kept.append(row)
            seconds += row.duration
    return kept


def espeak(work: Path) -> tuple[Corpus, Path]:
    """What espeak-ng's voice reads for learning, and the folder of what it reads for measuring."""
    out = work / "espeak"
    options = ["recipe=espeak", f"espeak.sentences={SENTENCES}", f"espeak.voices=[{READER}]"]
    build(compose("corpus", [*options, "espeak.styles=[{name:neutral}]", f"out={out}"]))
    whole = load_corpus(out)
    rows = sorted(whole.utterances, key=lambda u: u.id)
    unheard = subset(dataclasses.replace(whole, train=rows[-UNHEARD:], val=[]), work / "espeak-unheard")
    return dataclasses.replace(whole, train=rows[:-UNHEARD], val=[]), unheard


def row(base: Any, base_path: Path, name: str, folder: Path, unheard: Path, threads: int) -> list[str]:
    """Adapt to the corpus in ``folder``, and measure on ``unheard``."""
    out = folder.with_suffix(voices.SUFFIX)
    config = compose("adapt", [f"base={base_path}", f"corpus={folder}", f"out={out}", f"trainer.threads={threads}"])
    began = time.monotonic()
    made = make(config, base, out, name, voices.Consent.parse("unknown"))
    wall = (time.monotonic() - began) / 60
    measured, voice = Measured(base, unheard, made), voices.load(out)
    near = {told.name: measured.distance(base.base_voice(told.name))["mel_l1"] for told in base.voices}
    nearest, ours = min(near, key=near.__getitem__), measured.distance(voice)["mel_l1"]
    spoken = measured.speech(voice)
    apart = semitones(measured.f0(spoken), measured.f0(measured.recordings))
    before = float(measured.embedding(measured.speech(base.base_voice(nearest))) @ measured.target)
    return [
        name,
        f"{made.voice.provenance.seconds:.0f}",
        f"{made.steps} of {made.recipe.steps}",
        f"{wall:.1f}",
        f"{near[nearest]:.3f} (`{nearest}`) -> {ours:.3f}",
        f"{100 * (1 - ours / near[nearest]):.1f}",
        f"{apart:+.2f}",
        f"{before:.3f} -> {float(measured.embedding(spoken) @ measured.target):.3f}",
    ]


def main() -> None:
    """Adapt, measure, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, help="folder of benchmarks/adaptation.py")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    if "NEMO_EXT_CORPORA" not in os.environ:
        raise SystemExit("set NEMO_EXT_CORPORA to a folder with vctk_mini, librispeech_multi and ljspeech_mini in it")
    work = Path(chosen.work).expanduser().resolve()
    path = work / "base" / "model.nemo"
    if not path.is_file():
        raise SystemExit(f"{path} is missing: run benchmarks/adaptation.py --work {chosen.work} first")
    lj, lj_unheard = corpora(work)[1:]
    whole = load_corpus(lj)
    everything = dataclasses.replace(whole, train=sorted(whole.utterances, key=lambda u: u.id), val=[])
    spoken = {LJ: (everything, lj_unheard), ESPEAK: espeak(work)}

    base, rows = _nemo.restore(path).requires_grad_(False), []
    for name, minutes in ROWS:
        source, unheard = spoken[name]
        part = dataclasses.replace(source, train=of(source.train, minutes))
        folder = subset(part, work / "lengths" / f"{name.lower()}-{minutes:g}")
        rows.append(row(base, path, name, folder, unheard, chosen.threads))
        print(" | ".join(rows[-1]), flush=True)
    write(
        Path(__file__).with_suffix(".md"),
        "What is chosen for so much speech",
        f"python benchmarks/adaptation_lengths.py --work WORK --threads {chosen.threads}",
        [
            "The base of [adaptation.md](adaptation.md) (14 speakers, 12 minutes of real speech), adapted with the "
            "defaults for the length. LJSpeech is measured on 6 utterances that neither training heard, espeak-ng's "
            f"voice on {UNHEARD}. espeak-ng is a formant synthesizer: it stands in for the half hour of one English "
            "speaker that is not at hand, and is further from the base's speakers than a person is.",
            table(HEAD, rows),
            "Mel L1: of the nearest base voice -> of the adapted one, with the recordings' durations, pitch and "
            "energy; F0 and cosine (mean d-vectors, resemblyzer; nearest base voice -> adapted) of the texts spoken "
            "freely.",
            describe(),
        ],
    )


if __name__ == "__main__":
    main()
