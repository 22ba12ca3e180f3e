"""What `make setup` says where something is missing. Nothing is installed here; a fresh clone in CI does that."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Setup = Callable[..., subprocess.CompletedProcess[str]]
SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "setup.sh"


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    """``setup(fakes, **environment)`` runs it in an empty folder, with ``fakes`` (name -> shell) first on the PATH."""
    fake = tmp_path / "fake"
    fake.mkdir()

    def run(fakes: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
        for name, body in fakes.items():
            (fake / name).write_text(f"#!/bin/sh\n{body}\n")
            (fake / name).chmod(0o755)
        return subprocess.run(
            ["sh", str(SCRIPT), ".venv"],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{fake}:{os.environ['PATH']}", **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def last_line(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode == 1
    return ran.stderr.splitlines()[-1]


def test_python_is_missing(setup: Setup, tmp_path: Path) -> None:
    said = last_line(setup({}, PYTHON="python2.7 /no/such/python"))
    assert said.startswith(
        "make setup: no working Python 3.11 to 3.13 with venv among python2.7 /no/such/python: install"
    )
    assert not (tmp_path / ".venv").exists()


def test_shims_that_exist_and_fail_are_passed_over(setup: Setup, tmp_path: Path) -> None:
    names = ("python3.11", "python3.12", "python3.13", "python3", "python")
    assert "no working Python" in last_line(setup(dict.fromkeys(names, "echo 'command not found' >&2; exit 127")))
    too_old = f'[ "$1" = -c ] && exec {sys.executable} -c "import sys; sys.version_info = (3, 9, 0)\n$2"'
    assert "no working Python" in last_line(setup(dict.fromkeys(names, too_old)))


def test_the_disk_is_full(setup: Setup, tmp_path: Path) -> None:
    df = "echo 'Filesystem 1024-blocks Used Available Capacity Mounted'; echo '/dev/x 9 9 2097152 99% /'"
    said = last_line(setup({"df": df, "nvidia-smi": "exit 0"}, PYTHON=sys.executable))
    assert said == "make setup: 2 GiB free here, about 12 GiB needed: make room, or clone to a larger disk"
    assert not (tmp_path / ".venv").exists()


def test_no_compiler(setup: Setup, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "awk", "df"):
        path = subprocess.run(["sh", "-c", f"command -v {tool}"], capture_output=True, text=True, check=True).stdout
        (tools / tool).symlink_to(path.strip())
    said = last_line(setup({}, PYTHON=sys.executable, PATH=str(tools)))
    assert said.startswith("make setup: no C++ compiler, and pyworld is compiled: install one")


def test_a_half_made_environment_is_started_afresh(setup: Setup, tmp_path: Path) -> None:
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / ".unfinished").touch()
    (venv / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    df = "echo 'Filesystem'; echo '/dev/x 9 9 1 99% /'"
    ran = setup({"df": df}, PYTHON=sys.executable)
    assert ran.stdout == "make setup: .venv was left half-made; starting afresh\n"
    assert not venv.exists()
