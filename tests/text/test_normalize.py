"""The compiled grammars lie in the user's cache; the first run on a machine compiles the English ones."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from nemo_ext.text import normalize
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.text.languages.german_numbers import cardinal, ordinal, year
from nemo_ext.text.written import written


@pytest.fixture(scope="module")
def frontend() -> TextFrontend:
    return TextFrontend(TextConfig(languages=["en", "de"], g2p="graphemes", alphabet="chars"))


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Dr. Smith paid $3.50.", "Doctor Smith paid three dollars fifty cents."),
        ("in 1999, at 10:30 a.m.", "in nineteen ninety nine, at ten thirty AM."),
        ("on Jan. 5, 2012", "on january fifth, twenty twelve"),
        ("A = B & 50%", "A equals B and fifty percent"),
        ("St. Louis, Main St.", "Saint Louis, Main Street."),
        ("No. 5, but no. Yes", "number five, but no. Yes"),
        ("psalters, etc., i.e. songs etc. Then", "psalters, et cetera, that is songs et cetera. Then"),
        ("and/or 5 km", "and or five kilometers"),
        ("v2.0 took ~5 hours", "version two point zero took approximately five hours"),
        ("the 1720–1725 war", "the seventeen twenty to seventeen twenty five war"),
    ],
)
def test_english(frontend: TextFrontend, text: str, spoken: str) -> None:
    assert frontend.normalize(text, "en") == spoken


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("am 3. Mai 2012", "am dritten Mai zweitausendzwölf"),
        ("Der 3. Mann kam 1999.", "Der dritte Mann kam neunzehnhundertneunundneunzig."),
        ("Am 03.10.1990 um 8.15 Uhr", "Am dritten Oktober neunzehnhundertneunzig um acht Uhr fünfzehn"),
        ("z. B. 12.000 Menschen", "zum Beispiel zwölftausend Menschen"),
        ("z.B. d.h. usw. Dann", "zum Beispiel das heißt und so weiter. Dann"),
        ("3,50 € & 5 %", "drei Euro fünfzig und fünf Prozent"),
        ("5 km/h, 1 t, 20 °C, 2 m²", "fünf Kilometer pro Stunde, eine Tonne, zwanzig Grad Celsius, zwei Quadratmeter"),
        ("3.10 und 3,14", "drei Punkt eins null und drei Komma eins vier"),
        ("21 1.000.001 100 16", "einundzwanzig eine Million eins einhundert sechzehn"),
        ("3/4 Liter", "drei Viertel Liter"),
        ("½ Liter, 1/2 Stunde, 3½ Jahre", "ein halber Liter, eine halbe Stunde, dreieinhalb Jahre"),
        ("2,5 Mio. Euro", "zwei Komma fünf Millionen Euro"),
    ],
)
def test_german(frontend: TextFrontend, text: str, spoken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalize, "_engine", lambda code: pytest.fail("these need no engine"))
    assert frontend.normalize(text, "de") == spoken


@pytest.mark.parametrize(
    "text", ["Nothing to do here; truly: nothing!", "Mr. and Mrs. Hill, etc.", "a + b = c", "“It’s” - so"]
)
def test_plain_text_starts_no_engine(frontend: TextFrontend, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalize, "_engine", lambda code: pytest.fail("this needs no engine"))
    assert frontend.normalize(text)


def test_positions_lead_back_to_the_given_text() -> None:
    text = "Dr. No has 25 kg of x."
    spoken = normalize.normalized(written(text), "en")
    assert len(spoken.positions) == len(spoken.text)
    assert spoken.positions == sorted(spoken.positions)
    for word in ("No", "of", "x"):
        assert spoken.positions[spoken.text.index(word)] == text.index(word)


def test_grammars_get_a_few_words_at_once_and_every_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """They need more than linear time, and some texts hold a thousand numbers in a row."""
    given: list[str] = []

    def records(text: str, code: str) -> str:
        given.append(text)
        return text.replace("7", "seven")

    monkeypatch.setattr(normalize, "_spoken", records)
    assert normalize.normalized(written("so " + "7 " * 100 + "it is"), "en").text == "so " + "seven " * 100 + "it is"
    assert len(given) > 5
    assert max(len(text.split()) for text in given) <= 13


def test_off_means_off() -> None:
    assert TextFrontend(TextConfig(normalize=False)).normalize("Dr. No, 25 kg") == "Dr. No, 25 kg"


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("NEMO_EXT_CACHE", raising=False)
    assert normalize.cache_dir() == tmp_path / "xdg" / "nemo_ext" / "normalizer"
    monkeypatch.setenv("NEMO_EXT_CACHE", str(tmp_path / "own"))
    assert normalize.cache_dir() == tmp_path / "own" / "normalizer"


def test_two_that_compile_at_once_leave_one_whole_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
) -> None:
    """The other process is done while we compile: its folder stays, ours goes, and both are used whole."""
    monkeypatch.setenv("NEMO_EXT_CACHE", str(tmp_path))
    used = []

    def compiles(code: str, folder: str) -> str:
        used.append(Path(folder))
        (Path(folder) / "grammar.far").write_text("ours")
        if len(used) == 1:
            final = used[0].parent / code
            assert not final.exists()  # nobody ever meets a half-written cache
            final.mkdir()
            (final / "grammar.far").write_text("theirs")
        return folder

    monkeypatch.setattr(normalize, "_normalizer", compiles)
    normalize._engine.__wrapped__("en")
    assert used[1] == used[0].parent / "en"
    assert [p.name for p in used[0].parent.iterdir()] == ["en"]
    assert "compiling the text normalizer" in capsys.readouterr().err
    normalize._engine.__wrapped__("en")
    assert capsys.readouterr().err == ""


def test_a_cache_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from nemo_ext.errors import NemoExtError

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NEMO_EXT_CACHE", str(tmp_path / "file"))
    with pytest.raises(NemoExtError, match="NEMO_EXT_CACHE"):
        normalize._engine.__wrapped__("en")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "null"), (1, "eins"), (17, "siebzehn"), (21, "einundzwanzig"), (101, "einhunderteins"),
        (1001, "eintausendeins"), (21000, "einundzwanzigtausend"), (1_000_000, "eine Million"),
        (2_000_001, "zwei Millionen eins"),
        (1_234_567, "eine Million zweihundertvierunddreißigtausendfünfhundertsiebenundsechzig"),
    ],
)  # fmt: skip
def test_german_cardinals(number: int, words: str) -> None:
    assert cardinal(number) == words


def test_german_ordinals_and_years() -> None:
    assert [ordinal(n) for n in (1, 3, 7, 8, 12, 20, 21, 100, 101)] == [
        "erste", "dritte", "siebte", "achte", "zwölfte", "zwanzigste", "einundzwanzigste", "einhundertste",
        "einhunderterste",
    ]  # fmt: skip
    assert [year(n) for n in (1066, 1900, 1990, 2000, 2024)] == [
        "eintausendsechsundsechzig", "neunzehnhundert", "neunzehnhundertneunzig", "zweitausend",
        "zweitausendvierundzwanzig",
    ]  # fmt: skip


def _read_in_a_new_process(cache: str, text: str, answers: multiprocessing.Queue[str]) -> None:
    import os

    os.environ["NEMO_EXT_CACHE"] = cache
    answers.put(TextFrontend(TextConfig()).normalize(text))


@pytest.mark.slow
def test_two_processes_that_compile_at_once_do_not_harm_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    for again in range(2):
        workers = [
            context.Process(target=_read_in_a_new_process, args=(str(tmp_path), "It is 3.10 now.", answers))
            for _ in range(2)
        ]
        for worker in workers:
            worker.start()
        assert [answers.get(timeout=600) for _ in workers] == ["It is three point one zero now."] * 2
        for worker in workers:
            worker.join(60)
            assert worker.exitcode == 0
        assert [p.name for p in tmp_path.glob("normalizer/*/*")] == ["en"], f"left over after run {again}"
