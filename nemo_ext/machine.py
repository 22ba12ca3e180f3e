"""What this machine gives us."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def existing(path: Path) -> Path:
    """``path`` where it is there, otherwise the nearest folder above it that is; absolute."""
    whole = path.absolute()
    return next(one for one in (whole, *whole.parents) if one.exists())


def may_have_gpu() -> bool:
    """Whether a GPU's driver is there at all; if it is not, torch, which takes seconds to import, need not be asked."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Path("/dev/kfd").exists()  # AMD's
    return True
