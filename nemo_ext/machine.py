"""What this machine gives us."""

from __future__ import annotations

import os
from pathlib import Path


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def existing(path: Path) -> Path:
    """``path`` where it is there, otherwise the nearest folder above it that is; absolute."""
    whole = path.absolute()
    return next(one for one in (whole, *whole.parents) if one.exists())
