"""Text-to-speech on NVIDIA NeMo 3: fast, controllable, deployable voices.

``nemo_ext.load("A/model.nemo", "B/model.nemo").say("Hello.", voice="anna")`` speaks. Importing this package is cheap:
torch and NeMo are imported when something is loaded.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nemo_ext.synthesis.pipeline import Pipeline
    from nemo_ext.types import AcousticModel, VocoderModel

# ONNX Runtime makes a device id and a store of events under HOME when it is imported, and NeMo imports it too
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(
    acoustic: str | Path | AcousticModel | None = None,
    vocoder: str | Path | VocoderModel | None = None,
    device: str = "auto",
    voices: str | Path | None = None,
    *,
    bundle: str | Path | None = None,
    backend: str = "auto",
    threads: int = 0,
    precision: str = "auto",
) -> Pipeline:
    """A voice ready to speak: see `nemo_ext.synthesis.pipeline.load`."""
    from nemo_ext.synthesis import pipeline

    return pipeline.load(
        acoustic, vocoder, device, voices, bundle=bundle, backend=backend, threads=threads, precision=precision
    )
