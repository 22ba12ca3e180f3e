"""ONNX Runtime and OpenVINO behind one protocol: the same numbers, the same errors, and the choice between them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nemo_ext.errors import NemoExtError
from nemo_ext.runtime import choose, openvino
from nemo_ext.runtime.onnxruntime import OnnxSession
from nemo_ext.runtime.openvino import OpenVinoSession
from nemo_ext.runtime.session import EngineFile, Port, Session

KINDS = {"onnxruntime": OnnxSession, "openvino": OpenVinoSession}


def write_graph(path: Path, half: bool = False, outside: bool = False) -> Path:
    """``(numbers + 1) @ weight`` with free B and T, and the sum of int64 ``counts (B, T)``; ``half``: in float16."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).normal(size=(4, 600)).astype(np.float16 if half else np.float32)
    cast = ["numbers"]
    nodes = []
    if half:
        nodes.append(helper.make_node("Cast", ["numbers"], ["halves"], to=TensorProto.FLOAT16))
        cast = ["halves"]
    nodes += [helper.make_node("MatMul", [*cast, "weight"], ["product"])]
    nodes += [helper.make_node("Cast", ["product"], ["result"], to=TensorProto.FLOAT)]
    nodes += [helper.make_node("ReduceSum", ["counts", "axis"], ["total"], keepdims=0)]
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["B", "T", 4]),
            helper.make_tensor_value_info("counts", TensorProto.INT64, ["B", "T"]),
        ],
        [
            helper.make_tensor_value_info("result", TensorProto.FLOAT, ["B", "T", 600]),
            helper.make_tensor_value_info("total", TensorProto.INT64, ["B"]),
        ],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.array([1], np.int64), "axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(path), save_as_external_data=outside, location=f"{path.name}.data", size_threshold=100)
    assert (path.parent / f"{path.name}.data").is_file() == outside
    return path


def feeds(batch: int = 2, length: int = 3) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    numbers = generator.normal(size=(batch, length, 4)).astype(np.float32)
    return {"numbers": numbers, "counts": generator.integers(0, 9, (batch, length))}


@pytest.fixture(params=KINDS)
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Session:
    found: Session = KINDS[request.param](write_graph(tmp_path / "small.onnx"), threads=1)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("half", [False, True])
def test_the_numbers_are_right(kind: str, half: bool, outside: bool, tmp_path: Path) -> None:
    made: Any = KINDS[kind](write_graph(tmp_path / "small.onnx", half, outside), threads=1)
    weight = np.random.default_rng(0).normal(size=(4, 600))
    for batch, length in ((2, 3), (1, 1), (3, 40)):
        given = feeds(batch, length)
        said = made.run(given)
        assert list(said) == ["result", "total"]
        np.testing.assert_allclose(said["result"], given["numbers"] @ weight, atol=0.02 if half else 1e-5)
        assert said["result"].dtype == np.float32
        np.testing.assert_array_equal(said["total"], given["counts"].sum(1))


def test_ports_are_told_and_outputs_chosen(session: Session) -> None:
    names = [(port.name, port.dtype, len(port.shape)) for port in session.inputs]
    assert names == [("numbers", "float32", 3), ("counts", "int64", 2)]
    assert session.inputs[0].shape[2] == 4
    assert [port.name for port in session.outputs] == ["result", "total"]
    assert list(session.run(feeds(), ["total"])) == ["total"]
    assert session.backend.startswith(("ONNX Runtime 1", "OpenVINO 20"))


def test_results_are_the_callers_own(session: Session) -> None:
    first = session.run(feeds())["result"]
    kept = first.copy()
    session.run({name: value * 0 for name, value in feeds().items()})
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"counts": None}, "the input 'counts' is missing: give counts int64"),
        ({"numbres": np.zeros(3)}, "has no input 'numbres'; did you mean 'numbers'?"),
        ({"counts": np.zeros((2, 3), np.int32)}, "the input 'counts' is int32, and the graph takes int64"),
        ({"counts": [[1, 2, 3]]}, "the input 'counts' is list, and the graph takes int64"),
        ({"numbers": np.zeros((2, 3), np.float32)}, "the input 'numbers' has shape (2, 3): give numbers float32"),
        ({"numbers": np.zeros((2, 3, 5), np.float32)}, "the input 'numbers' has shape (2, 3, 5): give numbers"),
    ],
)
def test_wrong_feeds_are_one_line_that_names_the_input(session: Session, change: dict[str, Any], said: str) -> None:
    given = {name: value for name, value in (feeds() | change).items() if value is not None}
    with pytest.raises(NemoExtError) as caught:
        session.run(given)
    assert "\n" not in str(caught.value)
    assert said in str(caught.value)
    assert "small.onnx" in str(caught.value)


INPUTS = (Port("numbers", "float32", ("B", "T", 4)), Port("counts", "int64", ("B", "T")))
OUTPUTS = (Port("result", "float32", ("B", "T", 600)), Port("total", "int64", ("B",)))


@pytest.mark.parametrize("backend", KINDS)
def test_lengths_that_do_not_agree_are_named(backend: str, tmp_path: Path) -> None:
    path = write_graph(tmp_path / "small.onnx")
    session = choose.open_session(path, backend, 1, inputs=INPUTS, outputs=OUTPUTS)
    assert (tuple(session.inputs), tuple(session.outputs)) == (INPUTS, OUTPUTS)
    given = feeds() | {"counts": np.zeros((2, 4), np.int64)}
    with pytest.raises(NemoExtError, match=r"'counts' has shape \(2, 4\), so T is 4, and of 'numbers' it is 3"):
        session.run(given)


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        (INPUTS[:1], "counts"),
        ((*INPUTS, Port("more", "int64", ("B",))), "more"),
        ((INPUTS[0], Port("counts", "float32", ("B", "T"))), "counts"),
        ((Port("numbers", "float32", ("B", "T", 5)), INPUTS[1]), "numbers"),
    ],
)
def test_a_graph_with_other_inputs_than_the_index_tells_is_refused(
    inputs: tuple[Port, ...], named: str, tmp_path: Path
) -> None:
    path = write_graph(tmp_path / "small.onnx")
    with pytest.raises(NemoExtError, match=rf"small\.onnx belongs to another graph \({named}\): export"):
        OpenVinoSession(path, 1, inputs=inputs)


def test_an_unknown_output_is_refused(session: Session) -> None:
    with pytest.raises(NemoExtError, match="has no output 'totals'; did you mean 'total'"):
        session.run(feeds(), ["totals"])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_graph_is_refused(kind: str, tmp_path: Path) -> None:
    made: Any = KINDS[kind]
    with pytest.raises(NemoExtError, match="no graph at"):
        made(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    with pytest.raises(NemoExtError, match=r"bad\.onnx cannot be read by O") as caught:
        made(tmp_path / "bad.onnx")
    assert "\n" not in str(caught.value)


def test_a_fixed_shape_takes_no_other(tmp_path: Path) -> None:
    shapes = {"numbers": (1, 5, 4), "counts": (1, 5)}
    fixed = OpenVinoSession(write_graph(tmp_path / "small.onnx"), 1, shapes=shapes)
    assert fixed.inputs == [Port("numbers", "float32", (1, 5, 4)), Port("counts", "int64", (1, 5))]
    free = OpenVinoSession(tmp_path / "small.onnx", 1)
    np.testing.assert_allclose(fixed.run(feeds(1, 5))["result"], free.run(feeds(1, 5))["result"], atol=1e-6)
    with pytest.raises(NemoExtError, match=r"'numbers' has shape \(1, 6, 4\): give numbers float32 \(1, 5, 4\)"):
        fixed.run(feeds(1, 6))


@pytest.mark.parametrize(
    ("package", "kind", "extra"), [("onnxruntime", OnnxSession, "onnx"), ("openvino", OpenVinoSession, "openvino")]
)
def test_a_missing_package_names_its_extra(
    package: str, kind: Any, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NemoExtError, match=rf"is not installed: pip install 'nemo_ext\[{extra}\]'"):
        kind(tmp_path / "small.onnx")


@pytest.mark.parametrize(
    ("gpu", "cuda", "there", "engine", "chosen"),
    [
        (True, True, True, True, "tensorrt"),
        (True, True, True, False, "cuda"),
        (True, False, True, False, "openvino"),
        (False, True, True, True, "openvino"),
        (False, False, False, False, "onnxruntime"),
    ],
)
def test_the_order(
    gpu: bool, cuda: bool, there: bool, engine: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "gpu_present", lambda: gpu)
    monkeypatch.setattr(choose.onnxruntime, "cuda_available", lambda: cuda)
    monkeypatch.setattr(choose.openvino, "installed", lambda: there)
    engines = [EngineFile(Path("a.engine"))] if engine else []
    assert choose.choose("auto", engines) == chosen
    assert choose.choose("onnxruntime", engines) == "onnxruntime"


def test_an_engine_that_cannot_run_here_is_passed_over_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(choose, "gpu_present", lambda: True)
    path, engine = write_graph(tmp_path / "small.onnx"), tmp_path / "small-tensorrt_rtx-0.1-sm00.engine"
    engine.write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        made = choose.open_session(path, engines=[EngineFile(engine)])
    assert made.backend.startswith(("OpenVINO", "ONNX Runtime"))
    assert "small-tensorrt_rtx-0.1-sm00.engine is not used: " in caplog.text
    with pytest.raises(NemoExtError):
        choose.open_session(path, "tensorrt", engines=[EngineFile(engine)])
    with pytest.raises(NemoExtError, match=r"no engine for small\.onnx here"):
        choose.open_session(path, "tensorrt")


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider'")
def test_a_cuda_that_does_not_start_is_passed_over_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """ONNX Runtime lists CUDA for a build that has it, and falls back in silence where its libraries are missing."""
    import onnxruntime

    path = write_graph(tmp_path / "small.onnx")
    monkeypatch.setattr(choose, "gpu_present", lambda: True)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "cuda_version", "13.0")
    with pytest.raises(NemoExtError, match=r"could not start CUDA here: it wants CUDA 13\.0 and cuDNN 9"):
        choose.open_session(path, "cuda", 1)
    with caplog.at_level(logging.WARNING):
        made = choose.open_session(path, "auto", 1)
    assert made.backend.endswith(("CPU", "CPU, fp32"))
    assert "small.onnx is run on the processor: ONNX Runtime" in caplog.text
    assert made.run(feeds())["result"].shape == (2, 3, 600)


def test_bf16_is_for_processors_that_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_graph(tmp_path / "small.onnx")
    monkeypatch.setattr(openvino, "has_bf16", lambda: False)
    assert choose.open_session(path, "openvino", 1, precision="bf16").backend.endswith("fp32")
    with pytest.raises(NemoExtError, match="this processor has neither AMX nor AVX-512 BF16"):
        OpenVinoSession(path, precision="bf16")
    monkeypatch.setattr(openvino, "has_bf16", lambda: True)
    assert choose.open_session(path, "openvino", 1, precision="bf16").backend.endswith("bf16")
    assert choose.open_session(path, "openvino", 1).backend.endswith("fp32")


def test_an_unknown_backend_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NemoExtError, match=r"backend=openvine is not one of auto, .*did you mean 'openvino'"):
        choose.open_session(tmp_path / "small.onnx", "openvine")


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_reports_nothing_and_writes_nothing_under_home(tmp_path: Path, kind: str) -> None:
    path, home = write_graph(tmp_path / "small.onnx"), tmp_path / "home"
    home.mkdir()
    script = f"""
from pathlib import Path
from nemo_ext.runtime.choose import open_session
from tests.runtime.test_sessions import feeds
print(open_session(Path({str(path)!r}), {kind!r}).run(feeds())["result"].shape)
"""
    kept = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
    changed = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=kept | changed, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "(2, 3, 600)\n"), done.stderr[-2000:]
    assert list(home.iterdir()) == []


def test_signals_still_come_after_openvino_sessions_have_gone(tmp_path: Path) -> None:
    """In any order. Python's handlers run on the stack that faulthandler gave; OpenVINO's cores replace it."""
    path = write_graph(tmp_path / "small.onnx")
    script = f"""
import faulthandler, gc, os, signal
from pathlib import Path
from nemo_ext.runtime.openvino import OpenVinoSession
faulthandler.enable()
heard = []
signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
first, second = (OpenVinoSession(Path({str(path)!r})) for _ in range(2))
del first
gc.collect()
del second
gc.collect()
filled = [bytes(size) for size in range(0, 1 << 15, 64)]  # memory that was given back is used for something else
os.kill(os.getpid(), signal.SIGUSR1)
print("heard", len(heard))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "heard 1\n"), done.stderr[-2000:]
