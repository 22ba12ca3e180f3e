"""Does a vocoder get better at an acoustic model's mels by learning on them? On real speech and a CPU.

    python benchmarks/finetune.py [--work DIR]

FastPitch and HiFi-GAN, size=small, are trained on ljspeech_mini; then the vocoder goes on for as many steps twice: on
the mels that FastPitch predicts (`acoustic=`), and, for comparison, on recordings' mels. All three are judged on
utterances that no training has seen. Writes benchmarks/finetune.md. Needs NEMO_EXT_CORPORA; --work keeps the trainings,
so that a second call goes on with them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import describe, table, write

from nemo_ext import _nemo
from nemo_ext.audio.io import read_mono
from nemo_ext.config import compose
from nemo_ext.corpus.build import build
from nemo_ext.corpus.manifest import Corpus, load_corpus
from nemo_ext.data.features import FeatureStore
from nemo_ext.data.predicted import predict_mels
from nemo_ext.data.prepare import prepare
from nemo_ext.losses.spectral import full_band, mel_l1, multi_resolution_stft
from nemo_ext.training.run import train

HELD_OUT = 0.17  # of the corpus: six utterances
N_FFTS = [512, 1024, 2048]
# Minutes on a CPU core instead of days on a GPU: spectral losses first, toy discriminators at the end.
VOCODER = ["model=hifigan", "size=small", "model.batch_size=4", "model.losses.stft=15"]
VOCODER += ["model.small_discriminators=true", "model.optim.lr=1e-3"]
ACOUSTIC = ["model=fastpitch", "size=small", "frames_per_batch=2000", "model.optim.lr=2e-3"]
ACOUSTIC += ["model.losses.bin_from_step=200", "model.losses.bin_warmup_steps=400"]
TUNING = ["model.optim.lr=2e-4"]  # the later of two counts


def trained(out: Path, options: list[str], chosen: argparse.Namespace) -> tuple[Path, float]:
    """The model in ``out``, trained with ``options`` unless it is there, and the minutes that took now."""
    common = [f"corpus={out.parent}/corpus", f"out={out}", "logger.tensorboard=false", "trainer.measure_seconds=0"]
    common += [f"trainer.threads={chosen.threads}", "trainer.val_every=250", "trainer.checkpoint_every=250"]
    began = time.monotonic()
    path = train(compose("train", [*common, *options]))
    return path, (time.monotonic() - began) / 60


@torch.no_grad()
def judged(vocoder: Any, mels: list[np.ndarray], recordings: list[torch.Tensor]) -> list[float]:
    """Mel L1 in the model's band, up to half the sample rate, and multi-resolution STFT loss; means over utterances."""
    spec, figures = vocoder.mel_spec, []
    for mel, recording in zip(mels, recordings, strict=True):
        made = vocoder.decode(torch.from_numpy(mel)[None])[0]
        size = min(len(made), len(recording))
        made, real = made[None, :size], recording[None, :size]
        stft = multi_resolution_stft(made, real, spec, N_FFTS)
        figures.append([float(mel_l1(made, real, s)) for s in (spec, full_band(spec))] + [float(stft)])
    return [float(value) for value in np.mean(figures, axis=0)]


def main() -> None:
    """Train, measure, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder for the trainings, kept; otherwise a temporary one")
    parser.add_argument("--acoustic-steps", type=int, default=1000)
    parser.add_argument("--vocoder-steps", type=int, default=2100)
    parser.add_argument("--adversarial-from", type=int, default=1800, help="when discriminators set in")
    parser.add_argument("--tuning-steps", type=int, default=300, help="half of them to warm the discriminators up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--notes", nargs="*", default=[], help="paragraphs below the table")
    chosen = parser.parse_args()
    if "NEMO_EXT_CORPORA" not in os.environ:
        raise SystemExit("set NEMO_EXT_CORPORA to a folder with ljspeech_mini in it")
    with tempfile.TemporaryDirectory() as folder:
        measure(chosen.work or Path(folder), chosen)


def measure(work: Path, chosen: argparse.Namespace) -> None:
    """Everything, in ``work``."""
    if not (work / "corpus/train.jsonl").is_file():
        source = Path(os.environ["NEMO_EXT_CORPORA"]) / "ljspeech_mini"
        options = ["recipe=ljspeech", f"source={source}", f"out={work}/corpus", f"val_fraction={HELD_OUT}"]
        build(compose("corpus", options))
    steps = {"acoustic": chosen.acoustic_steps, "vocoder": chosen.vocoder_steps, "tuned": chosen.tuning_steps}
    acoustic, _ = trained(work / "acoustic", [*ACOUSTIC, f"trainer.max_steps={steps['acoustic']}"], chosen)
    late = f"model.adversarial_from_step={chosen.adversarial_from}"
    base, _ = trained(work / "vocoder", [*VOCODER, late, f"trainer.max_steps={steps['vocoder']}"], chosen)
    more = [*VOCODER, *TUNING, f"init={base}", f"trainer.max_steps={steps['tuned']}", "model.adversarial_from_step=0"]
    more += [f"model.discriminator_warmup={steps['tuned'] // 2}"]
    tuned, _ = trained(work / "tuned", [*more, f"acoustic={acoustic}"], chosen)
    control, _ = trained(work / "control", more, chosen)

    corpus = load_corpus(work / "corpus")
    store = FeatureStore(corpus.dir)
    held_out = Corpus(corpus.dir, [], corpus.val, corpus.info)
    prepare(held_out.utterances, store)
    made = predict_mels(held_out, _nemo.restore(acoustic), store)
    recordings = [torch.from_numpy(read_mono(corpus.audio_path(u))[0]).float() for u in corpus.val]
    mels = {
        "predicted": [made.load(u) for u in corpus.val],
        "recorded": [store.load(u).mel for u in corpus.val],
    }
    apart = np.mean([np.abs(p - r).mean() for p, r in zip(*mels.values(), strict=True)])
    rows = []
    for name, path in (
        ("before", base),
        (f"+ {steps['tuned']} steps on predicted mels", tuned),
        (f"+ {steps['tuned']} steps on recorded mels", control),
    ):
        vocoder = _nemo.restore(path)
        for which, given in mels.items():
            rows.append([name, which, *(f"{value:.3f}" for value in judged(vocoder, given, recordings))])
            print(rows[-1], flush=True)
    seconds = sum(len(audio) for audio in recordings) / store.config.mel.sample_rate
    counted = f"--acoustic-steps {steps['acoustic']} --vocoder-steps {steps['vocoder']} --tuning-steps {steps['tuned']}"
    counted += f" --adversarial-from {chosen.adversarial_from}"
    write(
        Path(__file__).with_suffix(".md"),
        "Fine-tuning a vocoder on predicted mels",
        f"python benchmarks/finetune.py {counted} --threads {chosen.threads}",
        [
            f"ljspeech_mini, {len(corpus.train)} utterances to train on, {len(corpus.val)} held out ({seconds:.0f} s). "
            f"FastPitch `size=small`, {steps['acoustic']} steps ({' '.join(ACOUSTIC[2:])}): its mels of the held-out "
            f"utterances, with the durations of its own alignment and the true pitch and energy, are {apart:.3f} (mean "
            f"absolute difference, natural log) from the recordings'. HiFi-GAN `size=small`, {steps['vocoder']} steps "
            f"({' '.join(VOCODER[2:])} {late}). Fine-tuning: fresh discriminators, {' '.join(more[-1:])} {TUNING[0]}.",
            "Audio made of the held-out utterances' mels against their recordings. Mel L1: in the model's band and up "
            "to half the sample rate, natural log. STFT: spectral convergence and log-magnitude L1, mean over windows "
            f"of {', '.join(map(str, N_FFTS))} samples. Means over utterances; lower is nearer.",
            table(["vocoder", "mels", "mel L1", "mel L1 to 11 kHz", "multi-resolution STFT"], rows),
            *chosen.notes,
            describe(),
        ],
    )


if __name__ == "__main__":
    main()
