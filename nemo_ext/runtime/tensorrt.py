"""Sessions over TensorRT engines: arrays stay on the GPU from one engine to the next, outputs may have any length.

An engine's outputs are written where an allocator puts them, because the length of a mel is known only when the
durations are; ``run`` brings them to the host, ``run_on_device`` leaves them, ``chain`` hands one to the next engine.
One thread at a time uses a session, and everything that shares its ``Cuda``.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.runtime import trt
from nemo_ext.runtime.cuda import Buffer, Cuda, DeviceArray, Pinned, gpu, shared
from nemo_ext.runtime.feeds import check_feeds
from nemo_ext.runtime.kernels import Kernels
from nemo_ext.runtime.session import Limits, Port, Shape, named_axes

DeviceFeeds = Mapping[str, np.ndarray | DeviceArray]


class TensorRTSession:
    """The engine in the file ``path``, which ``version`` of ``library`` built for ``built_for`` ("sm90", or "any").

    These three are read from the file's name, ``acoustic-tensorrt_rtx-1.7.1-any.engine``, where they are left out.
    ``inputs`` and ``outputs``: the graph's, as bundle.json tells them, whose axes have names; read from the engine
    where they are left out. ``cuda``: what its work is queued on; where left out, what all such sessions share.

    Raises:
        NemoExtError: the library or a GPU is missing, or the engine is another's: of another version, for another
            GPU, damaged, or of another graph.
    """

    def __init__(
        self,
        path: str | Path,
        library: str | None = None,
        version: str | None = None,
        built_for: str | None = None,
        inputs: Sequence[Port] = (),
        outputs: Sequence[Port] = (),
        cuda: Cuda | None = None,
    ) -> None:
        self.path = Path(path)
        named = _named(self.path)
        self.library = trt.load(library or named[0])
        self.cuda = cuda or shared()
        kind = gpu(self.cuda.api)
        _fits(self.path, self.library, version or named[1], built_for or named[2], kind)
        self._runtime = self.library.module.Runtime(self.library.logger)
        content = _content(self.path)
        self._engine = _deserialized(content, self.path, self.library, self._runtime)
        self.backend = f"{self.library}, {kind}"
        found = _ports(self._engine, self.library.module)
        self.inputs, self.outputs = (
            named_axes(ports, told, self.path.name) for ports, told in zip(found, (inputs, outputs), strict=True)
        )
        shapes = {p.name: self._engine.get_tensor_profile_shape(p.name, 0) for p in self.inputs}
        self.limits: Limits = {name: (tuple(least), tuple(largest)) for name, (least, _, largest) in shapes.items()}
        whose = f"kernels-{self.library.version}-{kind}-{hashlib.sha256(content).hexdigest()[:16]}"
        self._kernels, self._fixed = (Kernels(trt.cache_dir() / name) for name in (whose, f"{whose}-fixed"))
        self._context = self.context()
        # most are compiled later, while it speaks: also when nobody closes it, they are kept
        self._end = weakref.finalize(self, self._kernels.keep, self._context)
        self._buffers = {port.name: Buffer(self.cuda) for port in (*self.inputs, *self.outputs)}
        self._staging = {port.name: Pinned(self.cuda) for port in (*self.inputs, *self.outputs)}
        self._allocators = {
            port.name: _allocator(self.library.module, self._buffers[port.name]) for port in self.outputs
        }
        for name, allocator in self._allocators.items():
            self._context.set_output_allocator(name, allocator)
        self._uploading = False

    def run(self, feeds: DeviceFeeds, wanted: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """The outputs ``wanted`` (all where None) for ``feeds``, every input of the graph by name.

        Raises:
            NemoExtError: an input is missing or unknown, of another type, or of a shape that the engine does not take.
        """
        said = self.fetch(self.run_on_device(feeds), wanted)
        if self._kernels.wanted:  # a server that is stopped by force has no end
            self._kernels.keep(self._context)
        return said

    def run_on_device(self, feeds: DeviceFeeds) -> dict[str, DeviceArray]:
        """Queue a run; every output as it lies on the GPU, which the next run overwrites.

        ``feeds`` may hold arrays of the host and of the GPU, side by side.

        Raises:
            NemoExtError: as ``run``.
        """
        placed = self._upload(self.check(feeds))
        for name, array in placed.items():
            self._context.set_input_shape(name, array.shape)
            self._context.set_tensor_address(name, array.address)
        self._context.infer_shapes()
        if not self._context.execute_async_v3(self.cuda.stream):
            raise NemoExtError(f"{self.path.name} did not run: {self.library.why()}")
        return {p.name: self._allocators[p.name].array(p.dtype) for p in self.outputs}

    def fetch(self, arrays: Mapping[str, DeviceArray], wanted: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Copies of outputs on the host.

        Raises:
            NemoExtError: there is none of that name.
        """
        names = list(arrays) if wanted is None else list(wanted)
        for name in names:
            if name not in arrays:
                raise NemoExtError(f"{self.path.name} has no output '{name}'{nearest(name, arrays)}")
        views = {}
        for name in names:
            array = arrays[name]
            views[name] = self._staging[name].view(array.shape, array.dtype)
            if array.nbytes:
                self.cuda.copy(views[name].ctypes.data, array.address, array.nbytes, "DeviceToHost")
        self.cuda.synchronize()
        self._uploading = False
        return {name: view.copy() for name, view in views.items()}

    def check(self, feeds: DeviceFeeds) -> dict[str, np.ndarray | DeviceArray]:
        """``feeds`` as they are copied; what the engine does not take is refused before that.

        Raises:
            NemoExtError: it names the input, its shape and the range that is allowed.
        """
        return check_feeds(self.inputs, feeds, self.path.name, self.limits)

    def context(self, fixed: bool = False) -> Any:
        """A new execution context; ``fixed``: for one shape, with kernels that are made for it before it runs."""
        config = self._engine.create_runtime_config()
        (self._fixed if fixed else self._kernels).give(config)
        self.library.heard.clear()  # what it says of kernels that it refuses helps nobody
        if fixed and hasattr(config, "dynamic_shapes_kernel_specialization_strategy"):  # TensorRT-RTX
            strategies = self.library.module.DynamicShapesKernelSpecializationStrategy
            config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        made = self._engine.create_execution_context(config)
        if made is None:
            raise NemoExtError(f"{self.path.name} cannot run on this GPU: {self.library.why()}")
        return made

    def keep_fixed(self, context: Any) -> None:
        """Keep the kernels of a ``context`` for one shape, for the next start."""
        self._fixed.keep(context)

    def close(self) -> None:
        """Give the memory back, and keep the kernels that were compiled here for the next start."""
        self.cuda.synchronize()
        self._end()
        for owned in (*self._buffers.values(), *self._staging.values()):
            owned.close()

    def _upload(self, feeds: DeviceFeeds) -> dict[str, DeviceArray]:
        """Every feed on the GPU: those of the host are copied from page-locked memory, without being waited for."""
        if self._uploading:
            self.cuda.synchronize()  # the copies of the run before may not have left the memory that we write to now
        placed = {}
        for name, feed in feeds.items():
            if isinstance(feed, DeviceArray):
                placed[name] = feed
                continue
            staged = self._staging[name].view(feed.shape, feed.dtype)
            staged[...] = feed
            placed[name] = self._buffers[name].array(feed.shape, feed.dtype)
            self.cuda.copy(placed[name].address, staged.ctypes.data, feed.nbytes, "HostToDevice")
            self._uploading = True
        return placed


def chain(
    first: TensorRTSession, second: TensorRTSession, feeds: DeviceFeeds, output: str = "spect", goes_to: str = "spec"
) -> tuple[dict[str, DeviceArray], dict[str, DeviceArray]]:
    """Run ``first`` and hand its ``output`` to ``second`` on the GPU; the outputs of both, as they lie there.

    Raises:
        NemoExtError: as ``run``; or the sessions do not share one ``Cuda``, whose order of work this rests on.
    """
    if first.cuda is not second.cuda:
        raise NemoExtError("two engines that hand arrays to each other share one Cuda: give both the same")
    made = first.run_on_device(feeds)
    return made, second.run_on_device({goes_to: made[output]})


def _named(path: Path) -> tuple[str, str, str]:
    """Library, version and GPU that the name of an engine tells; the bundle's own index tells more of the version."""
    parts = path.stem.rsplit("-", 3)
    if len(parts) != 4 or parts[1] not in trt.EXTRAS:
        raise NemoExtError(f"{path.name} is not named as an engine of a bundle is: GRAPH-LIBRARY-VERSION-GPU.engine")
    return parts[1], parts[2], parts[3]


def _fits(path: Path, library: trt.Library, version: str, built_for: str, kind: str | None) -> None:
    told = version.split(".")
    if told != library.version.split(".")[: len(told)]:
        raise NemoExtError(
            f"{path.name} was built with {trt.TITLES[library.name]} {version}, and {library.version} is installed: "
            "an engine runs with its own version only, so export the bundle again, or install that one"
        )
    if built_for not in ("any", kind):
        raise NemoExtError(
            f"{path.name} was built for a GPU of kind {built_for}, and this one is {kind}: export the bundle again here"
        )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NemoExtError(f"{path} cannot be read: export the bundle again") from error


def _deserialized(content: bytes, path: Path, library: trt.Library, runtime: Any) -> Any:
    library.heard.clear()
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise NemoExtError(
            f"{path.name} is no engine that {library} can run here ({library.why()}): export the bundle again"
        )
    return engine


def _ports(engine: Any, module: Any) -> tuple[list[Port], list[Port]]:
    """Inputs and outputs of an engine, which knows no names of its axes."""
    found: dict[Any, list[Port]] = {module.TensorIOMode.INPUT: [], module.TensorIOMode.OUTPUT: []}
    for i in range(engine.num_io_tensors):
        name = engine.get_tensor_name(i)
        shape = tuple(n if n >= 0 else "" for n in engine.get_tensor_shape(name))
        dtype = np.dtype(module.nptype(engine.get_tensor_dtype(name))).name
        found[engine.get_tensor_mode(name)].append(Port(name, dtype, shape))
    return found[module.TensorIOMode.INPUT], found[module.TensorIOMode.OUTPUT]


def _allocator(module: Any, buffer: Buffer) -> Any:
    """Where an engine puts an output whose size it finds out as it runs."""

    class Allocator(module.IOutputAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.shape: Shape = ()

        def reallocate_output_async(self, _name: str, _memory: int, size: int, _alignment: int, _stream: int) -> int:
            try:
                return buffer.reserve(max(1, size))  # CUDA aligns to 256 bytes, more than any engine asks for
            except NemoExtError:
                return 0  # the engine then gives up, and says that there was no memory

        def reallocate_output(self, name: str, memory: int, size: int, alignment: int) -> int:
            return self.reallocate_output_async(name, memory, size, alignment, 0)

        def notify_shape(self, _name: str, shape: Any) -> None:
            self.shape = tuple(shape)

        def array(self, dtype: str) -> DeviceArray:
            return buffer.array(self.shape, dtype)

    return Allocator()
