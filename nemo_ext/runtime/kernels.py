"""Kernels that TensorRT-RTX compiles on the GPU it meets, kept in a file from one start to the next."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from nemo_ext.runtime import trt


class Kernels:
    """The file of one engine's kernels. TensorRT itself has compiled them already and keeps none.

    Attributes:
        wanted: whether kernels are compiled here and there is no file of them yet.
    """

    def __init__(self, file: Path) -> None:
        self.wanted = False
        self._file, self._size = file, 0

    def give(self, config: Any) -> None:
        """A context that is made with ``config`` begins with what the file holds."""
        if not hasattr(config, "create_runtime_cache"):
            return
        cache = config.create_runtime_cache()
        with contextlib.suppress(OSError):
            content = self._file.read_bytes()
            if cache.deserialize(content):  # one of another driver is refused, and made anew
                self._size = len(content)
        self.wanted = not self._size
        config.set_runtime_cache(cache)

    def keep(self, context: Any) -> None:
        """Write what was compiled for ``context``, where that is more than the file holds.

        A file that cannot be written makes the next start slower, and is no failure.
        """
        config = context.get_runtime_config()
        made = config.get_runtime_cache().serialize() if hasattr(config, "get_runtime_cache") else None
        content = b"" if made is None else bytes(made)
        if len(content) > self._size:
            trt.keep(self._file, content)
            self._size = len(content)
        self.wanted = False
