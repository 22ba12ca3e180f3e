"""A bundle's speed against stock NeMo's eager models with the same weights: one run, equal threads, one sentence.

    python benchmarks/inference.py [--acoustic A.nemo --vocoder B.nemo] [--threads 2] [--rounds 5]
                                   [--backends onnxruntime openvino]

FastPitch and HiFi-GAN V1 at full size: yours, or fresh ones, for speed does not depend on what the weights are; how far
bf16 is from float32 does. Wants the extras onnx and openvino. Give `--backends cuda tensorrt` on a machine with an
NVIDIA GPU.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import hardware
import numpy as np
import torch
import untrained

from nemo_ext import _nemo, voices
from nemo_ext.errors import NemoExtError
from nemo_ext.export import parity
from nemo_ext.export import run as exporting
from nemo_ext.runtime.openvino import has_bf16
from nemo_ext.synthesis.bundled import BF16_DB, BundleSide, open_bundle
from nemo_ext.synthesis.prosody import NEUTRAL
from nemo_ext.types import MelSpec

SENTENCE = "The boats came home late in the evening, and nobody on the shore was waiting for them."
SECONDS = 5.0
Parts = tuple[Callable[[], Any], Callable[[], Any], Callable[[], Any]]  # acoustic, vocoder, both


def models(trained: list[Path]) -> tuple[Any, Any, Any]:
    """FastPitch and HiFi-GAN, and the sentence's tokens; fresh ones speak it in five seconds."""
    if trained:
        acoustic, vocoder = (_nemo.restore(path).eval() for path in trained)
        return acoustic, vocoder, acoustic.frontend.encode(SENTENCE)
    torch.manual_seed(0)
    acoustic, vocoder = untrained.acoustic("full"), untrained.hifigan("full")
    tokens = acoustic.frontend.encode(SENTENCE)
    spec = acoustic.mel_spec
    untrained.fix_durations(acoustic, round(SECONDS * spec.sample_rate / spec.hop_length / len(tokens.ids)))
    return acoustic, vocoder, tokens


def stock(acoustic: Any, vocoder: Any, tokens: Any) -> tuple[Parts, np.ndarray, np.ndarray]:
    """What stock NeMo runs for a sentence, with weight norm as it keeps it; its mel and its audio."""
    ids, speaker = torch.from_numpy(tokens.ids)[None], torch.zeros(1, dtype=torch.long)
    pitch = torch.zeros(ids.shape)  # what is added to the predicted one

    @torch.inference_mode()
    def speak() -> torch.Tensor:
        return acoustic.fastpitch.infer(text=ids, pitch=pitch, speaker=speaker)[0]

    @torch.inference_mode()
    def decode(mel: torch.Tensor) -> torch.Tensor:
        return vocoder.generator(x=mel)

    mel = speak()
    return (speak, lambda: decode(mel), lambda: decode(speak())), mel[0].numpy(), decode(mel)[0, 0].numpy()


def autocast(parts: Parts) -> Parts:
    """The same calls with torch's own mixed precision in bfloat16, which stock NeMo can be run under as it is."""

    def under(part: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            with torch.autocast("cpu", torch.bfloat16):
                return part()

        return call

    return under(parts[0]), under(parts[1]), under(parts[2])


def bundled(folder: Path, backend: str, threads: int, precision: str, tokens: Any) -> tuple[Parts, Any]:
    """The same from the bundle."""
    acoustic, vocoder = open_bundle(folder, backend, threads, precision)
    side, voice = BundleSide(acoustic, vocoder), acoustic.base_voice(acoustic.voices[0].name)
    settings: Any = dict(NEUTRAL)
    feeds = side._feeds(tokens, voice, None, settings)
    said = side.speak(tokens, voice, None, settings)

    def both() -> Any:
        return side.speak(tokens, voice, None, settings)

    return (lambda: acoustic.session.run(feeds), lambda: vocoder.decode(said.mel), both), (side, said)


@torch.inference_mode()
def machine_rate(dtype: torch.dtype, size: int = 1536, channels: int = 256, kernel: int = 11) -> float:
    """GFLOP/s in torch of one product of matrices, or of one convolution where that is faster."""
    a, x = torch.randn(size, size, dtype=dtype), torch.randn(1, channels, 4096, dtype=dtype)
    weight = torch.randn(channels, channels, kernel, dtype=dtype)
    began = time.perf_counter()
    a @ a
    between = time.perf_counter()
    made = torch.conv1d(x, weight)
    ended = time.perf_counter()
    convolved = 2 * channels * kernel * made.numel() / (ended - between)
    return max(2 * size**3 / (between - began), convolved) / 1e9


def measure(rows: dict[str, Parts], rounds: int) -> tuple[dict[str, list[list[float]]], dict[str, float]]:
    """Seconds of each part in every round, the rows taking turns; and the machine's best rates in between."""
    dtypes = {"float32": torch.float32} | ({"bf16": torch.bfloat16} if has_bf16() else {})
    rates = dict.fromkeys(dtypes, 0.0)

    def look() -> None:
        for name, dtype in dtypes.items():
            rates[name] = max(rates[name], *(machine_rate(dtype) for _ in range(3)))

    taken: dict[str, list[list[float]]] = {name: [[], [], []] for name in rows}
    look()
    for i in range(rounds + 1):
        for name, parts in rows.items():
            for part, times in zip(parts, taken[name], strict=True):
                began = time.perf_counter()
                part()
                if i:  # the first round warms up
                    times.append(time.perf_counter() - began)
        look()
        print(f"round {i} of {rounds}: load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    return taken, rates


def operations(part: Callable[[], Any]) -> float:
    """GFLOP of one call in torch."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        part()
    return counter.get_total_flops() / 1e9


def main() -> None:
    """Measure, and write the page beside this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--acoustic", type=Path, help="a FastPitch (.nemo), together with --vocoder")
    parser.add_argument("--vocoder", type=Path, help="a HiFi-GAN (.nemo)")
    parser.add_argument("--notes", default="", help="a sentence on what these models are")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backends", nargs="+", default=["onnxruntime", "openvino"])
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    load_before = os.getloadavg()
    if (asked.acoustic is None) != (asked.vocoder is None):
        raise SystemExit("give --acoustic and --vocoder together, or neither")
    acoustic, vocoder, tokens = models([asked.acoustic, asked.vocoder] if asked.acoustic else [])
    parts, mel, audio = stock(acoustic, vocoder, tokens)
    rows: dict[str, Parts] = {"stock NeMo, eager fp32": parts}
    quality = {"stock NeMo, eager fp32": "the reference"}
    missing: list[str] = []
    if has_bf16():
        mixed = "stock NeMo, eager under torch.autocast(bfloat16)"
        rows[mixed] = autocast(parts)
        heard = rows[mixed][2]()[0, 0].float().numpy()  # its durations may differ, for its encoder rounds too
        quality[mixed] = f"{parity.decibels(audio, heard):.0f}" if heard.shape == audio.shape else "other durations"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "bundle"
        (folder / "voices").mkdir(parents=True)
        first = acoustic.voices[0].name
        voices.save(acoustic.base_voice(first), folder / f"voices/{first}.voice")
        bundle = exporting.describe(acoustic, folder)
        exporting.write_assets(acoustic, bundle)
        exporting.write_graphs(acoustic, vocoder, bundle, "fp32")
        bundle.vocoder_bf16_db = parity.bf16_decibels(vocoder, mel[None])
        bundle.write()
        for backend, precision in itertools.product(asked.backends, ("fp32", "auto")):
            if precision == "auto" and not (backend == "openvino" and has_bf16()):
                continue
            try:
                made, (side, said) = bundled(folder, backend, asked.threads, precision, tokens)
            except NemoExtError as error:
                missing.append(f"{backend}: not measured, {error}.")
                continue
            rows[side.backend] = made
            if said.mel.shape != mel.shape:
                raise SystemExit(f"{backend} speaks {said.mel.shape}, stock {mel.shape}: not the same durations")
            quality[side.backend] = f"{parity.decibels(audio, said.audio):.0f}"
        taken, rates = measure(rows, asked.rounds)
    work = operations(parts[0]), operations(parts[1])
    load_after = os.getloadavg()
    best = {name: [min(times) for times in each] for name, each in taken.items()}
    reference = best["stock NeMo, eager fp32"]
    table = []
    for name, each in best.items():
        cells = [f"{s:.3f} ({r / s:.2f}x)" for s, r in zip(each, reference, strict=True)]
        middle = statistics.median(taken[name][2])
        table.append([name, *cells, f"{middle:.3f}", quality[name], f"{work[1] / each[1]:.0f}"])
    told = " and ".join(f"{rate:.0f} in {name}" for name, rate in rates.items())
    ceiling = " and ".join(f"{rate * reference[1] / work[1]:.2f} in {name}" for name, rate in rates.items())
    stands = bundle.vocoder_bf16_db >= BF16_DB
    missing.append(
        f"bf16 is found by the export to leave {bundle.vocoder_bf16_db} dB of this vocoder's audio, so `say` "
        f"{'takes it' if stands else 'does not take it'} where the processor has it ({BF16_DB:g} dB are asked for)."
    )
    if not has_bf16():
        missing.append("OpenVINO bf16: not measured, this processor has neither AMX nor AVX-512 BF16.")
    if not torch.cuda.is_available():
        missing.append(
            "GPU (eager, CUDA graphs, ONNX Runtime CUDA, TensorRT): not measured, there is no NVIDIA GPU here; "
            "`python benchmarks/inference.py --backends cuda tensorrt` on a machine with one."
        )
    if load_before[0] > 0.3:
        missing.append(
            "The machine was shared with other work, as the load says: these seconds are no quiet machine's, and the "
            "ratios are rough."
        )
    loads = ", ".join(f"{one:.1f}" for one in (load_before[0], load_after[0]))
    hardware.write(
        Path(__file__).with_suffix(".md"),
        "Speaking from a bundle, against stock NeMo",
        f"python benchmarks/inference.py {'--acoustic A.nemo --vocoder B.nemo ' if asked.acoustic else ''}--threads "
        f"{asked.threads} --rounds {asked.rounds} --backends {' '.join(asked.backends)}",
        [
            f"Full-size FastPitch and HiFi-GAN V1 with the same weights in every row ({asked.notes or 'untrained'}); "
            f"{len(tokens.ids)} tokens, {mel.shape[1]} frames, {len(audio) / MelSpec().sample_rate:.1f} s of audio, "
            f"batch 1, {asked.threads} threads. Seconds, the fastest of {asked.rounds} rounds in which the rows took "
            "turns, and how many times as fast as stock. The median is of both together; dB is signal to difference of "
            "the audio from text.",
            hardware.table(["", "FastPitch", "HiFi-GAN V1", "both", "median", "dB", "HiFi-GAN GFLOP/s"], table),
            f"FastPitch is {work[0]:.1f} GFLOP and HiFi-GAN {work[1]:.0f}; the machine's own rate with {asked.threads} "
            f"threads is {told} GFLOP/s (matrices of 1,536 or 256 channels by a kernel of 11, whichever is faster; the "
            f"best between the rounds), at which HiFi-GAN would be as fast as stock's times {ceiling}. The load "
            f"average over a minute was {loads} before and after, this benchmark's own threads included afterwards.",
            "\n".join(f"- {line}" for line in missing),
            hardware.describe(),
        ],
    )


if __name__ == "__main__":
    main()
