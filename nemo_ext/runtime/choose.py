"""Which backend runs a graph: the one that is asked for, or the fastest that is there."""

from __future__ import annotations

import ctypes
import functools
import logging
from pathlib import Path

from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.runtime import onnxruntime, openvino
from nemo_ext.runtime.session import Session

_log = logging.getLogger(__name__)
BACKENDS = ("auto", "tensorrt", "cuda", "openvino", "onnxruntime")


def open_session(
    path: Path, backend: str = "auto", threads: int = 0, engine: Path | None = None, precision: str = "fp32"
) -> Session:
    """The graph at ``path``, ready to run.

    Args:
        path: an ONNX file.
        backend: ``tensorrt``, ``cuda`` (ONNX Runtime), ``openvino``, ``onnxruntime`` (on the processor), or ``auto``,
            the first of these that is there: TensorRT where an engine is given and a GPU is there.
        threads: of the processor; 0 takes every core.
        engine: a TensorRT engine of the same graph.
        precision: ``fp32``, or ``bf16`` where that is good enough: then OpenVINO takes it on a processor with AMX.

    Raises:
        NemoExtError: the backend asked for is not there (the extra that adds it is named), none is, or the graph
            cannot be read.
    """
    chosen = choose(backend, engine)
    if chosen == "tensorrt":
        if engine is None:
            raise NemoExtError(
                f"backend=tensorrt, and there is no engine for {path.name} here: export the bundle with "
                "targets=[onnx,tensorrt] on a machine with this GPU, or give another backend"
            )
        try:
            return _tensorrt(engine)
        except NemoExtError as error:
            if backend != "auto":
                raise
            _log.warning("%s is not used: %s", engine.name, error)
            chosen = choose(backend)
    if chosen == "openvino":
        bf16 = precision == "bf16" and openvino.has_bf16()
        return openvino.OpenVinoSession(path, threads, "bf16" if bf16 else "fp32")
    provider = onnxruntime.CUDA if chosen == "cuda" else onnxruntime.CPU
    return onnxruntime.OnnxSession(path, provider, threads)


def choose(backend: str, engine: Path | None = None) -> str:
    """What ``backend`` means here: one of ``BACKENDS`` other than ``auto``.

    Raises:
        NemoExtError: there is no such backend.
    """
    if backend not in BACKENDS:
        raise NemoExtError(f"backend={backend} is not one of {', '.join(BACKENDS)}{nearest(backend, BACKENDS)}")
    if backend != "auto":
        return backend
    if gpu_present():
        if engine is not None:
            return "tensorrt"
        if onnxruntime.cuda_available():
            return "cuda"
    return "openvino" if openvino.installed() else "onnxruntime"


@functools.cache
def gpu_present() -> bool:
    """Whether there is an NVIDIA GPU with a driver: asked of the driver, since torch is not to be imported."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def _tensorrt(engine: Path) -> Session:
    from nemo_ext.runtime.tensorrt import TensorRTSession

    session: Session = TensorRTSession(engine)
    return session
