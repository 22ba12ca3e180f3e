"""Which backend runs a graph: the one that is asked for, or the fastest that is there."""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.runtime import onnxruntime, openvino
from nemo_ext.runtime.session import EngineFile, Port, Session
from nemo_ext.runtime.spare import Spared

_log = logging.getLogger(__name__)
BACKENDS = ("auto", "tensorrt", "cuda", "openvino", "onnxruntime")


def open_session(
    path: Path,
    backend: str = "auto",
    threads: int = 0,
    engines: Sequence[EngineFile] = (),
    precision: str = "fp32",
    *,
    inputs: Sequence[Port] = (),
    outputs: Sequence[Port] = (),
    tell: Callable[[str], None] | None = None,
) -> Session:
    """The graph at ``path``, ready to run.

    Args:
        path: an ONNX file.
        backend: ``tensorrt``, ``cuda`` (ONNX Runtime), ``openvino``, ``onnxruntime`` (on the processor), or ``auto``,
            the first of these that is there: TensorRT where an engine is given and a GPU is there.
        threads: of the processor; 0 takes every core.
        engines: of the same graph; the first that can run here is taken.
        precision: ``fp32``, or ``bf16`` where that is good enough: then OpenVINO takes it where the processor has it.
        inputs: the graph's as bundle.json tells them: names of axes, which not every backend knows.
        outputs: and so these.
        tell: hears in a line of every run whose shapes were outside the engine's and that was therefore done without
            it; where left out, such shapes are refused.

    Raises:
        NemoExtError: the backend asked for is not there (the extra that adds it is named), none is, or the graph
            cannot be read.
    """
    chosen = choose(backend, engines)
    without = partial(open_session, path, "auto", threads, precision=precision, inputs=inputs, outputs=outputs)
    if chosen == "tensorrt":
        if not engines:
            raise NemoExtError(
                f"backend=tensorrt, and there is no engine for {path.name} here: export the bundle with "
                "targets=[onnx,tensorrt] on a machine with this GPU, or give another backend"
            )
        try:
            session = _tensorrt(engines, inputs, outputs)
        except NemoExtError as error:
            if backend != "auto":
                raise
            _log.warning("%s", error)
            return without()
        return session if tell is None else Spared(session, without, tell)
    if chosen == "cuda":
        try:
            return onnxruntime.OnnxSession(path, onnxruntime.CUDA, threads)
        except NemoExtError as error:
            if backend != "auto":
                raise
            _log.warning("%s is run on the processor: %s", path.name, error)
            chosen = _of_processor()
    if chosen == "openvino":
        bf16 = precision == "bf16" and openvino.has_bf16()
        return openvino.OpenVinoSession(path, threads, "bf16" if bf16 else "fp32", inputs=inputs, outputs=outputs)
    return onnxruntime.OnnxSession(path, onnxruntime.CPU, threads)


def choose(backend: str, engines: Sequence[EngineFile] = ()) -> str:
    """What ``backend`` means here: one of ``BACKENDS`` other than ``auto``.

    Raises:
        NemoExtError: there is no such backend.
    """
    if backend not in BACKENDS:
        raise NemoExtError(f"backend={backend} is not one of {', '.join(BACKENDS)}{nearest(backend, BACKENDS)}")
    if backend != "auto":
        return backend
    if gpu_present():
        if engines:
            return "tensorrt"
        if onnxruntime.cuda_available():
            return "cuda"
    return _of_processor()


@functools.cache
def gpu_present() -> bool:
    """Whether there is an NVIDIA GPU with a driver: asked of the driver, since torch is not to be imported."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def _of_processor() -> str:
    return "openvino" if openvino.installed() else "onnxruntime"


def _tensorrt(engines: Sequence[EngineFile], inputs: Sequence[Port], outputs: Sequence[Port]) -> Session:
    """The first of ``engines`` that runs here: of two libraries one may be installed, of two GPUs one is there.

    Raises:
        NemoExtError: none does; why, of each.
    """
    from nemo_ext.runtime.tensorrt import TensorRTSession

    refused = []
    for engine in engines:
        try:
            session: Session = TensorRTSession(
                engine.path, engine.library, engine.version, engine.built_for, inputs, outputs
            )
            return session
        except NemoExtError as error:
            refused.append(f"{engine.path.name} is not used: {error}")
    raise NemoExtError("; ".join(refused))
