"""The files of a training: the model that its folder stands for, and its checkpoints. Imports no torch."""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_ext.console import tell
from nemo_ext.errors import NemoExtError
from nemo_ext.untrusted import open_regular

if TYPE_CHECKING:
    from torch import Tensor

MODEL = "model.nemo"
CHECKPOINTS = "checkpoints"
UNTRAINED = "untrained.nemo"  # beside the checkpoints: the configuration and the files of the model that they are of
_NAME = re.compile(r"step=(\d+)\.ckpt")
_MOST_PICKLE = 64 << 20  # bytes


@dataclass(frozen=True)
class ModelFile:
    """A model on a disk: a ``.nemo`` file, and the checkpoint whose weights take the place of the file's."""

    nemo: Path
    checkpoint: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The file that holds the weights."""
        return self.checkpoint or self.nemo

    def __str__(self) -> str:
        if self.checkpoint is None:
            return str(self.nemo)
        return f"{self.checkpoint}" + (", its averaged weights" if _has_mean(self.checkpoint) else "")


def find(given: str | Path) -> ModelFile:
    """The model that ``given`` names: a ``.nemo`` file, a checkpoint, or the folder of a training.

    The folder stands for its ``model.nemo``, or for its newest whole checkpoint where there is none or the training has
    gone on since.

    Raises:
        NemoExtError: a folder with neither, or a checkpoint without the configuration of its model beside it.
    """
    path = Path(given).expanduser()
    if path.suffix == ".ckpt":
        return _of_checkpoint(path)
    if not path.is_dir():
        return ModelFile(path)
    model = path / MODEL
    written = model.stat().st_mtime_ns if model.is_file() else -1
    if all(written >= _written(checkpoint) for checkpoint in (path / CHECKPOINTS).glob("step=*.ckpt")):
        if written < 0:
            raise NemoExtError(f"{path} holds no {MODEL} and no checkpoint yet: give a .nemo file")
        return ModelFile(model)
    checkpoint, notes = newest(path / CHECKPOINTS)
    if checkpoint is None or written >= _written(checkpoint):
        return ModelFile(model, notes=tuple(notes))
    return _of_checkpoint(checkpoint, notes)


def _of_checkpoint(path: Path, notes: Sequence[str] = ()) -> ModelFile:
    beside = path.with_name(UNTRAINED)
    if not beside.is_file():
        raise NemoExtError(
            f"{path} has no {UNTRAINED} beside it, which tells what model it is of: start its training again for a "
            f"moment, which writes it, or give a {MODEL}"
        )
    return ModelFile(beside, path, tuple(notes))


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # a training that runs has deleted it for a newer one
        return -1


def check(option: str, given: str, what: str) -> ModelFile:
    """The model that ``option=given`` names, looked at before anything that can read it is imported.

    What a folder stands for is printed.

    Raises:
        NemoExtError: it is left out, missing, or no model; ``what`` it should be is said.
    """
    if not given:
        raise NemoExtError(f"{option}= is missing: give {what}")
    try:
        found = find(given)
        with open_regular(found.nemo, "model") as file:
            is_archive = tarfile.is_tarfile(file)
        damage = None
        if found.checkpoint is not None:
            open_regular(found.checkpoint, "checkpoint").close()
            damage = _damage(found.checkpoint)
    except NemoExtError as error:
        raise NemoExtError(f"{option}={given}: {error}") from error
    if not is_archive:
        raise NemoExtError(f"{option}={given} is damaged or no .nemo file: copy it again, or give {what}")
    if damage:
        raise NemoExtError(f"{option}={given} is damaged ({damage}): give another checkpoint, or {what}")
    if found.path != Path(given).expanduser() or found.checkpoint:
        tell(f"{option}={given}: {found}", error=True)
    for note in found.notes:
        tell(note, error=True)
    return found


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest whole checkpoint in ``folder``, and a note for each newer one that is damaged.

    Raises:
        NemoExtError: there are checkpoints, and every one of them is damaged.
    """
    notes: list[str] = []
    for path in sorted(folder.glob("step=*.ckpt"), key=step_of, reverse=True):
        damage = _damage(path)
        if damage is None:
            return path, notes
        notes.append(f"{path.name} is damaged ({damage}): the one before it is used")
    if notes:
        raise NemoExtError(f"every checkpoint in {folder} is damaged: delete them to start again from step 0")
    return None, []


def step_of(path: Path) -> int:
    """Optimizer step in the name of a checkpoint."""
    found = _NAME.fullmatch(path.name)
    return int(found[1]) if found else -1


def _damage(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (OSError, zipfile.BadZipFile) as error:
        return str(error)
    return f"{broken} in it" if broken else None


def _has_mean(checkpoint: Path) -> bool:
    """Whether ``checkpoint`` holds a mean of the weights (training/average.py), seen without torch."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            pickled = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
            with archive.open(pickled) as file:
                return b"means" in file.read(_MOST_PICKLE)
    except (OSError, zipfile.BadZipFile, StopIteration):
        return False


def means(checkpoint: Mapping[str, Any]) -> list[Any]:
    """What ``checkpoint`` holds as means of weights, by name: one mapping, or none, of those that we wrote."""
    states = checkpoint.get("callbacks")
    found = states.values() if isinstance(states, dict) else ()
    return [state["means"] for state in found if isinstance(state, dict) and "means" in state]


def spoken_with(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights to speak with or to save as a model: those in ``checkpoint``, or their mean where it holds one."""
    weights = checkpoint["state_dict"]
    found: dict[str, Tensor] = {name: mean for by_name in means(checkpoint) for name, mean in by_name.items()}
    # a weight may stand under two names: NeMo's FastPitch has its aligner twice
    shared = {weights[name].data_ptr(): mean for name, mean in found.items() if mean.numel() and name in weights}
    return {name: shared.get(weight.data_ptr(), weight) for name, weight in weights.items()}
