"""Segments for a vocoder from one set of recordings: stock NeMo's VocoderDataset, our torch loader, our DALI loader.

    python benchmarks/dali.py                       # writes benchmarks/dali.md
    python benchmarks/dali.py --gpu [--steps 400]   # how busy vocoder training keeps an NVIDIA GPU; prints

Needs real speech: NEMO_EXT_CORPORA with ljspeech_mini in it. Each number of cores is a process of its own that may use
no more; all sides take turns within it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

SEGMENT, BATCH = 32, 16  # mel frames; segments
ROUNDS, SECONDS = 5, 0.6  # each side's turns, and the least that one takes
NEEDED = 2.0  # times stock
STOCK, TORCH, DALI = "stock `VocoderDataset`", "nemo_ext, `loader=torch`", "nemo_ext, `loader=dali`"


def corpus_of(work: Path) -> Path:
    """A corpus of ljspeech_mini in ``work``."""
    from nemo_ext.corpus.build import build
    from nemo_ext.corpus.config import CorpusConfig

    if "NEMO_EXT_CORPORA" not in os.environ:
        raise SystemExit("set NEMO_EXT_CORPORA to a folder with ljspeech_mini in it")
    source = str(Path(os.environ["NEMO_EXT_CORPORA"]) / "ljspeech_mini")
    build(CorpusConfig(recipe="ljspeech", source=source, out=str(work / "lj"), language="en", processes=1))
    return work / "lj"


def stock_loaders(folder: Path, samples: int, workers: int) -> tuple[Any, Any]:
    """Stock's loader over at least ``samples`` segments, and its mel, which its model makes in the training step."""
    from nemo.collections.asr.modules import AudioToMelSpectrogramPreprocessor
    from nemo.collections.tts.data.vocoder_dataset import VocoderDataset
    from torch.utils.data import DataLoader

    from nemo_ext.corpus.manifest import load_corpus
    from nemo_ext.types import MelSpec

    spec, corpus = MelSpec(), load_corpus(folder)
    rows = [{"audio_filepath": u.audio_filepath, "duration": u.duration, "text": ""} for u in corpus.train]
    rows *= -(-samples // len(rows))  # it takes one segment of each row: an epoch as long as ours
    manifest = folder / "stock.json"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows[:samples]), encoding="utf-8")
    dataset = VocoderDataset(
        {"lj": {"manifest_path": str(manifest), "audio_dir": str(folder)}},
        spec.sample_rate,
        n_samples=SEGMENT * spec.hop_length,
    )
    kept: dict[str, Any] = {"persistent_workers": True, "prefetch_factor": 4} if workers else {}
    loader = DataLoader(dataset, BATCH, shuffle=True, collate_fn=dataset.collate_fn, num_workers=workers, **kept)
    preprocessor = AudioToMelSpectrogramPreprocessor(
        sample_rate=spec.sample_rate,
        features=spec.n_mels,
        n_fft=spec.n_fft,
        n_window_size=spec.win_length,
        n_window_stride=spec.hop_length,
        window_size=None,
        window_stride=None,
        lowfreq=spec.f_min,
        highfreq=spec.f_max,
        mag_power=spec.mag_power,
        log_zero_guard_value=spec.log_guard,
        normalize=None,
        preemph=None,
        dither=0.0,
        pad_to=0,
    )
    return loader, preprocessor


def our_loaders(folder: Path, threads: int) -> dict[str, Iterable[Any]]:
    """The four loaders of ours: both kinds, with mels and without."""
    import numpy as np

    from nemo_ext.corpus.manifest import load_corpus
    from nemo_ext.data import dali
    from nemo_ext.data.dali_graph import Graph
    from nemo_ext.data.features import FeatureStore
    from nemo_ext.data.loaders import vocoder_loaders
    from nemo_ext.types import MelSpec

    class AudioAlone(Graph):
        """No spectra."""

        def _magnitude(self, heard: Any) -> Any:
            return heard

        def _mel(self, linear: Any) -> Any:
            return linear

        def log_mel(self, mel: Any) -> Any:
            return mel

    corpus, spec, store = load_corpus(folder), MelSpec(), FeatureStore(folder)
    cached, _ = vocoder_loaders(corpus, store, SEGMENT, BATCH)
    bare, _ = vocoder_loaders(corpus, store, SEGMENT, BATCH)
    silence: Any = type("", (), {"mel": np.zeros((spec.n_mels, 1), np.float32)})
    bare.dataset.store = FeatureStore(folder)
    bare.dataset.store.load = lambda _: silence
    with_mel, _ = dali.dali_vocoder_loaders(corpus, spec, SEGMENT, BATCH, threads)
    without, _ = dali.dali_vocoder_loaders(corpus, spec, SEGMENT, BATCH, threads)
    without._graph = AudioAlone(spec, SEGMENT, threads=threads)
    return {"torch mel": cached, "torch": bare, "dali mel": with_mel, "dali": without}


Turn = Callable[[], tuple[int, float, float]]


def epochs(loader: Iterable[Any], then: Callable[[Any], Any] | None = None, threads: int = 1) -> Turn:
    """A turn: whole epochs until SECONDS are over; gives samples, seconds, and seconds of processor time."""

    def turn() -> tuple[int, float, float]:
        import torch

        torch.set_num_threads(threads)
        samples, start, began = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - start < SECONDS:
            for batch in loader:
                if then is not None:
                    then(batch)
                samples += len(batch["audio"] if isinstance(batch, dict) else batch.audio)
        return samples, time.perf_counter() - start, time.process_time() - began

    return turn


def measure(folder: Path, cores: int) -> dict[str, Any]:
    """Samples a second of every side, on as many cores as this process may use."""
    from nemo_ext import _nemo

    _nemo.quiet()
    ours = our_loaders(folder, cores)
    segments = len(ours["dali"].dataset)  # type: ignore[attr-defined]
    turns: dict[str, Turn] = {name: epochs(loader) for name, loader in ours.items()}
    for workers in range(cores + 1) if cores > 1 else (0,):
        loader, preprocessor = stock_loaders(folder, segments, workers)
        mel = _mel_of(preprocessor)
        turns[f"stock, {workers} workers"] = epochs(loader)
        threads = max(1, cores - workers)
        turns[f"stock mel, {workers} workers, {threads} threads"] = epochs(loader, mel, threads)
    rates: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(ROUNDS + 1):
        for name, turn in turns.items():
            samples, seconds, processor = turn()
            if number:  # the first warms up
                rates[name].append(samples / (processor if cores == 1 else seconds))
    return {"segments": segments, "rates": rates, "load": os.getloadavg()[0]}


def _mel_of(preprocessor: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda batch: preprocessor(input_signal=batch["audio"], length=batch["audio_lens"])


def rows_of(measured: dict[str, Any], cores: int) -> tuple[list[list[str]], list[float]]:
    """The table's rows for one number of cores, and DALI's ratios with and without mels."""
    rates = {name: statistics.median(values) for name, values in measured["rates"].items()}
    rows, ratios = [], []
    for what, name in (("segment and mel", " mel"), ("segment alone", "")):
        forms = {k: v for k, v in rates.items() if k.startswith(f"stock{name},")}
        best = max(forms, key=lambda k: forms[k])
        ratios.append(rates[f"dali{name}"] / forms[best])
        stock = f"{forms[best]:,.0f}" + (f" ({best.partition(', ')[2]})" if cores > 1 else "")
        shown = [f"{rates[f'torch{name}']:,.0f}", f"{rates[f'dali{name}']:,.0f}", f"**{ratios[-1]:.1f}**"]
        clock = "samples/s of processor time" if cores == 1 else "samples/s"
        rows.append([str(cores), what, clock, stock, *shown, "met" if ratios[-1] >= NEEDED else "missed"])
    return rows, ratios


def busy(folder: Path, work: Path, steps: int) -> None:
    """Train HiFi-GAN V1 from DALI on the GPU, and print how busy nvidia-smi finds it, warming up left out."""
    from nemo_ext.config import compose
    from nemo_ext.training.run import train

    line = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", "0", "-lms", "200"]
    options = ["model=hifigan", "size=full", "trainer=gpu", "loader=dali", "trainer.workers=4", f"corpus={folder}"]
    options += [f"out={work / 'run'}", f"trainer.max_steps={steps}", f"trainer.val_every={steps}"]
    with (work / "busy.txt").open("w") as log, subprocess.Popen(line, stdout=log) as watch:
        train(compose("train", [*options, "trainer.measure_seconds=0", "logger.tensorboard=false"]))
        watch.terminate()
    seen = [int(text) for text in (work / "busy.txt").read_text().split()]
    counted = seen[len(seen) // 3 : -len(seen) // 10]
    print(f"GPU busy {statistics.mean(counted):.0f} % on average over {len(counted) / 5:.0f} s of vocoder training")


def report(measured: dict[int, dict[str, Any]], prepared: float) -> None:
    """Write the page."""
    from importlib.metadata import version

    from hardware import describe, table, write

    rows, ratios = [], []
    for cores, found in measured.items():
        more, with_and_without = rows_of(found, cores)
        rows += more
        ratios.append(with_and_without[0])
    load = max(found["load"] for found in measured.values())
    write(
        Path(__file__).with_suffix(".md"),
        "Vocoder batches by NVIDIA DALI",
        "NEMO_EXT_CORPORA=... python benchmarks/dali.py",
        [
            f"Segments of {SEGMENT} mel frames ({SEGMENT * 256} samples) in batches of {BATCH}, drawn at random from "
            f"the same 16-bit WAV files, those of a corpus made of ljspeech_mini; {measured[1]['segments']} segments "
            f"an epoch. Whole epochs in turn, median of {ROUNDS} turns of {SECONDS:g} s or more. Each number of cores "
            "is a process that may use no more of them; on one core processor time is counted, for which it matters "
            "less what else the machine does.",
            table(["cores", "a sample", "", STOCK, TORCH, DALI, "DALI / stock", f"{NEEDED:g} times"], rows),
            f"**With mels, DALI gives {min(ratios):.1f} to {max(ratios):.1f} times as many samples/s as stock NeMo.**",
            "- Stock's dataset gives the segment; its model makes the mel inside the training step, with "
            "`AudioToMelSpectrogramPreprocessor`, which is what is timed here behind its loader. On two cores stock is "
            "given whichever number of loader processes is best for it, and torch the other core. Its manifest names "
            "each file often enough for an epoch as long as ours.\n"
            "- `loader=torch` reads mels that were made ahead (for these recordings, with pitch and energy, in "
            f"{prepared:.1f} s) and loads in the training process. Its second row leaves the mels out.\n"
            "- `loader=dali` needs nothing made ahead: it decodes a piece of the file, cuts, and computes the mel, "
            "with as many threads as cores. Most of its time is the Fourier transform: its second row goes without.",
            "On a GPU: not measured. `python benchmarks/dali.py --gpu` trains HiFi-GAN V1 from DALI's batches on the "
            "first NVIDIA GPU and prints how busy nvidia-smi finds it.",
            f"{describe().removesuffix('.')}; nvidia-dali {version('nvidia-dali-cuda130')}; load average of the "
            f"machine while it measured: {load:.1f}.",
        ],
    )


def main() -> None:
    """Measure all sides on one core and on two, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--steps", type=int, default=400, help="of the training on the GPU")
    parser.add_argument("--cores", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.cores:
        print(json.dumps(measure(chosen.corpus, chosen.cores)))
        return
    with tempfile.TemporaryDirectory() as folder:
        corpus_dir = corpus_of(Path(folder))
        if chosen.gpu:
            busy(corpus_dir, Path(folder), chosen.steps)
            return
        from nemo_ext.corpus.manifest import load_corpus
        from nemo_ext.data.features import FeatureStore
        from nemo_ext.data.prepare import prepare

        start = time.perf_counter()
        prepare(load_corpus(corpus_dir).utterances, FeatureStore(corpus_dir))
        prepared, measured = time.perf_counter() - start, {}
        available = sorted(os.sched_getaffinity(0))
        for cores in (1, 2)[: len(available)]:
            print(f"{cores} cores", file=sys.stderr, flush=True)
            line = [sys.executable, __file__, "--cores", str(cores), "--corpus", str(corpus_dir)]
            environment = {**os.environ, "OMP_NUM_THREADS": str(cores)}
            os.sched_setaffinity(0, available[-cores:])
            run = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True, env=environment)
            os.sched_setaffinity(0, available)
            measured[cores] = json.loads(run.stdout.splitlines()[-1])
    report(measured, prepared)


if __name__ == "__main__":
    main()
