"""What small caches of a corpus share: one file of arrays with a checksum, filled bit by bit and saved on the way."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from nemo_ext import files
from nemo_ext.console import Progress
from nemo_ext.data.features import checksum, write_bytes
from nemo_ext.errors import NemoExtError
from nemo_ext.types import Utterance
from nemo_ext.untrusted import read_bytes

_SAVE_EVERY = 60.0  # s; what is done survives a kill
_MOST_BYTES = 4 << 30  # of one cache
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def in_turn(folder: Path) -> Iterator[bool]:
    """Only one process at a time is within it for the same ``folder``, on a disk that machines share as well.

    Gives whether this one had to wait: then what it is about to make may have been made meanwhile.
    """
    with contextlib.suppress(OSError):  # whoever writes there will say what is wrong
        folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(alone(folder / ".lock"))
            waited = False
        except BlockingIOError:
            _log.info("another process is making what is missing in %s: waiting for it", folder)
            held.enter_context(alone(folder / ".lock", wait=True))
            waited = True
        files.sweep(folder, *folder.glob("*/"), *folder.glob("*/*/"))
        yield waited


@contextlib.contextmanager
def alone(lock: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock on the file ``lock``, which is made; a process that dies lets go of it.

    On a file system without locks nothing is held: what is written is the same, only made by several.

    Raises:
        BlockingIOError: another process holds it, and this one is not to ``wait``.
    """
    try:
        held = os.open(lock, os.O_RDONLY | os.O_CREAT, 0o666)  # to be read: it may be another person's
    except OSError:
        yield
        return
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError as error:
            _log.info("%s cannot be locked: %s", lock, error.strerror)
        yield
    finally:
        os.close(held)


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

    if not path.exists():
        return None
    try:
        held = safetensors.numpy.load(read_bytes(path, _MOST_BYTES, "cache"))
        arrays = {name: held[name] for name in names}
        if int(held["checksum"][0]) != checksum(list(arrays.values())):
            raise ValueError("its checksum does not fit")
    except (NemoExtError, TypeError, safetensors.SafetensorError, KeyError, IndexError, ValueError) as error:
        _log.warning("damaged cache of %s %s is made again: %s", what, path, error)
        return None
    return arrays
