"""A graph in OpenVINO, on the processor."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nemo_ext.errors import NemoExtError
from nemo_ext.runtime import silent
from nemo_ext.runtime.feeds import check_feeds, check_wanted, first_line, shapes
from nemo_ext.runtime.session import Feeds, Limits, Port, named_axes

PRECISIONS = ("fp32", "bf16")
_HINTS = {"fp32": "f32", "bf16": "bf16"}
_DTYPES = {"f32": "float32", "f16": "float16", "f64": "float64", "i64": "int64", "i32": "int32", "boolean": "bool"}


class OpenVinoSession:
    """The Session of OpenVINO. Weights in ``NAME.onnx.data`` are found beside the graph."""

    def __init__(
        self,
        path: Path,
        threads: int = 0,
        precision: str = "fp32",
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        inputs: Sequence[Port] = (),
        outputs: Sequence[Port] = (),
    ) -> None:
        """``threads``: 0 takes every core. ``shapes``: of inputs that never change, by name: they are compiled once.

        ``precision``: what products are computed in; ``bf16`` wants a processor that has it (`has_bf16`).

        ``inputs`` and ``outputs``: as bundle.json tells them, whose axes have names; here they have none.

        Raises:
            NemoExtError: OpenVINO is not there, the processor has no bf16, the graph cannot be read, or is another.
        """
        openvino = silent.openvino()
        if precision not in PRECISIONS:
            raise NemoExtError(f"precision={precision} is not one of {', '.join(PRECISIONS)}")
        if precision == "bf16" and not has_bf16():
            raise NemoExtError("precision=bf16, and this processor has neither AMX nor AVX-512 BF16: take fp32")
        self._what = path.name
        if not path.is_file():
            raise NemoExtError(f"no graph at {path}")
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _HINTS[precision]}
        settings |= {"INFERENCE_NUM_THREADS": threads} if threads else {}
        core = _core()
        try:
            model = core.read_model(str(path))
            if shapes:
                model.reshape({name: openvino.PartialShape(list(shape)) for name, shape in shapes.items()})
            self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise NemoExtError(f"{path} cannot be read by OpenVINO: {_reason(error)}") from error
        self.backend = f"OpenVINO {openvino.__version__.partition('-')[0]}, CPU, {precision}"
        self.limits: Limits = {}
        self.inputs: Sequence[Port] = named_axes([_port(value) for value in model.inputs], inputs, path.name)
        self.outputs: Sequence[Port] = named_axes([_port(value) for value in model.outputs], outputs, path.name)

    def run(self, feeds: Feeds, wanted: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """See ``runtime.session.Session.run``."""
        given = check_feeds(self.inputs, feeds, self._what)
        names = check_wanted(self.outputs, wanted, self._what)
        try:
            self._request.infer(given, share_inputs=True)
            # a copy: the request writes its next results to the same memory
            return {name: np.array(self._request.get_tensor(name).data) for name in names}
        except RuntimeError as error:
            raise NemoExtError(f"{self._what} failed with {shapes(given)}: {_reason(error)}") from error


def installed() -> bool:
    """Whether OpenVINO is there."""
    try:
        return silent.openvino() is not None
    except NemoExtError:
        return False


def has_bf16() -> bool:
    """Whether the processor multiplies bf16 (AMX, AVX-512 BF16). Without, OpenVINO would only round to it, slowly."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(flags)


@functools.cache
def _core() -> Any:
    """The one core of the process.

    A core moves the signal handlers of the thread it is made in to a stack of its own, and gives back the one it found
    when it goes. Of several that do not go in the reverse order, the last gives back memory that is already freed, and
    the next signal (Ctrl-C, a child that ends) is a segmentation fault.
    """
    return silent.openvino().Core()


def _port(value: Any) -> Port:
    shape = tuple(axis.get_length() if axis.is_static else "" for axis in value.get_partial_shape())
    kind = value.get_element_type().get_type_name()
    return Port(value.get_any_name(), _DTYPES.get(kind, kind), shape)


def _reason(error: Exception) -> str:
    """OpenVINO begins with the lines of its own source in which it happened; the reason stands last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '", "While validating"))]
    return told[-1][:300] if told else first_line(error)
