"""A graph that is not its model is refused, at the tolerance that the documents name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from nemo_ext import _nemo
from nemo_ext.errors import NemoExtError
from nemo_ext.export import parity
from nemo_ext.runtime.onnxruntime import OnnxSession
from tests.export.toys import Toys


class Silent:
    def step(self, *_: object) -> None:
        pass


def vocoder_rows(toys: Toys, graph: Path, precision: str) -> list[parity.Row]:
    model = _nemo.restore(toys.vocoder)
    generator = np.random.default_rng(0)
    mel = (generator.standard_normal((1, model.mel_spec.n_mels, 40)) - 4.0).astype(np.float32)
    return parity.vocoder(model, OnnxSession(graph, threads=1), precision, [mel], Silent())  # type: ignore[arg-type]


def scaled(graph: Path, out: Path, factor: float) -> Path:
    """The graph with the audio of every output times ``factor``: signal over difference is -20 lg|factor - 1| dB."""
    model = onnx.load(graph)
    output = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["before" if name == output else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.array(factor, np.float32), "factor"))
    model.graph.node.append(onnx.helper.make_node("Mul", ["before", "factor"], [output]))
    onnx.save(model, out)
    return out


def test_the_right_graph_passes(toy_export: Toys) -> None:
    rows = vocoder_rows(toy_export, toy_export.bundle.dir / "vocoder.onnx", "fp32")
    assert [row.faults for row in rows] == [()]
    assert (rows[0].decibels or 0.0) > 60.0
    parity.refuse(rows)


@pytest.mark.parametrize(
    ("precision", "factor", "right"),
    [
        ("fp32", 1.0005, True),  # 66 dB
        ("fp32", 1.002, False),  # 54 dB
        ("fp16", 1.02, True),  # 34 dB
        ("fp16", 1.05, False),  # 26 dB
    ],
)
def test_a_wrong_vocoder_is_refused_at_the_tolerance(
    toy_export: Toys, tmp_path: Path, precision: str, factor: float, right: bool
) -> None:
    graph = shutil.copy(toy_export.bundle.dir / "vocoder.onnx", tmp_path / "whole.onnx")
    rows = vocoder_rows(toy_export, scaled(graph, tmp_path / "vocoder.onnx", factor), precision)
    assert rows[0].decibels == pytest.approx(-20 * np.log10(factor - 1.0), abs=1.0)
    if right:
        parity.refuse(rows)
    else:
        with pytest.raises(NemoExtError, match=r"the export is not the model: vocoder on .* dB, wanted are (60|30)"):
            parity.refuse(rows)


def test_a_vocoder_that_makes_nan_is_refused(toy_export: Toys, tmp_path: Path) -> None:
    graph = shutil.copy(toy_export.bundle.dir / "vocoder.onnx", tmp_path / "whole.onnx")
    with pytest.raises(NemoExtError, match="signal over difference is nan dB"):
        parity.refuse(vocoder_rows(toy_export, scaled(graph, tmp_path / "vocoder.onnx", float("nan")), "fp16"))


class NaNInTheMel(OnnxSession):
    def run(self, *given: Any, **more: Any) -> dict[str, np.ndarray]:
        got = super().run(*given, **more)
        got["spect"][-1, 3, 0] = np.nan
        return got


def test_an_acoustic_graph_that_makes_nan_is_refused(toy_export: Toys) -> None:
    model, graph = _nemo.restore(toy_export.acoustic), toy_export.bundle.dir / "acoustic.onnx"
    voices = np.stack([model.base_voice(voice.name).vector for voice in model.voices])
    styles = np.zeros((1, model.style_size), np.float32)
    case = parity.CASES[0]
    asked = parity.ask(model, case, 0, voices, styles)
    for session, right in ((OnnxSession(graph, threads=1), True), (NaNInTheMel(graph, threads=1), False)):
        row = parity.acoustic_row(model, session, "fp32", case, asked)
        assert (row.faults == ()) is right
        assert right or "mel differs by nan" in row.faults[0]


class TwoFramesMore(OnnxSession):
    """Half a frame from another duration, and two frames off: a tie explains one."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        got = super().run(*args, **kwargs)
        own = int(got["durations"][0, 0])
        got["durs_predicted"][0, 0] = own + 1.5
        got["durations"][0, 0] = own + 2
        return got


def test_a_tie_of_rounding_explains_one_frame_and_no_more(toy_export: Toys) -> None:
    model, graph = _nemo.restore(toy_export.acoustic), toy_export.bundle.dir / "acoustic.onnx"
    voices = np.stack([model.base_voice(voice.name).vector for voice in model.voices])
    case = next(case for case in parity.CASES)
    asked = parity.ask(model, case, 0, voices, np.zeros((1, model.style_size), np.float32))
    asked.pace[...] = 1.0
    row = parity.acoustic_row(model, TwoFramesMore(graph, threads=1), "fp32", case, asked)
    assert row.faults[0].startswith("1 of ")
    assert row.faults[0].endswith("durations differ")
