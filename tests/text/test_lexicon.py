from __future__ import annotations

import os
from pathlib import Path

import pytest

from nemo_ext.errors import NemoExtError
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.text.lexicon import read_lexicon

FILE = """# names
Nguyen\tnwˈɪn      # no g
nemo  N IY1 M OW0
Polish\tpˈoʊlɪʃ
polish\tpˈɑːlɪʃ

it's\tɪ t s
"""


@pytest.fixture
def lexicon(tmp_path: Path) -> Path:
    path = tmp_path / "lexicon.txt"
    path.write_text(FILE, encoding="utf-8")
    return path


def say(frontend: TextFrontend, text: str) -> list[str]:
    tokens = frontend.encode(text)
    return ["".join(tokens.symbols[first:past]) for _, first, past in tokens.words]


def test_entries_as_written(lexicon: Path) -> None:
    assert read_lexicon(lexicon) == {
        "Nguyen": "nwˈɪn",
        "nemo": "N IY1 M OW0",
        "Polish": "pˈoʊlɪʃ",
        "polish": "pˈɑːlɪʃ",
        "it's": "ɪ t s",
    }


@pytest.mark.parametrize("g2p", ["espeak", "cmudict", "graphemes"])
def test_lexicon_wins_over_every_g2p_in_both_alphabets(lexicon: Path, g2p: str) -> None:
    ipa = TextFrontend(TextConfig(lexicon=str(lexicon), g2p=g2p, normalize=False))
    assert say(ipa, "Nguyen NEMO It’s") == ["nwˈɪn", "nˈiːmoʊ", "ɪts"]
    arpabet = TextFrontend(TextConfig(lexicon=str(lexicon), g2p=g2p, alphabet="arpabet", normalize=False))
    assert say(arpabet, "Nguyen NEMO it's") == ["NWIH1N", "NIY1MOW0", "IH0TS"]


def test_case_counts_where_the_file_tells_two_apart(lexicon: Path) -> None:
    frontend = TextFrontend(TextConfig(lexicon=str(lexicon)))
    assert say(frontend, "Polish polish") == ["pˈoʊlɪʃ", "pˈɑːlɪʃ"]


def test_neighbours_keep_their_context(lexicon: Path) -> None:
    frontend = TextFrontend(TextConfig(lexicon=str(lexicon), normalize=False))
    without = TextFrontend(TextConfig(normalize=False))
    assert say(frontend, "I have read a nemo")[:4] == say(without, "I have read a nemo")[:4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("fine\tfaɪn\nbroken\n", "line 2: write one word"),
        ("# c\n\ntwo words\tx\n", "line 3: write one word"),
        ("\tx\n", "line 1"),
        ("a\tə\nb\tb\na\teɪ\n", "line 3: 'a' stands there twice"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "lexicon.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(NemoExtError, match=message) as caught:
        read_lexicon(path)
    assert "\n" not in str(caught.value)


def test_unknown_phones_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(NemoExtError, match=r"'rue'.*does not know 'ʁ'"):
        TextFrontend(TextConfig(lexicon_entries={"rue": "ʁy"}))
    with pytest.raises(NemoExtError, match=r"'odd'.*does not know 'XX'"):
        TextFrontend(TextConfig(lexicon_entries={"odd": "AA1 XX"}, alphabet="arpabet"))
    with pytest.raises(NemoExtError, match="cannot be read"):
        read_lexicon(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes("Ärger\tx\n".encode("latin-1"))
    with pytest.raises(NemoExtError, match="UTF-8"):
        read_lexicon(tmp_path / "latin.txt")


def test_a_lexicon_that_has_no_end_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(NemoExtError, match=r"cannot be read: .*no regular file"):
            read_lexicon(path)
