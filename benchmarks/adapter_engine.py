"""A voice as an input of a graph: ONNX parity with one and with eight voices, and a TensorRT-RTX build of it.

    python benchmarks/adapter_engine.py [full|small|tiny]

Wants the extras onnx and trt-rtx (pip install -c constraints.txt -e ".[onnx,trt-rtx]"). TensorRT-RTX builds without a
GPU. Tokens, voice vectors and durations go in, a mel comes out: what an engine for any number of voices needs.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import hardware
import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from nemo_ext import config
from nemo_ext.models.acoustic.fastpitch import FastPitch
from nemo_ext.modules.alignment import gather_tokens
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.types import BaseVoice

NAMES = ["tokens", "voice", "durations"]
LARGEST_BATCH, LONGEST_TEXT = 8, 200


class Graph(nn.Module):
    """tokens, voice, durations -> mel, in operations that a graph has: no search, no number read from a tensor."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, voice: Tensor, durations: Tensor) -> Tensor:
        """``tokens (B, T_text)``, ``voice (B, P)``, ``durations (B, T_text)`` -> ``(B, n_mels, T_mel)``."""
        given = self.model._conditions(voice)
        encoded, _ = self.model._encode(tokens, given)
        ends = durations.cumsum(1)
        frames = torch.arange(ends[:, -1].max())
        token = (frames[None, :, None] >= ends[:, None, :]).sum(-1)
        inside = token < ends.shape[1]
        expanded = gather_tokens(encoded, token.clamp(max=ends.shape[1] - 1)) * inside[..., None]
        mel: Tensor = self.model._decode(expanded, ends[:, -1], given)
        return mel


def build(size: str) -> Any:
    """An untrained FastPitch of ``size``."""
    cfg = config.compose("train", ["model=fastpitch", f"size={size}"])
    settings: Any = OmegaConf.to_container(config.conform(cfg.model, FastPitch.config_class, "model."))
    settings["mel"] = dataclasses.asdict(cfg.features.mel)
    settings["text"] = dataclasses.asdict(TextFrontend(TextConfig(alphabet="chars", normalize=False)).config)
    settings["voices"] = [dataclasses.asdict(BaseVoice("ada"))]
    torch.manual_seed(0)
    return FastPitch(OmegaConf.create(settings)).eval()


def inputs(graph: Graph, batch: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random tokens, voices and durations."""
    generator = torch.Generator().manual_seed(batch)
    tokens = torch.randint(1, 20, (batch, length), generator=generator)
    voice = 0.1 * torch.randn(batch, graph.model.voice_layout.size, generator=generator)
    return tokens, voice, torch.randint(2, 8, (batch, length), generator=generator)


def to_onnx(graph: Graph, path: Path) -> float:
    """Seconds of the export."""
    began = time.perf_counter()
    axes = {"tokens": {0: "B", 1: "T_text"}, "voice": {0: "B"}, "durations": {0: "B", 1: "T_text"}}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            inputs(graph, 2, 11),
            str(path),
            dynamo=False,
            opset_version=18,
            input_names=NAMES,
            output_names=["mel"],
            dynamic_axes=axes | {"mel": {0: "B", 2: "T_mel"}},
        )
    return time.perf_counter() - began


def parity(graph: Graph, path: Path, batch: int) -> tuple[float, float]:
    """Largest difference between torch and ONNX Runtime, and between the batch and its first row alone."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = inputs(graph, batch, 40)
    with torch.no_grad():
        expected = graph(*given).numpy()

    def run(rows: slice) -> np.ndarray:
        return session.run(None, {name: x[rows].numpy() for name, x in zip(NAMES, given, strict=True)})[0]

    got, alone = run(slice(None)), run(slice(0, 1))
    return float(np.abs(got - expected).max()), float(np.abs(got[:1, :, : alone.shape[2]] - alone).max())


def to_engine(path: Path, size: int) -> tuple[float, int]:
    """Seconds of the build and bytes of the engine; ``size``: values of a voice."""
    import tensorrt_rtx as trt

    began = time.perf_counter()
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        raise SystemExit("; ".join(str(parser.get_error(i)) for i in range(parser.num_errors)))
    options = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    for name in ("tokens", "durations"):
        profile.set_shape(name, (1, 2), (4, 60), (LARGEST_BATCH, LONGEST_TEXT))
    profile.set_shape("voice", (1, size), (4, size), (LARGEST_BATCH, size))
    options.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, options)
    if engine is None:
        raise SystemExit("TensorRT-RTX built no engine")
    return time.perf_counter() - began, engine.nbytes


def main() -> None:
    """Measure, and write the page beside this script."""
    size = sys.argv[1] if len(sys.argv) > 1 else "full"
    graph = Graph(build(size)).eval()  # the exporter puts a module back into the mode it found it in
    values = graph.model.voice_layout.size
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        exported = to_onnx(graph, path)
        rows = [["ONNX export", f"{exported:.1f} s, {path.stat().st_size / 2**20:.0f} MiB"]]
        for batch in (1, LARGEST_BATCH):
            torch_against, alone_against = parity(graph, path, batch)
            rows.append(
                [
                    f"ONNX Runtime against torch, batch {batch}",
                    f"{torch_against:.1e} at most; the first row alone: {alone_against:.1e}",
                ]
            )
        seconds, size_of_engine = to_engine(path, values)
        rows.append(["TensorRT-RTX build, fp32", f"{seconds:.1f} s, {size_of_engine / 2**20:.0f} MiB"])
    hardware.write(
        Path(__file__).with_suffix(".md"),
        "A voice as an input of a graph",
        f"python benchmarks/adapter_engine.py {size}",
        [
            f"FastPitch `size={size}`, untrained; inputs are tokens, voice vectors of {values:,} values, durations. "
            f"The graph was exported once; the engine takes batches of 1 to {LARGEST_BATCH} and texts of 2 to "
            f"{LONGEST_TEXT} tokens. The voice is an input: no voice is built into the engine.",
            hardware.table(["", ""], rows),
            hardware.describe(),
        ],
    )


if __name__ == "__main__":
    main()
