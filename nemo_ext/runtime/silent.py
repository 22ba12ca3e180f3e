"""ONNX Runtime and OpenVINO, imported so that neither reports to its maker nor writes under HOME.

Both do so when they are imported, before anything can be asked of them: ONNX Runtime makes a device id and a store of
events, OpenVINO an id and a report to Google Analytics. No session of ours is opened but through these two. What ONNX
Runtime reads of the environment is set where this package begins (`nemo_ext/__init__.py`).
"""

from __future__ import annotations

import sys
from typing import Any

from nemo_ext.errors import NemoExtError


def onnxruntime() -> Any:
    """The module.

    Raises:
        NemoExtError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise NemoExtError("ONNX Runtime is not installed: pip install 'nemo_ext[onnx]' adds it") from error
    onnxruntime.disable_telemetry_events()  # for where somebody else has loaded it before
    return onnxruntime


def openvino() -> Any:
    """The module.

    Raises:
        NemoExtError: it is not installed.
    """
    if "openvino" not in sys.modules:
        # it does without the package that reports, and asks no variable: to it, that package is not installed
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise NemoExtError("OpenVINO is not installed: pip install 'nemo_ext[openvino]' adds it") from error
    return openvino
