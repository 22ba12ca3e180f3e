"""What a bundle is compared on: within an engine's profile, on a pretended GPU (tests/runtime/fake_gpu.py)."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

from nemo_ext import _nemo
from nemo_ext.errors import NemoExtError
from nemo_ext.export import cases, compare
from nemo_ext.export.bundle import Bundle, Engine
from nemo_ext.export.cases import Case, fitted
from nemo_ext.export.ragged import write_ragged
from nemo_ext.export.riva import write_riva
from nemo_ext.export.tensorrt import ProfileConfig, shapes
from nemo_ext.export.triton import write_triton
from nemo_ext.runtime import cuda
from nemo_ext.runtime.session import Port
from tests import bindings
from tests.export.toys import Toys
from tests.runtime import fake_gpu

VERSION = "11.4.0.106"
TEXT = [Port("text", "int64", ("B", "T_text")), Port("voice", "float32", ("B", 6))]


def profile(batch: list[int], text: list[int]) -> dict[str, list[list[int]]]:
    return shapes(ProfileConfig(batch=batch, text=text), TEXT, "acoustic.onnx")


def test_cases_are_cut_to_the_profile_and_its_own_shapes_are_cases() -> None:
    kept, left = fitted(cases.CASES, TEXT, profile([1, 2, 4], [5, 80, 300]))
    assert {case.name: case.lens for case in kept} == {
        "shortest, cut to 1 of 5": (5,),
        "usual": (60,),
        "longest, cut to 1 of 300": (300,),
        "over 2,048 frames": (60,),
        "eight, cut to 4 of 60": (60, 53, 46, 39),
        "eight, tokens without a frame, cut to 4 of 60": (60, 53, 46, 39),
        "usual shape of the profile": (80, 80),
        "largest shape of the profile": (300,) * 4,
    }
    assert left == {"least shape of the profile": "within the profile it is the case 'shortest, cut to 1 of 5'"}
    assert [case.frames for case in kept if case.name.startswith("over")] == [cases.MANY_FRAMES]


def test_a_profile_of_one_shape_leaves_one_case() -> None:
    kept, left = fitted([Case("usual", (60,)), Case("many", (9, 7, 5))], TEXT, profile([2, 2, 2], [70, 70, 70]))
    assert kept == [Case("usual, cut to 2 of 70", (70, 70))]
    assert list(left) == ["many", *(f"{n} shape of the profile" for n in ("least", "usual", "largest"))]


@pytest.fixture(scope="module")
def models(toy_export: Toys) -> tuple[Any, Any]:
    return _nemo.restore(toy_export.acoustic), _nemo.restore(toy_export.vocoder)


@pytest.fixture
def copied(toy_export: Toys, tmp_path: Path) -> Bundle:
    """The toy bundle, with engines still to be put in."""
    folder = Path(shutil.copytree(toy_export.bundle.dir, tmp_path / "bundle"))
    (folder / "engines").mkdir()
    return dataclasses.replace(toy_export.bundle, dir=folder, engines=[])


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_gpu.FakeRuntime]:
    api = fake_gpu.FakeRuntime()
    monkeypatch.setitem(sys.modules, "tensorrt", fake_gpu.library(bindings.Names(VERSION), api))
    monkeypatch.setattr(cuda, "bindings", lambda: api)
    monkeypatch.setattr(compare, "gpu_present", lambda: True)
    cuda.shared.cache_clear()
    yield api
    cuda.shared.cache_clear()


def engine(bundle: Bundle, graph: str, profiles: ProfileConfig, kind: str = "sm89") -> Engine:
    """What stands in for an engine that was built for ``graph``."""
    library = "tensorrt_rtx" if kind == "any" else "tensorrt"
    taken = shapes(profiles, bundle.graphs[graph].inputs, graph)
    name = f"engines/{graph}-{library}-{'.'.join(VERSION.split('.')[:3])}-{kind}.engine"
    fake_gpu.engine(bundle.path(graph), taken, bundle.dir / name)
    hashed = bundle.files[bundle.graphs[graph].file]
    return Engine(name, graph, hashed, library, VERSION, kind, taken)


def compared(bundle: Bundle, toys: Toys, models: tuple[Any, Any]) -> dict[str, Any]:
    """parity.json."""
    compare.compare(*models, bundle, toys.voices, "fp32", toys.rows)
    found: dict[str, Any] = json.loads((bundle.dir / "parity.json").read_text())
    return found


def test_an_engine_of_a_small_profile_is_compared_within_it(
    toy_export: Toys, models: Any, copied: Bundle, gpu: fake_gpu.FakeRuntime
) -> None:
    profiles = ProfileConfig(batch=[1, 2, 3], text=[2, 20, 30], frames=[20, 40, 50])
    elsewhere = engine(copied, "vocoder", profiles, "sm80")  # of an earlier export
    copied.engines = [elsewhere, *(engine(copied, name, profiles) for name in copied.graphs)]
    told = compared(copied, toy_export, models)
    rows = {(row["graph"], row["case"]): row for row in told["rows"] if row["backend"].startswith("TensorRT")}
    assert ("acoustic", "usual, cut to 1 of 30") in rows  # and so is the longest
    assert rows["acoustic", "over 2,048 frames, cut to 1 of 30"]["frames"] > 2048
    assert ("acoustic_riva", "usual shape of the profile") in rows
    assert {case for graph, case in rows if graph == "vocoder"} == {
        "1 of 30 frames",
        "1 of 50 frames",
        "3 of 50 frames",
        "1 of 20 frames",
        "2 of 40 frames",
    }
    assert not any(row["faults"] for row in told["rows"])
    assert told["not_compared"][0] == {
        "graph": "vocoder",
        "file": elsewhere.file,
        "case": "",
        "reason": "it is for sm80, and this GPU is sm89",
    }
    assert {"graph": "vocoder", "file": copied.engines[3].file, "case": "largest shape of the profile"} == {
        key: value for key, value in told["not_compared"][-1].items() if key != "reason"
    }
    assert all(row["backend"].startswith("ONNX Runtime") for row in told["rows"] if row["case"] == "longest")
    assert not gpu.memory  # it was given back, engine after engine


def test_ragged_graphs_are_compared_with_the_dense_ones(toy_export: Toys, models: Any, copied: Bundle) -> None:
    write_triton(copied, copied.dir / "triton", subvoices=toy_export.rows.names)
    about = {"acoustic": toy_export.acoustic, "vocoder": toy_export.vocoder}
    write_riva(copied, copied.dir / "riva", toy_export.voices, **about)
    told = compared(copied, toy_export, models)
    rows = {row["graph"]: row for row in told["rows"] if row["against"] == "the dense graph"}
    assert set(rows) == {
        "triton/acoustic/1/model.onnx",
        "triton/acoustic_speaker/1/model.onnx",
        "riva/fastpitch/model_graph.onnx",
    }
    assert all(row["worst"] < 1e-4 and row["frames"] > 0 and not row["faults"] for row in rows.values())


@pytest.mark.parametrize("speakers", [6, 1])
def test_a_ragged_graph_of_another_model_is_told(
    toy_export: Toys, models: Any, copied: Bundle, monkeypatch: pytest.MonkeyPatch, speakers: int
) -> None:
    """Riva gives a single voice no number, so its graph has no input for one."""
    for name in ("CASES", "RIVA_CASES", "MELS"):
        monkeypatch.setattr(cases, name, getattr(cases, name)[:1])
    dense, out = copied.path("acoustic_riva"), copied.dir / "riva/fastpitch/model_graph.onnx"
    out.parent.mkdir(parents=True)
    write_ragged(dense, out, "fp32", pad=0, blank=1, speaker=speakers > 1)
    rows = dataclasses.replace(toy_export.rows, rows=toy_export.rows.rows[:speakers])
    compare.compare(*models, copied, toy_export.voices, "fp32", rows)
    model = onnx.load(out)
    weight = next(t for t in model.graph.initializer if t.name == "voices")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.1, "voices"))
    onnx.save(model, out)
    with pytest.raises(NemoExtError, match=r"riva/fastpitch/model_graph\.onnx on ONNX Runtime.*, eight, one after the"):
        compare.compare(*models, copied, toy_export.voices, "fp32", rows)
