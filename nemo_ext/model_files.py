"""The files of a training: the ``.nemo`` that its folder stands for, and its checkpoints. Imports no torch."""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_ext.errors import NemoExtError
from nemo_ext.untrusted import open_regular

if TYPE_CHECKING:
    from torch import Tensor

MODEL = "model.nemo"
CHECKPOINTS = "checkpoints"
_NAME = re.compile(r"step=(\d+)\.ckpt")


def find(given: str | Path) -> Path:
    """The ``.nemo`` file that ``given`` names: itself, or ``model.nemo`` where it is the folder of a training.

    Raises:
        NemoExtError: a folder without one.
    """
    path = Path(given).expanduser()
    if not path.is_dir():
        return path
    if not (path / MODEL).is_file():
        begun = any((path / CHECKPOINTS).glob("step=*.ckpt"))
        told = "yet, which its training writes when it ends" if begun else "and no checkpoint yet"
        raise NemoExtError(f"{path} holds no {MODEL} {told}: give a .nemo file")
    return path / MODEL


def check(option: str, given: str, what: str) -> Path:
    """The file of the model that ``option=given`` names, looked at before anything that can read it is imported.

    Raises:
        NemoExtError: it is left out, missing, or no ``.nemo`` file; ``what`` it should be is said.
    """
    if not given:
        raise NemoExtError(f"{option}= is missing: give {what}")
    try:
        found = find(given)
        with open_regular(found, "model") as file:
            is_archive = tarfile.is_tarfile(file)
    except NemoExtError as error:
        raise NemoExtError(f"{option}={given}: {error}") from error
    if not is_archive:
        raise NemoExtError(f"{option}={given} is damaged or no .nemo file: copy it again, or give {what}")
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


def spoken_with(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights to speak with or to save as a model: those in ``checkpoint``, or their mean where it holds one."""
    weights = checkpoint["state_dict"]
    found: dict[str, Tensor] = {}
    for state in checkpoint.get("callbacks", {}).values():
        found |= state.get("means", {}) if isinstance(state, dict) else {}
    # a weight may stand under two names: NeMo's FastPitch has its aligner twice
    means = {weights[name].data_ptr(): mean for name, mean in found.items() if mean.numel()}
    return {name: means.get(weight.data_ptr(), weight) for name, weight in weights.items()}
