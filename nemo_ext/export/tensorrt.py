"""TensorRT engines of a bundle's graphs: one builder for ``tensorrt`` 10.12 and later, 11.x, and ``tensorrt_rtx``.

Networks are strongly typed: which part is computed in fp16 stands in the graph, and no flag of the builder changes it.
TF32 is off, because durations and their sums must come out as they do everywhere else. TensorRT-RTX builds without a
GPU, and its engine is finished on the GPU that it meets; TensorRT's is built on, and for, the GPU that is there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemo_ext.config import option
from nemo_ext.console import Progress
from nemo_ext.errors import NemoExtError
from nemo_ext.export.bundle import ENGINES, Bundle, Engine, file_hash
from nemo_ext.export.files import link_or_copy
from nemo_ext.runtime import cuda, trt
from nemo_ext.runtime.session import Port

_OPTIONS = {"B": "batch", "T_text": "text", "T_mel": "frames", "T": "reference"}  # name of an axis -> option
_SPECIFIC = "tensorrt"  # the library whose engines are for one kind of GPU
_ANY = "any"  # the GPU of the other one's
_WITHOUT_HOPPER, _HOPPER = "tensorrt_rtx", "sm90"


@dataclass
class ProfileConfig:
    """What shapes the engines take: least, usual and largest. They are fastest at the usual one."""

    batch: list[int] = option([1, 4, 8], "sentences at once: least, usual, largest")
    text: list[int] = option([2, 100, 400], "tokens of a sentence", "tokens")
    frames: list[int] = option([20, 400, 2000], "mel frames that the vocoder gets at once", "frames")
    reference: list[int] = option([20, 400, 2000], "mel frames of a recording that a style is taken from", "frames")
    workspace: int = option(0, "memory that a layer may use while it works; 0: no limit but the library's", "MiB")


@dataclass(frozen=True)
class Built:
    """An engine that is in its bundle now."""

    engine: Engine
    size: int  # bytes of the file
    seconds: float  # that the build took; 0.0 for one that was there already
    workspace: int  # bytes that a layer may use at most, as they were asked for; 0: as much as the library allows
    memory: int | None = None  # bytes of the GPU that the engine uses beside its weights; None where no GPU can tell
    reused: bool = False


def check_options(library: str, profiles: ProfileConfig) -> None:
    """Whether ``library`` could build here, asked before there are graphs.

    Raises:
        NemoExtError: the library or its GPU is missing, the GPU is none of its own, or a profile cannot be meant.
    """
    for name in _OPTIONS.values():
        if wrong := _wrong_profile(profiles, name):
            raise NemoExtError(wrong)
    if profiles.workspace < 0:
        raise NemoExtError(f"profile.workspace={profiles.workspace} (MiB) is no limit: give a number, or 0 for none")
    _gpu(trt.load(library))


def runs_on(library: str, gpu: str | None) -> bool:
    """Whether engines of ``library`` run on a GPU of kind ``gpu`` ("sm90"): TensorRT-RTX leaves out Hopper."""
    return (library, gpu) != (_WITHOUT_HOPPER, _HOPPER)


def hindrance(engine: Engine) -> str:
    """Why ``engine`` cannot run here; empty: nothing is known against it."""
    gpu = cuda.gpu()
    if engine.gpu not in (_ANY, gpu):
        return f"it is for {engine.gpu}, and this GPU is {gpu}"
    if not runs_on(engine.library, gpu):
        return f"{trt.TITLES[engine.library]} does not run on this GPU ({gpu})"
    try:
        found = trt.load(engine.library)
    except NemoExtError as error:
        return str(error)
    return "" if found.version == engine.version else f"{engine.version} built it, and {found} is installed"


def keep_engines(bundle: Bundle, previous: Bundle) -> list[Engine]:
    """Take over the engines of ``previous`` whose graphs are those of ``bundle``, which are for other GPUs as well.

    ``build_engines`` replaces those that it builds anew. An engine that is damaged, or whose graph is another now, is
    left behind.
    """
    kept = []
    for old in previous.engines:
        graph = bundle.graphs.get(old.graph)
        if graph is None or old.graph_hash != file_hash(bundle.dir / graph.file):
            continue
        path = _there(old, bundle, previous)
        if path is not None and old.file == _file(old.graph, old.library, old.version, old.gpu):
            (bundle.dir / ENGINES).mkdir(exist_ok=True)
            link_or_copy(path, bundle.dir / old.file)
            kept.append(old)
    bundle.engines += kept
    return kept


def build_engines(
    bundle: Bundle,
    library: str,
    profiles: ProfileConfig | None = None,
    progress: bool = True,
    *,
    previous: Bundle | None = None,
) -> list[Built]:
    """Build an engine of every graph of ``bundle`` into its folder ``engines``, and add them to ``bundle.engines``.

    An engine of ``previous`` (the bundle itself where None) is taken instead of a new one where graph, library
    version, GPU and profile are the same and its file is whole. Engines of ``library`` that are stale are replaced.
    Files take their places when all are built; ``bundle.write()`` is the caller's.

    Raises:
        NemoExtError: the library or its GPU is missing, a profile cannot be meant, or a graph has what the library
            lacks; then nothing has changed.
    """
    profiles = profiles or ProfileConfig()
    wanted = {name: shapes(profiles, graph.inputs, graph.file) for name, graph in bundle.graphs.items()}
    found = trt.load(library)
    gpu = _gpu(found)
    folder = bundle.dir / ENGINES
    built: list[Built] = []
    beside: list[tuple[Path, Path]] = []
    try:
        folder.mkdir(exist_ok=True)
        for name in bundle.graphs:
            one, content = _one(bundle, name, found, gpu, wanted[name], profiles, previous or bundle, progress)
            place = bundle.dir / one.engine.file
            beside.append((place.with_name(f".building-{os.getpid()}-{place.name}"), place))
            beside[-1][0].write_bytes(content)
            built.append(one)
        for written, place in beside:
            os.replace(written, place)
    finally:
        for written, _ in beside:
            written.unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
    _replace(bundle, library, [one.engine for one in built])
    return built


def shapes(profiles: ProfileConfig, inputs: Iterable[Port], file: str) -> dict[str, list[list[int]]]:
    """Least, usual and largest shape of every input of the graph ``file``, by the names of its axes.

    Raises:
        NemoExtError: an axis has a name that no option is for, or an option is not three rising numbers; it names the
            input.
    """
    return {port.name: [[_length(profiles, port, n, i, file) for n in port.shape] for i in range(3)] for port in inputs}


def table(built: Sequence[Built]) -> str:
    """File, size, build seconds and workspace of every engine, for a person to read."""
    rows = [("file", "size", "build", "workspace")]
    for one in built:
        used = [f"{_mebibytes(one.memory)} in use"] if one.memory is not None else []
        limit = [f"at most {_mebibytes(one.workspace)} a layer" if one.workspace else "no limit"]
        limit = [] if one.reused else limit  # nobody knows with which one it was built
        seconds = "there already" if one.reused else f"{one.seconds:.1f} s"
        rows.append((one.engine.file, _mebibytes(one.size), seconds, ", ".join([*used, *limit])))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"


def serialized(
    path: Path,
    library: trt.Library,
    profile: dict[str, list[list[int]]],
    workspace: int,
    step: Callable[[int], None] = lambda _: None,
    cache: Path | None = None,
) -> bytes:
    """The engine of the graph at ``path``; ``step`` hears how many more per cent are done.

    ``workspace``: bytes that a layer may use; 0: as many as the library allows. A limit that is too small for one of
    the layers fails the build, for without a GPU TensorRT-RTX does not look for another way to compute it.

    ``cache``: file with the times of kernels that were measured before, which spares them (``tensorrt`` alone has it).

    Raises:
        NemoExtError: the graph cannot be parsed, with the op and the layer that are at fault, or built.
    """
    if not path.is_file():
        raise NemoExtError(f"{path} is missing: export the bundle again")
    lib, module = library, library.module
    lib.heard.clear()
    builder = module.Builder(lib.logger)
    network = builder.create_network(1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = module.OnnxParser(network, lib.logger)
    if not parser.parse_from_file(str(path)):  # from a file, so that weights beside it are found
        raise NemoExtError(f"{path.name}: {_refusal(parser, lib)}")
    config = builder.create_builder_config()
    if hasattr(module.BuilderFlag, "TF32"):
        config.clear_flag(module.BuilderFlag.TF32)
    if workspace:
        config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, workspace)
    optimization = builder.create_optimization_profile()
    for name, (least, usual, largest) in profile.items():
        try:
            optimization.set_shape(name, tuple(least), tuple(usual), tuple(largest))
        except ValueError as error:
            raise NemoExtError(f"{path.name}, input '{name}': {lib} does not take its profile: {error}") from error
    if config.add_optimization_profile(optimization) < 0:
        raise NemoExtError(f"{path.name}: {lib} does not take the profile of {', '.join(profile)}: {lib.why()}")
    if hasattr(config, "progress_monitor"):
        watch = _watch(module, step)  # held here: the config does not keep it alive
        config.progress_monitor = watch
    if cache is not None:
        timings = _timings(config, cache)
        config.set_timing_cache(timings, False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        reason = lib.why()
        if workspace and ("OutOfMemory" in reason or "workspace" in reason):
            limit = f"profile.workspace={workspace >> 20} (MiB)"
            reason = f"{limit} is too small for one of its layers: give more, or 0 ({reason})"
        raise NemoExtError(f"{path.name}: {lib} built no engine: {reason}")
    if cache is not None:
        trt.keep(cache, bytes(config.get_timing_cache().serialize()))
    return bytes(engine)


def _one(
    bundle: Bundle,
    name: str,
    library: trt.Library,
    gpu: str,
    profile: dict[str, list[list[int]]],
    options: ProfileConfig,
    previous: Bundle,
    progress: bool,
) -> tuple[Built, bytes]:
    graph = bundle.graphs[name]
    engine = Engine(
        file=_file(name, library.name, library.version, gpu),
        graph=name,
        graph_hash=file_hash(bundle.path(name)) if bundle.path(name).is_file() else "",
        library=library.name,
        version=library.version,
        gpu=gpu,
        profile=profile,
    )
    there = _there(engine, bundle, previous)
    if there is not None:
        content = there.read_bytes()
        return Built(engine, len(content), 0.0, 0, _memory(library, content), reused=True), content
    began = time.perf_counter()
    workspace = options.workspace << 20
    cache = trt.cache_dir() / f"timings-{library.version}-{gpu}" if library.name == _SPECIFIC else None
    bar: AbstractContextManager[Any] = Progress(100, f"{library.name}: {graph.file}") if progress else nullcontext()
    with bar as told:
        step = told.step if told is not None else lambda _: None
        content = serialized(bundle.path(name), library, profile, workspace, step, cache)
    return Built(engine, len(content), time.perf_counter() - began, workspace, _memory(library, content)), content


def _file(graph: str, library: str, version: str, gpu: str) -> str:
    """In a bundle; sessions read an engine's origin from its name."""
    return f"{ENGINES}/{graph}-{library}-{'.'.join(version.split('.')[:3])}-{gpu}.engine"


def _there(engine: Engine, bundle: Bundle, previous: Bundle) -> Path | None:
    """The file of the same engine in ``previous``, if graph and weights are those of then and the file is whole."""
    if engine not in previous.engines:
        return None
    graph = bundle.graphs[engine.graph]
    if any(file_hash(bundle.dir / name) != previous.files.get(name) for name in graph.external):
        return None
    path = previous.dir / engine.file
    if not path.is_file() or file_hash(path) != previous.files.get(engine.file):
        return None
    return path


def _replace(bundle: Bundle, library: str, engines: list[Engine]) -> None:
    """Put ``engines`` into the index, and take out those of ``library`` for the same graphs that no longer fit."""
    kept = []
    for old in bundle.engines:
        stale = old.library == library and any(
            old.graph == new.graph and (old.gpu == new.gpu or old.graph_hash != new.graph_hash) for new in engines
        )
        if not stale:
            kept.append(old)
        elif all(old.file != new.file for new in engines):
            (bundle.dir / old.file).unlink(missing_ok=True)
    bundle.engines = [*kept, *engines]


def _gpu(library: trt.Library) -> str:
    found = cuda.gpu()
    if not runs_on(library.name, found):
        raise NemoExtError(
            f"{library} does not run on this GPU ({found}, Hopper): build with tensorrt, targets=[onnx,tensorrt]; its "
            "engines for other GPUs are built where none is seen, with CUDA_VISIBLE_DEVICES= before the command"
        )
    if library.name != _SPECIFIC:
        return _ANY
    if found is None:
        raise NemoExtError(
            "tensorrt builds engines on the GPU that they are for, and there is no NVIDIA GPU here, or no driver for "
            "it: run the export there, or build with tensorrt_rtx, which needs none"
        )
    return found


def _length(profiles: ProfileConfig, port: Port, axis: int | str, which: int, file: str) -> int:
    if isinstance(axis, int):
        return axis
    if axis not in _OPTIONS:
        raise NemoExtError(f"{file}, input '{port.name}': nothing says how long its axis '{axis}' may be")
    name = _OPTIONS[axis]
    if wrong := _wrong_profile(profiles, name):
        raise NemoExtError(f"{file}, input '{port.name}': {wrong}")
    return int(getattr(profiles, name)[which])


def _wrong_profile(profiles: ProfileConfig, name: str) -> str:
    given = getattr(profiles, name)
    if len(given) == 3 and all(n >= 1 for n in given) and list(given) == sorted(given):
        return ""
    return (
        f"profile.{name}={_plain(given)} is no profile: give three rising numbers of 1 or more, the least, the usual "
        f"and the largest, such as profile.{name}={_plain(getattr(ProfileConfig(), name))}"
    )


def _plain(numbers: Sequence[int]) -> str:
    return f"[{','.join(map(str, numbers))}]"


def _refusal(parser: Any, library: trt.Library) -> str:
    """What the parser found, in one line with the op and its layer."""
    if not parser.num_errors:
        return f"{library} cannot read it: {library.why()}"
    error = parser.get_error(0)
    library.heard.clear()
    reason, operator = " ".join(error.desc().split()), error.node_operator()
    if not operator:
        return f"{library} cannot read it: {reason}"
    layer = f"'{error.node_name()}'" if error.node_name() else f"number {error.node()}"
    code = error.code().name
    lacks = code.startswith("UNSUPPORTED") or (code == "INVALID_NODE" and "lugin" in reason)
    if not lacks:
        return f"{library} cannot read layer {layer}, op {operator}: {reason}"
    # of many an op the parser only says that there is no plugin for it either, or "false"
    told = "" if reason in ("false", "") or "lugin" in reason else f" ({reason})"
    return (
        f"{library} has no op {operator} as layer {layer} wants it{told}: change the model there, or use ONNX Runtime"
    )


def _timings(config: Any, cache: Path) -> Any:
    """A timing cache with what the file ``cache`` holds, empty where that is missing or of no use."""
    try:
        return config.create_timing_cache(cache.read_bytes()) or config.create_timing_cache(b"")
    except (OSError, RuntimeError, ValueError, TypeError):
        return config.create_timing_cache(b"")


def _memory(library: trt.Library, content: bytes) -> int | None:
    if cuda.gpu() is None:
        return None
    engine = library.module.Runtime(library.logger).deserialize_cuda_engine(content)
    library.heard.clear()
    return int(engine.device_memory_size_v2) if engine is not None else None


def _watch(module: Any, step: Callable[[int], None]) -> Any:
    """A monitor that turns the builder's nested phases into per cent of the whole."""
    from nemo_ext.export.phases import Phases

    phases = Phases(step)

    class Watch(module.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            phases.step(phase_name, step)
            return True  # False would end the build

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    return Watch()
