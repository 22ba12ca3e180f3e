"""An acoustic graph whose texts stand one after the other without padding: what Riva sends, and what Triton batches.

    text, pitch, pace, volume, ...  (T,)     the tokens of every utterance, one utterance after the other
    batch_lengths                   (B + 1,) int32: where each utterance begins, and where the last one ends
    speaker (B,), or voice (B, P) and style (B, S)

For a server on which strangers share a batch (``strangers=True``) every input has offsets of its own, ``pace_lengths``
for ``pace``, because nobody has compared their lengths before: an utterance with a fault is answered with 0 frames and
with the fault's number in the output ``fault`` (``FAULTS``), and changes nothing of the others.

A prelude of a few dozen plain nodes brings the tokens into rows, and the dense graph does the rest: outputs and weights
are the dense graph's own. There is no loop and no branch in it, which is why both ONNX Runtime and TensorRT read it.
Made from the ONNX file, so that neither torch nor the model is needed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
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
FAULT = "fault"
# by number, as the output ``fault`` tells them; of several, the last
FAULTS = (
    "none",
    "a number that is none: NaN or infinite",
    "a speaker that the graph has not",
    "a token that the graph has not",
    "an input of another length than the text",
    "more tokens than 2000",
    "no tokens",
)
_MOST_TOKENS = 2000  # attention costs their square: one text of a book's length would take the memory of all
_OWN = "ragged/"  # of our nodes, so that no name meets one of the dense graph's


def offsets_of(name: str) -> str:
    """The input that tells where each utterance's part of the per-token input ``name`` begins and ends."""
    return LENGTHS if name == "text" else f"{name}_lengths"


def write_ragged(
    dense: Path,
    out: Path,
    precision: str,
    *,
    pad: int,
    blank: int,
    symbols: int = 0,
    speaker: bool = True,
    strangers: bool = False,
) -> Graph:
    """Write the ragged form of the acoustic graph ``dense`` to ``out``; external weights come to stand beside it.

    An utterance without tokens is answered with 0 frames.

    Args:
        dense: ONNX file of the open or of the Riva layout.
        out: ONNX file to be written; nothing is left there when that fails.
        precision: of ``dense``, told in the description that is returned.
        pad: id of the padding token.
        blank: id of the token that is spoken, unheard, for an utterance without any: the space.
        symbols: how many tokens there are; ``strangers`` wants it.
        speaker: False: no input ``speaker``, every utterance has row 0 of the tables. Riva gives a single voice none.
        strangers: offsets for every input and the output ``fault``, as the module says.

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
    places = _Places(before, [name for name in names if name in PER_TOKEN], strangers)
    if strangers:
        places.refuse(_faults(before, places, graph, symbols))
    spoken = _rows(before, places, graph, renamed, pad, blank, speaker)
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
    _declare_inputs(graph, speaker, strangers)
    if strangers:
        graph.output.append(onnx.helper.make_tensor_value_info(FAULT, onnx.TensorProto.INT64, ["B"]))
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


class _Places:
    """Where the part of each utterance lies in each per-token input: ``starts`` and ``lens (B,)`` by name."""

    def __init__(self, nodes: _Nodes, names: Sequence[str], own: bool) -> None:
        """``own``: every input has offsets of its own; otherwise the text's are those of all."""
        from onnx import TensorProto

        self.nodes, self.names = nodes, names
        self.zero, self.one, end = (nodes.constant([n], "int64") for n in (0, 1, np.iinfo(np.int64).max))
        self.minus_one, self.nothing = nodes.constant([-1], "int64"), nodes.constant(0, "int64")
        self.starts, self.ends, self.lens = {}, {}, {}
        for name in names if own else ["text"]:
            offsets = nodes("Cast", offsets_of(name), attributes={"to": TensorProto.INT64})
            self.starts[name] = nodes("Slice", offsets, self.zero, self.minus_one, self.zero)
            self.ends[name] = nodes("Slice", offsets, self.one, end, self.zero)
            self.lens[name] = nodes("Sub", self.ends[name], self.starts[name])
        self.count = nodes("Shape", self.lens["text"])  # [B]
        self.spoken_lens = self.lens["text"]

    def start(self, name: str) -> str:
        return self.starts.get(name, self.starts["text"])

    def refuse(self, faulty: str) -> None:
        """Utterances of the mask ``faulty (B,)`` are taken for ones without tokens."""
        self.spoken_lens = self.nodes("Where", faulty, self.nothing, self.lens["text"])

    def any(self, name: str, flags: str) -> str:
        """Whether one of ``flags (T,)``, which lie as the input ``name`` does, is set in each utterance ``(B,)``."""
        from onnx import TensorProto

        numbers = self.nodes("Cast", flags, attributes={"to": TensorProto.INT64})
        sums = self.nodes("CumSum", self.nodes("Concat", self.zero, numbers, attributes={"axis": 0}), self.nothing)
        behind, before = (
            self.nodes("Gather", sums, at[name], attributes={"axis": 0}) for at in (self.ends, self.starts)
        )
        return self.nodes("Greater", self.nodes("Sub", behind, before), self.nothing)


def _faults(nodes: _Nodes, places: _Places, graph: Any, symbols: int) -> str:
    """The output ``fault``; returns the name of a mask ``(B,)``: utterances that have one."""
    found: list[tuple[int, str]] = []
    for value in graph.input:
        if value.name in PER_TOKEN and value.name != "text":
            found.append((1, places.any(value.name, _no_number(nodes, value.name))))
            found.append((4, nodes("Not", nodes("Equal", places.lens[value.name], places.lens["text"]))))
        elif value.name == "speaker":
            found.append((2, _outside(nodes, "speaker", _speakers(graph))))
        elif value.name != "text":  # voice (B, P), style (B, S)
            flags = nodes("Cast", _no_number(nodes, value.name), attributes={"to": _int64()})
            rows = nodes("ReduceMax", flags, nodes.constant([1], "int64"), attributes={"keepdims": 0})
            found.append((1, nodes("Greater", rows, places.nothing)))
    found.append((3, places.any("text", _outside(nodes, "text", symbols))))
    lens = places.lens["text"]
    found.append((5, nodes("Greater", lens, nodes.constant(_MOST_TOKENS, "int64"))))
    found.append((6, nodes("Equal", lens, places.nothing)))
    told = nodes("Mul", lens, places.nothing)
    for i, (number, mask) in enumerate(sorted(found)):
        name = FAULT if i == len(found) - 1 else ""
        told = nodes("Where", mask, nodes.constant(number, "int64"), told, name=name)
    return nodes("Greater", told, places.nothing)


def _no_number(nodes: _Nodes, name: str) -> str:
    """Flags of the values of ``name`` that are infinite, or so large that what is made of them is, or NaN."""
    largest = nodes.constant(1e6, "float32")
    return nodes("Not", nodes("LessOrEqual", nodes("Abs", name), largest))


def _outside(nodes: _Nodes, name: str, size: int) -> str:
    """Flags of the numbers ``name`` that are no index of a table of ``size`` rows."""
    below = nodes("Less", name, nodes.constant(0, "int64"))
    return nodes("Or", below, nodes("GreaterOrEqual", name, nodes.constant(size, "int64")))


def _speakers(graph: Any) -> int:
    """How many rows the table of sub-voices has (``graphs.RivaGraph.rows``)."""
    inside = [int(tensor.dims[0]) for tensor in graph.initializer if tensor.name == "rows"]
    if not inside:
        raise NemoExtError("the acoustic graph tells no number of speakers: export the bundle again")
    return inside[0]


def _int64() -> int:
    from onnx import TensorProto

    return int(TensorProto.INT64)


def _rows(
    nodes: _Nodes, places: _Places, graph: Any, renamed: dict[str, str], pad: int, blank: int, speaker: bool
) -> str:
    """The prelude: every input of the dense graph. Returns the name of a mask ``(B,)``: utterances with tokens."""
    zero, one, nothing = places.zero, places.one, places.nothing
    scalar_one = nodes.constant(1, "int64")
    lens = places.spoken_lens  # (B,)
    size = nodes("Max", nodes("ReduceMax", lens, attributes={"keepdims": 0}), scalar_one)
    place = nodes("Unsqueeze", nodes("Range", nothing, size, scalar_one), zero)  # (1, T_text)
    inside = nodes("Less", place, nodes("Unsqueeze", lens, one))  # (B, T_text)
    rows = []
    for value in graph.input:
        if value.name not in PER_TOKEN and (value.name != "speaker" or speaker):
            rows.append(_as_many(nodes, value, places.count, zero, one))
            nodes("Identity", _harmless(nodes, places, value), name=renamed[value.name])
        elif value.name == "speaker":
            nodes("Expand", nothing, places.count, name=renamed["speaker"])
    spoken = nodes("Greater", lens, nothing)
    for name in places.names:
        first = nodes("Unsqueeze", places.start(name), one)  # (B, 1)
        for zeros in rows:
            first = nodes("Add", first, zeros)
        # behind the last token stands the fill, and every place outside an utterance reads it from there
        index = nodes("Where", inside, nodes("Add", first, place), nodes("Shape", name))
        fill = nodes.constant([pad], "int64") if name == "text" else nodes.constant([_FILL[name]], "float32")
        filled = nodes("Concat", name, fill, attributes={"axis": 0})
        if name != "text":
            nodes("Gather", filled, index, name=renamed[name], attributes={"axis": 0})
            continue
        text = nodes("Gather", filled, index, attributes={"axis": 0})
        # attention over nothing is no number, and durations made of it would have any size
        unspoken = nodes("Unsqueeze", nodes("Not", spoken), one)
        stands_in = nodes("And", unspoken, nodes("Equal", place, zero))
        nodes("Where", stands_in, nodes.constant(blank, "int64"), text, name=renamed[name])
    return spoken


def _harmless(nodes: _Nodes, places: _Places, value: Any) -> str:
    """``speaker (B,)``, ``voice (B, P)`` or ``style (B, S)`` with zeros where nothing is spoken."""
    if places.spoken_lens == places.lens["text"]:  # nobody is refused
        return str(value.name)
    spoken = nodes("Greater", places.spoken_lens, places.nothing)
    if len(value.type.tensor_type.shape.dim) == 1:
        return nodes("Where", spoken, value.name, places.nothing)
    return nodes("Where", nodes("Unsqueeze", spoken, places.one), value.name, nodes.constant(0.0, "float32"))


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


def _declare_inputs(graph: Any, speaker: bool, strangers: bool) -> None:
    import onnx

    tokens, offsets, others = [], [], []
    for value in graph.input:
        if value.name in PER_TOKEN:
            tokens.append(
                onnx.helper.make_tensor_value_info(
                    value.name, _kind(value), ["T" if value.name == "text" or not strangers else f"T_{value.name}"]
                )
            )
            if value.name == "text" or strangers:
                offsets.append(
                    onnx.helper.make_tensor_value_info(offsets_of(value.name), onnx.TensorProto.INT32, ["B_plus_1"])
                )
        elif value.name != "speaker" or speaker:
            others.append(value)
    del graph.input[:]
    graph.input.extend([*tokens, *offsets, *others])


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
