"""The ragged graph says what the dense one says, for any lengths, in ONNX Runtime and in TensorRT-RTX's builder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from nemo_ext.errors import NemoExtError
from nemo_ext.export import onnx as onnx_files
from nemo_ext.export.ragged import LENGTHS, PER_TOKEN, offsets_of, write_ragged
from tests import small_graphs
from tests.export.toys import Toys

PER_FRAME, PER_TOKEN_OUT = ("spect", "volume_aligned"), ("durs_predicted", "log_durs_predicted", "pitch_predicted")


def run(path: Path, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


def utterances(toys: Toys, graph: str, lens: list[int], seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of the ragged graph, with every value of every token another."""
    rng, count = np.random.default_rng(seed), sum(lens)
    feeds: dict[str, np.ndarray] = {}
    for port in toys.bundle.graphs[graph].inputs:
        if port.name == "text":
            feeds["text"] = rng.integers(1, 30, count)
        elif port.name == "speaker":
            feeds["speaker"] = rng.integers(0, len(toys.rows.names), len(lens))
        elif port.name in PER_TOKEN:
            feeds[port.name] = rng.uniform(0.5, 1.5, count).astype(np.float32)
        else:
            feeds[port.name] = rng.normal(0, 0.2, (len(lens), port.shape[1])).astype(np.float32)
    return feeds | {LENGTHS: np.cumsum([0, *lens]).astype(np.int32)}


def alone(feeds: dict[str, np.ndarray], i: int) -> dict[str, np.ndarray]:
    """Utterance ``i`` of a ragged batch, as the dense graph takes it."""
    first, behind = feeds[LENGTHS][i : i + 2]
    return {
        name: value[None, first:behind] if name in PER_TOKEN else value[i : i + 1]
        for name, value in feeds.items()
        if name != LENGTHS
    }


@pytest.fixture(scope="module", params=["acoustic", "acoustic_riva", "acoustic strangers", "acoustic_riva strangers"])
def ragged(
    request: pytest.FixtureRequest, toy_export: Toys, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """Both layouts, with one set of offsets for all inputs and with one for each."""
    name, _, strangers = request.param.partition(" ")
    out = tmp_path_factory.mktemp("ragged") / f"{name}.onnx"
    dense = toy_export.bundle.path(name)
    write_ragged(dense, out, "fp32", pad=0, blank=1, symbols=30, strangers=bool(strangers))
    return name, out


@pytest.mark.parametrize("lens", [[1], [7], [5, 19, 1, 8], [9, 0, 4], [0], [3, 0]])
def test_a_batch_of_any_lengths_says_what_each_says_alone(
    toy_export: Toys, ragged: tuple[str, Path], lens: list[int]
) -> None:
    graph, path = ragged
    feeds = utterances(toy_export, graph, lens)
    strangers = "pace_lengths" in (port.name for port in onnx_files.ports(path)[0])
    own = {offsets_of(name): feeds[LENGTHS] for name in feeds if name in PER_TOKEN} if strangers else {}
    said = run(path, feeds | own)
    faults = said.pop("fault", np.zeros(len(lens)))
    assert faults.tolist() == [0 if length or not strangers else 6 for length in lens]
    assert said["spect"].shape[0] == len(lens)
    assert all(np.isfinite(value).all() for value in said.values())
    for i, length in enumerate(lens):
        if not length:
            assert said["num_frames"][i] == 0
            assert not any(value[i].any() for value in said.values())
            continue
        expected = run(toy_export.bundle.path(graph), alone(feeds, i))
        frames = int(expected["num_frames"][0])
        assert said["num_frames"][i] == frames
        for name in PER_FRAME:
            assert np.abs(said[name][i][..., :frames] - expected[name][0]).max() < 1e-5, name
        for name in PER_TOKEN_OUT:
            assert np.abs(said[name][i][:length] - expected[name][0]).max() < 1e-5, name


def test_every_utterance_has_its_own_voice_and_style(toy_export: Toys, tmp_path: Path) -> None:
    """Row by row of the tables: a table read in another order would be heard here."""
    path = tmp_path / "riva.onnx"
    write_ragged(toy_export.bundle.path("acoustic_riva"), path, "fp32", pad=0, blank=1)
    rows, length = len(toy_export.rows.names), 6
    feeds = utterances(toy_export, "acoustic_riva", [length] * rows)
    feeds |= {name: np.tile(value[:length], rows) for name, value in feeds.items() if name in PER_TOKEN}
    feeds["speaker"] = np.arange(rows)[::-1].copy()
    said = run(path, feeds)["spect"]
    vectors = toy_export.rows
    assert vectors.styles is not None
    for i, speaker in enumerate(feeds["speaker"]):
        voice, style = vectors.rows[speaker]
        one = alone(feeds, i)
        one |= {"pitch_scale": np.ones_like(one["pitch"]), "energy_scale": np.ones_like(one["pitch"])}
        one |= {"voice": vectors.voices[voice][None], "style": vectors.styles[style][None]}
        del one["speaker"]
        expected = run(toy_export.bundle.path("acoustic"), one)["spect"][0]
        assert np.abs(said[i][:, : expected.shape[1]] - expected).max() < 1e-5


def test_a_single_voice_has_no_speaker(toy_export: Toys, tmp_path: Path) -> None:
    graph = write_ragged(
        toy_export.bundle.path("acoustic_riva"), tmp_path / "one.onnx", "fp32", pad=0, blank=1, speaker=False
    )
    assert [port.name for port in graph.inputs] == ["text", "pitch", "pace", "volume", LENGTHS]
    feeds = utterances(toy_export, "acoustic_riva", [4, 9])
    feeds["speaker"][:] = 0
    several = tmp_path / "several.onnx"
    write_ragged(toy_export.bundle.path("acoustic_riva"), several, "fp32", pad=0, blank=1)
    expected = run(several, feeds)
    del feeds["speaker"]
    said = run(tmp_path / "one.onnx", feeds)
    assert all(np.array_equal(said[name], expected[name]) for name in expected)


def test_names_and_types_are_rivas(toy_export: Toys, tmp_path: Path) -> None:
    graph = write_ragged(toy_export.bundle.path("acoustic_riva"), tmp_path / "riva.onnx", "fp32", pad=0, blank=1)
    told = {port.name: (port.dtype, len(port.shape)) for port in (*graph.inputs, *graph.outputs)}
    assert told == {
        "text": ("int64", 1),
        **dict.fromkeys(("pitch", "pace", "volume"), ("float32", 1)),
        LENGTHS: ("int32", 1),
        "speaker": ("int64", 1),
        "spect": ("float32", 3),
        "num_frames": ("int64", 1),
        **dict.fromkeys((*PER_TOKEN_OUT, "volume_aligned"), ("float32", 2)),
    }
    operations = {node.op_type for node in onnx.load(tmp_path / "riva.onnx").graph.node}
    assert not operations & {"Loop", "If", "Scan"}


@pytest.mark.parametrize("graph", ["acoustic", "acoustic_riva"])
def test_rows_that_are_not_as_many_as_utterances_are_refused(toy_export: Toys, tmp_path: Path, graph: str) -> None:
    """They would be spread over the batch without a word."""
    write_ragged(toy_export.bundle.path(graph), tmp_path / "ragged.onnx", "fp32", pad=0, blank=1)
    feeds = utterances(toy_export, graph, [12])
    for name in ("voice", "style", "speaker"):
        if name in feeds:
            feeds[name] = np.repeat(feeds[name], 2, axis=0)
    with pytest.raises(Exception, match="ragged/in/concat"):
        run(tmp_path / "ragged.onnx", feeds)


def test_tensorrt_rtx_builds_it(toy_export: Toys, ragged: tuple[str, Path]) -> None:
    import tensorrt_rtx as trt

    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse_from_file(str(ragged[1])), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    profile, config = builder.create_optimization_profile(), builder.create_builder_config()
    lengths = {port.name: port.shape for port in toy_export.bundle.graphs[ragged[0]].inputs}
    for i in range(network.num_inputs):
        name = network.get_input(i).name
        assert not network.get_input(i).is_shape_tensor  # it would have to come from the host
        tail = tuple(lengths[name][1:]) if name in ("voice", "style") else ()
        one, usual, most = {"text": (1, 60, 512), LENGTHS: (2, 3, 9)}.get(
            "text" if name in PER_TOKEN else LENGTHS if name.endswith("_lengths") else name, (1, 2, 8)
        )
        profile.set_shape(name, (one, *tail), (usual, *tail), (most, *tail))
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is not None


def test_external_weights_come_along(toy_export: Toys, tmp_path: Path) -> None:
    dense = tmp_path / "dense.onnx"
    model = onnx.load(toy_export.bundle.path("acoustic_riva"))
    onnx.save(model, dense, save_as_external_data=True, location="weights.bin", size_threshold=0)
    out = tmp_path / "elsewhere"
    out.mkdir()
    graph = write_ragged(dense, out / "model_graph.onnx", "fp32", pad=0, blank=1)
    assert graph.external == ("model_graph.onnx.data",)
    assert sorted(p.name for p in out.iterdir()) == ["model_graph.onnx", "model_graph.onnx.data"]
    feeds = utterances(toy_export, "acoustic_riva", [5, 2])
    write_ragged(toy_export.bundle.path("acoustic_riva"), tmp_path / "inside.onnx", "fp32", pad=0, blank=1)
    assert np.array_equal(run(out / "model_graph.onnx", feeds)["spect"], run(tmp_path / "inside.onnx", feeds)["spect"])


def test_weights_outside_the_folder_are_refused(toy_export: Toys, tmp_path: Path) -> None:
    model = onnx.load(toy_export.bundle.path("acoustic_riva"))
    tensor = model.graph.initializer[0]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    (tmp_path / "bad.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(NemoExtError, match=r"outside its folder, in \.\./\.\./secret"):
        write_ragged(tmp_path / "bad.onnx", tmp_path / "out.onnx", "fp32", pad=0, blank=1)
    assert not list(tmp_path.glob("*out.onnx"))


def test_what_is_no_dense_acoustic_graph_is_refused(toy_export: Toys, tmp_path: Path) -> None:
    small_graphs.vocoder(tmp_path / "vocoder.onnx")
    with pytest.raises(NemoExtError, match="takes spec: a ragged form is made of a dense acoustic graph"):
        write_ragged(tmp_path / "vocoder.onnx", tmp_path / "out.onnx", "fp32", pad=0, blank=1)
    with pytest.raises(NemoExtError, match="no table of voices inside"):
        write_ragged(toy_export.bundle.path("acoustic"), tmp_path / "out.onnx", "fp32", pad=0, blank=1, speaker=False)
