"""ONNX: graphs with free batch and time axes, float32 at their borders, and tables that may be larger than 2 GiB."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nemo_ext.errors import NemoExtError
from nemo_ext.export.bundle import Graph
from nemo_ext.runtime.session import Port

OPSET = 18
_LARGEST_FILE = 2**31 - 2**20  # protobuf's limit, less what the graph itself takes
_ROWS, _TEXT = {0: "B"}, {0: "B", 1: "T_text"}
AXES: Mapping[str, Mapping[int, str]] = {
    **dict.fromkeys(("text", "pitch", "pitch_scale", "energy_scale", "pace", "volume"), _TEXT),
    **dict.fromkeys(("durs_predicted", "log_durs_predicted", "pitch_predicted", "durations"), _TEXT),
    **dict.fromkeys(("voice", "style", "speaker", "num_frames", "statistics", "alone", "lens"), _ROWS),
    "spect": {0: "B", 2: "T_mel"},
    "volume_aligned": {0: "B", 1: "T_mel"},
    "spec": {0: "B", 2: "T_mel"},
    "audio": {0: "B", 2: "T_audio"},
    "mel": {0: "B", 2: "T"},
}
# the style encoder's pitch has as many frames as its mel
_OF_REFERENCE: Mapping[str, Mapping[int, str]] = {"pitch": {0: "B", 1: "T"}}


def export(
    graph: Any, example: Sequence[Any], path: Path, precision: str, tables: Mapping[str, Any] | None = None
) -> Graph:
    """Trace ``graph`` on ``example`` and write it to ``path``.

    Args:
        graph: a module of export/graphs.py, which names its ``inputs`` and ``outputs``.
        example: a tensor for each input; only its constants and its number of axes matter.
        path: of the ONNX file. Nothing is left there when the export fails.
        precision: told in the description that is returned.
        tables: buffers of ``graph`` by name whose values are put in after tracing: ``(N, ...)`` arrays of any N.

    Raises:
        NemoExtError: onnx is not installed, the graph cannot be traced, or the disk is full.
    """
    onnx = _onnx()
    import torch

    from nemo_ext.export.graphs import evaluating

    axes = {**AXES, **(_OF_REFERENCE if "mel" in graph.inputs else {})}
    names = (*graph.inputs, *graph.outputs)
    beside = path.with_name(f".writing-{path.name}")
    try:
        with evaluating(graph), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's own age, and every size that it reads
            torch.onnx.export(
                graph,
                tuple(example),
                str(beside),
                dynamo=False,  # the other exporter needs a package more, and gives other graphs with each version
                opset_version=OPSET,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                dynamic_axes={name: dict(axes[name]) for name in names},
            )
        model = onnx.load(str(beside))
        _name_axes(model, axes)
        external = _put_tables(model, tables or {}, path)
        onnx.save(model, str(beside))
        onnx.checker.check_model(str(beside), full_check=not external)
        os.replace(beside, path)
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error).strip().splitlines()[0]
        raise NemoExtError(
            f"{path.name} cannot be exported: {reason[:300]}; leave that part of the model out"
        ) from error
    except OSError as error:
        raise NemoExtError(f"{path} could not be written: {error.strerror or error}; free some space") from error
    finally:
        beside.unlink(missing_ok=True)
    inputs, outputs = ports(path)
    return Graph(path.name, precision, inputs, outputs, external)


def example(graph: Any, model: Any) -> list[Any]:
    """A tensor for each input of ``graph``, to trace it on; ``model``: the acoustic model, for sizes."""
    import torch

    batch, tokens, frames = 2, 11, 24
    row, column = torch.zeros(batch, dtype=torch.long), torch.ones(batch, tokens)
    reference = "mel" in graph.inputs
    known = {
        "text": torch.arange(batch * tokens).reshape(batch, tokens) % model.fastpitch.encoder.word_emb.num_embeddings,
        "pitch": torch.zeros(batch, frames) if reference else 0.0 * column,
        "pitch_scale": column,
        "energy_scale": column,
        "pace": 0.25 * column,
        "volume": column,
        "voice": torch.zeros(batch, model.voice_layout.size),
        "style": torch.zeros(batch, model.style_size),
        "speaker": row,
        "spec": torch.full((batch, model.mel_spec.n_mels, frames), -5.0),
        "mel": torch.full((batch, model.mel_spec.n_mels, frames), -5.0),
        "lens": row + frames,
        "statistics": torch.ones(batch, 2, model.mel_spec.n_mels),
        "alone": row.float(),
    }
    return [known[name] for name in graph.inputs]


def ports(path: Path) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Inputs and outputs of the ONNX file at ``path``; its weights are not read.

    Raises:
        NemoExtError: onnx is not installed, or the file is none of its.
    """
    onnx = _onnx()
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (OSError, DecodeError) as error:
        raise NemoExtError(f"{path} is no ONNX graph, or a damaged one: export it again") from error
    inputs, outputs = (tuple(_port(onnx, value) for value in part) for part in (model.graph.input, model.graph.output))
    return inputs, outputs


def external_files(path: Path) -> set[str]:
    """Where the ONNX file at ``path`` keeps weights that are not in it: paths as they stand there.

    Raises:
        NemoExtError: as `ports`.
    """
    onnx = _onnx()
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import _get_all_tensors, uses_external_data

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (OSError, DecodeError) as error:
        raise NemoExtError(f"{path} is no ONNX graph, or a damaged one: export it again") from error
    outside = (tensor for tensor in _get_all_tensors(model) if uses_external_data(tensor))
    return {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"}


def _port(onnx: Any, value: Any) -> Port:
    kind = value.type.tensor_type
    shape = tuple(axis.dim_param or int(axis.dim_value) for axis in kind.shape.dim)
    return Port(value.name, str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))), shape)


def _name_axes(model: Any, axes: Mapping[str, Mapping[int, str]]) -> None:
    """Outputs whose free axes the tracer named after nodes get our names."""
    for value in (*model.graph.input, *model.graph.output):
        for i, name in axes[value.name].items():
            value.type.tensor_type.shape.dim[i].dim_param = name


def _put_tables(model: Any, tables: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """Put ``tables`` in the place of the initializers of these names; the names of files written for them."""
    if not tables:
        return ()
    onnx = _onnx()
    there = {tensor.name: tensor for tensor in model.graph.initializer}
    if missing := set(tables) - set(there):
        raise NemoExtError(f"the graph has no tables {', '.join(sorted(missing))}: it has {', '.join(list(there)[:8])}")
    arrays = {name: np.ascontiguousarray(value) for name, value in tables.items()}
    outside = model.ByteSize() + sum(array.nbytes for array in arrays.values()) > _LARGEST_FILE
    for name, array in arrays.items():
        if not outside:
            there[name].CopyFrom(onnx.numpy_helper.from_array(array, name))
            continue
        tensor = there[name]
        tensor.ClearField("raw_data")
        del tensor.dims[:]
        tensor.dims.extend(array.shape)
    if not outside:
        return ()
    data = path.with_name(f"{path.name}.data")
    beside, offset = path.with_name(f".writing-{data.name}"), 0
    try:
        with beside.open("wb") as file:
            for name, array in arrays.items():
                file.write(array.data)
                tensor = there[name]
                tensor.data_location = onnx.TensorProto.EXTERNAL
                told = {"location": data.name, "offset": str(offset), "length": str(array.nbytes)}
                del tensor.external_data[:]
                for key, value in told.items():
                    tensor.external_data.add(key=key, value=value)
                offset += array.nbytes
        os.replace(beside, data)
    finally:
        beside.unlink(missing_ok=True)
    return (data.name,)


def _onnx() -> Any:
    try:
        import onnx
        import onnx.numpy_helper
    except ImportError as error:
        raise NemoExtError("an export needs onnx: pip install 'nemo_ext[onnx]'") from error
    return onnx
