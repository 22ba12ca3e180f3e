"""Full-size graphs, untrained, through TensorRT-RTX's parser and builder: open and Riva layout, fp32 and fp16."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from nemo_ext import config
from nemo_ext.console import Progress
from nemo_ext.export import onnx, parity, tensorrt
from nemo_ext.export.bundle import Bundle, Graph
from nemo_ext.export.cases import CASES, Case
from nemo_ext.export.graphs import AcousticGraph, RivaGraph, StyleGraph, VocoderGraph
from nemo_ext.export.tensorrt import ProfileConfig, build_engines
from nemo_ext.models.acoustic.fastpitch import FastPitch
from nemo_ext.models.vocoder.hifigan import HifiGan
from nemo_ext.runtime.choose import open_session
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.types import BaseVoice, MelSpec

VOICES, STYLES = 4, 3
MELS = 80


@pytest.fixture(scope="module")
def acoustic() -> Any:
    """FastPitch of the paper's size with adapters, energy and style tokens."""
    cfg = config.compose("train", ["model=fastpitch", "size=full", "model/style=gst"])
    settings: Any = OmegaConf.to_container(config.conform(cfg.model, FastPitch.config_class, "model."))
    settings["mel"] = dataclasses.asdict(cfg.features.mel)
    settings["text"] = dataclasses.asdict(TextFrontend(TextConfig(alphabet="chars", normalize=False)).config)
    settings["voices"] = [dataclasses.asdict(BaseVoice("ada"))]
    settings["style_names"] = ["calm"]
    torch.manual_seed(0)
    return FastPitch(OmegaConf.create(settings)).eval()


@pytest.fixture(scope="module")
def vocoder() -> Any:
    """HiFi-GAN V1."""
    cfg = config.compose("train", ["model=hifigan", "size=full"])
    settings: Any = OmegaConf.to_container(config.conform(cfg.model, HifiGan.config_class, "model."))
    settings["mel"] = dataclasses.asdict(MelSpec())
    return HifiGan(OmegaConf.create(settings)).eval()


def exported(name: str, precision: str, acoustic: Any, vocoder: Any, folder: Path) -> Graph:
    """The graph ``name`` of a bundle; ``riva`` is the acoustic one in Riva's layout."""
    path = folder / f"{name}_{precision}.onnx"
    if name == "vocoder":  # few frames: the tracer runs the model, and a processor is slow in float16
        return onnx.export(VocoderGraph(vocoder, precision), [torch.randn(2, MELS, 4)], path, precision)
    graph: Any = StyleGraph(acoustic) if name == "style_encoder" else AcousticGraph(acoustic, precision)
    if name == "riva":
        rows = torch.tensor([[voice, style] for voice in range(VOICES) for style in range(STYLES)])
        voices, styles = torch.randn(VOICES, acoustic.voice_layout.size), torch.randn(STYLES, acoustic.style_size)
        graph = RivaGraph(graph, rows, voices, styles)
    return onnx.export(graph, onnx.example(graph, acoustic), path, precision)


def agree(made: dict[str, Graph], precision: str, acoustic: Any, vocoder: Any, folder: Path) -> None:
    """ONNX Runtime and torch, within the tolerance of an export: 1e-4 in fp32."""
    voices, styles = (parity_inputs(n) for n in (acoustic.voice_layout.size, acoustic.style_size))
    for name, graph in made.items():
        session = open_session(folder / graph.file, "onnxruntime")
        if name == "acoustic":
            for case in (CASES[1], CASES[5]):
                asked = parity.ask(acoustic, case, 0, voices, styles)
                parity.refuse([parity.acoustic_row(acoustic, session, precision, case, asked)])
        elif name == "vocoder":
            mel = parity.mel_of(acoustic, voices, 60, 1)
            with Progress(1, "comparing") as progress:
                row = parity.vocoder(vocoder, session, precision, [mel], progress)[0]
            parity.refuse([row])
            assert precision == "fp16" or row.worst <= 1e-4
        elif name == "style_encoder":
            with Progress(2, "comparing") as progress:
                parity.refuse(parity.style_encoder(acoustic, session, progress))


def parity_inputs(size: int) -> np.ndarray:
    return np.random.default_rng(size).normal(0.0, 0.1, (5, size)).astype(np.float32)


@pytest.mark.slow
def test_float16_counts_the_frames_of_float32_at_full_size(acoustic: Any, vocoder: Any, tmp_path: Path) -> None:
    """Over 10,000 tokens of several lengths; as many frames in one text: test_onnx.py, with a small model."""
    voices, styles = (parity_inputs(n) for n in (acoustic.voice_layout.size, acoustic.style_size))
    sessions = []
    for precision in ("fp32", "fp16"):
        graph = exported("acoustic", precision, acoustic, vocoder, tmp_path)
        sessions.append(open_session(tmp_path / graph.file, "onnxruntime"))
        (tmp_path / graph.file).unlink()
    tokens, heard = 0, set()
    for seed in range(25):
        asked = parity.ask(acoustic, Case("", (100,) * 4, frames=60), seed, voices, styles)
        # untrained, all tokens are equally long
        asked.pace[:] *= np.random.default_rng(seed).uniform(0.3, 4.0, asked.pace.shape).astype(np.float32)
        feeds = asked.feeds()
        whole, half = (session.run(feeds, ["durations", "num_frames"]) for session in sessions)
        np.testing.assert_array_equal(whole["durations"], half["durations"])
        tokens += asked.text.size
        heard |= set(whole["durations"].ravel().tolist())
    assert tokens == 10_000
    assert len(heard) > 1


# Riva's layout holds the open one, so the two that are left for the long tests have no part that these do not build.
@pytest.mark.parametrize(
    ("precision", "names"),
    [
        ("fp32", ["acoustic", "vocoder", "style_encoder"]),
        ("fp16", ["riva", "vocoder"]),
        pytest.param("fp32", ["riva"], marks=pytest.mark.slow),
        pytest.param("fp16", ["acoustic"], marks=pytest.mark.slow),
    ],
)
def test_full_size_graphs_build_with_dynamic_profiles(
    acoustic: Any, vocoder: Any, tmp_path: Path, precision: str, names: list[str]
) -> None:
    made = {name: exported(name, precision, acoustic, vocoder, tmp_path) for name in names}
    agree(made, precision, acoustic, vocoder, tmp_path)
    bundle = Bundle(tmp_path, "full", MelSpec(), "0" * 16, acoustic.voice_layout, graphs=made)
    try:
        built = build_engines(bundle, "tensorrt_rtx", ProfileConfig(), progress=False)
    finally:
        weights = {path.name: path.stat().st_size for path in tmp_path.glob("*.onnx")}
        for path in (p for p in tmp_path.rglob("*") if p.is_file()):  # pytest keeps folders, and these are large
            path.unlink()
    assert [one.engine.graph for one in built] == names
    for one in built:
        name, profile = one.engine.graph, one.engine.profile
        print(precision, tensorrt.table([one]).splitlines()[1])
        assert set(profile) == {port.name for port in made[name].inputs}
        assert all(least[0] == 1 and largest[0] == 8 for least, _, largest in profile.values())
        assert one.size > 0.9 * weights[made[name].file], name  # the weights are in it, in the graph's precision
    largest = {name: profile for one in built for name, (*_, profile) in one.engine.profile.items()}
    assert largest.get("text", [8, 400]) == [8, 400]
    assert largest.get("spec", [8, MELS, 2000]) == [8, MELS, 2000]
