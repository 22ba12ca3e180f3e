"""Memory, copies, a stream and graphs of one NVIDIA GPU, through ``cuda.bindings`` and without torch.

Every call of the CUDA runtime gives back its status first; ``Cuda.do`` checks it. Work is queued on one stream and
done in the order in which it was queued, so nothing here waits but ``synchronize``.
"""

from __future__ import annotations

import ctypes
import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nemo_ext.errors import NemoExtError


@dataclass(frozen=True)
class DeviceArray:
    """An array in a GPU's memory: rows one after the other, without gaps. It does not own the memory."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of it."""
        return math.prod(self.shape) * self.dtype.itemsize


class Cuda:
    """The CUDA runtime on the current device, and the one stream that everything is queued on.

    Raises:
        NemoExtError: cuda-bindings is not installed, or there is no NVIDIA GPU (or no driver for it).
    """

    def __init__(self, api: Any = None) -> None:
        self.api = api if api is not None else bindings()
        if gpu(self.api) is None:
            raise NemoExtError(
                "there is no NVIDIA GPU here, or no driver for it: `nvidia-smi` shows what there is; "
                "without one, speak through ONNX Runtime or OpenVINO"
            )
        self.stream = int(self.do("cudaStreamCreateWithFlags", self.api.cudaStreamNonBlocking))

    def do(self, name: str, *arguments: Any) -> Any:
        """What the call ``name`` of the CUDA runtime gives back beside its status.

        Raises:
            NemoExtError: the status is not success.
        """
        status, *values = getattr(self.api, name)(*arguments)
        if int(status):
            text = self.api.cudaGetErrorString(status)[1].decode()
            raise NemoExtError(f"the GPU refused {name}: {text}")
        return values[0] if values else None

    def synchronize(self) -> None:
        """Wait until all that was queued is done."""
        self.do("cudaStreamSynchronize", self.stream)

    def copy(self, to: int, source: int, count: int, kind: str) -> None:
        """Queue the copy of ``count`` bytes; ``kind``: HostToDevice, DeviceToHost or DeviceToDevice."""
        self.do("cudaMemcpyAsync", to, source, count, self._kind(kind), self.stream)

    def copy_columns(self, to: DeviceArray, at: int, source: DeviceArray, start: int, count: int) -> None:
        """Queue the copy of ``count`` columns (of the last axis) from ``source`` at ``start`` to ``to`` at ``at``."""
        size = to.dtype.itemsize
        rows = math.prod(source.shape[:-1])
        if to.dtype != source.dtype or math.prod(to.shape[:-1]) != rows:
            raise ValueError(f"columns of {source.shape} do not go into {to.shape}")
        self.do(
            "cudaMemcpy2DAsync",
            to.address + at * size,
            to.shape[-1] * size,
            source.address + start * size,
            source.shape[-1] * size,
            count * size,
            rows,
            self._kind("DeviceToDevice"),
            self.stream,
        )

    def capture(self, work: Any) -> Graph:
        """What ``work()`` queues, as a graph that is launched as one."""
        self.do("cudaStreamBeginCapture", self.stream, self.api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        try:
            work()
        finally:  # a stream that is left capturing takes no other work
            graph = self.do("cudaStreamEndCapture", self.stream)
        try:
            return Graph(self, self.do("cudaGraphInstantiate", graph, 0))
        finally:
            self.do("cudaGraphDestroy", graph)

    def close(self) -> None:
        """Give the stream back."""
        if self.stream:
            self.do("cudaStreamDestroy", self.stream)
            self.stream = 0

    def _kind(self, kind: str) -> Any:
        return getattr(self.api.cudaMemcpyKind, f"cudaMemcpy{kind}")


class Graph:
    """Captured work."""

    def __init__(self, cuda: Cuda, ready: Any) -> None:
        self._cuda, self._ready = cuda, ready

    def launch(self) -> None:
        """Queue it."""
        self._cuda.do("cudaGraphLaunch", self._ready, self._cuda.stream)

    def close(self) -> None:
        """Give it back."""
        if self._ready is not None:
            self._cuda.do("cudaGraphExecDestroy", self._ready)
            self._ready = None


class Buffer:
    """Device memory that grows when more is asked for, and then loses what it held."""

    _ALLOCATE, _FREE = "cudaMalloc", "cudaFree"

    def __init__(self, cuda: Cuda, size: int = 0) -> None:
        self._cuda, self.address, self.size = cuda, 0, 0
        self.reserve(size)

    def reserve(self, size: int) -> int:
        """The address of at least ``size`` bytes."""
        if size > self.size:
            self.close()
            self.address, self.size = self._allocated(size), size
        return self.address

    def array(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """The start of it as an array."""
        array = DeviceArray(0, tuple(shape), np.dtype(dtype))
        return DeviceArray(self.reserve(max(1, array.nbytes)), array.shape, array.dtype)

    def close(self) -> None:
        """Give the memory back. CUDA waits for work that uses it."""
        if self.address:
            address, self.address, self.size = self.address, 0, 0
            self._cuda.do(self._FREE, address)

    def _allocated(self, size: int) -> int:
        try:
            return int(self._cuda.do(self._ALLOCATE, size))
        except NemoExtError as error:
            raise NemoExtError(f"{error} ({size / 2**20:.0f} MiB were asked for)") from error


class Pinned(Buffer):
    """Memory of the host that copies run to and from without being waited for."""

    _FREE = "cudaFreeHost"

    def view(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """The start of it as an array of numpy's, which shares the memory."""
        wanted = self.array(shape, dtype)
        raw = (ctypes.c_ubyte * wanted.nbytes).from_address(wanted.address)
        return np.ctypeslib.as_array(raw).view(wanted.dtype).reshape(wanted.shape)

    def _allocated(self, size: int) -> int:
        return int(self._cuda.do("cudaHostAlloc", size, self._cuda.api.cudaHostAllocDefault))


@functools.cache
def shared() -> Cuda:
    """The one that sessions share unless they are given another; only then may they hand arrays to each other.

    Raises:
        NemoExtError: as Cuda.
    """
    return Cuda()


def bindings() -> Any:
    """``cuda.bindings.runtime``.

    Raises:
        NemoExtError: it is not installed.
    """
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise NemoExtError("cuda-bindings is not installed: pip install cuda-bindings") from error
    return runtime


def gpu(api: Any = None) -> str | None:
    """The kind of the current GPU as engines name it: ``sm90``; None where there is none, or no driver."""
    api = api if api is not None else bindings()
    status, count = api.cudaGetDeviceCount()
    if int(status) or not count:
        return None
    status, device = api.cudaGetDevice()
    attributes = api.cudaDeviceAttr
    numbers = []
    for name in ("cudaDevAttrComputeCapabilityMajor", "cudaDevAttrComputeCapabilityMinor"):
        wrong, number = api.cudaDeviceGetAttribute(getattr(attributes, name), device)
        if int(status) or int(wrong):
            return None
        numbers.append(number)
    return f"sm{numbers[0]}{numbers[1]}"
