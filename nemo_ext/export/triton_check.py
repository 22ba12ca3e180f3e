"""What is wrong with a Triton model repository, found without Triton.

Triton's schema accepts a step that names no model, and an axis of 0. So beyond the schema every name, type and shape is
compared with the graphs, and every ensemble is followed from its inputs to its outputs, by the rules by which Triton
itself refuses one when it loads (triton-inference-server/core, ensemble_utils.cc).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemo_ext.errors import NemoExtError
from nemo_ext.export.bundle import Bundle, Engine
from nemo_ext.export.onnx import ports
from nemo_ext.runtime.session import Port

CONFIG = "config.pbtxt"
_FILES = {"onnxruntime_onnx": "model.onnx", "tensorrt_plan": "model.plan"}
_PLATFORMS = {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}  # by backend
_NUMPY = {"TYPE_FP32": "float32", "TYPE_FP16": "float16", "TYPE_INT64": "int64", "TYPE_INT32": "int32"}


class SchemaMissing(NemoExtError):
    """Triton's schema is not installed."""


def check_repository(folder: str | Path, bundle: Bundle | None = None) -> list[str]:
    """What is wrong with the repository in ``folder``, one line a fault; none: Triton should load it.

    ``bundle``: what it was made of. With it, TensorRT engines, which tell their inputs only where a GPU is, are
    compared too: with the graphs that they were built from.

    Raises:
        SchemaMissing: ``tritonclient`` is not installed.
        NemoExtError: ``folder`` is no folder.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise NemoExtError(f"{folder} is no folder")
    configs, faults = {}, []
    for model in sorted(path for path in folder.iterdir() if path.is_dir()):
        config, wrong = _read(model)
        faults += [f"{model.name}: {fault}" for fault in wrong]
        if config is not None:
            configs[model.name] = config
    if not configs and not faults:
        faults.append(f"{folder} holds no models")
    for name, config in configs.items():
        kind = config.platform or config.backend
        check = _ensemble(config, configs) if kind == "ensemble" else _model(folder / name, config, bundle)
        faults += [f"{name}: {fault}" for fault in (*_common(folder / name, config), *check)]
    return faults


def engines(bundle: Bundle, graph: str) -> list[Engine]:
    """TensorRT's engines for ``graph`` of one version, the newest; those of TensorRT-RTX Triton does not read."""
    found = [engine for engine in bundle.engines if engine.graph == graph and engine.library == "tensorrt"]
    versions = [tuple(map(int, engine.version.split(".")[:4])) for engine in found]
    return [engine for engine, version in zip(found, versions, strict=True) if version == max(versions)]


def _read(model: Path) -> tuple[Any, list[str]]:
    try:
        from google.protobuf import text_format
        from tritonclient.grpc import model_config_pb2
    except ImportError as error:
        raise SchemaMissing("Triton's schema comes with tritonclient: pip install 'nemo_ext[triton]'") from error
    try:
        text = (model / CONFIG).read_text(encoding="utf-8")
        return text_format.Parse(text, model_config_pb2.ModelConfig()), []
    except (OSError, UnicodeDecodeError):
        return None, [f"there is no {CONFIG}"]
    except text_format.ParseError as error:
        return None, [f"{CONFIG} is not in Triton's schema: {str(error).splitlines()[0]}"]


def _common(model: Path, config: Any) -> Iterator[str]:
    """What holds of models and of ensembles."""
    if config.name != model.name:
        yield f"it calls itself '{config.name}', and its folder is '{model.name}'"
    if not _versions(model):
        yield "there is no version of it: a folder named by a number"
    if config.max_batch_size < 0:
        yield f"max_batch_size is {config.max_batch_size}"
    for kind, tensors in (("input", config.input), ("output", config.output)):
        if not tensors:
            yield f"it has no {kind}"
        names = [tensor.name for tensor in tensors]
        yield from (f"{kind} '{name}' stands there twice" for name in sorted({n for n in names if names.count(n) > 1}))
        for tensor in tensors:
            yield from _dims(kind, tensor)


def _dims(kind: str, tensor: Any) -> Iterator[str]:
    if not tensor.dims:
        yield f"{kind} '{tensor.name}' has no dims"
    if wrong := [n for n in (*tensor.dims, *tensor.reshape.shape) if n == 0 or n < -1]:
        yield f"{kind} '{tensor.name}' has an axis of {wrong[0]}: it is -1 where it is free, or 1 at least"
    if _type_of(tensor) == "TYPE_INVALID":
        yield f"{kind} '{tensor.name}' has no data_type"


def _versions(model: Path) -> list[Path]:
    return sorted(p for p in model.iterdir() if p.is_dir() and re.fullmatch(r"[1-9][0-9]*", p.name))


# ---------------------------------------------------------------------- models


def _model(model: Path, config: Any, bundle: Bundle | None) -> Iterator[str]:
    """A model against its graph."""
    platform = config.platform or _PLATFORMS.get(config.backend, config.backend)
    if platform not in _FILES:
        yield f"its platform is '{platform}': {', '.join(_FILES)} and ensemble are known here"
        return
    named = [config.default_model_filename or _FILES[platform], *config.cc_model_filenames.values()]
    for version in _versions(model):
        for name in dict.fromkeys(named):
            if Path(name).name != name or not (version / name).is_file():
                yield f"there is no {version.name}/{name}"
            elif platform == "onnxruntime_onnx":
                try:
                    inputs, outputs = ports(version / name)
                except NemoExtError as error:
                    yield str(error)
                else:
                    yield from _against_graph(config, inputs, outputs)
    graph = config.parameters["graph"].string_value if "graph" in config.parameters else ""
    if platform == "tensorrt_plan" and bundle is not None:
        if graph not in bundle.graphs:
            yield f"its parameter 'graph' is '{graph}', which the bundle has not"
        else:
            yield from _against_graph(config, bundle.graphs[graph].inputs, bundle.graphs[graph].outputs)
            yield from _against_profile(config, bundle, graph)


def _against_graph(config: Any, inputs: Sequence[Port], outputs: Sequence[Port]) -> Iterator[str]:
    made = {name: batch for batch in config.batch_input for name in batch.target_name}
    told = {tensor.name for tensor in config.input}
    for port in inputs:
        if port.name not in told and port.name not in made:
            yield f"the graph's input '{port.name}' stands nowhere in {CONFIG}"
    for kind, tensors, found in (("input", config.input, inputs), ("output", config.output, outputs)):
        known = {port.name: port for port in found}
        for tensor in tensors:
            if tensor.name not in known:
                yield f"the graph has no {kind} '{tensor.name}': it has {', '.join(known)}"
            else:
                yield from _against_port(kind, tensor, known[tensor.name], config.max_batch_size > 0)
    known = {port.name: port for port in inputs}
    for name, batch in made.items():
        if name not in known:
            yield f"batch_input makes '{name}', which the graph does not take"
            continue
        if _NUMPY.get(_type_of(batch)) != known[name].dtype:
            yield f"batch_input makes '{name}' as {_type_of(batch)}, and the graph takes {known[name].dtype}"
        if len(known[name].shape) != 1:
            yield f"batch_input makes '{name}' with one axis, and the graph takes {_shape(known[name].shape)}"
        if config.max_batch_size == 0:
            yield f"batch_input makes '{name}', but max_batch_size is 0: there are no batches"
        for source in batch.source_input:
            if source not in told:
                yield f"batch_input counts '{source}', which is no input"
    ragged = [tensor.name for tensor in config.input if tensor.allow_ragged_batch]
    if ragged and not made:
        yield f"'{ragged[0]}' is ragged, and no batch_input tells the graph where each request begins"


def _against_port(kind: str, tensor: Any, port: Port, batched: bool) -> Iterator[str]:
    what = f"{kind} '{tensor.name}'"
    if _NUMPY.get(_type_of(tensor)) != port.dtype:
        yield f"{what} is {_type_of(tensor)}, and the graph's is {port.dtype}"
    if kind == "input" and tensor.allow_ragged_batch:
        if len(port.shape) != 1:
            yield f"{what} is ragged, and the graph's is {_shape(port.shape)}: it must have one axis, of all requests"
        return
    dims = tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims
    shape = (*([-1] if batched else []), *dims)
    if len(shape) != len(port.shape):
        yield f"{what} is {_shape(shape)} with its batch, and the graph's is {_shape(port.shape)}"
        return
    if batched and isinstance(port.shape[0], int):
        yield f"{what}: max_batch_size is above 0, and the graph's first axis is fixed at {port.shape[0]}"
    for told, found in list(zip(shape, port.shape, strict=True))[1 if batched else 0 :]:
        # an input may be told narrower than the graph takes it, an output comes as it comes
        if (isinstance(found, int) and told != found) or (kind == "output" and isinstance(found, str) and told != -1):
            yield f"{what} is {_shape(shape)}, and the graph's is {_shape(port.shape)}"
            return


def _against_profile(config: Any, bundle: Bundle, graph: str) -> Iterator[str]:
    """A batch that an engine was not built for fails only when it comes."""
    for engine in engines(bundle, graph):
        for name, (_, _, most) in engine.profile.items():
            if most[0] < config.max_batch_size:
                yield f"max_batch_size is {config.max_batch_size}, and {engine.file} takes {most[0]} at most ('{name}')"


# ------------------------------------------------------------------- ensembles


@dataclass(frozen=True)
class _Tensor:
    """A tensor in an ensemble, as one model sees it."""

    who: str
    dtype: str
    dims: tuple[int, ...]
    batched: bool

    def differs(self, other: _Tensor) -> str:
        if self.dtype != other.dtype:
            return f"{self.dtype} in {self.who} and {other.dtype} in {other.who}"
        full = [(-1, *t.dims) if t.batched else t.dims for t in (self, other)]
        if _fit(self.dims, other.dims) or _fit(*full):
            return ""
        return f"{_shape(full[0])} in {self.who} and {_shape(full[1])} in {other.who}"


def _ensemble(config: Any, configs: Mapping[str, Any]) -> Iterator[str]:
    """An ensemble from its inputs to its outputs."""
    steps = list(config.ensemble_scheduling.step)
    if not steps:
        yield "it has no step"
    own = config.max_batch_size > 0
    seen: dict[str, _Tensor] = {}  # as who spoke of it first sees it
    for tensor in (*config.input, *config.output):
        seen.setdefault(tensor.name, _Tensor(f"{config.name}", _type_of(tensor), tuple(tensor.dims), own))
    made = dict.fromkeys((tensor.name for tensor in config.input), "the ensemble's input")
    used: set[str] = set()
    ghosts = False
    for i, step in enumerate(steps, 1):
        where = f"step {i} ({step.model_name})"
        if step.model_name not in configs:
            yield f"{where}: there is no model '{step.model_name}' in the repository"
            ghosts = True
            made |= dict.fromkeys(step.output_map.values(), where)
            used |= set(step.input_map.values())
            continue
        model = configs[step.model_name]
        if 0 < model.max_batch_size < config.max_batch_size:
            yield f"{where} takes {model.max_batch_size} at a time, and the ensemble {config.max_batch_size}"
        for kind, mapped, tensors in (
            ("input", step.input_map, model.input),
            ("output", step.output_map, model.output),
        ):
            known = {tensor.name: tensor for tensor in tensors}
            for name, to in mapped.items():
                if name not in known:
                    yield f"{where} has no {kind} '{name}', which is mapped to '{to}'"
                    continue
                here = _Tensor(where, _type_of(known[name]), tuple(known[name].dims), model.max_batch_size > 0)
                if wrong := seen.setdefault(to, here).differs(here):
                    yield f"tensor '{to}' is {wrong}"
            if kind == "input":
                needed = [name for name, tensor in known.items() if name not in mapped and not tensor.optional]
                yield from (f"{where}: its input '{name}' is not mapped" for name in needed)
        for name in step.output_map.values():
            if name in made:
                yield f"tensor '{name}' is made twice: by {made[name]} and by {where}"
            made[name] = where
        used |= set(step.input_map.values())
    nobody = sorted((used | {tensor.name for tensor in config.output}) - set(made))
    yield from (f"nobody makes the tensor '{name}'" for name in nobody)
    yield from (f"nobody uses the input '{t.name}'" for t in config.input if t.name not in used and not ghosts)
    if stuck := _waiting(config, steps, set(nobody)):
        yield f"{', '.join(stuck)} wait for each other: the steps are a circle"


def _waiting(config: Any, steps: Sequence[Any], given: set[str]) -> list[str]:
    """Steps that never have all of their inputs, where everything ``given`` counts as made."""
    there = given | {tensor.name for tensor in config.input}
    left = list(enumerate(steps, 1))
    while ready := [(i, step) for i, step in left if set(step.input_map.values()) <= there]:
        there |= {name for _, step in ready for name in step.output_map.values()}
        left = [pair for pair in left if pair not in ready]
    return [f"step {i} ({step.model_name})" for i, step in left]


def _type_of(tensor: Any) -> str:
    return str(tensor.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[tensor.data_type].name)


def _fit(one: Sequence[int], other: Sequence[int]) -> bool:
    return len(one) == len(other) and all(a == b or -1 in (a, b) for a, b in zip(one, other, strict=True))


def _shape(shape: Sequence[int | str]) -> str:
    return f"[{', '.join(map(str, shape))}]"
