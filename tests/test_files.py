"""Files and folders that appear whole or not at all; what a killed process left is swept, a living one's is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nemo_ext import files

_WRITES = """
import sys, time
from pathlib import Path
from nemo_ext import files
with getattr(files, sys.argv[1])(Path(sys.argv[2])) as beside:
    (beside / "part" if beside.is_dir() else beside).write_text("half")
    print("begun", flush=True)
    time.sleep(60)
"""


def writing(how: str, path: Path) -> subprocess.Popen[str]:
    """A process in the middle of writing ``path``."""
    line = [sys.executable, "-c", _WRITES, how, str(path)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[1])
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize("how", ["replacing", "replacing_folder", "workspace"])
def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_is_not(how: str, tmp_path: Path) -> None:
    with writing(how, tmp_path / "a.bin") as killed, writing(how, tmp_path / "b.bin") as living:
        killed.kill()
        killed.wait()
        assert len(list(tmp_path.iterdir())) == 2
        files.sweep(tmp_path)
        left = [path.name for path in tmp_path.iterdir()]
        living.send_signal(signal.SIGTERM)
    assert [name.partition("-")[2].partition("-")[2] for name in left] == ["b.bin"]
    files.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_names_of_ours_are_swept_and_no_link_is_followed(tmp_path: Path) -> None:
    kept = [".writing-notes", ".writing-0123abcd", "x.writing-0123abcd-a", ".writing-0123ABCD-a", ".reading-0123abcd-a"]
    for name in kept:
        (tmp_path / name).write_text("mine")
    (tmp_path / "outside").mkdir()
    (tmp_path / ".writing-0123abcd-link").symlink_to(tmp_path / "outside")
    files.sweep(tmp_path, tmp_path / "nowhere")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "outside", ".writing-0123abcd-link"}


def test_a_folder_that_was_moved_aside_comes_back(tmp_path: Path) -> None:
    """Killed between the two renames."""
    aside = tmp_path / ".old-0123abcd-bundle"
    aside.mkdir()
    (aside / "voice").write_text("anna")
    files.sweep(tmp_path)
    assert (tmp_path / "bundle" / "voice").read_text() == "anna"
    os.rename(tmp_path / "bundle", aside)
    (tmp_path / "bundle").mkdir()  # the new one stands in its place
    files.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert not any((tmp_path / "bundle").iterdir())


def test_a_file_takes_its_place_at_the_end_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / f"{'n' * 250}.wav"
    with files.replacing(path) as beside:
        assert (beside.parent, beside.suffix) == (path.parent, ".wav")
        beside.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    with pytest.raises(OSError, match="full"), files.replacing(path) as beside:
        raise OSError(f"{beside} is full")
    assert path.read_text() == "whole"
    assert len(list(path.parent.iterdir())) == 1


def test_two_that_write_and_one_that_sweeps_lose_nothing(tmp_path: Path) -> None:
    """A file may be swept between being made and being locked: then it is made again."""
    script = "import sys, pathlib\nfrom nemo_ext import files\nwhile True: files.sweep(pathlib.Path(sys.argv[1]))"
    sweeps = subprocess.Popen([sys.executable, "-c", script, tmp_path], cwd=Path(__file__).resolve().parents[1])
    try:
        time.sleep(1.0)
        for i in range(500):
            with files.replacing(tmp_path / f"{i}") as beside:
                beside.write_text(f"{i}")
    finally:
        sweeps.kill()
        sweeps.wait()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {f"{i}": f"{i}" for i in range(500)}


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value
