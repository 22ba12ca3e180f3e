"""Sessions over engines, on a pretended GPU, for there is none here; fake_gpu.py says what that shows and what not."""

from __future__ import annotations

import dataclasses
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from nemo_ext.errors import NemoExtError
from nemo_ext.export.tensorrt import ProfileConfig, shapes
from nemo_ext.runtime import choose
from nemo_ext.runtime import cuda as cuda_module
from nemo_ext.runtime.chunks import CapturedVocoder, windows
from nemo_ext.runtime.cuda import Buffer, Cuda, DeviceArray
from nemo_ext.runtime.onnxruntime import OnnxSession
from nemo_ext.runtime.session import EngineFile, Port
from nemo_ext.runtime.slots import VoiceSlots
from nemo_ext.runtime.spare import Spared
from nemo_ext.runtime.tensorrt import TensorRTSession, chain
from nemo_ext.runtime.vocoder import VocoderRunner, measured_reach
from nemo_ext.types import MelSpec
from tests import bindings, record_bindings, small_graphs
from tests.runtime import fake_gpu

TEXT = small_graphs.ACOUSTIC[0][0]
PROFILES = ProfileConfig(batch=[1, 2, 4], text=[1, 10, 20], frames=[12, 30, 200])
VERSIONS = [*bindings.RECORDED, "tensorrt_rtx"]
RNG = np.random.default_rng(3)


@pytest.fixture
def api() -> fake_gpu.FakeRuntime:
    return fake_gpu.FakeRuntime()


@pytest.fixture(params=VERSIONS)
def names(request: pytest.FixtureRequest) -> bindings.Names:
    """Of each version of tensorrt as it was recorded, and of the TensorRT-RTX that is installed."""
    if request.param != "tensorrt_rtx":
        return bindings.Names(request.param)
    import tensorrt_rtx

    return bindings.Names(tensorrt_rtx.__version__, record_bindings.names(tensorrt_rtx))


Open = Callable[..., TensorRTSession]


@pytest.fixture
def opened(names: bindings.Names, api: fake_gpu.FakeRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """``opened("acoustic")``: a session over the small graph of that name."""
    library = "tensorrt_rtx" if names.version.startswith("1.") else "tensorrt"
    monkeypatch.setitem(sys.modules, library, fake_gpu.library(names, api))
    monkeypatch.setenv("NEMO_EXT_CACHE", str(tmp_path / "cache"))
    cuda = Cuda(api)

    def open_session(name: str, **options: Any) -> TensorRTSession:
        graph = getattr(small_graphs, name)(tmp_path / f"{name}.onnx")
        profile = shapes(PROFILES, graph.inputs, graph.file)
        gpu = "any" if library == "tensorrt_rtx" else "sm89"
        short = ".".join(names.version.split(".")[:3])
        path = fake_gpu.engine(tmp_path / graph.file, profile, tmp_path / f"{name}-{library}-{short}-{gpu}.engine")
        options = {"inputs": graph.inputs, "outputs": graph.outputs, "cuda": cuda} | options
        return TensorRTSession(path, **options)

    return open_session


def feeds(batch: int, tokens: int) -> dict[str, np.ndarray]:
    text = RNG.integers(1, 9, (batch, tokens))
    return {"text": text, "voice": RNG.standard_normal((batch, small_graphs.VOICE)).astype(np.float32)}


def expected(folder: Path, name: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, given), strict=True))


def test_outputs_have_the_length_that_comes_out(opened: Open, tmp_path: Path) -> None:
    session = opened("acoustic")
    assert session.backend.startswith("TensorRT")
    assert session.backend.endswith(", sm89")
    for batch, tokens in ((1, 1), (4, 20), (2, 3)):  # growing, then shrinking
        given = feeds(batch, tokens)
        said, right = session.run(given), expected(tmp_path, "acoustic", given)
        assert set(said) == set(right)
        for name in right:
            np.testing.assert_array_equal(said[name], right[name])
    only = session.run(given, ["num_frames"])
    assert list(only) == ["num_frames"]
    with pytest.raises(NemoExtError, match=r"has no output 'num_frame'; did you mean 'num_frames'"):
        session.run(given, ["num_frame"])


def test_what_is_fed_is_not_overwritten_before_it_has_been_copied(opened: Open) -> None:
    session = opened("vocoder")
    one, other = (RNG.standard_normal((1, small_graphs.MELS, 30)).astype(np.float32) for _ in range(2))
    right = session.run({"spec": one})["audio"]
    made = session.run_on_device({"spec": one})["audio"]
    kept = Buffer(session.cuda).array(made.shape, made.dtype)
    session.cuda.copy(kept.address, made.address, made.nbytes, "DeviceToDevice")
    session.run_on_device({"spec": other})  # while the first may still wait for its turn
    np.testing.assert_array_equal(session.fetch({"audio": kept})["audio"], right)


def test_two_engines_without_the_host_between_them(opened: Open, api: fake_gpu.FakeRuntime, tmp_path: Path) -> None:
    acoustic, vocoder = opened("acoustic"), opened("vocoder")
    given = {"text": np.full((2, 10), 5), "voice": RNG.standard_normal((2, small_graphs.VOICE)).astype(np.float32)}
    said, sound = chain(acoustic, vocoder, given)
    api.flush()
    assert api.copied == {"HostToDevice": sum(array.nbytes for array in given.values())}  # the mel took no way back
    right = expected(tmp_path, "vocoder", {"spec": expected(tmp_path, "acoustic", given)["spect"]})
    np.testing.assert_array_equal(vocoder.fetch(sound)["audio"], right["audio"])
    assert acoustic.fetch(said, ["num_frames"])["num_frames"].tolist() == [50, 50]
    alone = opened("vocoder", cuda=Cuda(api))
    with pytest.raises(NemoExtError, match="share one Cuda"):
        chain(acoustic, alone, given)


def test_what_an_engine_does_not_take_is_named(opened: Open) -> None:
    session, good = opened("acoustic"), feeds(2, 5)
    wide = np.zeros((2, small_graphs.VOICE + 1), np.float32)
    for change, said in (
        ({"text": good["text"].astype(np.int32)}, "acoustic-.*: the input 'text' is int32, and the graph takes int64"),
        ({"text": good["text"].tolist()}, "the input 'text' is list, and the graph takes int64"),
        ({"text": feeds(2, 21)["text"]}, r"'text' has shape \(2, 21\), and the engine takes \(1, 1\) to \(4, 20\)"),
        ({"text": good["text"][0]}, r"the input 'text' has shape \(5,\): give text int64 \(B, T_text\)"),
        ({"voice": wide}, r"the input 'voice' has shape \(2, 7\): give voice float32 \(B, 6\)"),
        ({"voice": wide[:1, 1:]}, r"the input 'voice' has shape \(1, 6\), so B is 1, and of 'text' it is 2"),
        ({"voise": good["voice"]}, "has no input 'voise'; did you mean 'voice'"),
    ):
        with pytest.raises(NemoExtError, match=said):
            session.run(good | change)
    with pytest.raises(NemoExtError, match=r"acoustic-.*: the input 'voice' is missing: give voice float32"):
        session.run({"text": good["text"]})


def test_an_engine_that_does_not_belong_here_is_refused(opened: Open, tmp_path: Path) -> None:
    session = opened("acoustic")
    for options, said in (
        ({"version": "9.0.1"}, r"was built with TensorRT.* 9\.0\.1, and .* is installed"),
        ({"built_for": "sm75"}, "was built for a GPU of kind sm75, and this one is sm89"),
        ({"inputs": small_graphs.VOCODER[0]}, r"belongs to another graph \(spec, text, voice\)"),
        ({"inputs": (TEXT, Port("voice", "float32", ("B", 7)))}, r"belongs to another graph \(voice\)"),
    ):
        with pytest.raises(NemoExtError, match=said):
            opened("acoustic", **options)
    session.path.write_bytes(b"other")
    with pytest.raises(NemoExtError, match=r"is no engine that TensorRT.* can run here \(Magic tag does not match\)"):
        TensorRTSession(session.path, cuda=session.cuda)
    session.path.unlink()
    with pytest.raises(NemoExtError, match="cannot be read: export the bundle again"):
        TensorRTSession(session.path, cuda=session.cuda)
    with pytest.raises(NemoExtError, match="is not named as an engine of a bundle is"):
        TensorRTSession(tmp_path / "some.engine", cuda=session.cuda)


def test_ports_are_read_from_the_engine_where_nobody_tells_them(opened: Open) -> None:
    session = opened("acoustic", inputs=(), outputs=())
    assert [(p.name, p.dtype, p.shape) for p in session.inputs] == [
        ("text", "int64", ("", "")),
        ("voice", "float32", ("", small_graphs.VOICE)),
    ]
    assert [p.name for p in session.outputs] == ["spect", "num_frames"]


@pytest.fixture
def kept(tmp_path: Path) -> Callable[[], dict[str, bytes]]:
    """``kept()``: the files of compiled kernels."""
    return lambda: {path.name: path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()}


def frames(count: int) -> dict[str, np.ndarray]:
    return {"spec": RNG.standard_normal((1, small_graphs.MELS, count)).astype(np.float32)}


@pytest.mark.parametrize("names", bindings.RECORDED, indirect=True)
def test_a_library_that_compiles_nothing_here_keeps_nothing(opened: Open, kept: Callable[[], dict[str, bytes]]) -> None:
    session = opened("vocoder")
    session.run(frames(30))
    session.close()
    assert kept() == {}


@pytest.mark.parametrize("names", ["tensorrt_rtx"], indirect=True)
def test_compiled_kernels_are_kept_for_each_engine(opened: Open, kept: Callable[[], dict[str, bytes]]) -> None:
    session = opened("vocoder")
    assert kept() == {}
    session.run(frames(30))
    ((name, content),) = kept().items()
    assert (name.startswith("kernels-"), content) == (True, b"kernels")
    opened("acoustic").close()
    assert sorted(kept().values()) == [b"kernels"] * 2  # its own file, beside the other's
    again = opened("vocoder")
    again.run(frames(30))
    assert kept()[name] == b"kernels"  # once a start is enough, while it speaks
    del again  # as does a program that ends without closing anything
    gc.collect()
    assert kept()[name] == b"kernelskernels"  # it began with what the first one had compiled
    CapturedVocoder(opened("vocoder"), small_graphs.REACH, chunk=32)
    assert kept()[f"{name}-fixed"] == b"kernels"


@pytest.mark.parametrize("names", ["tensorrt_rtx"], indirect=True)
def test_kernels_that_cannot_be_kept_or_read_cost_time_and_nothing_else(
    opened: Open, kept: Callable[[], dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened("vocoder")
    right = session.run(frames(30))["audio"].shape
    (file,) = (tmp_path / "cache").rglob("kernels-*")
    file.unlink()
    file.mkdir()
    again = opened("vocoder")
    assert again.run(frames(30))["audio"].shape == right
    again.close()
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("NEMO_EXT_CACHE", str(tmp_path / "file/cache"))
    again = opened("vocoder")
    assert again.run(frames(30))["audio"].shape == right
    again.close()


def test_voices_in_slots_mix_in_a_batch(opened: Open, api: fake_gpu.FakeRuntime, tmp_path: Path) -> None:
    session = opened("acoustic")
    slots = VoiceSlots(session.cuda, small_graphs.VOICE, capacity=8)
    vectors = RNG.standard_normal((51, small_graphs.VOICE)).astype(np.float32)
    for i in range(50):
        assert slots.put(f"v{i}", vectors[i]) == i
    before = dict(api.copied)
    assert slots.put("v50", vectors[50]) == 50
    assert api.copied["HostToDevice"] - before["HostToDevice"] == vectors[50].nbytes  # one copy, of itself
    assert api.copied["DeviceToDevice"] == before["DeviceToDevice"]
    text = RNG.integers(1, 9, (4, 6))
    chosen = [slots.slot(name) for name in ("v0", "v50", "v7", "v0")]
    said = session.run({"text": text, "voice": slots.gather(chosen)})
    right = expected(tmp_path, "acoustic", {"text": text, "voice": vectors[chosen]})
    np.testing.assert_array_equal(said["spect"], right["spect"])
    assert len(slots) == 51


def test_slots_are_replaced_and_given_to_others(opened: Open) -> None:
    cuda = opened("acoustic").cuda
    slots = VoiceSlots(cuda, 3, capacity=1)
    slots.put("ada", np.ones(3))
    slots.put("bo", np.full(3, 2.0))
    assert slots.put("ada", np.full(3, 5.0)) == 0
    slots.remove("bo")
    assert "bo" not in slots
    with pytest.raises(NemoExtError, match="no voice is in slot 1"):
        slots.gather([0, 1])
    assert slots.put("cy", np.full(3, 7.0)) == 1
    with pytest.raises(NemoExtError, match="no voice 'adda' is on the GPU; did you mean 'ada'"):
        slots.slot("adda")
    rows = slots.gather([1, 0, 1])
    host = cuda_module.Pinned(cuda).view(rows.shape, rows.dtype)
    cuda.copy(host.ctypes.data, rows.address, rows.nbytes, "DeviceToHost")
    cuda.synchronize()
    assert host[:, 0].tolist() == [7.0, 5.0, 7.0]
    with pytest.raises(NemoExtError, match=r"voice 'x' is \(4,\), and this model's are \(3,\)"):
        slots.put("x", np.ones(4))
    with pytest.raises(NemoExtError, match="voice 'x' holds values that are not finite"):
        slots.put("x", np.array([1.0, np.nan, 0.0]))
    slots.close()


def uploaded(cuda: Cuda, array: np.ndarray) -> DeviceArray:
    there = Buffer(cuda).array(array.shape, array.dtype)
    staged = cuda_module.Pinned(cuda).view(array.shape, array.dtype)
    staged[...] = array
    cuda.copy(there.address, staged.ctypes.data, array.nbytes, "HostToDevice")
    cuda.synchronize()
    return there


@pytest.mark.parametrize("batch", [1, 2])
def test_captured_chunks_join_without_a_seam(
    opened: Open, api: fake_gpu.FakeRuntime, tmp_path: Path, batch: int
) -> None:
    session = opened("vocoder")
    chunked = CapturedVocoder(session, small_graphs.REACH, batch, chunk=32)
    assert chunked.hop == small_graphs.HOP
    for frames in (200, 75, 54, 50, 33, 32):
        spec = RNG.standard_normal((batch, small_graphs.MELS, frames)).astype(np.float32)
        there = uploaded(session.cuda, spec)
        api.calls.clear()
        audio = chunked.decode(there)
        assert api.calls.count("cudaGraphLaunch") == len(list(windows(frames, 32, small_graphs.REACH)))
        assert api.calls.count("cudaMalloc") == (frames == 200)  # room for the whole once, and none for a chunk
        got = session.fetch({"audio": audio})["audio"]
        np.testing.assert_allclose(got, expected(tmp_path, "vocoder", {"spec": spec})["audio"], atol=1e-6)
    chunked.close()
    assert not api.graphs


def test_short_speech_is_not_padded_to_a_chunk(opened: Open, api: fake_gpu.FakeRuntime, tmp_path: Path) -> None:
    session = opened("vocoder")
    chunked = CapturedVocoder(session, small_graphs.REACH, chunk=32)
    spec = RNG.standard_normal((1, small_graphs.MELS, 20)).astype(np.float32)
    audio = chunked.decode(uploaded(session.cuda, spec))
    assert "cudaGraphLaunch" not in api.calls
    right = expected(tmp_path, "vocoder", {"spec": spec})["audio"]
    np.testing.assert_array_equal(session.fetch({"audio": audio})["audio"], right)
    other = uploaded(session.cuda, np.zeros((2, small_graphs.MELS, 40), np.float32))
    with pytest.raises(NemoExtError, match=r"input 'spec' is \(2, 4, 40\) float32, and \(1, 4, 32\) was captured"):
        chunked.decode(other)


def test_a_chunk_outside_the_profile_or_all_context_is_refused(opened: Open) -> None:
    session = opened("vocoder")
    with pytest.raises(NemoExtError, match=r"'spec' has shape \(1, 4, 201\), and the engine takes \(1, 4, 12\) to"):
        CapturedVocoder(session, small_graphs.REACH, chunk=201)
    with pytest.raises(NemoExtError, match="a chunk of 26 frames is all context: take more than 26"):
        CapturedVocoder(session, 13, chunk=26)
    with pytest.raises(NemoExtError, match=r"vocoder-.*engine hears too far to be run in chunks: run it whole"):
        CapturedVocoder(session, None)


def test_the_context_of_a_vocoder_is_measured_on_its_engine(opened: Open) -> None:
    spec = dataclasses.replace(MelSpec(), n_mels=small_graphs.MELS, hop_length=small_graphs.HOP)
    session = opened("vocoder")
    assert measured_reach(session, spec) == small_graphs.REACH
    session.limits = {"spec": ((1, small_graphs.MELS, 150), (4, small_graphs.MELS, 150))}  # it takes no fewer frames
    assert measured_reach(session, spec) == small_graphs.REACH


def test_a_mel_beyond_the_profile_is_decoded_in_chunks_of_its_largest(opened: Open, tmp_path: Path) -> None:
    session = opened("vocoder")
    runner = VocoderRunner(session, dataclasses.replace(MelSpec(), n_mels=small_graphs.MELS, hop_length=4))
    for frames in (200, 201, 395, 1000):
        mel = RNG.standard_normal((small_graphs.MELS, frames)).astype(np.float32)
        right = expected(tmp_path, "vocoder", {"spec": mel[None]})["audio"][0, 0]
        np.testing.assert_allclose(runner.decode(mel), right, atol=1e-6)
    with pytest.raises(NemoExtError, match=r"'spec' has shape \(1, 4, 11\), and the engine takes \(1, 4, 12\) to"):
        runner.decode(mel[:, :11])


def test_what_an_engine_does_not_take_is_run_without_it(opened: Open, tmp_path: Path) -> None:
    session = opened("acoustic")
    told: list[str] = []
    spared = Spared(session, lambda: OnnxSession(tmp_path / "acoustic.onnx", threads=1), told.append)
    for batch, tokens in ((2, 5), (2, 21), (5, 20)):
        given = feeds(batch, tokens)
        said, right = spared.run(given), expected(tmp_path, "acoustic", given)
        for name in right:
            np.testing.assert_array_equal(said[name], right[name])
    assert len(told) == 2
    assert told[0].startswith("the input 'text' has shape (2, 21), and the engine takes (1, 1) to (4, 20): ONNX Run")
    with pytest.raises(NemoExtError, match=r"has shape \(2, 21\), and .* \(4, 20\), and nothing else runs the graph"):
        Spared(session, lambda: OnnxSession(tmp_path / "gone.onnx"), told.append).run(feeds(2, 21))
    assert len(told) == 2


def test_the_first_engine_that_runs_here_is_taken_with_its_graphs_ports(
    opened: Open, api: fake_gpu.FakeRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(choose, "gpu_present", lambda: True)
    monkeypatch.setattr(cuda_module, "bindings", lambda: api)
    path = opened("acoustic").path
    graph = tmp_path / "acoustic.onnx"
    inputs, outputs = small_graphs.ACOUSTIC
    other = EngineFile(tmp_path / "acoustic-tensorrt-9.0.1-any.engine", "tensorrt", "9.0.1.4", "any")
    foreign = EngineFile(path, built_for="sm75")
    version = path.name.split("-")[-2]
    cuda_module.shared.cache_clear()
    try:
        session = choose.open_session(
            graph, "auto", 1, [other, foreign, EngineFile(path)], inputs=inputs, outputs=outputs
        )
        assert session.backend.startswith("TensorRT")
        assert list(session.inputs) == list(inputs)
        assert not caplog.records
        with pytest.raises(NemoExtError, match=r"so B is 1, and of 'text' it is 2"):
            session.run(feeds(2, 5) | {"voice": feeds(1, 5)["voice"]})
        # the index tells all of the version, of which the name has three numbers
        whole = EngineFile(path, version=f"{version}.999999")
        with pytest.raises(NemoExtError, match=r"9\.0\.1-any\.engine is not used: .*; .*999999, and .* is installed"):
            choose.open_session(graph, "tensorrt", 1, [other, whole])
        assert not choose.open_session(graph, "auto", 1, [other, whole]).backend.startswith("TensorRT")
        assert "999999" in caplog.text
    finally:
        cuda_module.shared.cache_clear()


def test_windows_cover_each_frame_once_with_its_context() -> None:
    for frames in range(27, 120):
        covered: list[int] = []
        for window in windows(frames, 27, 13):
            covered += range(window.first, window.last)
            assert window.start >= 0
            assert window.start + 27 <= frames
            assert window.start == 0 or window.first - window.start >= 13
            assert window.start + 27 == frames or window.start + 27 - window.last >= 13
        assert covered == list(range(frames))


def test_memory_is_given_back(opened: Open, api: fake_gpu.FakeRuntime) -> None:
    session = opened("acoustic")
    session.run(feeds(4, 20))
    assert api.memory
    session.close()
    session.cuda.close()
    assert not api.memory
    assert api.calls.count("cudaStreamDestroy") == 1


def test_a_gpu_that_is_full_says_how_much_was_wanted(api: fake_gpu.FakeRuntime) -> None:
    with pytest.raises(NemoExtError, match=r"the GPU refused cudaMalloc: out of memory \(1024 MiB were asked for\)"):
        Buffer(Cuda(api), 2**30)


def test_columns_go_only_into_rows_of_the_same_number(api: fake_gpu.FakeRuntime) -> None:
    cuda = Cuda(api)
    one, other = DeviceArray(1, (2, 5), np.dtype("f4")), DeviceArray(1, (3, 5), np.dtype("f4"))
    with pytest.raises(ValueError, match="do not go into"):
        cuda.copy_columns(one, 0, other, 0, 2)


def test_sessions_share_one_stream_unless_they_are_given_another(
    opened: Open, api: fake_gpu.FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_module, "bindings", lambda: api)
    cuda_module.shared.cache_clear()
    try:
        acoustic, vocoder = opened("acoustic", cuda=None), opened("vocoder", cuda=None)
        chain(acoustic, vocoder, {"text": np.full((1, 9), 3), "voice": np.ones((1, small_graphs.VOICE), np.float32)})
    finally:
        cuda_module.shared.cache_clear()


def test_no_gpu_is_one_line(api: fake_gpu.FakeRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    api.devices = 0
    with pytest.raises(NemoExtError, match="there is no NVIDIA GPU here, or no driver for it"):
        Cuda(api)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(NemoExtError, match="cuda-bindings is not installed: pip install cuda-bindings"):
        Cuda()
