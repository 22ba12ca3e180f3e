"""A vocoder in chunks: its reach, measured, and joins that are not heard because they are not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nemo_ext.runtime.onnxruntime import OnnxSession
from nemo_ext.runtime.openvino import OpenVinoSession
from nemo_ext.runtime.vocoder import VocoderRunner, measured_reach
from nemo_ext.types import MelSpec


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
    # one that is too short is heard: the measure is not generous
    short = VocoderRunner(whole, MelSpec(), fixed, reach - 2).decode(mel(3 * width))
    difference = np.abs(short - plain.decode(mel(3 * width))).max()
    assert difference > 2e-5 * np.abs(short).max()


def test_what_hears_too_far_has_no_reach(graph: Path) -> None:
    assert measured_reach(OnnxSession(graph, threads=1), MelSpec(), longest=2) is None
