"""ONNX graphs of a few nodes that behave as a bundle's do: for tests of what is done with graphs, not of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

from nemo_ext.export.bundle import Bundle, Graph
from nemo_ext.runtime.session import Port
from nemo_ext.types import MelSpec
from nemo_ext.voices import VoiceLayout

MELS, VOICE, HOP = 4, 6, 4
REACH = 4  # frames that the vocoder sees to each side
_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
ACOUSTIC = (
    (Port("text", "int64", ("B", "T_text")), Port("voice", "float32", ("B", VOICE))),
    (Port("spect", "float32", ("B", MELS, "T_mel")), Port("num_frames", "int64", ("B",))),
)
VOCODER = ((Port("spec", "float32", ("B", MELS, "T_mel")),), (Port("audio", "float32", ("B", 1, "T_audio")),))


def acoustic(path: Path, scale: float = 1.0) -> Graph:
    """Each token is so many frames as its number says: the length is known only when it runs. The voice is heard."""
    rng = np.random.default_rng(0)
    constants = {
        "weights": scale * rng.standard_normal((VOICE, MELS)).astype(np.float32),
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "tokens": np.array([1], np.int64),
        "last": np.array([2], np.int64),
        "first": np.array([0, 1], np.int64),
        "tenth": np.array(0.1, np.float32),
    }
    nodes = [
        helper.make_node("ReduceSum", ["text", "tokens"], ["num_frames"], name="/durations/Sum", keepdims=0),
        helper.make_node("ReduceMax", ["num_frames"], ["longest"], name="/durations/Max", keepdims=0),
        helper.make_node("Range", ["zero", "longest", "one"], ["places"], name="/frames/Range"),
        helper.make_node("Cast", ["places"], ["times"], name="/frames/Cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["times", "tenth"], ["slow"], name="/frames/Mul"),
        helper.make_node("Sin", ["slow"], ["waves"], name="/frames/Sin"),
        helper.make_node("Unsqueeze", ["waves", "first"], ["row"], name="/frames/Unsqueeze"),
        helper.make_node("MatMul", ["voice", "weights"], ["colour"], name="/voice/MatMul"),
        helper.make_node("Unsqueeze", ["colour", "last"], ["column"], name="/voice/Unsqueeze"),
        helper.make_node("Mul", ["column", "row"], ["spect"], name="/decoder/Mul"),
    ]
    return write(path, nodes, *ACOUSTIC, constants)


def vocoder(path: Path, external: bool = False) -> Graph:
    """Two convolutions and an upsampling one; with ``external``, their weights stand in a file beside the graph."""
    rng = np.random.default_rng(1)
    constants = {
        "a": rng.standard_normal((8, MELS, 7)).astype(np.float32) / 5,
        "up": rng.standard_normal((8, 4, 2 * HOP)).astype(np.float32) / 5,
        "b": rng.standard_normal((1, 4, 5)).astype(np.float32) / 5,
    }
    nodes = [
        helper.make_node("Conv", ["spec", "a"], ["wide"], name="/pre/Conv", pads=[3, 3]),
        helper.make_node("LeakyRelu", ["wide"], ["bent"], name="/pre/LeakyRelu", alpha=0.1),
        helper.make_node(
            "ConvTranspose", ["bent", "up"], ["long"], name="/up/ConvTranspose", strides=[HOP], pads=[HOP // 2] * 2
        ),
        helper.make_node("Conv", ["long", "b"], ["raw"], name="/post/Conv", pads=[2, 2]),
        helper.make_node("Tanh", ["raw"], ["audio"], name="/post/Tanh"),
    ]
    return write(path, nodes, *VOCODER, constants, external)


def write(
    path: Path,
    nodes: list[Any],
    inputs: tuple[Port, ...],
    outputs: tuple[Port, ...],
    constants: dict[str, np.ndarray] | None = None,
    external: bool = False,
    domain: str = "",
) -> Graph:
    """The nodes as a graph at ``path``."""
    values = [
        [helper.make_tensor_value_info(p.name, _TYPES[p.dtype], list(p.shape)) for p in ports]
        for ports in (inputs, outputs)
    ]
    weights = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(helper.make_graph(nodes, path.stem, *values, weights), opset_imports=opsets)
    model.ir_version = 10
    if not domain:
        checker.check_model(model, full_check=True)
    beside = f"{path.name}.data"
    path.with_name(beside).unlink(missing_ok=True)  # a save adds to what is there
    save(model, path, save_as_external_data=external, location=beside if external else None, size_threshold=0)
    return Graph(path.name, "fp32", inputs, outputs, (beside,) if external else ())


def bundle(folder: Path, **graphs: Graph) -> Bundle:
    """A bundle of ``graphs``, which are in ``folder``."""
    made = Bundle(folder, "toy", MelSpec(), "0" * 16, VoiceLayout.of({"embedding": (VOICE,)}), graphs=dict(graphs))
    made.write()
    return made
