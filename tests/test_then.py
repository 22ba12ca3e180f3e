"""Jobs end by naming the command to type next, with the user's own paths: each can be typed as it stands."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from nemo_ext import jobs
from nemo_ext.cli import main
from nemo_ext.config import compose
from nemo_ext.console import tell_next
from nemo_ext.migrate.run import Migrated
from nemo_ext.training.checks import after_train

OUT = "my runs/anna's"


def command(job: str, options: list[str], result: Any, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The words that are printed after ``job`` with ``options``."""
    found = jobs.load(jobs.find(job).then)(compose(job, options), result)
    tell_next(*found)
    printed = capsys.readouterr().err
    assert printed.startswith("next: nemo-ext ")
    return shlex.split(printed)[2:]


@pytest.mark.parametrize(
    ("job", "options", "told"),
    [
        ("corpus", [f"out={OUT}"], ["train", "model=fastpitch", f"corpus={OUT}", "out=runs/anna's"]),
        (
            "adapt",
            ["base=runs/lj", "corpus=c", f"out={OUT}.voice"],
            ["say", "acoustic=runs/lj", f"voice={OUT}.voice", "text=Hello.", "out=anna's.wav"],
        ),
        ("voice", ["mix=a:1+b:1", f"out={OUT}.voice"], ["say", "acoustic=ACOUSTIC.nemo", f"voice={OUT}.voice"]),
        ("text", ["compile", "language=en"], ["text", "language=en", "text=3:10"]),
        ("demo", [f"out={OUT}"], ["say", f"acoustic={OUT}/acoustic/model.nemo", f"vocoder={OUT}/vocoder/model.nemo"]),
    ],
)
def test_the_next_command_is_one(job: str, options: list[str], told: list[str], capsys: Any) -> None:
    words = command(job, options, None, capsys)
    assert words[: len(told)] == told
    assert compose(words[0], words[1:])  # it can be read


def test_after_a_migration(capsys: pytest.CaptureFixture[str]) -> None:
    made = Migrated(Path(OUT), "FastPitch", "1.23.0", ["a"], [Path("b.voice")])
    assert command("migrate", ["old.nemo"], made, capsys)[:3] == ["say", f"acoustic={OUT}", "voice=b.voice"]
    made = Migrated(Path(OUT), "HiFi-GAN", "1.23.0")
    assert command("migrate", ["old.nemo"], made, capsys)[:3] == ["say", "acoustic=ACOUSTIC.nemo", f"vocoder={OUT}"]


def test_after_a_training(
    tiny_acoustic: Path, tiny_vocoder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the options that were typed; and each of them speaks."""
    config = compose("train", ["model=fastpitch", "corpus=c", f"out={tiny_acoustic.parent}"])
    job, options = after_train(config, tiny_acoustic) or ("", {})
    assert (job, options["acoustic"]) == ("say", str(tiny_acoustic.parent))
    config = compose("train", ["model=vocos", "corpus=c", f"out={tiny_vocoder.parent}", "acoustic=a.nemo"])
    job, options = after_train(config, tiny_vocoder) or ("", {})
    assert (options["acoustic"], options["vocoder"]) == ("a.nemo", str(tiny_vocoder.parent))
    monkeypatch.chdir(tiny_acoustic.parent)
    monkeypatch.setenv("RANK", "1")
    assert after_train(config, tiny_vocoder) is None  # the first process prints it
    monkeypatch.delenv("RANK")
    tell_next(job, {**options, "acoustic": tiny_acoustic})
    words = shlex.split(capfd.readouterr().err)[2:]
    assert main(words) == 0
    assert Path("hello.wav").is_file()


def test_the_command_line_prints_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a b"
    assert main(["corpus", f"out={out}", "espeak.sentences=4", "processes=1"]) == 0
    assert capfd.readouterr().err.splitlines()[-1] == (
        f"next: nemo-ext train model=fastpitch 'corpus={out}' 'out=runs/a b'"
    )
