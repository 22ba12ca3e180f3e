from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from nemo_ext import cli, console
from nemo_ext.console import Progress, printable, tell

_STEERING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
EVIL = "\x1b]0;title\x07 \x1b[31mred\x9b2J \u202egnirts \ud800 \x7f"


def test_what_steers_a_terminal_is_written_out() -> None:
    shown = printable(EVIL)
    assert shown.isprintable()
    assert shown == "\\x1b]0;title\\x07 \\x1b[31mred\\x9b2J \\u202egnirts \\ud800 \\x7f"
    assert printable("Grüße, 你好 👋\n\tnext line") == "Grüße, 你好 👋\n\tnext line"


def test_every_mark_of_direction_is_written_out() -> None:
    marks = [chr(code) for code in range(0x110000) if unicodedata.bidirectional(chr(code)) in _STEERING]
    assert len(marks) == 9
    for mark in [*marks, "\u061c", "\u200e", "\u200f"]:
        assert printable(f"a{mark}b") == f"a\\u{ord(mark):04x}b"


def test_lines_progress_and_errors_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    tell("note:", EVIL)
    tell(EVIL, error=True)
    with Progress(1, EVIL) as progress:
        progress.step()
    assert cli.main([EVIL.replace("\ud800", "")]) == 2
    told = capsys.readouterr()
    assert told.out.count("\\x1b[31m") == 1
    assert told.err.count("\\x1b[31m") == 3
    for text in told:
        assert text.replace("\n", "").isprintable()


def test_jobs_print_names_and_texts_through_the_console() -> None:
    room = Path(console.__file__).parent
    printing = [p for p in room.rglob("*.py") if re.search(r"^\s*print\(", p.read_text(encoding="utf-8"), re.M)]
    own = {"console.py", "cli.py", "doctor.py", "watch.py", "riva_archive.py", "normalize.py"}
    assert {p.name for p in printing if "demo" not in p.parts} <= own
