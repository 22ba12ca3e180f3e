"""Engines are built by the real TensorRT-RTX, which needs no GPU; tensorrt 10 and 11 are held to by their names."""

from __future__ import annotations

import copy
import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from nemo_ext.errors import NemoExtError
from nemo_ext.export import bundle as bundles
from nemo_ext.export import tensorrt
from nemo_ext.export.bundle import Bundle, Engine
from nemo_ext.export.phases import Phases
from nemo_ext.export.tensorrt import ProfileConfig, build_engines, shapes, table
from nemo_ext.runtime import cuda, trt
from nemo_ext.runtime.session import Port
from tests import bindings, small_graphs

FLOAT = Port("x", "float32", ("B", "T_text")), Port("y", "float32", ("B", "T_text"))
PROFILES = ProfileConfig(batch=[1, 2, 4], text=[1, 10, 20], frames=[12, 30, 60])


@pytest.fixture
def toy(tmp_path: Path) -> Bundle:
    acoustic = small_graphs.acoustic(tmp_path / "acoustic.onnx")
    vocoder = small_graphs.vocoder(tmp_path / "vocoder.onnx", external=True)
    return small_graphs.bundle(tmp_path, acoustic=acoustic, vocoder=vocoder)


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_engines_are_built_into_the_bundle(toy: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    built = build_engines(toy, "tensorrt_rtx", PROFILES)
    version = trt.load("tensorrt_rtx").version
    short = ".".join(version.split(".")[:3])
    assert [one.engine for one in built] == toy.engines
    assert [e.file for e in toy.engines] == [f"engines/{n}-tensorrt_rtx-{short}-any.engine" for n in toy.graphs]
    assert {(e.library, e.version, e.gpu) for e in toy.engines} == {("tensorrt_rtx", version, "any")}
    assert toy.engines[0].profile == {
        "text": [[1, 1], [2, 10], [4, 20]],
        "voice": [[n, small_graphs.VOICE] for n in (1, 2, 4)],
    }
    for one in built:
        assert one.size == (toy.dir / one.engine.file).stat().st_size > 1000
        assert one.seconds > 0
        assert one.memory is None  # there is no GPU to ask
    # weights that stand beside the graph were found: the vocoder's are the larger part of its engine
    assert "vocoder.onnx: 100/100, 100 %" in capsys.readouterr().err
    toy.write()
    assert bundles.read(toy.dir).engines == toy.engines
    shown = table(built).splitlines()
    assert shown[0].split() == ["file", "size", "build", "workspace"]
    assert shown[1].endswith("s  no limit")


def test_a_limit_is_told_and_one_that_is_too_small_is_named(toy: Bundle) -> None:
    limited = dataclasses.replace(PROFILES, workspace=512)
    built = build_engines(toy, "tensorrt_rtx", limited, progress=False)
    assert table(built).splitlines()[1].endswith("at most 512.0 MiB a layer")
    wide = dataclasses.replace(PROFILES, batch=[1, 8, 64], frames=[12, 1000, 40000], workspace=1)
    with pytest.raises(NemoExtError, match=r"onnx: .* built no engine: profile.workspace=1 \(MiB\) is too small"):
        build_engines(toy, "tensorrt_rtx", wide, progress=False)


def test_an_engine_of_the_same_graph_is_taken_again(toy: Bundle) -> None:
    first = build_engines(toy, "tensorrt_rtx", PROFILES, progress=False)
    toy.write()
    again = build_engines(bundles.read(toy.dir), "tensorrt_rtx", PROFILES, progress=False)
    assert [one.reused for one in again] == [True, True]
    assert [one.engine for one in again] == [one.engine for one in first]
    assert "there already" in table(again)


def test_an_engine_is_built_anew_when_what_it_rests_on_changes(toy: Bundle) -> None:
    build_engines(toy, "tensorrt_rtx", PROFILES, progress=False)
    toy.write()

    def reused(made: Bundle, profiles: ProfileConfig = PROFILES) -> list[bool]:
        return [one.reused for one in build_engines(made, "tensorrt_rtx", profiles, progress=False)]

    def there() -> Bundle:
        return bundles.read(toy.dir)

    assert reused(there(), dataclasses.replace(PROFILES, frames=[12, 30, 61])) == [True, False]
    changed = there()
    changed.engines = [dataclasses.replace(e, version="1.0.0.0") for e in changed.engines]
    assert reused(changed) == [False, False]
    small_graphs.acoustic(toy.dir / "acoustic.onnx", scale=2.0)
    assert reused(there()) == [False, True]
    weights = toy.dir / "vocoder.onnx.data"  # the graph's own file stays as it is
    weights.write_bytes(bytes([1]) + weights.read_bytes()[1:])
    assert reused(there())[1] is False


def test_a_damaged_engine_is_built_anew(toy: Bundle) -> None:
    build_engines(toy, "tensorrt_rtx", PROFILES, progress=False)
    toy.write()
    damaged = toy.dir / toy.engines[1].file
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert [one.reused for one in build_engines(toy, "tensorrt_rtx", PROFILES, progress=False)] == [True, False]


def test_engines_come_from_the_bundle_before(toy: Bundle, tmp_path_factory: pytest.TempPathFactory) -> None:
    build_engines(toy, "tensorrt_rtx", PROFILES, progress=False)
    toy.write()
    folder = tmp_path_factory.mktemp("next")
    acoustic = small_graphs.acoustic(folder / "acoustic.onnx")
    made = small_graphs.bundle(folder, acoustic=acoustic)
    (one,) = build_engines(made, "tensorrt_rtx", PROFILES, progress=False, previous=toy)
    assert one.reused
    assert (folder / one.engine.file).read_bytes() == (toy.dir / one.engine.file).read_bytes()


def test_stale_engines_are_replaced_and_other_libraries_stay(toy: Bundle) -> None:
    build_engines(toy, "tensorrt_rtx", PROFILES, progress=False)
    old = dataclasses.replace(toy.engines[0], version="1.0.0", file="engines/acoustic-tensorrt_rtx-1.0.0-any.engine")
    other = dataclasses.replace(
        old, library="tensorrt", gpu="sm90", file="engines/acoustic-tensorrt-11.4.0-sm90.engine"
    )
    for engine in (old, other):
        (toy.dir / engine.file).write_bytes(b"1")
    toy.engines += [old, other]
    build_engines(toy, "tensorrt_rtx", PROFILES, progress=False)
    assert other in toy.engines
    assert (toy.dir / other.file).is_file()
    assert old not in toy.engines
    assert not (toy.dir / old.file).exists()


def stored(toy: Bundle, graph: str, gpu: str, **changes: Any) -> Engine:
    """What stands for an engine of another GPU in the index of ``toy``."""
    file = f"engines/{graph}-tensorrt-11.4.0-{gpu}.engine"
    hashed = bundles.file_hash(toy.path(graph))
    one = dataclasses.replace(Engine(file, graph, hashed, "tensorrt", "11.4.0.106", gpu, {}), **changes)
    (toy.dir / "engines").mkdir(exist_ok=True)
    (toy.dir / one.file).write_bytes(gpu.encode())
    toy.engines.append(one)
    return one


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")  # timing caches: tensorrt's own
def test_engines_of_other_gpus_are_kept_while_their_graphs_stay(
    toy: Bundle, tmp_path_factory: pytest.TempPathFactory, as_tensorrt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = [stored(toy, name, gpu) for name in toy.graphs for gpu in ("sm80", "sm90")]
    stored(toy, "acoustic", "sm86", graph_hash="of another graph")
    stored(toy, "acoustic", "sm87", file="acoustic.onnx.engine")  # a name that no builder gives
    damaged = stored(toy, "vocoder", "sm100")
    own = stored(toy, "vocoder", "sm89", version="10.16.1.11", file="engines/vocoder-tensorrt-10.16.1-sm89.engine")
    toy.write()
    (toy.dir / damaged.file).write_bytes(b"damaged")
    folder = tmp_path_factory.mktemp("next")
    acoustic = small_graphs.acoustic(folder / "acoustic.onnx")
    vocoder = small_graphs.vocoder(folder / "vocoder.onnx", external=True)
    made = small_graphs.bundle(folder, acoustic=acoustic, vocoder=vocoder)
    assert tensorrt.keep_engines(made, toy) == [*fits, own]
    as_tensorrt("11.4.0.106")
    monkeypatch.setattr(cuda, "gpu", lambda api=None: "sm89")
    monkeypatch.setenv("NEMO_EXT_CACHE", str(folder / "cache"))
    built = build_engines(made, "tensorrt", PROFILES, progress=False, previous=toy)
    made.engines.sort(key=lambda e: e.file)
    expected = sorted([*fits, *(one.engine for one in built)], key=lambda e: e.file)
    assert made.engines == expected
    assert {p.name for p in (folder / "engines").iterdir()} == {Path(e.file).name for e in expected}
    assert (folder / fits[0].file).read_bytes() == b"sm80"
    assert not list(bundles._wrong_engines(bundles.read(written(made))))
    assert tensorrt.hindrance(fits[0]) == "it is for sm80, and this GPU is sm89"
    assert tensorrt.hindrance(built[0].engine) == ""
    assert tensorrt.hindrance(own).startswith("10.16.1.11 built it, and TensorRT 11.4.0.106 is installed")


def written(bundle: Bundle) -> Path:
    bundle.write()
    return bundle.dir


def test_weights_beside_a_graph_belong_to_its_engines(toy: Bundle, tmp_path_factory: pytest.TempPathFactory) -> None:
    stored(toy, "vocoder", "sm80")
    toy.write()
    folder = tmp_path_factory.mktemp("next")
    made = small_graphs.bundle(folder, vocoder=small_graphs.vocoder(folder / "vocoder.onnx", external=True))
    weights = folder / "vocoder.onnx.data"
    weights.write_bytes(bytes([1]) + weights.read_bytes()[1:])
    assert tensorrt.keep_engines(made, toy) == made.engines == []


def test_tensorrt_rtx_leaves_out_hopper() -> None:
    assert not tensorrt.runs_on("tensorrt_rtx", "sm90")
    assert tensorrt.runs_on("tensorrt_rtx", "sm89")
    assert tensorrt.runs_on("tensorrt_rtx", None)  # built without a GPU
    assert tensorrt.runs_on("tensorrt", "sm90")


def test_on_hopper_the_other_library_is_named(toy: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "gpu", lambda api=None: "sm90")
    named = (
        r"TensorRT-RTX 1\..* does not run on this GPU \(sm90, Hopper\): build with tensorrt, targets=\[onnx,tensorrt\]"
    )
    with pytest.raises(NemoExtError, match=named):
        tensorrt.check_options("tensorrt_rtx", PROFILES)
    with pytest.raises(NemoExtError, match=named):
        build_engines(toy, "tensorrt_rtx", PROFILES, progress=False)
    one = Engine("engines/a-tensorrt_rtx-1.7.1-any.engine", "acoustic", "", "tensorrt_rtx", "1.7.1.116", "any", {})
    assert tensorrt.hindrance(one) == "TensorRT-RTX does not run on this GPU (sm90)"


@pytest.mark.parametrize(
    ("op", "domain", "code"),
    [("Sparkle", "made.up", "a custom op"), ("Multinomial", "", "of the standard"), ("NonZero", "", "by a plugin")],
)
def test_an_op_that_is_lacking_is_named_with_its_layer(tmp_path: Path, op: str, domain: str, code: str) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["hidden"], name="/encoder/Relu"),
        helper.make_node(op, ["hidden"], ["odd"], name=f"/decoder/{op}", domain=domain),
        helper.make_node("Cast", ["odd"], ["y"], name="/decoder/Cast", to=TensorProto.FLOAT),
    ]
    graph = small_graphs.write(tmp_path / "acoustic.onnx", nodes, FLOAT[:1], FLOAT[1:], domain=domain)
    small = small_graphs.bundle(tmp_path, acoustic=graph)
    with pytest.raises(NemoExtError) as error:
        build_engines(small, "tensorrt_rtx", PROFILES, progress=False)
    told = str(error.value)
    assert told.startswith("acoustic.onnx: TensorRT-RTX 1.")
    assert f"has no op {op} as layer '/decoder/{op}' wants it" in told
    assert "\n" not in told
    assert files(tmp_path) == {"acoustic.onnx", "bundle.json"}


def test_nothing_is_left_where_the_second_graph_fails(toy: Bundle) -> None:
    before = files(toy.dir)
    (toy.dir / "vocoder.onnx").write_bytes(b"no graph")
    with pytest.raises(NemoExtError, match=r"vocoder\.onnx: TensorRT-RTX .* cannot read it"):
        build_engines(toy, "tensorrt_rtx", PROFILES, progress=False)
    assert files(toy.dir) == before
    assert toy.engines == []


def test_a_graph_that_is_not_there_is_named(toy: Bundle) -> None:
    (toy.dir / "acoustic.onnx").unlink()
    with pytest.raises(NemoExtError, match=r"acoustic\.onnx is missing: export the bundle again"):
        build_engines(toy, "tensorrt_rtx", PROFILES, progress=False)


@pytest.mark.parametrize("wrong", [[20, 10, 400], [0, 10, 20], [2, 10], []])
def test_a_profile_that_cannot_be_meant_names_the_input(toy: Bundle, wrong: list[int]) -> None:
    with pytest.raises(
        NemoExtError, match=r"acoustic\.onnx, input 'text': profile\.text=\[[\d,]*\] is no profile"
    ) as error:
        build_engines(toy, "tensorrt_rtx", dataclasses.replace(PROFILES, text=wrong), progress=False)
    assert str(error.value).endswith("profile.text=[2,100,400]")


def test_an_axis_that_no_option_is_for_is_named() -> None:
    with pytest.raises(NemoExtError, match=r"g\.onnx, input 'x': nothing says how long its axis 'T_odd' may be"):
        shapes(ProfileConfig(), [Port("x", "float32", ("B", "T_odd"))], "g.onnx")


def test_profiles_follow_the_names_of_the_axes() -> None:
    ports = [
        Port("mel", "float32", ("B", 80, "T")),
        Port("spec", "float32", ("B", 80, "T_mel")),
        Port("speaker", "int64", ("B",)),
    ]
    config = ProfileConfig(batch=[1, 2, 3], frames=[4, 5, 6], reference=[7, 8, 9])
    assert shapes(config, ports, "g.onnx") == {
        "mel": [[1, 80, 7], [2, 80, 8], [3, 80, 9]],
        "spec": [[1, 80, 4], [2, 80, 5], [3, 80, 6]],
        "speaker": [[1], [2], [3]],
    }


def test_a_profile_that_the_graph_does_not_take_names_the_input(tmp_path: Path) -> None:
    fixed = (Port("spec", "float32", ("B", 4, 30)),), (Port("audio", "float32", ("B", 4, 30)),)
    graph = small_graphs.write(tmp_path / "vocoder.onnx", [helper.make_node("Relu", ["spec"], ["audio"])], *fixed)
    free = dataclasses.replace(graph, inputs=small_graphs.VOCODER[0])
    small = small_graphs.bundle(tmp_path, vocoder=free)
    with pytest.raises(NemoExtError, match=r"vocoder\.onnx: TensorRT-RTX .* built no engine: .*tensor spec .*min=12"):
        build_engines(small, "tensorrt_rtx", PROFILES, progress=False)


def test_a_library_that_is_not_installed_names_its_extra(toy: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, extra in (("tensorrt", "trt"), ("tensorrt_rtx", "trt-rtx")):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(NemoExtError, match=rf"{name} is not installed: pip install 'nemo_ext\[{extra}\]'"):
            build_engines(toy, name, PROFILES, progress=False)
    with pytest.raises(NemoExtError, match="did you mean 'tensorrt_rtx'"):
        build_engines(toy, "tensorrt-rtx", PROFILES, progress=False)


@pytest.fixture
def as_tensorrt(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``tensorrt`` of the given version: TensorRT-RTX behind that version's names."""
    import tensorrt_rtx

    def install(version: str, names: dict[str, list[str]] | None = None) -> None:
        names = names or bindings.RECORDED[version]
        monkeypatch.setitem(sys.modules, "tensorrt", bindings.Module(tensorrt_rtx, bindings.Names(version, names)))

    return install


def test_tensorrt_itself_wants_a_gpu(toy: Bundle, as_tensorrt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # where there is one, it is not seen
    as_tensorrt("11.4.0.106")
    with pytest.raises(NemoExtError, match=r"no NVIDIA GPU here.*build with tensorrt_rtx, which needs none"):
        build_engines(toy, "tensorrt", PROFILES, progress=False)


def test_a_tensorrt_that_is_too_old_is_refused(toy: Bundle, as_tensorrt: Any) -> None:
    as_tensorrt("10.9.0.34", bindings.RECORDED["10.12.0.36"])
    with pytest.raises(NemoExtError, match=r"tensorrt 10\.9\.0\.34 is too old, 10\.12 is the earliest"):
        build_engines(toy, "tensorrt", PROFILES, progress=False)


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")  # timing caches: tensorrt's own
@pytest.mark.parametrize("version", list(bindings.RECORDED))
def test_the_same_builder_drives_tensorrt_10_and_11(
    toy: Bundle, version: str, as_tensorrt: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The names are those of the published wheels (tests/bindings.py); what they do here, TensorRT-RTX does."""
    as_tensorrt(version)
    monkeypatch.setattr(cuda, "gpu", lambda api=None: "sm89")
    monkeypatch.setenv("NEMO_EXT_CACHE", str(tmp_path / "cache"))
    built = build_engines(toy, "tensorrt", PROFILES, progress=False)
    short = ".".join(version.split(".")[:3])
    assert [one.engine.file for one in built] == [f"engines/{n}-tensorrt-{short}-sm89.engine" for n in toy.graphs]
    assert (tmp_path / "cache" / "tensorrt" / f"timings-{version}-sm89").is_file()


def test_a_name_that_a_version_lacks_is_caught(toy: Bundle, as_tensorrt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "FP16" in bindings.RECORDED["10.16.1.11"]["BuilderFlag"]
    assert "FP16" not in bindings.RECORDED["11.4.0.106"]["BuilderFlag"]
    monkeypatch.setattr(cuda, "gpu", lambda api=None: "sm89")
    limited = dataclasses.replace(PROFILES, workspace=512)
    for owner, name in (
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
        ("OnnxParser", "parse_from_file"),
        ("IBuilderConfig", "set_memory_pool_limit"),
        ("", "MemoryPoolType"),
    ):
        names = copy.deepcopy(bindings.RECORDED["11.4.0.106"])
        names[owner].remove(name)
        as_tensorrt("12.0.0.0", names)
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
            build_engines(toy, "tensorrt", limited, progress=False)


def test_tf32_is_off(toy: Bundle, as_tensorrt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Durations must come out as they do in the graph; the flag is on unless it is cleared."""
    import tensorrt_rtx

    seen = []

    class Watched(bindings.Object):
        def __getattr__(self, name: str) -> Any:
            if name == "build_serialized_network":
                return lambda network, config: (
                    seen.append(config)
                    or self._real.build_serialized_network(bindings._bare(network), bindings._bare(config))
                )
            return super().__getattr__(name)

    names = bindings.Names("11.4.0.106")
    module = bindings.Module(tensorrt_rtx, names)
    module.__dict__["Builder"] = lambda logger: Watched(tensorrt_rtx.Builder(logger), names)
    lib = dataclasses.replace(trt.load("tensorrt_rtx"), module=module)
    profile = shapes(PROFILES, toy.graphs["vocoder"].inputs, "vocoder.onnx")
    tensorrt.serialized(toy.path("vocoder"), lib, profile, 64 << 20)
    (config,) = seen
    assert config._real.get_flag(tensorrt_rtx.BuilderFlag.TF32) is False
    assert config._real.get_memory_pool_limit(tensorrt_rtx.MemoryPoolType.WORKSPACE) == 64 << 20


def test_progress_goes_up_to_a_hundred_once() -> None:
    heard: list[int] = []
    phases = Phases(heard.append)
    phases.start("build", None, 4)
    phases.step("build", 0)
    assert sum(heard) == 25
    phases.start("tactics", "build", 10)
    phases.step("tactics", 4)
    assert sum(heard) == 37
    phases.finish("tactics")
    phases.step("build", 1)
    assert sum(heard) == 50
    phases.step("stranger", 3)
    phases.finish("build")
    assert sum(heard) == 100
    assert min(heard) > 0
