"""A model repository for NVIDIA Triton: the bundle's graphs as models, and an ensemble that goes from text to audio.

    acoustic/config.pbtxt, acoustic/1/model.onnx     ragged: texts of any lengths in one batch, no padding
    vocoder/config.pbtxt,  vocoder/1/model.onnx      or model.plan, a TensorRT engine
    tts/config.pbtxt,      tts/1/                    the ensemble: acoustic, then vocoder

and, where the bundle has a graph of the Riva layout, ``acoustic_speaker`` and ``tts_speaker``, which take a number
instead of a voice vector.

**Batches.** Triton puts requests together whose inputs have equal shapes, and texts seldom have. The ragged form of the
acoustic graph (export/ragged.py) takes texts one after the other, and Triton tells it where each begins
(``batch_input``), so that any requests go together. A request is one text: the ensemble's ``max_batch_size`` is 1, and
those of its models are the number of requests in a batch. Outputs are as long as the longest of the batch:
``num_frames`` tells which part is a request's own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemo_ext.config import option
from nemo_ext.errors import NemoExtError
from nemo_ext.export import triton_check
from nemo_ext.export.bundle import Bundle, Graph
from nemo_ext.export.files import link_or_copy, whole_folder
from nemo_ext.export.pbtxt import Word, pbtxt
from nemo_ext.export.ragged import FAULTS, PER_TOKEN, offsets_of, write_ragged
from nemo_ext.export.text_assets import read_text
from nemo_ext.runtime.session import Port

MARK = "tts/config.pbtxt"
DTYPES = {"float32": "TYPE_FP32", "int64": "TYPE_INT64", "int32": "TYPE_INT32", "float16": "TYPE_FP16"}
_VOCODER_INPUT, _SPECT, _AUDIO = "spec", "spect", "audio"
# ONNX Runtime's CUDA computes float32 in TF32 unless it is told not to, which turns durations. Triton hands an
# accelerator's parameters to it (onnxruntime_backend, src/onnxruntime.cc); instances on the processor do not read them.
_CUDA = {"name": "cuda", "parameters": [{"key": "use_tf32", "value": "0"}]}
_EXACT = {"execution_accelerators": {"gpu_execution_accelerator": [_CUDA]}}


@dataclass
class TritonConfig:
    """How Triton runs the models."""

    backend: str = option(
        "onnxruntime",
        "tensorrt takes the bundle's TensorRT engines, and ONNX Runtime for graphs that have none",
        choices=("onnxruntime", "tensorrt"),
    )
    max_batch: int = option(8, "most requests in a batch; 1: every request alone")
    wait: int = option(2000, "how long a request waits for others", unit="microseconds")
    instances: int = option(1, "copies of each model that run at a time")
    device: str = option("auto", "where models run", choices=("auto", "gpu", "cpu"))


def check_options(cfg: TritonConfig) -> None:
    """
    Raises:
        NemoExtError: options that cannot be meant, or not together.
    """
    if cfg.max_batch < 1 or cfg.instances < 1 or cfg.wait < 0:
        raise NemoExtError("triton: max_batch and instances are 1 at least, and wait is 0 at least")
    if cfg.backend == "tensorrt" and cfg.device == "cpu":
        raise NemoExtError(
            "triton.backend=tensorrt and triton.device=cpu: an engine runs on a GPU only; give triton.device=auto, or "
            "triton.backend=onnxruntime"
        )


def write_triton(
    bundle: Bundle, out: Path, cfg: TritonConfig | None = None, subvoices: Sequence[str] = ()
) -> list[str]:
    """Write the repository ``out``; a repository of an earlier export is replaced when all is done and right.

    Args:
        bundle: with the graph ``vocoder`` and an acoustic graph of the open layout, of the Riva layout, or both.
        out: folder; its files are the bundle's own under a second name where the disk allows it.
        cfg: how Triton runs them.
        subvoices: names of the rows in the graph of the Riva layout, told in its configuration.

    Returns:
        lines for a person: what was made, and what was not checked.

    Raises:
        NemoExtError: ``check_options`` refuses ``cfg``, the bundle lacks a graph, ``check_repository`` finds a fault,
            or the disk is full.
    """
    cfg = cfg or TritonConfig()
    check_options(cfg)
    bundle.path("vocoder")
    acoustics = {
        ("acoustic_speaker", "tts_speaker") if _takes(graph, "speaker") else ("acoustic", "tts"): name
        for name, graph in bundle.graphs.items()
        if _takes(graph, "text")
    }
    if not acoustics:
        raise NemoExtError(f"{bundle.dir} has no acoustic graph: export the bundle again")
    lines: list[str] = []
    with whole_folder(out, MARK if ("acoustic", "tts") in acoustics else "tts_speaker/config.pbtxt") as folder:
        vocoder = _model(bundle, folder, "vocoder", "vocoder", cfg, {}, lines)
        for (model, ensemble), graph in acoustics.items():
            about = {"subvoices": json.dumps(list(subvoices))} if model == "acoustic_speaker" and subvoices else {}
            ports = _model(bundle, folder, model, graph, cfg, about, lines)
            _ensemble(folder, ensemble, model, ports, vocoder, _about(bundle))
        try:
            faults = triton_check.check_repository(folder, bundle)
        except triton_check.SchemaMissing as error:
            faults = []
            lines.append(f"Triton: the repository was not checked: {error}")
        if faults:
            raise NemoExtError(f"the Triton repository would be wrong: {'; '.join(faults)}")
    made = ", ".join(sorted(path.name for path in out.iterdir()))
    return [f"Triton: models {made}", *lines]


@dataclass(frozen=True)
class _Tensor:
    """An input or output as Triton's client sees it, without the batch."""

    name: str
    dtype: str
    dims: tuple[int, ...]
    ragged: bool = False

    def to_config(self, reshaped: bool = True) -> dict[str, Any]:
        # Triton knows no tensor that is a batch and nothing else: a client sees (B, 1), the graph (B,)
        scalar = reshaped and not self.dims
        told: dict[str, Any] = {"name": self.name, "data_type": Word(self.dtype), "dims": list(self.dims) or [1]}
        return {
            **told,
            **({"reshape": {"shape": []}} if scalar else {}),
            **({"allow_ragged_batch": True} if self.ragged else {}),
        }


_Ports = tuple[list[_Tensor], list[_Tensor]]


def _model(
    bundle: Bundle, folder: Path, name: str, graph: str, cfg: TritonConfig, about: dict[str, str], lines: list[str]
) -> _Ports:
    """The folder of one model, with its graph or engines."""
    told, version = bundle.graphs[graph], folder / name / "1"
    version.mkdir(parents=True)
    engines = triton_check.engines(bundle, graph) if cfg.backend == "tensorrt" else []
    config: dict[str, Any] = {"name": name}
    most = cfg.max_batch
    ragged = False
    if engines:
        config["platform"] = "tensorrt_plan"
        largest = {engine.file: min(shapes[2][0] for shapes in engine.profile.values()) for engine in engines}
        smallest = min(largest, key=lambda file: largest[file])
        if largest[smallest] < most:
            most = largest[smallest]
            lines.append(f"{name}: batches of up to {most}, the largest that {smallest} takes")
        for engine in engines:
            file = "model.plan" if engine.gpu == "any" or len(engines) == 1 else f"model.{engine.gpu}.plan"
            link_or_copy(bundle.dir / engine.file, version / file)
        config["default_model_filename"] = sorted(path.name for path in version.iterdir())[0]
        if len(engines) > 1:
            named = {e.gpu.removeprefix("sm"): f"model.{e.gpu}.plan" for e in engines if e.gpu != "any"}
            config["cc_model_filenames"] = [
                {"key": f"{sm[:-1]}.{sm[-1]}", "value": file} for sm, file in sorted(named.items())
            ]
        alone = "; only texts of equal length share a batch" if _takes(told, "text") else ""
        gpus = ", ".join(engine.gpu for engine in engines)
        lines.append(f"{name}: TensorRT {engines[0].version} for {gpus}, which Triton's must be as well{alone}")
    else:
        if cfg.backend == "tensorrt":
            lines.append(f"{name}: the bundle has no TensorRT engine for it, so ONNX Runtime runs it")
        config["platform"], config["default_model_filename"] = "onnxruntime_onnx", "model.onnx"
        ragged = _takes(told, "text")
        told = _graph_file(bundle, graph, version / "model.onnx", ragged)
    inputs, outputs = ([_tensor(port, ragged) for port in ports] for ports in (told.inputs, told.outputs))
    per_token = [tensor.name for tensor in inputs if tensor.ragged]
    made = [offsets_of(name) for name in per_token]
    inputs = [tensor for tensor in inputs if tensor.name not in made]
    config |= {
        "max_batch_size": most,
        "input": [tensor.to_config() for tensor in inputs],
        "output": [tensor.to_config() for tensor in outputs],
    }
    if ragged:
        config["batch_input"] = [
            {
                "kind": Word("BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO"),
                "target_name": [offsets_of(name)],
                "data_type": Word("TYPE_INT32"),
                "source_input": [name],
            }
            for name in per_token  # each its own: nobody but the graph compares how long a client's inputs are
        ]
    if most > 1:
        config["dynamic_batching"] = {"max_queue_delay_microseconds": cfg.wait}
    config["instance_group"] = [{"count": cfg.instances, "kind": Word(f"KIND_{cfg.device.upper()}")}]
    if not engines and cfg.device != "cpu":
        config["optimization"] = _EXACT
    if ragged:
        about = {**about, "faults": json.dumps(list(FAULTS))}
    config["parameters"] = _parameters({**_about(bundle), **about, "graph": graph})
    (folder / name / "config.pbtxt").write_text(pbtxt(config), encoding="utf-8")
    return inputs, outputs


def _ensemble(folder: Path, name: str, acoustic: str, ports: _Ports, vocoder: _Ports, about: dict[str, str]) -> None:
    """Acoustic model, then vocoder; every output but the mel, and the audio."""
    inputs, outputs = ports
    kept = [tensor for tensor in outputs if tensor.name != _SPECT]
    audio = next(tensor for tensor in vocoder[1] if tensor.name == _AUDIO)
    steps = [
        {
            "model_name": acoustic,
            "model_version": -1,
            "input_map": [{"key": tensor.name, "value": tensor.name} for tensor in inputs],
            "output_map": [{"key": tensor.name, "value": tensor.name} for tensor in outputs],
        },
        {
            "model_name": "vocoder",
            "model_version": -1,
            "input_map": [{"key": _VOCODER_INPUT, "value": _SPECT}],
            "output_map": [{"key": _AUDIO, "value": _AUDIO}],
        },
    ]
    plain = [_Tensor(tensor.name, tensor.dtype, tensor.dims) for tensor in inputs]
    config = {
        "name": name,
        "platform": "ensemble",
        "max_batch_size": 1,
        "input": [tensor.to_config(reshaped=False) for tensor in plain],
        "output": [tensor.to_config(reshaped=False) for tensor in (audio, *kept)],
        "ensemble_scheduling": {"step": steps},
        "parameters": _parameters(about),
    }
    # Triton wants a version, and an ensemble has no file; a folder without one is lost where only files are kept
    (folder / name / "1").mkdir(parents=True)
    (folder / name / "1" / ".keep").touch()
    (folder / name / "config.pbtxt").write_text(pbtxt(config), encoding="utf-8")


def _takes(graph: Graph, name: str) -> bool:
    return any(port.name == name for port in graph.inputs)


def _tensor(port: Port, ragged: bool) -> _Tensor:
    dims = tuple(n if isinstance(n, int) else -1 for n in port.shape[1:])
    if ragged and port.name in PER_TOKEN:
        return _Tensor(port.name, DTYPES[port.dtype], (-1,), ragged=True)
    return _Tensor(port.name, DTYPES[port.dtype], dims)


def _graph_file(bundle: Bundle, name: str, target: Path, ragged: bool) -> Graph:
    """The graph ``name`` at ``target``, ragged or as it is."""
    graph, source = bundle.graphs[name], bundle.path(name)
    if ragged:
        table = read_text(bundle.dir).table
        return write_ragged(
            source, target, graph.precision, pad=table.pad, blank=table.space, symbols=len(table), strangers=True
        )
    link_or_copy(source, target)
    for file in graph.external:  # under its own name, which stands in the graph
        shutil.copyfile(bundle.dir / file, target.parent / file)
    return graph


def _about(bundle: Bundle) -> dict[str, str]:
    """What a client has to know, which it reads with the model's configuration."""
    return {
        "sample_rate": str(bundle.mel.sample_rate),
        "hop_length": str(bundle.mel.hop_length),
        "base": bundle.name,
        "base_hash": bundle.base_hash,
        "layout_hash": bundle.layout.hash,
    }


def _parameters(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"string_value": value}} for key, value in values.items()]
