"""Which file a person means who names a model: a ``.nemo`` file, or the folder of a training. Imports no torch.

A training can be listened to before it ends: its folder stands for ``model.nemo`` or, where that is older or not there
yet, for the newest whole checkpoint together with the configuration that the training wrote when it began.
"""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_ext.errors import NemoExtError
from nemo_ext.untrusted import open_regular

if TYPE_CHECKING:
    from torch import Tensor

MODEL = "model.nemo"
CHECKPOINTS = "checkpoints"
CONFIGURATION = "configuration.nemo"  # beside the checkpoints: a model without weights
_NAME = re.compile(r"step=(\d+)\.ckpt")


@dataclass(frozen=True)
class ModelFile:
    """A model on a disk."""

    path: Path  # the .nemo file
    checkpoint: Path | None = None  # whose weights are taken instead of those in ``path``

    def __str__(self) -> str:
        if self.checkpoint is None:
            return str(self.path)
        return f"{self.checkpoint} (step {step_of(self.checkpoint)} of a training)"


def find(given: str | Path) -> ModelFile:
    """The model that ``given`` names: a file, or the folder of a training, of which the newest is taken.

    Raises:
        NemoExtError: a folder with neither a model nor a whole checkpoint.
    """
    path = Path(given).expanduser()
    if not path.is_dir():
        return ModelFile(path)
    model, configuration = path / MODEL, path / CHECKPOINTS / CONFIGURATION
    try:
        checkpoint = newest(path / CHECKPOINTS)[0]
    except NemoExtError:
        if not model.is_file():
            raise
        checkpoint = None
    if model.is_file() and (checkpoint is None or not configuration.is_file() or _is_newer(model, checkpoint)):
        return ModelFile(model)
    if checkpoint is None:
        raise NemoExtError(
            f"{path} holds no {MODEL} and no checkpoint yet: give a .nemo file, or wait until the training there has "
            "written its first (trainer.checkpoint_every)"
        )
    if not configuration.is_file():
        raise NemoExtError(f"{path} has checkpoints without a {CONFIGURATION}: start its training again, which adds it")
    return ModelFile(configuration, checkpoint)


def check(option: str, given: str, what: str) -> ModelFile:
    """See that ``option=given`` names a model, before anything that can read it is imported.

    Raises:
        NemoExtError: it is left out, missing, or no ``.nemo`` file; ``what`` it should be is said.
    """
    if not given:
        raise NemoExtError(f"{option}= is missing: give {what}")
    try:
        found = find(given)
        with open_regular(found.path, "model") as file:
            is_archive = tarfile.is_tarfile(file)
    except NemoExtError as error:
        raise NemoExtError(f"{option}={given}: {error}") from error
    if not is_archive:
        raise NemoExtError(f"{option}={given} is damaged or no .nemo file: copy it again, or give {what}")
    return found


def _is_newer(model: Path, checkpoint: Path) -> bool:
    return model.stat().st_mtime_ns >= checkpoint.stat().st_mtime_ns


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


def spoken_with(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights to speak with or to save as a model: those in ``checkpoint``, or their mean where it holds one."""
    weights = checkpoint["state_dict"]
    found: dict[str, Tensor] = {}
    for state in checkpoint.get("callbacks", {}).values():
        found |= state.get("means", {}) if isinstance(state, dict) else {}
    # a weight may stand under two names: NeMo's FastPitch has its aligner twice
    means = {weights[name].data_ptr(): mean for name, mean in found.items() if mean.numel()}
    return {name: means.get(weight.data_ptr(), weight) for name, weight in weights.items()}
