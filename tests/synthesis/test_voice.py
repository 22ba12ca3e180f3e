"""`nemo-ext voice` as a person types it: show, list, mix; and voices in `nemo-ext say`."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from nemo_ext import _nemo, config, voices
from nemo_ext.cli import main
from nemo_ext.synthesis.casting import Cast
from nemo_ext.types import BaseVoice
from nemo_ext.voices import Consent, Provenance

GIVEN = Consent("Anna Meier", "2026-05-01", "audiobooks")


@pytest.fixture(scope="module")
def folder(tiny_acoustic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two voices of the tiny base."""
    folder = tmp_path_factory.mktemp("voices")
    base = _nemo.restore(tiny_acoustic)
    rng = np.random.default_rng(0)
    for name, start, consent in (("anna", "ada", GIVEN), ("bob", "ben", Consent())):
        voice = base.base_voice(start)
        voice.name = name
        voice.vector = voice.vector + rng.normal(0, 0.05, len(voice.vector)).astype(np.float32)
        voice.provenance = Provenance("adapted", "2026-05-02", f"{name}_mini", 30, 204.5, "ab" * 16, consent, 500)
        voice.styles = {"anger": np.ones(4, np.float32)} if name == "anna" else {}
        voices.save(voice, folder / f"{name}.voice")
    return folder


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    status = main(list(arguments))
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert status != 0
    assert said.startswith("nemo-ext: ")
    return said


def test_show_tells_all_there_is_to_know(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["voice", f"show={folder}/anna.voice"]) == 0
    shown = capsys.readouterr().out
    voice = voices.load(folder / "anna.voice")
    for part in (
        f"anna: {folder}/anna.voice, voice file of format 1",
        f"pitch       {voice.pitch_mean:.1f} Hz, deviation {voice.pitch_std:.1f} Hz",
        f"fastpitch/model.nemo ({voice.base_hash})",
        f"{voice.layout.size:,} values, ",
        f"% of the base's {voice.base_parameters / 1e6:.1f}M parameters, ",
        f"{voice.layout.hash}: embedding 128, encoder ",
        "anger (4 values)",
        "adapted on 2026-05-02 from anna_mini (30 recordings, 3.4 min) in 500 steps",
        f"hash {'ab' * 16}",
        "consent     Anna Meier, 2026-05-01, for audiobooks",
    ):
        assert part in shown, part
    assert main(["voice", "show=bob", f"voices={folder}"]) == 0
    assert "consent     unknown" in capsys.readouterr().out


def test_show_needs_no_torch(folder: Path) -> None:
    code = (
        "import sys; from nemo_ext.cli import main\n"
        f"status = main(['voice', 'show={folder}/anna.voice']) + main(['voice', 'list={folder}'])\n"
        "sys.exit('torch' in sys.modules or status)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_a_base_voice_can_be_shown(tiny_acoustic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["voice", "show=ada", f"acoustic={tiny_acoustic}"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("ada: a base voice\n")
    assert "trained with the base" in shown


def test_list_names_damaged_files_and_goes_on(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("anna", "bob"):
        (tmp_path / f"{name}.voice").write_bytes((folder / f"{name}.voice").read_bytes())
    (tmp_path / "cut.voice").write_bytes((folder / "anna.voice").read_bytes()[:500])
    (tmp_path / "notes.txt").write_text("no voice")
    assert main(["voice", f"list={tmp_path}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["name", "anna", "bob"]
    assert "Anna Meier, 2026-05-01, for audiobooks" in lines[1]
    assert lines[2].endswith("unknown")
    assert lines[3] == "cannot be read (1):"
    assert f"{tmp_path}/cut.voice is no voice file, or a damaged one" in lines[4]
    assert len(lines) == 5
    (tmp_path / "empty").mkdir()
    assert main(["voice", f"list={tmp_path}/empty"]) == 0
    assert "no .voice files in" in capsys.readouterr().out


def test_a_strangers_name_does_not_speak_to_the_terminal(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voice = dataclasses.replace(voices.load(folder / "anna.voice"), name="\x1b[2Janna\n", language="\x07")
    voices.save(voice, tmp_path / "a.voice")
    for asked in (f"show={tmp_path}/a.voice", f"list={tmp_path}"):
        assert main(["voice", asked]) == 0
        shown = capsys.readouterr().out
        assert r"\x1b[2Janna\n" in shown
        assert not [c for c in shown if c != "\n" and not c.isprintable()]


def test_a_mix_is_written_and_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "both.voice"
    assert main(["voice", "mix=anna:7+bob:3", f"voices={folder}", f"out={out}"]) == 0
    shown = capsys.readouterr().out
    assert "mixed on " in shown
    assert "from anna 0.7, bob 0.3 (60 recordings, 6.8 min)" in shown
    assert "consent     unknown" in shown
    one, other = (voices.load(folder / f"{name}.voice") for name in ("anna", "bob"))
    mixed = voices.load(out)
    assert mixed.name == "both"
    np.testing.assert_allclose(mixed.vector, 0.7 * one.vector + 0.3 * other.vector, atol=1e-6)
    # by path, without a folder
    assert main(["voice", f"mix={folder}/anna.voice:7+{folder}/bob.voice:3", f"out={tmp_path}/again.voice"]) == 0
    np.testing.assert_array_equal(voices.load(tmp_path / "again.voice").vector, mixed.vector)


def test_base_voices_take_part_in_a_mix(folder: Path, tiny_acoustic: Path, tmp_path: Path) -> None:
    out, base = tmp_path / "half.voice", _nemo.restore(tiny_acoustic).base_voice("ben")
    options = [f"voices={folder}", f"acoustic={tiny_acoustic}", f"out={out}"]
    assert main(["voice", "mix=anna+ben", *options]) == 0
    anna = voices.load(folder / "anna.voice")
    np.testing.assert_allclose(voices.load(out).vector, 0.5 * (anna.vector + base.vector), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "nothing is asked for: give one of show=FILE, list=DIR, or mix="),
        (["show=anna", "list=."], "show= and list= are both given"),
        (["show=anna", "out=x.voice"], "out=x.voice is for mix=: leave it out"),
        (["show=ana"], "no voice 'ana' in {folder}; did you mean 'anna'?"),
        (["show=nowhere.voice"], "no voice file at nowhere.voice"),
        (["list=nowhere"], "list=nowhere is no folder"),
        (["mix=anna+bob"], "out= is missing"),
        (["mix=anna+bob", "out=x.wav"], "out=x.wav is no name of a voice file: end it in .voice"),
        (["mix=anna", "out=x.voice"], "mix=anna names one voice"),
        (["mix=anna:0+bob:1", "out=x.voice"], "weight 0 in the mix: give a number above 0"),
        (["mix=anna+", "out=x.voice"], "is no mix"),
        (["mix=anna+ada", "out=x.voice"], "a base voice its model as acoustic="),
    ],
)
def test_what_cannot_be_is_one_line(
    folder: Path, options: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said.format(folder=folder) in refused(capsys, "voice", *options, f"voices={folder}")
    assert list(tmp_path.iterdir()) == []


def test_say_speaks_with_a_file_and_shows_its_consent(
    folder: Path, tiny_acoustic: Path, tiny_vocoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["say", f"acoustic={tiny_acoustic}", f"vocoder={tiny_vocoder}", "device=cpu", "text=Seven boats."]
    spoken = {}
    for name, voice, told in (
        (
            "file",
            f"voice={folder}/anna.voice",
            "voice 'anna' (adapted; consent: Anna Meier, 2026-05-01, for audiobooks)",
        ),
        ("name", "voice=anna", "voice 'anna' (adapted; consent: Anna Meier, 2026-05-01, for audiobooks)"),
        ("mix", "voice=anna:0.5+ben:0.5", "voice 'anna:0.5+ben:0.5' (mixed; consent: unknown)"),
        ("base", "voice=ada", "voice 'ada',"),
    ):
        out = tmp_path / f"{name}.wav"
        assert main([*common, voice, f"voices={folder}", f"out={out}"]) == 0
        assert told in capsys.readouterr().out
        spoken[name] = out.read_bytes()
    assert spoken["file"] == spoken["name"]
    assert len(set(spoken.values())) == 3


def test_say_writes_timings_of_what_it_was_asked(
    tiny_acoustic: Path, tiny_vocoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    common = ["say", f"acoustic={tiny_acoustic}", f"vocoder={tiny_vocoder}", "device=cpu", "text=Seven boats, never."]
    told = []
    for name, asked in (("a", []), ("b", ["prosody=never: pace=0.5, pitch=2", "pitch_range=1.0", "energy=0"])):
        files = [f"out={tmp_path}/{name}.wav", f"timings={tmp_path}/{name}.json"]
        assert main([*common, *asked, *files]) == 0
        told.append(json.loads((tmp_path / f"{name}.json").read_text()))
    lengths = [[w["end_frame"] - w["start_frame"] for w in t["words"]] for t in told]
    assert lengths[0][:2] == lengths[1][:2]
    assert lengths[1][2] > 1.5 * lengths[0][2]
    capsys.readouterr()
    assert "end it in .json" in refused(capsys, *common, "timings=a.txt", f"out={tmp_path}/c.wav")
    assert "cannot be read: write 'never" in refused(capsys, *common, "prosody=never", f"out={tmp_path}/c.wav")
    assert "no folder" in refused(capsys, *common, f"voices={tmp_path}/none", f"out={tmp_path}/c.wav")
    assert not (tmp_path / "c.wav").exists()


def test_a_voice_of_another_base_is_refused_by_name(
    folder: Path, tiny_acoustic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = dataclasses.replace(voices.load(folder / "anna.voice"), base="lj/model.nemo", base_hash="f" * 16)
    voices.save(other, tmp_path / "other.voice")
    said = refused(
        capsys, "say", f"acoustic={tiny_acoustic}", "text=Hi.", f"voice={tmp_path}/other.voice", f"out={tmp_path}/a.wav"
    )
    assert "other.voice was made for the base model 'lj/model.nemo' (ffffffffffffffff), and this is" in said


def test_a_voice_of_the_full_size_model_is_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under 0.5 % of the parameters and 1 MB; and its layout, which voice files hold, has not changed."""
    from nemo_ext.models.acoustic.fastpitch import FastPitch
    from nemo_ext.text.config import TextConfig
    from nemo_ext.text.frontend import TextFrontend

    cfg = config.compose("train", ["model=fastpitch", "size=full"])
    settings: Any = OmegaConf.to_container(config.conform(cfg.model, FastPitch.config_class, "model."))
    settings["mel"] = dataclasses.asdict(cfg.features.mel)
    settings["text"] = dataclasses.asdict(TextFrontend(TextConfig(alphabet="chars", normalize=False)).config)
    settings["voices"] = [dataclasses.asdict(BaseVoice("ada", pitch_mean=200.0, pitch_std=30.0))]
    model = FastPitch(OmegaConf.create(settings))
    assert (model.voice_layout.size, model.voice_layout.hash) == (181_632, "904b7b4b5a31b96d")
    voice = model.base_voice("ada")
    path = voices.save(voice, tmp_path / "ada.voice")
    assert voice.layout.size / voice.base_parameters < 0.005
    assert path.stat().st_size < 1_000_000
    assert main(["voice", f"show={path}"]) == 0
    assert "181,632 values, 0.40 % of the base's 45.2M parameters, 0.73 MB" in capsys.readouterr().out


def test_a_voice_that_was_made_again_speaks_as_it_is_now(folder: Path, tiny_acoustic: Path, tmp_path: Path) -> None:
    cast = Cast(_nemo.restore(tiny_acoustic), tmp_path)
    shutil.copyfile(folder / "anna.voice", tmp_path / "new.voice")
    before = cast.find("new")
    assert cast.find("new") is before  # read once
    shutil.copyfile(folder / "bob.voice", tmp_path / "new.voice")
    os.utime(tmp_path / "new.voice", ns=(1, 1))  # another time, however coarse the disk's clock is
    assert np.array_equal(cast.find("new").vector, voices.load(folder / "bob.voice").vector)
