"""FastPitch on real speech and a CPU: how close it comes, how fast, how well it aligns.

    python benchmarks/real_speech.py [--steps 1400]

LJSpeech (one voice), VCTK (four voices in one model) and Kerstin (German, all 600 utterances). Writes
benchmarks/real_speech.md and the curves beside it. Needs NEMO_EXT_CORPORA.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from hardware import describe, table, write

from nemo_ext import _nemo
from nemo_ext.config import compose
from nemo_ext.corpus.build import build
from nemo_ext.corpus.manifest import Corpus, load_corpus
from nemo_ext.data.features import FeatureStore
from nemo_ext.data.loaders import acoustic_loaders
from nemo_ext.data.prepare import prepare
from nemo_ext.evaluation.alignment import focus
from nemo_ext.modules.alignment import mask_from_lens
from nemo_ext.training.pictures import read_metrics
from nemo_ext.training.run import train

SETS = {  # folder: (recipe, language, share of the steps)
    "ljspeech_mini": ("ljspeech", "en", 1.0),
    "vctk_mini": ("vctk", "en", 0.2),
    "kerstin_de": ("ljspeech", "de", 0.1),
}
# Few recordings: small batches for many steps, and the attention sharpened early.
RECIPE = [
    "frames_per_batch=2000",
    "model.optim.lr=2e-3",
    "model.losses.bin_from_step=200",
    "model.losses.bin_warmup_steps=400",
]


@torch.no_grad()
def measured(model_path: Path, corpus: Corpus, limit: int = 60) -> tuple[float, float]:
    """Mel L1 with the model's own durations and the true pitch, and the attention's focus, on training utterances."""
    model = _nemo.restore(model_path)
    store = FeatureStore(corpus.dir)
    part = Corpus(corpus.dir, corpus.train[:limit], corpus.val, corpus.info)
    prepare(part.utterances, store)
    loader, _ = acoustic_loaders(part, model.frontend, model.voices, store, frames_per_batch=4000)
    error = frames = 0.0
    focused = []
    for batch in loader:
        _, mel, alignment = model.learn(batch)
        valid = mask_from_lens(batch.mel_lens, batch.mel.shape[2])[:, None]
        error += float(((mel - batch.mel).abs() * valid).sum()) / mel.shape[1]
        frames += float(valid.sum())
        for b, (t, n) in enumerate(zip(batch.token_lens.tolist(), batch.mel_lens.tolist(), strict=True)):
            focused.append(focus(alignment.attention[b, :n, :t].numpy(), alignment.path[b, :n].numpy()))
    return error / frames, float(np.mean(focused))


def report(chosen: argparse.Namespace, rows: list[list[str]]) -> None:
    """Write the page; after every set, so that a run that is cut short leaves what it has."""
    head = ["set", "utterances", "voices", "steps", "minutes", "mel L1, training", "mel L1, validation", "focus"]
    pictures = "\n".join(f"![losses on {name}](real_speech_{name}.png)" for name, *_ in rows)
    write(
        Path(__file__).with_suffix(".md"),
        "FastPitch on real speech",
        f"python benchmarks/real_speech.py --steps {chosen.steps} --threads {chosen.threads}",
        [
            f"FastPitch, size={chosen.size}, {' '.join(RECIPE)}.",
            "Mel L1: mean absolute error of the log-mel (natural log, 80 bands), with "
            "the durations that the model's own alignment finds and the true pitch and energy; over the training "
            "utterances (the first 60) and over the validation ones. Focus: share of the soft attention within 3 "
            "frames of the chosen path. Minutes: wall clock of the whole training job, features included.",
            table(head, rows),
            pictures,
            describe(),
        ],
    )


def main() -> None:
    """Train on each set and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--steps", type=int, default=1400, help="of training on LJSpeech; the others get 0.2 and 0.1 of it"
    )
    parser.add_argument("--size", default="small")
    parser.add_argument("--threads", type=int, default=0, help="0: one a core")
    chosen = parser.parse_args()
    if "NEMO_EXT_CORPORA" not in os.environ:
        raise SystemExit("set NEMO_EXT_CORPORA to a folder with ljspeech_mini, vctk_mini and kerstin_de in it")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (recipe, language, share) in SETS.items():
            source, work = Path(os.environ["NEMO_EXT_CORPORA"]) / name, Path(folder) / name
            build(
                compose(
                    "corpus", [f"recipe={recipe}", f"source={source}", f"out={work}/corpus", f"language={language}"]
                )
            )
            corpus = load_corpus(work / "corpus")
            started = time.monotonic()
            options = ["model=fastpitch", f"size={chosen.size}", f"corpus={work}/corpus", f"out={work}/run"]
            options += [f"trainer.max_steps={round(share * chosen.steps)}", "trainer.val_every=80"]
            options += [f"trainer.threads={chosen.threads}", *RECIPE]
            path = train(compose("train", options))
            wall = (time.monotonic() - started) / 60
            error, focused = measured(path, corpus)
            losses = read_metrics(work / "run" / "metrics.jsonl")
            rows.append(
                [
                    name,
                    str(len(corpus.utterances)),
                    str(len(corpus.info["voices"])),
                    str(losses["train/loss"][0][-1]),
                    f"{wall:.1f}",
                    f"{error:.3f}",
                    f"{losses['val/mel'][1][-1]:.3f}",
                    f"{100 * focused:.1f} %",
                ]
            )
            picture = Path(__file__).with_name(f"real_speech_{name}.png")
            shutil.copyfile(work / "run" / "curves.png", picture)
            report(chosen, rows)


if __name__ == "__main__":
    main()
