"""What small caches of a corpus share: one file of arrays with a checksum, filled bit by bit and saved on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from nemo_ext.corpus.progress import Progress
from nemo_ext.data.features import checksum, write_bytes
from nemo_ext.types import Utterance

_SAVE_EVERY = 60.0  # s; what is done survives a kill
_log = logging.getLogger(__name__)


def fill(
    new: Mapping[bytes, Utterance],
    known: dict[bytes, np.ndarray],
    make: Callable[[Utterance], np.ndarray],
    save: Callable[[], None],
    about: str,
) -> None:
    """Add to ``known`` what ``make`` makes of every utterance of ``new``, under its key; ``save`` is called on the way.

    ``about``: what is being done, for the progress. What was made before ``make`` failed is saved as well.
    """
    saved = time.monotonic()
    try:
        with Progress(len(new), about) as progress:
            for key, utterance in new.items():
                known[key] = make(utterance)
                if time.monotonic() - saved > _SAVE_EVERY:
                    save()
                    saved = time.monotonic()
                progress.step()
    finally:
        save()


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write ``arrays`` with a checksum over them in their order."""
    import safetensors.numpy

    summed = np.array([checksum(list(arrays.values()))], dtype=np.uint32)
    write_bytes(path, safetensors.numpy.save({**arrays, "checksum": summed}))


def read(path: Path, names: Sequence[str], what: str) -> dict[str, np.ndarray] | None:
    """The arrays ``names`` that ``write`` wrote in that order; None where there is no file, or a damaged one.

    ``what``: the cache's name, for the warning.
    """
    import safetensors
    import safetensors.numpy

    try:
        held = safetensors.numpy.load(path.read_bytes())
        arrays = {name: held[name] for name in names}
        if int(held["checksum"][0]) != checksum(list(arrays.values())):
            raise ValueError("its checksum does not fit")
    except FileNotFoundError:
        return None
    except (safetensors.SafetensorError, KeyError, IndexError, ValueError) as error:
        _log.warning("damaged cache of %s %s is made again: %s", what, path, error)
        return None
    return arrays
