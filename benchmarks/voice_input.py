"""What it costs that the voice is an input of the graph: against a graph with one voice baked in, and by how many.

    python benchmarks/voice_input.py [full|small|tiny] [--threads 2]

ONNX Runtime on the processor, the same untrained FastPitch: the open layout, which takes voice vectors; the same with
one voice as a constant, which the runtime folds; and Riva's layout, with tables of 10, 200 and 2,000 voices inside.
All of them speak the same tokens in as many frames; runs take turns, so that whatever else the machine does hits all.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import hardware
import numpy as np
import torch
import untrained

from nemo_ext.export import onnx
from nemo_ext.export.graphs import AcousticGraph, Outputs, RivaGraph
from nemo_ext.runtime.choose import open_session

TOKENS, FRAMES = 85, 430  # five seconds
COUNTS = (10, 200, 2000)
ROUNDS = 15
BAKED = "voice baked in"


class Baked(torch.nn.Module):
    """The open layout with one voice for ever: ``(1, P)``, a constant."""

    outputs = AcousticGraph.outputs
    voice: torch.Tensor

    def __init__(self, graph: AcousticGraph, voice: torch.Tensor) -> None:
        super().__init__()
        self.graph = graph
        self.inputs = tuple(name for name in graph.inputs if name != "voice")
        self.register_buffer("voice", voice)

    def forward(self, *given: torch.Tensor) -> Outputs:
        """As the open layout, without the voice."""
        named = dict(zip(self.inputs, given, strict=True)) | {"voice": self.voice}
        said: Outputs = self.graph(*(named[name] for name in self.graph.inputs))
        return said


def feeds(session: Any, batch: int, voices: np.ndarray) -> dict[str, np.ndarray]:
    """The same text for every graph."""
    one = np.ones((batch, TOKENS), np.float32)
    given = {
        "text": np.random.default_rng(0).integers(1, 20, (batch, TOKENS)),
        "pitch": 0.0 * one,
        **dict.fromkeys(("pitch_scale", "energy_scale", "pace", "volume"), one),
        "voice": voices[:batch],
        "speaker": np.arange(batch),
    }
    return {port.name: given[port.name] for port in session.inputs}


def measure(sessions: dict[str, Any], batch: int, voices: np.ndarray) -> dict[str, float]:
    """Median seconds of a run of each; they take turns."""
    given = {name: feeds(session, batch, voices) for name, session in sessions.items()}
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(ROUNDS + 2):
        for name, session in sessions.items():
            began = time.perf_counter()
            frames = session.run(given[name], ["spect", "num_frames"])["num_frames"]
            if turn > 1:
                taken[name].append(time.perf_counter() - began)
            assert (frames == FRAMES // TOKENS * TOKENS).all(), frames
    return {name: float(np.median(seconds)) for name, seconds in taken.items()}


def main() -> None:
    """Measure, and write the page beside this script."""
    parser = argparse.ArgumentParser()
    parser.add_argument("size", nargs="?", default="full")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = untrained.acoustic(args.size)
    untrained.fix_durations(model, FRAMES // TOKENS)
    size = model.voice_layout.size
    voices = (0.05 * np.random.default_rng(1).standard_normal((max(COUNTS), size), np.float32)).astype(np.float32)
    opened = AcousticGraph(model)
    with tempfile.TemporaryDirectory() as folder:
        embedding = model.voice_layout.slots[0].size
        graphs = {
            "base voice baked in, no adapters": Baked(opened, torch.from_numpy(voices[:1, :embedding])),
            BAKED: Baked(opened, torch.from_numpy(voices[:1])),
            "voice as an input": opened,
        }
        paths = {name: Path(folder) / f"{i}.onnx" for i, name in enumerate(graphs)}
        for graph, path in zip(graphs.values(), paths.values(), strict=True):
            onnx.export(graph, onnx.example(graph, model), path, "fp32")
        few = {"rows": torch.zeros(2, 2, dtype=torch.long), "voices": torch.zeros(2, size)}
        for count in COUNTS:
            path = paths[f"table of {count:,} voices"] = Path(folder) / f"table{count}.onnx"
            graph = RivaGraph(opened, **few)
            rows = np.stack([np.arange(count), np.zeros(count, np.int64)], 1).astype(np.int64)
            onnx.export(graph, onnx.example(graph, model), path, "fp32", {"rows": rows, "voices": voices[:count]})
        files = {n: sum(p.stat().st_size for p in path.parent.glob(f"{path.name}*")) for n, path in paths.items()}
        sessions, loading = {}, {}
        for name, path in paths.items():
            began = time.perf_counter()
            sessions[name] = open_session(path, "onnxruntime", threads=args.threads)
            loading[name] = time.perf_counter() - began
        taken = {batch: measure(sessions, batch, voices) for batch in (1, 8)}
    rows_ = []
    for name in paths:
        cells = [name, f"{files[name] / 2**20:,.0f} MiB", f"{loading[name]:.1f} s"]
        for seconds in taken.values():
            change = 100.0 * (seconds[name] / seconds[BAKED] - 1.0)
            cells.append(f"{1000 * seconds[name]:.0f} ms ({change:+.1f} %)")
        rows_.append(cells)
    hardware.write(
        Path(__file__).with_suffix(".md"),
        "The cost of a voice as an input",
        f"python benchmarks/voice_input.py {args.size} --threads {args.threads}",
        [
            f"FastPitch `size={args.size}`, untrained, {TOKENS} tokens in {FRAMES // TOKENS * TOKENS} frames; voices "
            f"of {size:,} values. ONNX Runtime on {args.threads} threads; median of {ROUNDS} runs, the graphs taking "
            "turns; in brackets the change against the graph with the voice baked in. A voice more is a file in the "
            "open layout, and an export in the others.",
            hardware.table(["graph", "files", "to load", "batch 1", "batch 8"], rows_),
            hardware.describe(),
        ],
    )


if __name__ == "__main__":
    main()
