"""A pretended GPU, because there is none where these tests run: it stands in for the CUDA runtime and for TensorRT.

What it keeps of the real ones, so that a mistake in our calls shows:

- names and numbers of arguments of the CUDA runtime are those of the installed cuda-bindings;
- names of TensorRT's classes and members are those of a recorded version, or of the installed TensorRT-RTX;
- work on a stream is queued, and done in order at a synchronization: a copy that is read too early is not there yet;
- memory starts with rubbish in it, and freed or foreign addresses are refused;
- an "engine" is an ONNX graph that ONNX Runtime computes, so that numbers which pass through are right or wrong.

It cannot show that a GPU computes the same, how fast it is, or that its libraries agree with this picture of them.
"""

from __future__ import annotations

import ctypes
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
from cuda.bindings import runtime as real

from tests.bindings import Names

OK = real.cudaError_t.cudaSuccess
FULL, WRONG = real.cudaError_t.cudaErrorMemoryAllocation, real.cudaError_t.cudaErrorInvalidValue
_ROOM = 64 * 2**20


class FakeRuntime:
    """``cuda.bindings.runtime`` with one device of compute capability 8.9 and 64 MiB."""

    def __init__(self) -> None:
        self.memory: dict[int, tuple[Any, int]] = {}  # address -> what holds it, bytes
        self.queue: list[Callable[[], None]] = []
        self.recording: list[Callable[[], None]] | None = None
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.calls: list[str] = []
        self.copied: dict[str, int] = {}  # kind of copy -> bytes
        self.devices = 1

    def __getattr__(self, name: str) -> Any:
        theirs = getattr(real, name)  # an AttributeError where the real one has no such name
        if not name.startswith("cuda") or not callable(theirs) or isinstance(theirs, type):
            return theirs

        def call(*arguments: Any) -> Any:
            inspect.signature(theirs).bind(*arguments)  # a TypeError where the real one takes other arguments
            self.calls.append(name)
            given: Any = getattr(self, f"_{name.removeprefix('cuda')}")(*arguments)
            return given if isinstance(given, tuple) else (given,)

        return call

    def later(self, work: Callable[[], None]) -> None:
        """Put ``work`` on the stream, or into the graph that is being captured."""
        (self.queue if self.recording is None else self.recording).append(work)

    def flush(self) -> None:
        """Do what is queued."""
        assert self.recording is None, "a stream is synchronized while it is captured"
        while self.queue:
            self.queue.pop(0)()

    def holds(self, address: int, size: int) -> bool:
        """Whether all of it lies in one allocation."""
        return any(start <= address and address + size <= start + n for start, (_, n) in self.memory.items())

    def _GetErrorString(self, error: Any) -> Any:
        return real.cudaGetErrorString(error)

    def _GetDeviceCount(self) -> Any:
        return OK, self.devices

    def _GetDevice(self) -> Any:
        return OK, 0

    def _DeviceGetAttribute(self, attribute: Any, device: int) -> Any:
        return OK, {"cudaDevAttrComputeCapabilityMajor": 8, "cudaDevAttrComputeCapabilityMinor": 9}[attribute.name]

    def _StreamCreateWithFlags(self, flags: int) -> Any:
        assert flags == real.cudaStreamNonBlocking
        return OK, 7

    def _StreamDestroy(self, stream: int) -> Any:
        return OK if stream == 7 else WRONG

    def _StreamSynchronize(self, stream: int) -> Any:
        assert stream == 7
        self.flush()
        return OK

    def _Malloc(self, size: int) -> Any:
        if size <= 0 or sum(n for _, n in self.memory.values()) + size > _ROOM:
            return FULL, None
        raw = (ctypes.c_ubyte * size)()
        ctypes.memset(raw, 0xCD, size)
        self.memory[ctypes.addressof(raw)] = raw, size
        return OK, ctypes.addressof(raw)

    def _HostAlloc(self, size: int, flags: int) -> Any:
        return self._Malloc(size)

    def _Free(self, address: int) -> Any:
        assert self.recording is None
        self.flush()  # the real one waits too
        return OK if self.memory.pop(address, None) is not None else WRONG

    _FreeHost = _Free

    def _MemcpyAsync(self, to: int, source: int, count: int, kind: Any, stream: int) -> Any:
        assert stream == 7
        if not (self.holds(to, count) and self.holds(source, count)):
            return WRONG
        name = kind.name.removeprefix("cudaMemcpy")
        self.copied[name] = self.copied.get(name, 0) + count
        self.later(lambda: ctypes.memmove(to, source, count))
        return OK

    def _Memcpy2DAsync(
        self, to: int, to_pitch: int, source: int, pitch: int, width: int, height: int, kind: Any, stream: int
    ) -> Any:
        assert stream == 7
        if width > min(to_pitch, pitch):
            return WRONG
        if not (self.holds(to, to_pitch * (height - 1) + width) and self.holds(source, pitch * (height - 1) + width)):
            return WRONG

        def copy() -> None:
            for row in range(height):
                ctypes.memmove(to + row * to_pitch, source + row * pitch, width)

        self.later(copy)
        return OK

    def _StreamBeginCapture(self, stream: int, mode: Any) -> Any:
        assert not self.queue, "the warm-up is not waited for"
        self.recording = []
        return OK

    def _StreamEndCapture(self, stream: int) -> Any:
        recorded, self.recording = self.recording, None
        self.graphs[100 + len(self.graphs)] = recorded or []
        return OK, 99 + len(self.graphs)

    def _GraphInstantiate(self, graph: int, flags: int) -> Any:
        return OK, graph

    def _GraphLaunch(self, graph: int, stream: int) -> Any:
        for work in self.graphs[graph]:
            self.later(work)
        return OK

    def _GraphDestroy(self, graph: int) -> Any:
        return OK

    def _GraphExecDestroy(self, graph: int) -> Any:
        del self.graphs[graph]
        return OK


class Held:
    """Something whose attributes are looked up among the recorded names of ``_CLASS`` first."""

    _CLASS = ""
    _names: Names

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            object.__getattribute__(self, "_names").check(type(self)._CLASS, name)
        return object.__getattribute__(self, name)


def library(names: Names, api: FakeRuntime) -> Any:
    """A module ``tensorrt`` or ``tensorrt_rtx`` with the names of a version; it computes through ``api``."""
    rtx = "IRuntimeCache" in names.known("")
    modes = SimpleNamespace(INPUT="in", OUTPUT="out")

    def named(cls: str) -> type[Held]:
        return type(cls, (Held,), {"_CLASS": cls, "_names": names})

    class Cache(named("IRuntimeCache")):  # type: ignore[misc]
        def __init__(self) -> None:
            self._content = b""

        def deserialize(self, blob: bytes) -> bool:
            self._content = bytes(blob)
            return True

        def serialize(self) -> bytes:
            return self._content + b"kernels"

    class Config(named("IRuntimeConfig")):  # type: ignore[misc]
        def __init__(self) -> None:
            self._cache: Cache | None = None
            self._strategy = None

        if rtx:
            dynamic_shapes_kernel_specialization_strategy = None

            def create_runtime_cache(self) -> Cache:
                return Cache()

            def set_runtime_cache(self, cache: Cache) -> bool:
                self._cache = cache
                return True

            def get_runtime_cache(self) -> Cache | None:
                return self._cache

    class Context(named("IExecutionContext")):  # type: ignore[misc]
        def __init__(self, engine: Any, config: Config) -> None:
            self._engine, self._config = engine, config
            self._shapes: dict[str, tuple[int, ...]] = {}
            self._addresses: dict[str, int] = {}
            self._allocators: dict[str, Any] = {}

        def get_runtime_config(self) -> Config:
            return self._config

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            assert isinstance(shape, tuple)
            self._shapes[name] = shape
            return True

        def set_tensor_address(self, name: str, address: int) -> bool:
            self._addresses[name] = int(address)
            return True

        def set_output_allocator(self, name: str, allocator: Any) -> bool:
            self._allocators[name] = allocator
            return True

        def infer_shapes(self) -> list[str]:
            return [i.name for i in self._engine._session.get_inputs() if i.name not in self._shapes]

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            zeros = {k: np.zeros(s, self._engine._dtype(k)) for k, s in self._shapes.items()}
            return tuple(self._engine._session.run([name], zeros)[0].shape)

        if rtx:

            def is_stream_capturable(self, stream: int) -> bool:
                return True

        def execute_async_v3(self, stream: int) -> bool:
            assert stream == 7
            if self.infer_shapes():
                return False
            outputs = self._engine._session.get_outputs()
            shapes, addresses, allocators = dict(self._shapes), dict(self._addresses), dict(self._allocators)
            if self._engine._data_dependent and allocators:
                api.flush()  # how long an output is comes out as it runs, and that is waited for
                values = self._computed(shapes, addresses)
                sizes = {k: (value.shape, value.nbytes) for k, value in values.items()}
            else:
                values = None
                known = {o.name: self.get_tensor_shape(o.name) for o in outputs}
                sizes = {k: (n, int(np.prod(n)) * np.dtype(self._engine._dtype(k)).itemsize) for k, n in known.items()}
            for name, allocator in allocators.items():
                shape, size = sizes[name]
                addresses[name] = allocator.reallocate_output_async(name, addresses.get(name, 0), size, 256, 7)
                allocator.notify_shape(name, shape)
            if not all(addresses.get(output.name) for output in outputs):
                return False

            def compute() -> None:
                for name, value in (values or self._computed(shapes, addresses)).items():
                    assert api.holds(addresses[name], value.nbytes)
                    _array(addresses[name], value.shape, value.dtype)[...] = value

            api.later(compute)
            return True

        def _computed(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int]) -> dict[str, np.ndarray]:
            session = self._engine._session
            feeds = {k: _array(addresses[k], shape, self._engine._dtype(k)).copy() for k, shape in shapes.items()}
            return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))

    class Engine(named("ICudaEngine")):  # type: ignore[misc]
        def __init__(self, told: dict[str, Any]) -> None:
            self._profile = told["profile"]
            self._session = onnxruntime.InferenceSession(told["graph"], providers=["CPUExecutionProvider"])
            # how long its mel is stands in the tokens' values, not in the inputs' shapes
            self._data_dependent = any(i.name == "text" for i in self._session.get_inputs())
            self._io = [*self._session.get_inputs(), *self._session.get_outputs()]

        @property
        def num_io_tensors(self) -> int:
            return len(self._io)

        def get_tensor_name(self, index: int) -> str:
            return str(self._io[index].name)

        def get_tensor_mode(self, name: str) -> str:
            return modes.INPUT if name in [i.name for i in self._session.get_inputs()] else modes.OUTPUT

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return tuple(n if isinstance(n, int) else -1 for n in self._find(name).shape)

        def get_tensor_dtype(self, name: str) -> str:
            return str(self._find(name).type)

        def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
            assert profile_index == 0
            return list(self._profile[name])

        def create_runtime_config(self) -> Config:
            return Config()

        def create_execution_context(self, config: Config) -> Context:
            return Context(self, config)

        def _find(self, name: str) -> Any:
            return next(i for i in self._io if i.name == name)

        def _dtype(self, name: str) -> Any:
            return _dtype(self._find(name).type)

    class Runtime(named("Runtime")):  # type: ignore[misc]
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
            try:
                return Engine(json.loads(content))
            except ValueError:
                self._logger.log(SimpleNamespace(name="ERROR"), "Magic tag does not match")
                return None

    class Module(named("")):  # type: ignore[misc]
        def __init__(self) -> None:
            self.__version__ = names.version

    members: dict[str, Any] = {
        "ILogger": type("ILogger", (), {}),
        "IOutputAllocator": type("IOutputAllocator", (), {}),
        "Runtime": Runtime,
        "TensorIOMode": modes,
        "DynamicShapesKernelSpecializationStrategy": SimpleNamespace(EAGER="eager"),
        "nptype": staticmethod(_dtype),
    }
    for name, member in members.items():
        setattr(Module, name, member)
    return Module()


def engine(graph: Path, profile: dict[str, list[list[int]]], path: Path) -> Path:
    """What stands in for an engine's file: which graph it was built from, and its profile."""
    path.write_text(json.dumps({"graph": str(graph), "profile": profile}))
    return path


def _dtype(kind: str) -> Any:
    return {"tensor(float)": np.float32, "tensor(int64)": np.int64}[kind]


def _array(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = (ctypes.c_ubyte * size).from_address(address)
    return np.ctypeslib.as_array(raw).view(dtype).reshape(shape)
