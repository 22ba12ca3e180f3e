"""An acoustic graph whose texts stand one after the other without padding: what Riva sends, and what Triton batches.

    text, pitch, pace, volume, ...  (T,)     the tokens of every utterance, one utterance after the other
    batch_lengths                   (B + 1,) int32: where each utterance begins, and where the last one ends
    speaker (B,), or voice (B, P) and style (B, S)

A prelude of a few dozen plain nodes brings the tokens into rows, and the dense graph does the rest: outputs and weights
are the dense graph's own. There is no loop and no branch in it, which is why both ONNX Runtime and TensorRT read it.
Made from the ONNX file, so that neither torch nor the model is needed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from nemo_ext.errors import NemoExtError
from nemo_ext.export import onnx as onnx_files
from nemo_ext.export.bundle import Graph

LENGTHS = "batch_lengths"
# what stands behind the end of an utterance; of ``text`` it is the padding token
_FILL = {"pitch": 0.0, "pitch_scale": 1.0, "energy_scale": 1.0, "pace": 1.0, "volume": 1.0}
PER_TOKEN = ("text", *_FILL)
_OWN = "ragged/"  # of our nodes, so that no name meets one of the dense graph's


def write_ragged(dense: Path, out: Path, precision: str, *, pad: int, blank: int, speaker: bool = True) -> Graph:
    """Write the ragged form of the acoustic graph ``dense`` to ``out``; external weights come to stand beside it.

    An utterance without tokens is answered with 0 frames.

    Args:
        dense: ONNX file of the open or of the Riva layout.
        out: ONNX file to be written; nothing is left there when that fails.
        precision: of ``dense``, told in the description that is returned.
        pad: id of the padding token.
        blank: id of the token that is spoken, unheard, for an utterance without any: the space.
        speaker: False: no input ``speaker``, every utterance has row 0 of the tables. Riva gives a single voice none.

    Raises:
        NemoExtError: ``dense`` is no dense acoustic graph, onnx is not installed, or the disk is full.
    """
    inputs, _ = onnx_files.ports(dense)  # refuses what is no ONNX file
    import onnx

    model = onnx.load(str(dense), load_external_data=False)
    graph, names = model.graph, [port.name for port in inputs]
    if "text" not in names or LENGTHS in names:
        raise NemoExtError(f"{dense} takes {', '.join(names)}: a ragged form is made of a dense acoustic graph")
    if not speaker and "speaker" not in names:
        raise NemoExtError(f"{dense} has no table of voices inside, so its input 'voice' cannot be left out")
    renamed = {name: f"{_OWN}{name}" for name in (*names, *(value.name for value in graph.output))}
    for node in graph.node:
        for part in (node.input, node.output):
            part[:] = [renamed.get(name, name) for name in part]
    before, behind = _Nodes("in"), _Nodes("out")
    spoken = _rows(before, graph, renamed, pad, blank, speaker)
    for value in graph.output:
        # an utterance without tokens was spoken as a blank: its row becomes zero again
        axes = list(range(1, len(value.type.tensor_type.shape.dim)))
        keep = before("Unsqueeze", spoken, before.constant(axes, "int64")) if axes else spoken
        kept = behind("Cast", keep, attributes={"to": _kind(value)})
        behind("Mul", renamed[value.name], kept, name=value.name)
    dense_nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*before.made, *dense_nodes, *behind.made])
    graph.initializer.extend(before.constants)
    _declare_inputs(graph, speaker)
    return _written(model, dense, out, precision)


class _Nodes:
    """Nodes being made, with constants as initializers."""

    def __init__(self, part: str) -> None:
        self._part = part
        self.made: list[Any] = []
        self.constants: list[Any] = []

    def __call__(self, op: str, *inputs: str, name: str = "", attributes: dict[str, Any] | None = None) -> str:
        import onnx

        name = name or f"{_OWN}{self._part}/{op.lower()}_{len(self.made)}"
        node = onnx.helper.make_node(op, list(inputs), [name], name=f"{_OWN}node/{name}", **(attributes or {}))
        self.made.append(node)
        return name

    def constant(self, values: Any, dtype: str) -> str:
        import onnx.numpy_helper

        name = f"{_OWN}constant_{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.array(values, dtype), name))
        return name


def _rows(nodes: _Nodes, graph: Any, renamed: dict[str, str], pad: int, blank: int, speaker: bool) -> str:
    """The prelude: every input of the dense graph. Returns the name of a mask ``(B,)``: utterances with tokens."""
    from onnx import TensorProto

    zero, one, end = (nodes.constant([n], "int64") for n in (0, 1, np.iinfo(np.int64).max))
    minus_one, scalar_zero, scalar_one = nodes.constant([-1], "int64"), *(nodes.constant(n, "int64") for n in (0, 1))
    lengths = nodes("Cast", LENGTHS, attributes={"to": TensorProto.INT64})
    starts = nodes("Slice", lengths, zero, minus_one, zero)
    lens = nodes("Sub", nodes("Slice", lengths, one, end, zero), starts)  # (B,)
    size = nodes("Max", nodes("ReduceMax", lens, attributes={"keepdims": 0}), scalar_one)
    place = nodes("Unsqueeze", nodes("Range", scalar_zero, size, scalar_one), zero)  # (1, T_text)
    inside = nodes("Less", place, nodes("Unsqueeze", lens, one))  # (B, T_text)
    # behind the last token stands the fill, and every place outside an utterance reads it from there
    total = nodes("Shape", "text")
    first = nodes("Unsqueeze", starts, one)  # (B, 1)
    count = nodes("Shape", lens)  # [B]
    for value in graph.input:
        if value.name not in PER_TOKEN and (value.name != "speaker" or speaker):
            first = nodes("Add", first, _as_many(nodes, value, count, zero, one))
            nodes("Identity", value.name, name=renamed[value.name])
        elif value.name == "speaker":
            nodes("Expand", scalar_zero, count, name=renamed["speaker"])
    index = nodes("Where", inside, nodes("Add", first, place), total)
    spoken = nodes("Greater", lens, scalar_zero)
    for name in [value.name for value in graph.input if value.name in PER_TOKEN]:
        fill = nodes.constant([pad], "int64") if name == "text" else nodes.constant([_FILL[name]], "float32")
        filled = nodes("Concat", name, fill, attributes={"axis": 0})
        if name != "text":
            nodes("Gather", filled, index, name=renamed[name], attributes={"axis": 0})
            continue
        text = nodes("Gather", filled, index, attributes={"axis": 0})
        # attention over nothing is no number, and durations made of it would have any size
        nothing = nodes("Unsqueeze", nodes("Not", spoken), one)
        stands_in = nodes("And", nothing, nodes("Equal", place, scalar_zero))
        nodes("Where", stands_in, nodes.constant(blank, "int64"), text, name=renamed[name])
    return spoken


def _as_many(nodes: _Nodes, value: Any, count: str, zero: str, one: str) -> str:
    """Zeros ``(B, 1)``, which cannot be made if ``value`` has another number of rows than there are utterances.

    Otherwise its rows would be spread over the utterances, or they over its rows, without a word. (A Reshape to the
    number of utterances does not do: ONNX Runtime's optimizer turns that number into -1.)
    """
    import onnx.numpy_helper

    two = nodes.constant([2], "int64")
    single = len(value.type.tensor_type.shape.dim) == 1
    column = nodes("Unsqueeze", value.name, one) if single else nodes("Slice", value.name, zero, one, one)
    empty = onnx.numpy_helper.from_array(np.zeros(1, onnx.helper.tensor_dtype_to_np_dtype(_kind(value))))
    zeros = nodes("ConstantOfShape", nodes("Concat", count, one, attributes={"axis": 0}), attributes={"value": empty})
    beside = nodes("Concat", column, zeros, attributes={"axis": 1})
    return nodes("Cast", nodes("Slice", beside, one, two, one), attributes={"to": onnx.TensorProto.INT64})


def _kind(value: Any) -> int:
    return int(value.type.tensor_type.elem_type)


def _declare_inputs(graph: Any, speaker: bool) -> None:
    import onnx

    declared = []
    for value in graph.input:
        if value.name in PER_TOKEN:
            declared.append(onnx.helper.make_tensor_value_info(value.name, _kind(value), ["T"]))
        elif value.name != "speaker" or speaker:
            declared.append(value)
    offsets = onnx.helper.make_tensor_value_info(LENGTHS, onnx.TensorProto.INT32, ["B_plus_1"])
    tokens = sum(value.name in PER_TOKEN for value in declared)
    del graph.input[:]
    graph.input.extend([*declared[:tokens], offsets, *declared[tokens:]])


def _written(model: Any, dense: Path, out: Path, precision: str) -> Graph:
    import onnx
    from onnx.external_data_helper import uses_external_data

    beside = out.with_name(f".writing-{out.name}")
    external: dict[str, str] = {}  # file beside the dense graph -> beside ours
    for tensor in model.graph.initializer:
        if not uses_external_data(tensor):
            continue
        told = next(entry for entry in tensor.external_data if entry.key == "location")
        if Path(told.value).name != told.value:
            raise NemoExtError(f"{dense} keeps weights outside its folder, in {told.value}: do not use it")
        told.value = external.setdefault(told.value, f"{out.name}.data{len(external) or ''}")
    try:
        for source, target in external.items():
            shutil.copyfile(dense.parent / source, out.parent / target)
        onnx.save(model, str(beside))
        onnx.checker.check_model(str(beside))
        os.replace(beside, out)
    except OSError as error:
        raise NemoExtError(f"{out} could not be written: {error.strerror or error}; free some space") from error
    finally:
        beside.unlink(missing_ok=True)
    inputs, outputs = onnx_files.ports(out)
    return Graph(out.name, precision, inputs, outputs, tuple(external.values()))
