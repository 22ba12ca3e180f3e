"""`nemo-ext say` as a person types it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from nemo_ext.cli import main

TEXT = 'Hello, world. Don\'t (stop) = "now"; number 3.10 null'


@pytest.fixture
def models(tiny_acoustic: Path, tiny_vocoder: Path) -> list[str]:
    return [f"acoustic={tiny_acoustic}", f"vocoder={tiny_vocoder}", "device=cpu"]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said when it refuses: one line, a status that is not 0."""
    status = main(["say", *arguments])
    said = capsys.readouterr().err.strip()
    assert status != 0
    assert len(said.splitlines()) == 1
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_text_becomes_a_file(
    models: list[str], tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"hello world.{suffix}"
    assert main(["say", *models, f"text={TEXT}", f"out={out}"]) == 0
    info = soundfile.info(out)
    assert (info.samplerate, info.channels, info.subtype) == (22050, 1, "PCM_16")
    assert info.frames > 22050
    printed = capsys.readouterr().out
    assert f"{info.frames / 22050:.2f} s" in printed
    assert "of real time" in printed
    assert "no voice was given" in printed
    assert list(tmp_path.iterdir()) == [out]


def test_text_from_a_file_and_from_standard_input(
    models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.txt").write_text(f"\ufeff{TEXT}", encoding="utf-8")
    assert main(["say", *models, f"text={TEXT}", f"out={tmp_path / 'a.wav'}"]) == 0
    assert main(["say", *models, f"text_file={tmp_path / 't.txt'}", f"out={tmp_path / 'b.wav'}"]) == 0
    for name, options in (("c", ["text=-"]), ("d", [])):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
        assert main(["say", *models, *options, f"out={tmp_path / name}.wav"]) == 0
    first = soundfile.read(tmp_path / "a.wav")[0]
    for name in "bcd":
        np.testing.assert_array_equal(soundfile.read(tmp_path / f"{name}.wav")[0], first)


def test_prosody_reaches_the_audio(models: list[str], tmp_path: Path) -> None:
    common = [*models, "text=Seven boats came home.", "voice=ben"]
    for name, options in (("a", []), ("b", ["pace=2", "volume=-12"])):
        assert main(["say", *common, *options, f"out={tmp_path / name}.wav"]) == 0
    plain, changed = (soundfile.read(tmp_path / f"{name}.wav")[0] for name in "ab")
    assert len(changed) == pytest.approx(len(plain) / 2, rel=0.12)
    assert np.sqrt((changed**2).mean()) == pytest.approx(np.sqrt((plain**2).mean()) / 4, rel=0.35)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["text=Hi."], "acoustic= is missing"),
        (["acoustic=nothing.nemo", "text=Hi."], "no model at"),
        (["acoustic=x.nemo", "text=Hi.", "out=hello.mp3"], "no audio format we write"),
        (["acoustic=x.nemo", "text=Hi.", "out=no/such/folder/a.wav"], "there is no folder no/such/folder"),
        (["acoustic=x.nemo", "text=Hi.", "text_file=a.txt"], "both given"),
        (["acoustic=x.nemo", "text_file=missing.txt"], "text_file=missing.txt cannot be read"),
        (["acoustic=x.nemo", "pase=2"], "did you mean 'pace'"),
        (["acoustic=x.nemo", "text=Hi.", "pace=fast"], "pace= takes a number"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(
    options: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, *options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["voice=bem"], "did you mean 'ben'"),
        (["pace=0"], "pace=0.0 cannot be spoken: give 0.25 to 4"),
        (["text=☃"], "nothing to speak"),
        (["language=xx"], "xx"),
    ],
)
def test_what_a_model_cannot_say_leaves_no_file(
    models: list[str], options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.wav"
    assert said in refused(capsys, *models, "text=Hello.", f"out={out}", *options)
    assert not out.exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.wav").mkdir()
    assert "cannot be written" in refused(capsys, "acoustic=x.nemo", "text=Hi.", f"out={tmp_path / 'a.wav'}")


def test_nothing_typed_and_nothing_piped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    assert "nothing to speak: give text=" in refused(capsys, "acoustic=x.nemo", f"out={tmp_path / 'a.wav'}")


def test_a_model_that_names_foreign_code_is_not_loaded(
    tiny_acoustic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A ``.nemo`` whose ``_target_`` lies outside the allow-list: one line, and the code does not run."""
    from omegaconf import OmegaConf

    proof = tmp_path / "ran"
    evil = tmp_path / "evil.nemo"
    folder = tmp_path / "unpacked"
    with tarfile.open(tiny_acoustic) as archive:
        archive.extractall(folder, filter="data")
    config = OmegaConf.load(folder / "model_config.yaml")
    config.input_fft = {"_target_": "os.system", "command": f"touch {proof}"}
    OmegaConf.save(config, folder / "model_config.yaml")
    with tarfile.open(evil, "w") as archive:
        for path in folder.iterdir():
            archive.add(path, arcname=f"./{path.name}")
    said = refused(capsys, f"acoustic={evil}", "text=Hello.", f"out={tmp_path / 'a.wav'}")
    assert "os.system" in said
    assert "allow-list" in said
    assert not proof.exists()
    assert not (tmp_path / "a.wav").exists()


def test_other_mels_are_refused_in_one_line(
    tiny_acoustic: Path, tiny_vocoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from nemo_ext import _nemo

    vocoder: Any = _nemo.restore(tiny_vocoder)
    vocoder.cfg.mel.f_max = 11025.0
    other = _nemo.save(vocoder, tmp_path / "other.nemo")
    said = refused(capsys, f"acoustic={tiny_acoustic}", f"vocoder={other}", "text=Hi.", f"out={tmp_path / 'a.wav'}")
    assert "f_max: 8000.0 != 11025.0" in said


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, nemo_ext; print([m for m in ('torch', 'numpy', 'nemo', 'hydra') if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    ).stdout
    assert found.strip() == "[]"
