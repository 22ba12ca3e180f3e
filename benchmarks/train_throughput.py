"""Our FastPitch training against stock NeMo's, end to end: loader, forward, backward, clipping, optimizer; one run.

    python benchmarks/train_throughput.py [--size full] [--threads 2] [--steps 8]
    python benchmarks/train_throughput.py --device cuda --frames 30000 --steps 30

Both sides train the same weights on the same utterances in the same batches, taken in turn, with warm caches. Writes
benchmarks/train_throughput.md. Needs real speech: NEMO_EXT_CORPORA with ljspeech_mini in it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import stock
import torch
from data_pipeline import SPEECH_RANGE, Material, material, stock_dataset
from hardware import describe, table, write
from torch.utils.data import DataLoader

from nemo_ext import _nemo
from nemo_ext.data.collate import collate_acoustic
from nemo_ext.data.dataset import AcousticDataset
from nemo_ext.data.features import FeatureConfig, FeatureStore
from nemo_ext.data.prepare import base_voices
from nemo_ext.data.sampler import FrameBudgetSampler
from nemo_ext.modules import monotonic
from nemo_ext.training.flops import peak_flops, step_flops, utilisation
from nemo_ext.training.fused import fuse
from nemo_ext.types import MelSpec

NEEDED = {"cpu": 1.3, "cuda": 2.0}  # times stock
PUBLISHED = (
    101_730  # mel frames/s of DeepLearningExamples' FastPitch 1.1 on one A100 in mixed precision: its own figure
)
PARTS = ("loader", "forward", "backward", "optimizer")
STOCK, OURS = "stock NeMo 3.0.0", "nemo_ext"
GPU_COMMAND = "python benchmarks/train_throughput.py --device cuda --frames 30000 --steps 30"


@dataclass
class Side:
    """One of the two that are compared."""

    model: Any
    batches: Iterator[Any]
    loss: Callable[[Any], Any]
    optimizer: torch.optim.Optimizer
    steps: list[dict[str, float]] = field(default_factory=list)  # seconds of each part of each step
    core_seconds: list[float] = field(default_factory=list)  # of the process, all threads together


def step(side: Side, device: str, precision: str) -> None:
    """One training step, each part timed."""
    marks, core = [_now(device)], time.process_time()
    batch = next(side.batches)
    batch = batch.to(device) if hasattr(batch, "to") else tuple(t.to(device) for t in batch)
    marks.append(_now(device))
    mixed = torch.autocast(device, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
    with mixed:
        loss = side.loss(batch)
    marks.append(_now(device))
    loss.backward()
    marks.append(_now(device))
    torch.nn.utils.clip_grad_norm_(side.model.parameters(), 1000.0)
    side.optimizer.step()
    side.optimizer.zero_grad()
    marks.append(_now(device))
    side.core_seconds.append(time.process_time() - core)
    side.steps.append({name: b - a for name, a, b in zip(PARTS, marks[:-1], marks[1:], strict=True)})


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def two_sides(of: Material, work: Path, size: str, batches: list[list[int]], device: str) -> dict[str, Side]:
    """Stock NeMo with its own dataset and collate, and ours with the same weights; one epoch of both to warm caches."""
    torch.manual_seed(0)
    theirs = stock.fastpitch(size)
    theirs.save_to(str(work / "stock.nemo"))
    ours = _nemo.restore(work / "stock.nemo")
    store = FeatureStore(of.corpus_dir, FeatureConfig(MelSpec()), work / "ours")
    voices = base_voices(of.utterances, store)
    normalize = {"pitch_norm": True, "pitch_mean": voices[0].pitch_mean, "pitch_std": voices[0].pitch_std}
    kinds = ["align_prior_matrix", "pitch", "energy"]
    their_data = stock_dataset(of, work / "stock", kinds, SPEECH_RANGE, **normalize)
    our_data = AcousticDataset(of.utterances, of.tokens, store, voices)
    our_collate = functools.partial(collate_acoustic, pad=ours.frontend.pad)
    order = [{"batch_sampler": batches}, {"collate_fn": their_data._collate_fn}, {"collate_fn": our_collate}]
    loaders: Any = (DataLoader(their_data, **order[0], **order[1]), DataLoader(our_data, **order[0], **order[2]))
    theirs._train_dl = SimpleNamespace(dataset=their_data)  # its step asks which features a batch has
    theirs.log = lambda *_, **__: None  # neither is run by a trainer, which logging needs
    losses = (lambda batch: theirs.training_step(batch, 0), lambda batch: sum(ours.weighed(batch, 0)[0].values()))
    sides = {}
    for name, model, loader, loss in zip((STOCK, OURS), (theirs, ours), loaders, losses, strict=True):
        for _ in loader:
            pass
        model.to(device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        if name == OURS:
            fuse(optimizer)  # as trainer.fused does
        sides[name] = Side(model, _forever(loader), loss, optimizer)
    return sides


def _forever(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def orders(of: Material, frames: int, size: int) -> dict[str, list[list[int]]]:
    """Batches as our sampler makes them (hardly any padding), and drawn at random, as stock's shuffle does."""
    lengths = [MelSpec().frames(round(utterance.duration * MelSpec().sample_rate)) for utterance in of.utterances]
    ours = FrameBudgetSampler(lengths, frames, seed=0, rank=0, world_size=1)
    mixed = np.random.default_rng(0).permutation(len(lengths)).tolist()
    return {
        "by length": [batch for batch in ours if len(batch) > 1],
        "at random": [mixed[i : i + size] for i in range(0, len(mixed) - size + 1, size)],
    }


def frames_of(of: Material, batches: list[list[int]]) -> tuple[list[int], float]:
    """Frames of each batch without its padding, and the padding's share."""
    lengths = [MelSpec().frames(round(utterance.duration * MelSpec().sample_rate)) for utterance in of.utterances]
    spoken = [sum(lengths[i] for i in batch) for batch in batches]
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    return spoken, 1.0 - sum(spoken) / padded


@dataclass
class Results:
    """Rows of the tables."""

    speed: list[list[str]] = field(default_factory=list)
    parts: list[list[str]] = field(default_factory=list)
    ratios: dict[str, list[float]] = field(default_factory=lambda: {"fp32": [], "bf16": []})


def measure(sides: dict[str, Side], counts: list[int], label: list[str], chosen: Any, results: Results) -> None:
    """Steps of both in turn, and the rows that tell of them."""
    precision = label[-1]
    for _ in range(chosen.warm_up + chosen.steps):
        for side in sides.values():
            step(side, chosen.device, precision)
    used = [counts[i % len(counts)] for i in range(chosen.warm_up, chosen.warm_up + chosen.steps)]
    seconds, core, medians = {}, {}, {}
    for name, side in sides.items():
        steps = side.steps[chosen.warm_up :]
        seconds[name] = [sum(parts.values()) for parts in steps]
        core[name] = sum(side.core_seconds[chosen.warm_up :])
        rates = [n / s for n, s in zip(used, seconds[name], strict=True)]
        medians[name] = statistics.median(rates)
        share = _utilisation(side, chosen, precision, seconds[name]) if name == OURS else "-"
        shown = [f"{medians[name]:,.0f}", f"{min(rates):,.0f} to {max(rates):,.0f}", f"{sum(used) / core[name]:,.0f}"]
        results.speed.append([*label, name, *shown, share])
        means = [statistics.median(parts[part] for parts in steps) for part in PARTS]
        results.parts.append([*label, name, *(f"{1000 * value:,.0f}" for value in means)])
    ratios = [a / b for a, b in zip(seconds[STOCK], seconds[OURS], strict=True)]
    ratio, of_cores = statistics.median(ratios), core[STOCK] / core[OURS]
    results.ratios[precision].append(ratio)
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    results.speed.append([*label, "ratio", f"**{ratio:.2f}**", spread, f"{of_cores:.2f}", ""])


def _utilisation(side: Side, chosen: Any, precision: str, seconds: list[float]) -> str:
    """Of one batch in bf16 on a GPU whose peak is known."""
    peak = peak_flops(chosen.device) if precision == "bf16" else None
    if peak is None:
        return "-"
    batch = next(side.batches).to(chosen.device)
    share = utilisation(step_flops(side.model, batch), statistics.median(seconds), peak)
    return "-" if share is None else f"{100 * share:.1f} %"


def searches(device: str, real: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> list[list[str]]:
    """Milliseconds of the monotonic search by every route that runs here, on scores of a real batch."""
    routes: dict[str, tuple[str, Callable[..., Any]]] = {"numba, CPU (the reference)": ("cpu", monotonic.search)}
    routes["torch, CPU"] = ("cpu", monotonic.search_torch)
    if device == "cuda":
        routes["numba, from and to the GPU"] = (
            "cuda",
            lambda *given: monotonic.search(*(t.cpu() for t in given)).cuda(),
        )
        routes["torch, GPU"] = ("cuda", monotonic.search_torch)
        routes["Triton, GPU"] = ("cuda", monotonic.search_triton)
    reference, rows = monotonic.search(*real), []
    for name, (where, search) in routes.items():
        given = [tensor.to(where) for tensor in real]
        taken = []
        for _ in range(6):
            began = _now(device)
            path = search(*given)
            taken.append(1000 * (_now(device) - began))
        assert torch.equal(path.cpu(), reference), name
        rows.append([name, f"{statistics.median(taken[1:]):.1f}", f"{min(taken[1:]):.1f} to {max(taken[1:]):.1f}"])
    if device != "cuda":
        rows += [[name, "not measured", ""] for name in ("numba, from and to a GPU", "torch, GPU", "Triton, GPU")]
    return rows


def scores_of(side: Side, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The model's own log attention on one of its batches, on the CPU."""
    batch = next(side.batches).to(device)
    with torch.no_grad():
        _, _, alignment = side.model.learn(batch)
    return torch.log(alignment.attention).float().cpu(), batch.token_lens.cpu(), batch.mel_lens.cpu()


def main() -> None:
    """Measure both and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=stock.SIZES, default="full")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument(
        "--bf16-steps", type=int, default=None, help="as --steps unless given: few processors have bf16"
    )
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--frames", type=int, default=2500, help="budget of padded frames of a batch")
    parser.add_argument("--device", choices=NEEDED, default="cpu")
    chosen = parser.parse_args()
    corpora = os.environ.get("NEMO_EXT_CORPORA")
    if not corpora:
        raise SystemExit("set NEMO_EXT_CORPORA to the folder with ljspeech_mini")
    torch.set_num_threads(chosen.threads)
    _nemo.quiet()
    results, paddings, command = (
        Results(),
        [],
        f"--size {chosen.size} --threads {chosen.threads} --steps {chosen.steps}",
    )
    command += f" --frames {chosen.frames} --device {chosen.device}"
    with tempfile.TemporaryDirectory() as folder:
        of = material("ljspeech_mini", Path(corpora), 1000, Path(folder))
        for name, batches in orders(of, chosen.frames, max(2, chosen.frames // 640)).items():
            counts, padding = frames_of(of, batches)
            paddings.append(f"{name} {100 * padding:.0f} %")
            for precision in ("fp32", "bf16") if chosen.bf16_steps != 0 else ("fp32",):
                few = argparse.Namespace(**vars(chosen))
                if precision == "bf16" and chosen.bf16_steps:
                    few.steps, few.warm_up = chosen.bf16_steps, 1
                print(f"batches {name}, {precision}", flush=True)
                sides = two_sides(of, Path(folder), chosen.size, batches, chosen.device)
                measure(sides, counts, [name, precision], few, results)
        real = scores_of(sides[OURS], chosen.device)
        found = searches(chosen.device, real)
        millions = sum(p.numel() for p in sides[OURS].model.parameters()) / 1e6
    judged = "fp32" if chosen.device == "cpu" else "bf16"
    needed, reached = NEEDED[chosen.device], min(results.ratios[judged])
    verdict = "met" if reached >= needed else "missed"
    gpu = (
        f"Not measured here: a GPU. `{GPU_COMMAND}` measures it: wanted are {NEEDED['cuda']:.0f} times stock in bf16. "
    )
    gpu = "" if chosen.device == "cuda" else gpu
    write(
        Path(__file__).with_suffix(".md"),
        "Training throughput",
        f"NEMO_EXT_CORPORA=... python benchmarks/train_throughput.py {command}",
        [
            f"FastPitch `{chosen.size}`, {millions:.1f}M parameters, the same weights on both sides; the same "
            f"utterances of LJSpeech in the same batches of {chosen.frames} frames (padding {', '.join(paddings)}), "
            "a step of stock and one of ours in turn. End to end: stock's `TTSDataset` and collate or our loader, both "
            "from warm caches and without worker processes; forward, backward, norm clipping, AdamW. "
            f"{chosen.threads} threads; medians of {chosen.steps} steps after {chosen.warm_up}. Frames are mel frames "
            "without padding; per core second means per second of processor time, which a busy machine disturbs less.",
            f"At least **{reached:.2f} times stock's speed** end to end in {judged} (needed: {needed}; {verdict}).",
            table(["batches", "precision", "side", "frames/s", "range", "frames/core s", "utilisation"], results.speed),
            "## Where a step's time goes\n\nMilliseconds, medians.",
            table(["batches", "precision", "side", *PARTS], results.parts),
            "## Monotonic alignment search\n\nMilliseconds for the attention of a batch of "
            f"{len(real[1])} utterances, {real[0].shape[1]} frames and {real[0].shape[2]} tokens; every route finds "
            "the same path.",
            table(["route", "ms", "range"], found),
            f"{gpu}DeepLearningExamples publishes {PUBLISHED:,} frames/s for its FastPitch on one A100 in mixed "
            "precision: its figure, not ours.",
            describe(),
        ],
    )


if __name__ == "__main__":
    main()
