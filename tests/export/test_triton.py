"""A Triton repository is right, and each kind of fault in one is named. Every graph is a real one."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from nemo_ext import _nemo
from nemo_ext.errors import NemoExtError
from nemo_ext.export.bundle import Bundle, Engine
from nemo_ext.export.ragged import FAULTS as TOLD
from nemo_ext.export.ragged import LENGTHS, PER_TOKEN
from nemo_ext.export.triton import TritonConfig, write_triton
from nemo_ext.export.triton_check import check_repository
from tests.export.test_ragged import alone, run, utterances
from tests.export.toys import Toys, by_the_model


def config(model: Path) -> model_config_pb2.ModelConfig:
    return text_format.Parse((model / "config.pbtxt").read_text(encoding="utf-8"), model_config_pb2.ModelConfig())


@pytest.fixture(scope="module")
def repository(toy_export: Toys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("triton") / "models"
    lines = write_triton(toy_export.bundle, out, TritonConfig(max_batch=4), toy_export.rows.names)
    assert lines == ["Triton: models acoustic, acoustic_speaker, tts, tts_speaker, vocoder"]
    return out


def test_it_is_whole_and_right(toy_export: Toys, repository: Path) -> None:
    assert check_repository(repository) == []
    assert check_repository(repository, toy_export.bundle) == []
    assert not list(repository.parent.glob(".*"))
    told = config(repository / "tts")
    assert {t.name: list(t.dims) for t in told.output}["audio"] == [1, -1]
    assert {t.name for t in told.input} == {port.name for port in toy_export.bundle.graphs["acoustic"].inputs}
    assert config(repository / "vocoder").parameters["hop_length"].string_value == "256"
    acoustic = config(repository / "acoustic")
    assert acoustic.dynamic_batching.max_queue_delay_microseconds == 2000
    assert acoustic.max_batch_size == 4
    assert acoustic.batch_input[0].kind == model_config_pb2.BatchInput.BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO


def test_float32_is_not_computed_in_tf32(toy_export: Toys, repository: Path, tmp_path: Path) -> None:
    """An option of ONNX Runtime's CUDA, on unless it is switched off; durations must come out as they were compared."""
    for name in ("acoustic", "acoustic_speaker", "vocoder"):
        (cuda,) = config(repository / name).optimization.execution_accelerators.gpu_execution_accelerator
        assert (cuda.name, dict(cuda.parameters)) == ("cuda", {"use_tf32": "0"})
    write_triton(toy_export.bundle, tmp_path / "models", TritonConfig(device="cpu"))
    assert not config(tmp_path / "models" / "acoustic").HasField("optimization")


def requests_of(told: model_config_pb2.ModelConfig, feeds: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Each utterance as a client sends it: (1, T), (1, 1) for the speaker, (1, P) for the voice."""
    requests = []
    for i, (first, behind) in enumerate(pairwise(feeds[LENGTHS])):
        parts = {t.name: feeds[t.name][first:behind] if t.allow_ragged_batch else feeds[t.name][i] for t in told.input}
        requests.append({name: np.asarray(part).reshape(1, -1) for name, part in parts.items()})
        for tensor in told.input:
            dims = tuple(n if n > 0 else behind - first for n in tensor.dims)
            assert requests[i][tensor.name].shape[1:] == dims, tensor.name
    return requests


def batched(told: model_config_pb2.ModelConfig, requests: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What Triton makes of ``requests`` by the model's configuration: ragged inputs, reshapes, batch_input."""
    merged = {}
    for tensor in told.input:
        flat = tensor.allow_ragged_batch or tensor.HasField("reshape")
        parts = [request[tensor.name] for request in requests]
        merged[tensor.name] = np.concatenate([part.reshape(-1) if flat else part for part in parts])
    for batch in told.batch_input:
        counts = [request[batch.source_input[0]].size for request in requests]
        merged[batch.target_name[0]] = np.cumsum([0, *counts]).astype(np.int32)
    return merged


@pytest.mark.parametrize("name", ["acoustic", "acoustic_speaker"])
def test_a_batch_as_triton_makes_one_gives_each_request_its_own(toy_export: Toys, repository: Path, name: str) -> None:
    """What Triton does with ragged inputs and a batch_input, done by hand; then the ensemble's second step."""
    dense = {"acoustic": "acoustic", "acoustic_speaker": "acoustic_riva"}[name]
    feeds = utterances(toy_export, dense, [6, 11])
    told = config(repository / name)
    said = run(repository / name / "1" / "model.onnx", batched(told, requests_of(told, feeds)))
    for i in range(2):
        expected = run(toy_export.bundle.path(dense), alone(feeds, i))
        frames = int(expected["num_frames"][0])
        assert said["num_frames"][i] == frames
        assert said["fault"][i] == 0
        assert np.abs(said["spect"][i][:, :frames] - expected["spect"][0]).max() < 1e-5
    audio = run(repository / "vocoder" / "1" / "model.onnx", {"spec": said["spect"]})["audio"]
    assert audio.shape == (2, 1, said["num_frames"].max() * 256)


def test_a_batch_as_triton_makes_one_is_what_the_models_say(toy_export: Toys, repository: Path) -> None:
    """Each request beside the restored models themselves, without a graph."""
    feeds = utterances(toy_export, "acoustic_riva", [6, 11])
    feeds["pitch"][:] = 0.0  # which is added to the predicted one: the model's own interface has no such thing
    told = config(repository / "acoustic_speaker")
    requests = requests_of(told, feeds)
    said = run(repository / "acoustic_speaker" / "1" / "model.onnx", batched(told, requests))
    audio = run(repository / "vocoder" / "1" / "model.onnx", {"spec": said["spect"]})["audio"]
    vocoder = _nemo.restore(toy_export.vocoder).eval()
    for i, request in enumerate(requests):
        expected = by_the_model(toy_export, request)
        frames = int(expected.mel_lens[0])
        assert said["num_frames"][i] == frames
        np.testing.assert_allclose(said["spect"][i, :, :frames], expected.mel[0], atol=1e-4)
        heard = vocoder.decode(torch.from_numpy(said["spect"][i : i + 1]))[0]
        np.testing.assert_allclose(audio[i, 0], heard, atol=1e-4)


def with_value(name: str, value: float) -> Callable[[dict[str, np.ndarray]], object]:
    return lambda request: request[name].__setitem__((0, -1), value)


def of_length(name: str, length: int) -> Callable[[dict[str, np.ndarray]], object]:
    return lambda request: request.update({name: np.resize(request[name], (1, length))})


def empty(request: dict[str, np.ndarray]) -> None:
    request.update({name: request[name][:, :0] for name in request if name in PER_TOKEN})


def endless(request: dict[str, np.ndarray]) -> None:
    request.update({name: np.resize(request[name], (1, 2001)) for name in request if name in PER_TOKEN})


CLIENTS = {
    "pace longer than its text": (of_length("pace", 40), 4),
    "pace shorter than its text": (of_length("pace", 3), 4),
    "no pace": (of_length("pace", 0), 4),
    "volume longer than its text": (of_length("volume", 9), 4),
    "text longer than the rest": (of_length("text", 30), 4),
    "an unknown token": (with_value("text", 10**6), 3),
    "a token below zero": (with_value("text", -1), 3),
    "a pace that is no number": (with_value("pace", np.nan), 1),
    "an infinite pitch": (with_value("pitch", np.inf), 1),
    "no tokens": (empty, 6),
    "a book": (endless, 5),
    "a speaker beyond the table": (with_value("speaker", 6), 2),
    "a speaker below zero": (with_value("speaker", -7), 2),
    "a voice that is no number": (with_value("voice", np.nan), 1),
    "a style that is infinite": (with_value("style", -np.inf), 1),
}


# One layout takes a voice and a style as vectors, the other the number of a speaker.
NOT_ASKED = {"acoustic": ("a speaker",), "acoustic_speaker": ("a voice", "a style")}


@pytest.mark.parametrize(
    ("name", "client"), [(n, c) for n, foreign in NOT_ASKED.items() for c in CLIENTS if not c.startswith(foreign)]
)
def test_a_client_with_a_fault_changes_nothing_for_the_others(
    toy_export: Toys, repository: Path, name: str, client: str
) -> None:
    """Its own answer has no frames and says why; the seven others' are what each says without it."""
    spoil, number = CLIENTS[client]
    told, graph = config(repository / name), repository / name / "1" / "model.onnx"
    feeds = utterances(toy_export, name.replace("speaker", "riva"), [5, 19, 1, 7, 8, 3, 12, 6])
    requests = requests_of(told, feeds)
    spoil(requests[3])
    said = run(graph, batched(told, requests))
    others = run(graph, batched(told, requests[:3] + requests[4:]))
    assert said["num_frames"][3] == 0
    assert not said["spect"][3].any()
    assert said["fault"].tolist() == [0, 0, 0, number, 0, 0, 0, 0]
    assert json.loads(told.parameters["faults"].string_value)[number] == TOLD[number]
    for i, own in enumerate([0, 1, 2, 4, 5, 6, 7]):
        frames = int(others["num_frames"][i])
        assert said["num_frames"][own] == frames > 0
        assert np.abs(said["spect"][own][:, :frames] - others["spect"][i][:, :frames]).max() < 1e-5
        assert np.array_equal(said["durs_predicted"][own][:1], others["durs_predicted"][i][:1])
    alone_with_it = run(graph, batched(told, requests[3:4]))
    assert (alone_with_it["num_frames"].tolist(), alone_with_it["fault"].tolist()) == ([0], [number])


def test_the_same_export_gives_the_same_files(toy_export: Toys, repository: Path, tmp_path: Path) -> None:
    write_triton(toy_export.bundle, tmp_path / "again", TritonConfig(max_batch=4), toy_export.rows.names)
    for path in repository.rglob("*"):
        other = tmp_path / "again" / path.relative_to(repository)
        assert path.is_dir() or path.read_bytes() == other.read_bytes(), path


def test_files_are_the_bundles_own(toy_export: Toys, repository: Path) -> None:
    assert (repository / "vocoder" / "1" / "model.onnx").samefile(toy_export.bundle.path("vocoder"))


def test_the_names_of_sub_voices_are_told(toy_export: Toys, repository: Path) -> None:
    told = config(repository / "acoustic_speaker").parameters["subvoices"].string_value
    assert told == '["ada", "ada.happy", "ada.sad", "ben", "ben.happy", "ben.sad"]'


def edited(model: str, change: Callable[[model_config_pb2.ModelConfig], object]) -> Callable[[Path], None]:
    def edit(repository: Path) -> None:
        path = repository / model / "config.pbtxt"
        told = config(repository / model)
        change(told)
        path.write_text(text_format.MessageToString(told), encoding="utf-8")

    return edit


def step(i: int, told: model_config_pb2.ModelConfig) -> model_config_pb2.ModelEnsembling.Step:
    return told.ensemble_scheduling.step[i]


def circle(told: model_config_pb2.ModelConfig) -> None:
    step(0, told).input_map["pace"] = "loudness"
    told.input.remove(next(t for t in told.input if t.name == "pace"))
    step(1, told).output_map["audio"] = "loudness"
    told.output.remove(next(t for t in told.output if t.name == "audio"))
    again = told.ensemble_scheduling.step.add(model_name="vocoder", model_version=-1)
    again.input_map["spec"] = "spect"
    again.output_map["audio"] = "unheard"


def dims(told: model_config_pb2.ModelConfig, name: str, values: list[int]) -> None:
    tensor = next(t for t in (*told.input, *told.output) if t.name == name)
    tensor.dims[:] = values


def dtype(told: model_config_pb2.ModelConfig, name: str, value: int) -> None:
    next(t for t in (*told.input, *told.output) if t.name == name).data_type = value


FP16, INT64 = model_config_pb2.TYPE_FP16, model_config_pb2.TYPE_INT64
FAULTS = {
    "a ghost step": (
        edited("tts", lambda c: setattr(step(1, c), "model_name", "hifigan")),
        r"tts: step 2 \(hifigan\): there is no model 'hifigan' in the repository",
    ),
    "no step": (edited("tts", lambda c: c.ensemble_scheduling.ClearField("step")), "tts: it has no step"),
    "a type that is not the graph's": (
        edited("vocoder", lambda c: dtype(c, "audio", FP16)),
        "vocoder: output 'audio' is TYPE_FP16, and the graph's is float32",
    ),
    "a type that differs between steps": (
        edited("tts", lambda c: dtype(c, "num_frames", FP16)),
        r"tts: tensor 'num_frames' is TYPE_FP16 in tts and TYPE_INT64 in step 1 \(acoustic\)",
    ),
    "an axis of zero": (
        edited("vocoder", lambda c: dims(c, "spec", [0, -1])),
        "vocoder: input 'spec' has an axis of 0",
    ),
    "an axis of zero in an ensemble": (
        edited("tts", lambda c: dims(c, "audio", [1, 0])),
        "tts: output 'audio' has an axis of 0",
    ),
    "a shape that is not the graph's": (
        edited("vocoder", lambda c: dims(c, "spec", [100, -1])),
        r"vocoder: input 'spec' is \[-1, 100, -1\], and the graph's is \[B, 80, T_mel\]",
    ),
    "a shape that differs between steps": (
        edited("tts", lambda c: dims(c, "voice", [7])),
        r"tts: tensor 'voice' is \[-1, 7\] in tts and \[-1, 32\] in step 1 \(acoustic\)",
    ),
    "an output told narrower than it is": (
        edited("vocoder", lambda c: dims(c, "audio", [1, 256])),
        r"vocoder: output 'audio' is \[-1, 1, 256\], and the graph's is \[B, 1, T_audio\]",
    ),
    "another number of axes": (
        edited("vocoder", lambda c: setattr(c, "max_batch_size", 0)),
        r"vocoder: input 'spec' is \[80, -1\] with its batch, and the graph's is \[B, 80, T_mel\]",
    ),
    "an input that is not mapped": (
        edited("tts", lambda c: step(0, c).input_map.pop("pace")),
        r"tts: step 1 \(acoustic\): its input 'pace' is not mapped",
    ),
    "a name that the model has not": (
        edited("tts", lambda c: step(1, c).input_map.update({"mel": "spect"})),
        r"tts: step 2 \(vocoder\) has no input 'mel', which is mapped to 'spect'",
    ),
    "a tensor that nobody makes": (
        edited("tts", lambda c: step(0, c).output_map.pop("spect")),
        "tts: nobody makes the tensor 'spect'",
    ),
    "an output that nobody makes": (
        edited("tts", lambda c: step(1, c).output_map.pop("audio")),
        "tts: nobody makes the tensor 'audio'",
    ),
    "an input that nobody uses": (
        edited("tts", lambda c: c.input.add(name="loudness", data_type=INT64, dims=[1])),
        "tts: nobody uses the input 'loudness'",
    ),
    "a tensor that is made twice": (
        edited("tts", lambda c: step(1, c).output_map.update({"audio": "spect"})),
        r"tts: tensor 'spect' is made twice: by step 1 \(acoustic\) and by step 2 \(vocoder\)",
    ),
    "a circle": (edited("tts", circle), r"tts: step 1 \(acoustic\), .* wait for each other: the steps are a circle"),
    "a batch larger than a step's": (
        edited("tts", lambda c: setattr(c, "max_batch_size", 9)),
        r"tts: step 1 \(acoustic\) takes 4 at a time, and the ensemble 9",
    ),
    "an input of the graph that is missing": (
        edited("acoustic", lambda c: c.input.remove(next(t for t in c.input if t.name == "voice"))),
        "acoustic: the graph's input 'voice' stands nowhere in config.pbtxt",
    ),
    "an input that the graph has not": (
        edited("vocoder", lambda c: setattr(c.input[0], "name", "mel")),
        "vocoder: the graph has no input 'mel': it has spec",
    ),
    "ragged without offsets": (
        edited("acoustic", lambda c: c.ClearField("batch_input")),
        "acoustic: the graph's input 'batch_lengths' stands nowhere",
    ),
    "offsets of another type": (
        edited("acoustic", lambda c: setattr(c.batch_input[0], "data_type", INT64)),
        "acoustic: batch_input makes 'batch_lengths' as TYPE_INT64, and the graph takes int32",
    ),
    "offsets of nothing": (
        edited("acoustic", lambda c: c.batch_input[0].source_input.__setitem__(0, "words")),
        "acoustic: batch_input counts 'words', which is no input",
    ),
    "a ragged input of a dense graph": (
        edited("vocoder", lambda c: setattr(c.input[0], "allow_ragged_batch", True)),
        r"vocoder: input 'spec' is ragged, and the graph's is \[B, 80, T_mel\]",
    ),
    "a scalar without reshape": (
        edited("acoustic_speaker", lambda c: next(t for t in c.input if t.name == "speaker").ClearField("reshape")),
        r"acoustic_speaker: input 'speaker' is \[-1, 1\] with its batch, and the graph's is \[B\]",
    ),
    "a graph that is not there": (
        lambda folder: (folder / "vocoder" / "1" / "model.onnx").unlink(),
        "vocoder: there is no 1/model.onnx",
    ),
    "a graph that is none": (
        lambda folder: (folder / "vocoder" / "1" / "model.onnx").write_bytes(b"no graph"),
        "vocoder: .*model.onnx is no ONNX graph",
    ),
    "no version": (lambda folder: shutil.rmtree(folder / "tts" / "1"), "tts: there is no version of it"),
    "another name": (
        lambda folder: (folder / "vocoder").rename(folder / "voc"),
        "voc: it calls itself 'vocoder', and its folder is 'voc'",
    ),
    "no configuration": (
        lambda folder: (folder / "vocoder" / "config.pbtxt").unlink(),
        "vocoder: there is no config.pbtxt",
    ),
    "a field that Triton does not know": (
        lambda folder: (folder / "vocoder" / "config.pbtxt").write_text('nam: "vocoder"'),
        "vocoder: config.pbtxt is not in Triton's schema: 1:1 .*nam",
    ),
    "a platform that nobody knows": (
        edited("vocoder", lambda c: setattr(c, "platform", "caffe2_netdef")),
        "vocoder: its platform is 'caffe2_netdef'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(repository: Path, tmp_path: Path, fault: str) -> None:
    broken = tmp_path / "models"
    shutil.copytree(repository, broken)
    assert check_repository(broken) == []
    spoil, named = FAULTS[fault]
    spoil(broken)
    faults = check_repository(broken)
    assert any(re.match(named, found) for found in faults), faults


def test_a_fault_stops_the_export_and_leaves_nothing(toy_export: Toys, tmp_path: Path) -> None:
    bundle = dataclasses.replace(toy_export.bundle, dir=tmp_path / "bundle")
    shutil.copytree(toy_export.bundle.dir, bundle.dir)
    model = onnx.load(bundle.path("vocoder"))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 100  # not what the acoustic model makes
    onnx.save(model, bundle.path("vocoder"))
    with pytest.raises(NemoExtError, match="the Triton repository would be wrong: vocoder: input 'spec' is"):
        write_triton(bundle, tmp_path / "models")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_that_holds_something_else_stays(toy_export: Toys, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(NemoExtError, match="is there already and holds something else"):
        write_triton(toy_export.bundle, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


def test_an_earlier_repository_is_replaced(toy_export: Toys, tmp_path: Path) -> None:
    write_triton(toy_export.bundle, tmp_path / "models", TritonConfig(max_batch=2))
    (tmp_path / "models" / "left").mkdir()
    write_triton(toy_export.bundle, tmp_path / "models", TritonConfig(max_batch=1, device="cpu", instances=3))
    told = config(tmp_path / "models" / "vocoder")
    assert (told.max_batch_size, told.instance_group[0].count) == (1, 3)
    assert told.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU
    assert not told.HasField("dynamic_batching")
    assert not (tmp_path / "models" / "left").exists()
    assert check_repository(tmp_path / "models") == []


def with_engines(toys: Toys, folder: Path, most: int = 6) -> Bundle:
    """The bundle with files that stand for engines: what they hold, only a GPU could tell."""
    bundle = dataclasses.replace(toys.bundle, dir=folder, engines=[])
    shutil.copytree(toys.bundle.dir, folder)
    (folder / "engines").mkdir()
    for graph in ("acoustic", "vocoder"):
        for gpu in ("sm80", "sm90"):
            file = f"engines/{graph}.{gpu}.plan"
            (folder / file).write_bytes(f"{graph} {gpu}".encode())
            profile = {
                port.name: [[n, *port.shape[1:]] for n in (1, 2, most)]  # type: ignore[list-item]
                for port in bundle.graphs[graph].inputs
            }
            hashed = bundle.files[bundle.graphs[graph].file]
            bundle.engines.append(Engine(file, graph, hashed, "tensorrt", "10.16.1.11", gpu, profile))
    (folder / "engines" / "old.plan").write_bytes(b"old")
    small = {"spec": [[1, 80, 1]] * 3}  # an engine that is not served has no say in the size of a batch
    bundle.engines.append(Engine("engines/old.plan", "vocoder", "", "tensorrt", "10.9.0.34", "sm90", small))
    bundle.engines.append(Engine("engines/old.plan", "vocoder", "", "tensorrt_rtx", "1.7.1", "any", {}))
    return bundle


def test_tensorrt_engines_are_taken_by_gpu(toy_export: Toys, tmp_path: Path) -> None:
    bundle = with_engines(toy_export, tmp_path / "bundle")
    lines = write_triton(bundle, tmp_path / "models", TritonConfig(backend="tensorrt"))
    assert "vocoder: TensorRT 10.16.1.11 for sm80, sm90, which Triton's must be as well" in lines
    assert "acoustic_speaker: the bundle has no TensorRT engine for it, so ONNX Runtime runs it" in lines
    told = config(tmp_path / "models" / "vocoder")
    assert told.platform == "tensorrt_plan"
    assert not told.HasField("optimization")  # an engine was built without TF32
    assert told.max_batch_size == 6  # what the engine takes, not what was asked
    assert "vocoder: batches of up to 6, the largest that engines/vocoder.sm80.plan takes" in lines
    assert dict(told.cc_model_filenames) == {"8.0": "model.sm80.plan", "9.0": "model.sm90.plan"}
    assert (tmp_path / "models" / "vocoder" / "1" / "model.sm90.plan").read_bytes() == b"vocoder sm90"
    dense = config(tmp_path / "models" / "acoustic")
    assert not any(tensor.allow_ragged_batch for tensor in dense.input)
    assert config(tmp_path / "models" / "acoustic_speaker").platform == "onnxruntime_onnx"
    assert check_repository(tmp_path / "models", bundle) == []


def test_engines_are_compared_with_their_graphs(toy_export: Toys, tmp_path: Path) -> None:
    bundle = with_engines(toy_export, tmp_path / "bundle")
    write_triton(bundle, tmp_path / "models", TritonConfig(backend="tensorrt"))
    edited("vocoder", lambda c: dims(c, "spec", [100, -1]))(tmp_path / "models")
    edited("acoustic", lambda c: setattr(c, "max_batch_size", 7))(tmp_path / "models")
    faults = check_repository(tmp_path / "models", bundle)
    assert "vocoder: input 'spec' is [-1, 100, -1], and the graph's is [B, 80, T_mel]" in faults
    assert "acoustic: max_batch_size is 7, and engines/acoustic.sm80.plan takes 6 at most ('text')" in faults
    (tmp_path / "models" / "vocoder" / "1" / "model.sm80.plan").unlink()
    assert "vocoder: there is no 1/model.sm80.plan" in check_repository(tmp_path / "models")


def test_without_the_schema_the_export_says_so(
    toy_export: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", None)
    lines = write_triton(toy_export.bundle, tmp_path / "models")
    assert lines[-1] == (
        "Triton: the repository was not checked: Triton's schema comes with tritonclient: "
        "pip install 'nemo_ext[triton]'"
    )
    with pytest.raises(NemoExtError, match=r"nemo_ext\[triton\]"):
        check_repository(tmp_path / "models")


def test_options_that_cannot_be_are_refused(toy_export: Toys, tmp_path: Path) -> None:
    with pytest.raises(NemoExtError, match="max_batch and instances are 1 at least"):
        write_triton(toy_export.bundle, tmp_path / "models", TritonConfig(max_batch=0))
    with pytest.raises(NemoExtError, match=r"an engine runs on a GPU only; give triton\.device=auto"):
        write_triton(toy_export.bundle, tmp_path / "models", TritonConfig(backend="tensorrt", device="cpu"))
    empty = dataclasses.replace(toy_export.bundle, graphs={"vocoder": toy_export.bundle.graphs["vocoder"]})
    with pytest.raises(NemoExtError, match="has no acoustic graph"):
        write_triton(empty, tmp_path / "models")
    with pytest.raises(NemoExtError, match="is no folder"):
        check_repository(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    assert check_repository(tmp_path / "bare") == [f"{tmp_path / 'bare'} holds no models"]


def test_onnx_runtime_reads_every_model(repository: Path) -> None:
    for path in repository.glob("*/1/model.onnx"):
        ort.InferenceSession(path, providers=["CPUExecutionProvider"])
