"""Styles on Emo-DB: is the style heard on actors that the model never met, is it free of the speaker, is it spoken?

    python benchmarks/style.py [--steps 1000] [--work FOLDER]

Four trainings of a FastPitch with style tokens, each without two of the eight actors. Writes benchmarks/style.md.
Needs NEMO_EXT_CORPORA with emodb_de in it. With --work, what is there is used again.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import describe, table, write
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from subset import subset

from nemo_ext import _nemo
from nemo_ext.audio.io import read_mono
from nemo_ext.audio.pitch import mel_f0
from nemo_ext.config import compose
from nemo_ext.corpus.build import build
from nemo_ext.corpus.manifest import Corpus, load_corpus
from nemo_ext.data.features import FeatureStore
from nemo_ext.data.prepare import base_voices, mel_statistics, prepare
from nemo_ext.synthesis.pipeline import Pipeline
from nemo_ext.training.run import train
from nemo_ext.types import Utterance
from nemo_ext.voices import Voice

STYLES = ("anger", "happiness", "neutral", "sadness")
FOLDS = (("03", "08"), ("10", "09"), ("11", "13"), ("12", "14"))  # a man and a woman each
RECIPE = [
    "frames_per_batch=2000",
    "model.optim.lr=3e-3",
    "model.losses.bin_from_step=300",
    "model.losses.bin_warmup_steps=300",
]
CLASSIFIERS: dict[str, Any] = {
    "logistic regression": LogisticRegression(max_iter=3000),
    "linear discriminant, shrunk": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    "SVM, RBF kernel": SVC(C=10.0),
    "5 nearest neighbours": KNeighborsClassifier(5),
}
FEWEST_VOICED = 10  # frames; below that an utterance says nothing of its F0, and is counted as such
SENTENCES = 3  # the shortest of the ten, spoken by every voice in every style


@dataclass
class Heard:
    """Style vectors of every utterance of the corpus by one model, and what is known of each."""

    centred: np.ndarray  # (N, S), references centred on their actor's statistics, taken without labels
    alone: np.ndarray  # (N, S), references centred on themselves
    named: np.ndarray  # (4, S), over the voices of training
    held_out: np.ndarray  # (N,) bool: spoken by an actor who was left out of training


def fold_corpus(whole: Corpus, left_out: tuple[str, ...], folder: Path) -> Path:
    """The corpus without some actors."""
    train, val = ([u for u in rows if u.speaker not in left_out] for rows in (whole.train, whole.val))
    return subset(dataclasses.replace(whole, train=train, val=val), folder)


def trained(folder: Path, corpus: Path, chosen: argparse.Namespace) -> Path:
    """The ``.nemo`` of one training; the same again goes on where it was."""
    options = ["model=fastpitch", "model/style=gst", f"size={chosen.size}", f"corpus={corpus}", f"out={folder}"]
    options += [f"trainer.max_steps={chosen.steps}", "trainer.val_every=200", "trainer.measure_seconds=0"]
    options += [f"trainer.threads={chosen.threads}", f"seed={chosen.seed}", *RECIPE, *chosen.option]
    return train(compose("train", options))


# ------------------------------------------------------------------- style heard


def actors(utterances: list[Utterance], store: FeatureStore) -> dict[str, Voice]:
    """Every actor's statistics over all recordings of theirs, as a voice file would carry them; no label is used."""
    voices = base_voices(utterances, store)
    statistics = mel_statistics(utterances, store, voices)
    return {
        v.name: Voice(
            v.name,
            np.zeros(0, np.float32),
            None,  # type: ignore[arg-type]
            pitch_mean=v.pitch_mean,
            pitch_std=v.pitch_std,
            mel_stats=statistics[i],
        )
        for i, v in enumerate(voices)
    }


def heard(model: Any, whole: Corpus, store: FeatureStore, left_out: tuple[str, ...]) -> Heard:
    """What ``model`` hears in every utterance."""
    voices, named = actors(whole.utterances, store), model.named_styles()

    def vector(utterance: Utterance, voice: Voice | None) -> np.ndarray:
        features = store.load(utterance)
        mel, pitch = torch.from_numpy(features.mel)[None], torch.from_numpy(features.pitch)[None]
        return model.style.of_reference(mel, pitch, voice, model._typical_range())[0].numpy()  # type: ignore[no-any-return]

    return Heard(
        np.stack([vector(u, voices[u.speaker or ""]) for u in whole.utterances]),
        np.stack([vector(u, None) for u in whole.utterances]),
        np.stack([named[s] for s in STYLES]),
        np.array([u.speaker in left_out for u in whole.utterances]),
    )


def nearest_style(vectors: np.ndarray, named: np.ndarray) -> np.ndarray:
    """Number of the named style at the least Euclidean distance."""
    found: np.ndarray = np.linalg.norm(vectors[:, None] - named[None], axis=2).argmin(1)
    return found


def balanced(said: np.ndarray, true: np.ndarray) -> float:
    """Mean over the styles of the share that is recognised."""
    return float(np.mean([(said[true == k] == k).mean() for k in range(len(STYLES))]))


def confusion(said: np.ndarray, true: np.ndarray) -> str:
    """Rows: what was acted; columns: the nearest named style; per cent."""
    rows = [
        [STYLES[k], *(f"{100 * (said[true == k] == j).mean():.0f}" for j in range(len(STYLES)))]
        for k in range(len(STYLES))
    ]
    return table(["acted", *STYLES], rows)


def recovered(vectors: np.ndarray, speakers: np.ndarray) -> dict[str, float]:
    """Share of utterances whose speaker a classifier names, by name of the classifier; 5-fold cross-validation."""
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return {
        name: float(
            (cross_val_predict(make_pipeline(StandardScaler(), c), vectors, speakers, cv=folds) == speakers).mean()
        )
        for name, c in CLASSIFIERS.items()
    }


# ------------------------------------------------------------------ style spoken


def measures(audio: np.ndarray, spec: Any, tokens: int) -> np.ndarray:
    """F0 mean (semitones above 100 Hz), F0 range (5th to 95th percentile, semitones), rate (tokens a second)."""
    pitch = mel_f0(audio, spec)
    semitones = 12 * np.log2(pitch[pitch > 0] / 100.0)
    loud = np.flatnonzero(np.abs(audio) > 0.02 * np.abs(audio).max())
    seconds = (loud[-1] - loud[0]) / spec.sample_rate
    if len(semitones) < FEWEST_VOICED:
        return np.array([np.nan, np.nan, tokens / seconds])
    low, high = np.percentile(semitones, [5, 95])
    return np.array([semitones.mean(), high - low, tokens / seconds])


MEASURES = ("F0 mean", "F0 range", "rate")


def recorded(whole: Corpus, frontend: Any, spec: Any) -> dict[tuple[str, str], np.ndarray]:
    """Means of the measures over the recordings of each actor and style."""
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for u in whole.utterances:
        audio, _ = read_mono(whole.audio_path(u))
        tokens = len(frontend.encode(u.text, "de").ids)
        found.setdefault((u.speaker or "", u.style or ""), []).append(measures(audio, spec, tokens))
    return {key: np.mean(values, axis=0) for key, values in found.items()}


def spoken(model: Any, texts: list[str]) -> dict[tuple[str, str], np.ndarray]:
    """``(texts, measures)`` of synthesized speech: every base voice says the same texts in every style."""
    pipeline = Pipeline(model, device="cpu")
    found = {}
    for voice in model.voices:
        for style in STYLES:
            values = []
            for text in texts:
                speech = pipeline.say(text, voice.name, style=style, language="de")
                values.append(measures(speech.audio, model.mel_spec, len(speech.tokens)))
            found[voice.name, style] = np.array(values)
    return found


def kept(path: Path, make: Callable[[], dict[tuple[str, str], np.ndarray]]) -> dict[tuple[str, str], np.ndarray]:
    """What ``make`` gives, from ``path`` if it is there already: speaking takes minutes."""
    if not path.is_file():
        np.savez(path, **{"/".join(key): values for key, values in make().items()})
    with np.load(path) as held:
        return {tuple(key.split("/")): held[key] for key in held.files}  # type: ignore[misc]


def correlations(truth: np.ndarray, made: np.ndarray) -> list[list[str]]:
    """``(speakers, styles, measures)`` both: rows of measure, r raw, r centred on each speaker, same direction."""
    rows = []
    for i, name in enumerate(MEASURES):
        a, b = truth[:, :, i], made[:, :, i]
        ca, cb = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
        pairs = [(j, k) for j in range(len(STYLES)) for k in range(j)]
        same = np.mean([np.sign(a[:, j] - a[:, k]) == np.sign(b[:, j] - b[:, k]) for j, k in pairs])
        style_mean = np.corrcoef(ca.mean(0), cb.mean(0))[0, 1]
        rows.append(
            [
                name,
                f"{np.corrcoef(a.ravel(), b.ravel())[0, 1]:.2f}",
                f"{np.corrcoef(ca.ravel(), cb.ravel())[0, 1]:.2f}",
                f"{style_mean:.2f}",
                f"{100 * same:.0f} %",
            ]
        )
    return rows


def by_style(truth: np.ndarray, made: np.ndarray) -> list[list[str]]:
    """Means over the speakers, recorded and synthesized."""
    return [
        [style, *(f"{x[:, k, i].mean():.1f}" for i in range(len(MEASURES)) for x in (truth, made))]
        for k, style in enumerate(STYLES)
    ]


# ------------------------------------------------------------------------- page


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folds", type=int, default=len(FOLDS), help="fewer for a trial")
    parser.add_argument("--work", default="", help="folder to keep corpus and models in")
    parser.add_argument("--option", action="append", default=[], help="of the training, more")
    chosen = parser.parse_args()
    if "NEMO_EXT_CORPORA" not in os.environ:
        raise SystemExit("set NEMO_EXT_CORPORA to a folder with emodb_de in it")
    with tempfile.TemporaryDirectory() as temporary:
        run(chosen, Path(chosen.work or temporary))


def run(chosen: argparse.Namespace, work: Path) -> None:
    """Everything, in the folder ``work``."""
    source = Path(os.environ["NEMO_EXT_CORPORA"]) / "emodb_de"
    if not (work / "corpus" / "corpus.yaml").is_file():
        build(compose("corpus", ["recipe=emodb", f"source={source}", f"out={work}/corpus"]))
    whole = load_corpus(work / "corpus")
    store = FeatureStore(whole.dir)
    prepare(whole.utterances, store, 1)
    true = np.array([STYLES.index(u.style or "") for u in whole.utterances])
    speakers = np.array([u.speaker for u in whole.utterances])
    texts = sorted({u.text for u in whole.utterances}, key=len)[:SENTENCES]
    found: list[Heard] = []
    made: dict[tuple[str, str], list[np.ndarray]] = {}
    truth: dict[tuple[str, str], np.ndarray] = {}
    for number, left_out in enumerate(FOLDS[: chosen.folds]):
        started = time.monotonic()
        corpus = fold_corpus(whole, left_out, work / f"fold{number}")
        model = _nemo.restore(trained(work / f"run{number}", corpus, chosen))
        found.append(heard(model, whole, store, left_out))
        truth = truth or recorded(whole, model.frontend, model.mel_spec)
        one = found[-1]
        out = one.held_out
        print(
            left_out,
            f"style {balanced(nearest_style(one.centred[out], one.named), true[out]):.3f}",
            f"alone {balanced(nearest_style(one.alone[out], one.named), true[out]):.3f}",
            recovered(one.centred, speakers),
            f"{(time.monotonic() - started) / 60:.1f} min",
            flush=True,
        )
        for key, values in kept(work / f"run{number}" / "spoken.npz", lambda m=model: spoken(m, texts)).items():
            made.setdefault(key, []).append(values)
    report(chosen, found, true, speakers, truth, made)


def report(
    chosen: argparse.Namespace,
    found: list[Heard],
    true: np.ndarray,
    speakers: np.ndarray,
    truth: dict[tuple[str, str], np.ndarray],
    made: dict[tuple[str, str], list[np.ndarray]],
) -> None:
    """Write benchmarks/style.md."""
    kinds = ("centred", "alone")
    said = {kind: np.full(len(true), -1) for kind in kinds}
    folds = []
    for one, left_out in zip(found, FOLDS, strict=False):
        out = one.held_out
        for kind in kinds:
            said[kind][out] = nearest_style(getattr(one, kind)[out], one.named)
        folds.append([" and ".join(left_out), *(percent(balanced(said[k][out], true[out])) for k in kinds)])
    tested = said["centred"] >= 0
    whole = ["**all left out**", *(percent(balanced(said[k][tested], true[tested])) for k in kinds)]
    leaks = {kind: [recovered(getattr(one, kind), speakers) for one in found] for kind in kinds}
    most = np.unique(speakers, return_counts=True)[1].max()
    labels = np.eye(len(STYLES))[true] + np.random.default_rng(0).normal(0, 1e-3, (len(true), len(STYLES)))
    floor = recovered(labels, speakers)
    rows = [
        [name, *(percent(np.mean([x[name] for x in leaks[kind]])) for kind in kinds), percent(floor[name])]
        for name in CLASSIFIERS
    ]
    names = sorted({key[0] for key in made})
    recordings = np.array([[truth[n, s] for s in STYLES] for n in names])
    speech = np.array([[np.nanmean(np.concatenate(made[n, s]), axis=0) for s in STYLES] for n in names])
    every = np.concatenate([x for values in made.values() for x in values])
    silent = int(np.isnan(every[:, 0]).sum())
    more = "".join(f" --option {o}" for o in chosen.option)
    heads = ["actors left out", "centred on the actor", "centred on itself"]
    measured = [
        "",
        "r, raw",
        "r, centred on each speaker",
        "r, means of the styles",
        "pairs of styles in the same order",
    ]
    write(
        Path(__file__).with_suffix(".md"),
        "Styles on Emo-DB",
        f"python benchmarks/style.py --steps {chosen.steps} --size {chosen.size} --seed {chosen.seed}{more}",
        [
            f"{len(true)} utterances, {len(set(speakers))} actors, {len(STYLES)} emotions. {len(found)} FastPitches "
            f"with `model/style=gst`, size={chosen.size}, {chosen.steps} steps, {' '.join([*RECIPE, *chosen.option])}, "
            f"seed {chosen.seed}; each was trained without two actors.",
            "## Is the style heard on actors who were left out?",
            "Share of utterances whose nearest named style (Euclidean, means over the voices of training) is the "
            "acted one, averaged over the four emotions; chance is 25 %. *Centred on the actor*: references are "
            "centred on the mean and deviation of all recordings of that actor, which no label enters: what a voice "
            "file brings. *Centred on itself*: a single clip of a stranger.",
            table(heads, [whole, *folds]),
            "Rows: acted; columns: nearest named style; per cent; centred on the actor.",
            confusion(said["centred"][tested], true[tested]),
            "## Is the speaker in it?",
            "Share of utterances whose speaker is recovered from the style vectors of one model, 8 speakers, by "
            "classifiers with 5-fold cross-validation over all utterances; mean over the models. Chance is 12.5 %, "
            f"always naming the most frequent actor {percent(most / len(true))}.",
            table(["classifier", *heads[1:], "from the acted style alone"], rows),
            "## Is it spoken?",
            f"Every voice says the {SENTENCES} shortest sentences in every named style through every model with it "
            f"({len(every)} utterances), through Griffin-Lim; F0 (DIO) and rate are measured on that audio, and the "
            f"same on the recordings. In {silent} utterances fewer than {FEWEST_VOICED} frames had an F0; they count "
            f"for the rate only. The recordings are all sentences of the actor in that style. Over {len(names)} "
            "speakers and 4 styles:",
            table(measured, correlations(recordings, speech)),
            "Means over the speakers; F0 mean in semitones above 100 Hz, range from the 5th to the 95th percentile in "
            "semitones, rate in tokens a second from the first loud sample to the last:",
            table(["", *(f"{m}, {w}" for m in MEASURES for w in ("recorded", "spoken"))], by_style(recordings, speech)),
            "What was tried before: the reference encoder alone, without a FastPitch, on these same four folds, in "
            "three settings (none, 20 % and 30 % of the references centred on themselves, without and with being "
            "told so; 48 and 64 channels); and a FastPitch of 400 steps without the first two actors, which had "
            "learned too little (52 %), so that 1000 steps were taken. The shipped setting was chosen after those, "
            "so the accuracy is not free of that choice.",
            describe(),
        ],
    )


def percent(share: Any) -> str:
    """``0.123`` -> ``12.3 %``."""
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
