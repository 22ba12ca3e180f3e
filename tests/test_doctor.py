"""The doctor finds what is missing, says for which job, and names the command that adds it."""

from __future__ import annotations

import importlib.metadata
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nemo_ext import doctor
from nemo_ext.cli import main
from nemo_ext.doctor import DoctorConfig


def without(monkeypatch: pytest.MonkeyPatch, *names: str, versions: dict[str, str] | None = None) -> None:
    """Make importlib.metadata answer as if ``names`` were not installed."""
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return (versions or {}).get(name) or real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)


def rows(printed: str, title: str) -> dict[str, str]:
    """The rows of one table, by name."""
    block = printed.split(f"\n{title}\n")[1].split("\n\n")[0]
    return {line[2:24].strip(): line[25:] for line in block.splitlines() if not line.startswith("   ")}


def test_all_is_well_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert {line.split()[0] for line in rows(printed, "jobs").values()} == {"ok"}
    assert rows(printed, "core")["torch"].startswith(importlib.metadata.version("torch"))
    assert {"cores", "memory", "disk, this folder"} <= set(rows(printed, "machine"))
    assert set(rows(printed, "extras")) == set(doctor._EXTRAS)
    assert "lightning.pytorch, which is what the pytorch-lightning project became" in printed


def test_a_missing_extra_names_its_jobs_and_its_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "espeakng-loader")
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    states = {name: line.split()[0] for name, line in rows(printed, "jobs").items()}
    assert {name for name, state in states.items() if state == "missing"} == {"corpus recipe=espeak", "demo"}
    assert set(states.values()) == {"ok", "missing"}
    assert f"add it: {doctor.install_command('espeak')}" in printed


def test_the_speaker_extra_is_added_without_what_it_depends_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "resemblyzer")
    assert main(["doctor"]) == 0
    assert "add it: pip install --no-deps resemblyzer" in capsys.readouterr().out


def test_a_broken_core_fails(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torch", versions={"setuptools": "84.0"})
    assert main(["doctor"]) == 1
    printed = capsys.readouterr()
    assert rows(printed.out, "core")["torch"].startswith("missing")
    assert "needed: <81,>=70" in rows(printed.out, "core")["setuptools"]
    assert printed.err.startswith("nemo-ext: the core is broken (setuptools<81,>=70, torch): run 'make setup'")


def test_not_installed_at_all(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "requires", requires)
    assert main(["doctor"]) == 1
    assert "nemo_ext itself is not installed" in capsys.readouterr().err


def test_gpus_are_listed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """nvidia-smi's answer, and torch that cannot use what it found."""
    answer = "NVIDIA H200, 143771 MiB, 580.1\nNVIDIA H200, 143771 MiB, 580.1\n"
    monkeypatch.setattr(
        doctor.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, stdout=answer, stderr="")
    )
    monkeypatch.setattr(doctor, "_torch_build", lambda: "CPU build")
    doctor.doctor(DoctorConfig())
    machine = rows(capsys.readouterr().out, "machine")
    assert machine["GPU 0"].split() == ["143771", "MiB", "NVIDIA", "H200,", "driver", "580.1"]
    assert "GPU 1" in machine
    assert machine["torch"].startswith("CPU build")


def test_every_extra_is_a_real_one_and_none_is_forgotten() -> None:
    stated = set(importlib.metadata.metadata("nemo_ext").get_all("Provides-Extra") or [])
    assert stated == set(doctor._EXTRAS)
    assert {e for extras in doctor._JOBS.values() for e in extras} <= stated


def test_the_command_works_where_one_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert doctor.install_command("trt").startswith('pip install -c constraints.txt -e ".[trt]"')
    monkeypatch.setattr(doctor, "__file__", str(tmp_path / "nemo_ext" / "doctor.py"))
    assert doctor.install_command("trt") == 'pip install "nemo_ext[trt]"'
