"""``nemo-ext text`` as a person types it."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nemo_ext.cli import main
from nemo_ext.text import normalize
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend


def shown(text: str) -> list[tuple[str, str]]:
    """Name and content of every line of an answer."""
    lines = (line.partition(" ") for line in text.splitlines() if line)
    return [(name, content.strip()) for name, _, content in lines]


def test_every_step_from_text_to_tokens_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["text", "text=Dr. No paid $5. Did he?"]) == 0
    rows = shown(capsys.readouterr().out)
    assert [name for name, _ in rows] == ["written", "normalized", "phonemes", "tokens"] * 2
    assert rows[0][1] == "Dr. No paid $5."
    assert rows[1][1] == "Doctor No paid five dollars."
    tokens = TextFrontend(TextConfig()).encode("Dr. No paid $5.")
    assert rows[2][1] == "".join(tokens.symbols).strip()
    assert rows[3][1] == f"{' '.join(map(str, tokens.ids))}  ({len(tokens.ids)})"
    assert rows[4][1] == "Did he?"


def test_language_alphabet_and_lexicon_are_heeded(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["text", "text=Am 3.10.", "language=de-DE", "alphabet=chars"]) == 0
    assert shown(capsys.readouterr().out)[2] == ("phonemes", "am dritten oktober.")
    lexicon = tmp_path / "names.txt"
    lexicon.write_text("Nguyen\tW IH1 N\n", encoding="utf-8")
    assert main(["text", "text=Mister Nguyen", "alphabet=arpabet", "g2p=cmudict", f"lexicon={lexicon}"]) == 0
    assert shown(capsys.readouterr().out)[2] == ("phonemes", "M IH1 S T ER0   W IH1 N")


def test_characters_left_out_are_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["text", "text=We 😀 say ж. And 😀 again. 😀!"]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "warning: left out 3 times, for the table of tokens lacks it: '😀' (U+1F600 GRINNING FACE)",
        "warning: left out, for the table of tokens lacks it: 'ж' (U+0436 CYRILLIC SMALL LETTER ZHE)",
    ]
    assert "warning" not in said.out


def test_text_from_a_pipe_cannot_command_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "stdin", SimpleNamespace(isatty=lambda: False, buffer=io.BytesIO("\ufeffso \x1b[2J".encode()))
    )
    assert main(["text"]) == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "\\x1b" in said.out


@pytest.mark.parametrize(
    ("options", "message", "status"),
    [
        (["text=x", "language=fr"], "no language 'fr'", 1),
        (["text=...", "language=en"], "nothing to speak", 1),
        (["text=😀"], "nothing to speak", 1),
        (["compile", "text=x"], "leave one out", 1),
        (["compile", "language=fr"], "no language 'fr'", 1),
        (["text=x", "alphabet=ippa"], "did you mean 'ipa'", 2),
        (["text=x", "lexicon=/nowhere"], "lexicon=/nowhere", 1),
    ],
)
def test_mistakes_are_one_line(options: list[str], message: str, status: int, capsys) -> None:
    assert main(["text", *options]) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_neither_torch_nor_the_grammars_are_loaded_for_what_the_rules_read() -> None:
    code = (
        "import sys; from nemo_ext.cli import main; main(['text', 'text=Am 3.10. um 14:30 kamen 12 %.',"
        "'language=de']);"
        "print(sorted({'torch', 'nemo', 'pynini', 'nemo_text_processing'} & sys.modules.keys()))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[]"
    assert "vierzehn Uhr dreißig kamen zwölf Prozent" in said.stdout


def test_compile_says_where_the_grammars_are_and_who_needs_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["text", "compile"]) == 0
    english, german = capsys.readouterr().out.splitlines()
    assert english.startswith(f"en: grammars are in {normalize.cache_dir()}")
    assert german == "de: needs no grammars, its rules read everything"


def test_compiling_shows_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine is left out here, for it takes minutes; what it logs is its own."""
    monkeypatch.setenv("NEMO_EXT_CACHE", str(tmp_path))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    moments = iter(range(0, 1000, 10))
    monkeypatch.setattr("nemo_ext.console.time", SimpleNamespace(monotonic=lambda: float(next(moments))))
    log = logging.getLogger("NeMo-text-processing")

    def compiles(code: str, folder: str) -> None:
        (Path(folder) / "grammar.far").write_text("")
        log.debug("cardinal:  0.08s -- 6247 nodes")
        log.debug("measure:  4.03s -- 52450 nodes")

    monkeypatch.setattr(normalize, "_normalizer", compiles)
    normalize.compiled("en")
    said = capsys.readouterr().err
    assert "5/100, 5 %, 6 min 20 s left" in said
    assert "28/100, 28 %, 1 min 43 s left" in said
    assert "100/100, 100 %" in said
    assert "nodes" not in said


def test_what_a_killed_process_left_goes_at_the_next_compilation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NEMO_EXT_CACHE", str(tmp_path))
    monkeypatch.setattr(normalize, "_normalizer", lambda code, folder: None)
    folder = normalize.compiled("en")
    os.rename(folder, folder.with_name("away"))
    (folder.with_name(".writing-0123abcd-en") / "half").mkdir(parents=True)
    normalize.compiled("en")
    assert {path.name for path in folder.parent.iterdir()} == {"en", "away"}
