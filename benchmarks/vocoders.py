"""Copy synthesis (recording -> mel -> audio) by Griffin-Lim and by trained vocoders, on a corpus's held-out utterances.

    python benchmarks/vocoders.py --corpus DIR [--models A/model.nemo B/model.nemo] [--threads 1]

Writes benchmarks/vocoders.md. Mel L1 is in natural-log units; pitch is compared where both readings are voiced (WORLD's
harvest, 65-600 Hz); the speed is the best of three passes over all utterances.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import describe, table, write

from nemo_ext import _nemo
from nemo_ext.audio.io import read
from nemo_ext.audio.mel import log_mel
from nemo_ext.corpus.manifest import load_corpus
from nemo_ext.evaluation.mcd import VARIANT, mcd
from nemo_ext.losses.spectral import full_band, mel_l1
from nemo_ext.models.vocoder.griffin_lim import GriffinLim
from nemo_ext.types import MelSpec


def pitch_of(audio: torch.Tensor, rate: int, hop: int) -> np.ndarray:
    """F0 in Hz of ``audio (T_audio,)``, 0 where unvoiced."""
    import pyworld

    contour, _ = pyworld.harvest(audio.double().numpy(), rate, 65.0, 600.0, 1000.0 * hop / rate)
    return np.asarray(contour)


def measure(vocoder: Any, recordings: list[torch.Tensor]) -> dict[str, float]:
    """The figures of ``vocoder``, means over ``recordings``, each a whole number of frames long."""
    spec = vocoder.mel_spec
    mels = [log_mel(audio, spec)[None, :, :-1] for audio in recordings]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        made = [vocoder.decode(mel)[0] for mel in mels]
        seconds.append(time.perf_counter() - start)
    figures: dict[str, list[float]] = {k: [] for k in ("mel", "full", "mcd", "semitones", "voicing")}
    for audio, copy in zip(recordings, made, strict=True):
        figures["mel"].append(mel_l1(copy, audio, spec).item())
        figures["full"].append(mel_l1(copy, audio, full_band(spec)).item())
        figures["mcd"].append(mcd(audio.numpy(), copy.numpy()))
        theirs, ours = (pitch_of(wave, spec.sample_rate, spec.hop_length) for wave in (audio, copy))
        both = (theirs > 0) & (ours > 0)
        figures["semitones"].append(float(np.abs(12 * np.log2(ours[both] / theirs[both])).mean()))
        figures["voicing"].append(float(((theirs > 0) != (ours > 0)).mean()))
    speed = sum(map(len, recordings)) / spec.sample_rate / min(seconds)
    return {k: float(np.mean(v)) for k, v in figures.items()} | {"speed": speed}


def main() -> None:
    """Measure and write the page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--corpus", type=Path, required=True)
    options.add_argument("--models", type=Path, nargs="*", default=[])
    options.add_argument("--names", nargs="*", default=[], help="of the models, for the table")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--notes", nargs="*", default=[], help="paragraphs below the table")
    options.add_argument("--utterances", type=int, default=30)
    args = options.parse_args()
    _nemo.quiet()
    torch.set_num_threads(args.threads)
    models = [_nemo.restore(path) for path in args.models]
    spec = models[0].mel_spec if models else MelSpec()
    corpus = load_corpus(args.corpus)
    recordings = []
    for utterance in corpus.val[: args.utterances]:
        audio, _ = read(corpus.audio_path(utterance))
        recordings.append(torch.from_numpy(audio[0][: audio.shape[1] // spec.hop_length * spec.hop_length]))
    rows = []
    names = [*args.names, *(path.parent.name for path in args.models[len(args.names) :])]
    for name, vocoder in [("Griffin-Lim, 32 iterations", GriffinLim(spec)), *zip(names, models, strict=True)]:
        figures = measure(vocoder, recordings)
        size = sum(p.numel() for p in vocoder.parameters()) / 1e6
        shown = [f"{size:.2f}M", f"{figures['mel']:.3f}", f"{figures['full']:.3f}", f"{figures['mcd']:.2f}"]
        shown += [f"{figures['semitones']:.2f}", f"{100 * figures['voicing']:.0f} %", f"{figures['speed']:.0f}x"]
        rows.append([name, *shown])
        print(rows[-1], flush=True)
    head = [
        "vocoder",
        "parameters",
        "mel L1",
        "mel L1 to 11 kHz",
        "MCD dB",
        "pitch, semitones",
        "voicing differs",
        "speed",
    ]
    write(
        Path(__file__).with_suffix(".md"),
        "Vocoders: copy synthesis",
        f"python benchmarks/vocoders.py --corpus DIR --models ... --threads {args.threads}",
        [
            describe(),
            f"{len(recordings)} held-out utterances of the {corpus.info.get('recipe', 'given')} corpus, "
            f"{args.threads} thread(s). {VARIANT}. Mel L1 in natural-log units; pitch where both are voiced.",
            table(head, rows),
            *args.notes,
        ],
    )


if __name__ == "__main__":
    main()
