"""A vocoder in chunks: its reach, measured, and joins that are not heard because they are not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nemo_ext.runtime.onnxruntime import OnnxSession
from nemo_ext.runtime.openvino import OpenVinoSession
from nemo_ext.runtime.vocoder import VocoderRunner, measured_reach
from nemo_ext.types import MelSpec
from tests.models.vocoder.conftest import make_vocoder  # noqa: F401  a fixture


@pytest.fixture(scope="module")
def graph(tiny_bundle: Path) -> Path:
    return tiny_bundle / "vocoder.onnx"


def mel(frames: int) -> np.ndarray:
    return np.random.default_rng(frames).normal(-5, 2, (80, frames)).astype(np.float32)


def test_chunks_with_the_measured_context_are_the_whole(graph: Path) -> None:
    whole = OpenVinoSession(graph, 1)
    reach = measured_reach(whole, MelSpec())
    assert reach is not None
    assert reach == measured_reach(OnnxSession(graph, threads=1), MelSpec())
    width = 2 * reach + 10
    fixed = OpenVinoSession(graph, 1, shapes={"spec": (1, 80, width)})
    runner = VocoderRunner(whole, MelSpec(), fixed, reach)
    plain = VocoderRunner(whole, MelSpec())
    for frames in (width - 3, width, width + 1, 3 * width + 7):
        expected = plain.decode(mel(frames))
        assert expected.shape == (frames * 256,)
        loudest = np.abs(expected).max()
        np.testing.assert_allclose(runner.decode(mel(frames)), expected, atol=2e-5 * loudest)
    np.testing.assert_array_equal(  # measured by itself where it is not told
        VocoderRunner(whole, MelSpec(), fixed).decode(mel(3 * width)), runner.decode(mel(3 * width))
    )
    # one that is too short is heard: the measure is not generous
    short = VocoderRunner(whole, MelSpec(), fixed, reach - 2).decode(mel(3 * width))
    difference = np.abs(short - plain.decode(mel(3 * width))).max()
    assert difference > 2e-5 * np.abs(short).max()


def test_what_hears_too_far_has_no_reach(graph: Path) -> None:
    assert measured_reach(OnnxSession(graph, threads=1), MelSpec(), longest=2) is None


@pytest.mark.parametrize(
    ("name", "changes"), [("hifigan", {}), ("vocos", {"harmonic": False}), ("vocos", {"harmonic": True})]
)
def test_what_is_longer_than_a_profile_is_the_whole_in_chunks(
    make_vocoder: Callable[..., Any],  # noqa: F811
    name: str,
    changes: dict[str, bool],
    tmp_path: Path,
) -> None:
    """Or is run whole: the phases of a Vocos with harmonics run on from the beginning."""
    from nemo_ext.export import onnx
    from nemo_ext.export.graphs import VocoderGraph

    graph = VocoderGraph(make_vocoder(name, **changes).eval(), "fp32")
    onnx.export(graph, [torch.full((2, 80, 24), -5.0)], tmp_path / "vocoder.onnx", "fp32")
    session = OnnxSession(tmp_path / "vocoder.onnx", threads=1)
    whole = VocoderRunner(session, MelSpec()).decode(mel(300))
    near = 2e-5 * np.abs(whole).max()
    reach = measured_reach(session, MelSpec())
    assert (reach is None) == changes.get("harmonic", False)
    session.limits = {"spec": ((1, 80, 20), (1, 80, 120))}
    np.testing.assert_allclose(VocoderRunner(session, MelSpec()).decode(mel(300)), whole, atol=near)
    short = VocoderRunner(session, MelSpec(), reach=12 if reach is None else reach - 2).decode(mel(300))
    assert np.abs(short - whole).max() > near
