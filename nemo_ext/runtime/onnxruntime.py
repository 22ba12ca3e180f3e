"""A graph in ONNX Runtime, on the processor or on an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nemo_ext.errors import NemoExtError
from nemo_ext.runtime import silent
from nemo_ext.runtime.feeds import check_feeds, check_wanted, first_line, shapes
from nemo_ext.runtime.session import Feeds, Limits, Port

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
_DTYPES |= {f"tensor({name})": name for name in ("int64", "int32", "bool")}
_CUDNN = 9  # the major version that releases since 1.19 are built with


class OnnxSession:
    """The Session of ONNX Runtime. Weights in ``NAME.onnx.data`` are found beside the graph."""

    def __init__(self, path: Path, provider: str = CPU, threads: int = 0) -> None:
        """``threads``: of the processor; 0 leaves it to ONNX Runtime, which takes every core.

        Raises:
            NemoExtError: ONNX Runtime or the provider is not there, or the graph cannot be read.
        """
        runtime = silent.onnxruntime()
        self._what = path.name
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors: what it says of unused initializers helps nobody
        if provider == CUDA:
            if CUDA not in runtime.get_available_providers():
                raise NemoExtError(
                    "this ONNX Runtime has no CUDA: replace it, pip uninstall onnxruntime; pip install onnxruntime-gpu"
                )
            # TF32 would turn durations
            providers: list[Any] = [(CUDA, {"use_tf32": "0"}), CPU]
        else:
            providers = [provider]
        if not path.is_file():
            raise NemoExtError(f"no graph at {path}")
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # its exceptions share no base class
            raise NemoExtError(f"{path} cannot be read by ONNX Runtime: {first_line(error)}") from error
        used = self._session.get_providers()[0]
        if used != provider:  # it falls back in silence
            built_with = getattr(runtime, "cuda_version", "") or "of its release notes"
            raise NemoExtError(
                f"ONNX Runtime {runtime.__version__} could not start CUDA here: it wants CUDA {built_with} and cuDNN "
                f"{_CUDNN} where they are looked for (LD_LIBRARY_PATH), and a driver for them (nvidia-smi shows it)"
            )
        self.backend = f"ONNX Runtime {runtime.__version__}, {'CUDA' if provider == CUDA else 'CPU'}"
        self.limits: Limits = {}
        self.inputs: Sequence[Port] = [_port(value) for value in self._session.get_inputs()]
        self.outputs: Sequence[Port] = [_port(value) for value in self._session.get_outputs()]

    def run(self, feeds: Feeds, wanted: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """See ``runtime.session.Session.run``."""
        given = check_feeds(self.inputs, feeds, self._what)
        names = check_wanted(self.outputs, wanted, self._what)
        try:
            return dict(zip(names, self._session.run(names, given), strict=True))
        except Exception as error:
            raise NemoExtError(f"{self._what} failed with {shapes(given)}: {first_line(error)}") from error


def cuda_available() -> bool:
    """Whether an ONNX Runtime with CUDA is installed; whether a GPU is there is another question."""
    try:
        return CUDA in silent.onnxruntime().get_available_providers()
    except NemoExtError:
        return False


def _port(value: Any) -> Port:
    shape = tuple(axis if isinstance(axis, int | str) else "" for axis in value.shape)
    return Port(value.name, _DTYPES.get(value.type, value.type), shape)
