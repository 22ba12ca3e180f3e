"""Written text and its right readings, by tables (tables/de.tsv, en.tsv: text, tab, readings, ``||`` between)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nemo_ext.text.languages import LANGUAGES, language
from nemo_ext.text.normalize import normalized
from nemo_ext.text.rules import Rule, readings, roman, whole
from nemo_ext.text.sentences import split_sentences
from nemo_ext.text.written import written

_TABLES = Path(__file__).parent / "tables"


def _rows(code: str) -> list[tuple[str, str]]:
    lines = (_TABLES / f"{code}.tsv").read_text(encoding="utf-8").splitlines()
    return [(text, right) for text, _, right in (line.partition("\t") for line in lines)]


def _letters(text: str) -> str:
    """Words alone: how they are parted, and in which case they stand, is no matter of how they sound."""
    return re.sub(r"[\W_]+", "", text.lower())


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_row_of_the_table_is_read_right(code: str) -> None:
    rows = _rows(code)
    assert len(rows) > 300
    wrong = []
    for text, right in rows:
        parts = [normalized(written(part), code).text for part in split_sentences(text, code)]
        for spoken in (normalized(written(text), code).text, " ".join(parts)):  # whole, and as `say` reads it
            if _letters(spoken) not in {_letters(reading) for reading in right.split("||")}:
                wrong.append(f"{text} -> {spoken}, not {right}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_example_of_a_rule_is_read_by_that_rule(code: str) -> None:
    rules = language(code).rules
    assert sum(bool(rule.examples) for rule in rules) > 30
    for rule in rules:
        for text, spoken in rule.examples:
            assert _letters(normalized(written(text), code).text) == _letters(spoken), rule.name
            assert rule.name in [reading.rule for reading in readings(text, rules)], (rule.name, text)


@pytest.mark.parametrize("code", LANGUAGES)
def test_names_of_rules_are_their_own(code: str) -> None:
    names = [rule.name for rule in language(code).rules]
    assert len(set(names)) == len(names)


def test_a_span_is_read_once_and_by_the_first_rule() -> None:
    first = Rule("a", re.compile(r"\d+ km"), lambda m: "far")
    second = Rule("b", re.compile(r"\d+"), lambda m: f"<{m.group()}>")
    never = Rule("c", re.compile("far"), lambda m: "near")
    found = readings("5 km and 6", [first, second, never])
    assert [(r.start, r.end, r.spoken, r.rule) for r in found] == [(0, 4, "far", "a"), (9, 10, "<6>", "b")]


def test_a_rule_that_declines_leaves_the_span_to_others() -> None:
    declines = Rule("a", re.compile(r"\d+"), lambda m: None)
    reads = Rule("b", re.compile(r"\d"), lambda m: "x")
    assert [r.spoken for r in readings("12", [declines, reads])] == ["x", "x"]


def test_what_a_rule_has_read_is_out_of_reach_of_the_grammars_and_of_signs() -> None:
    text = "It fell -3% to $5 & rose."
    spoken = normalized(written(text), "en")
    assert spoken.text == "It fell minus three percent to five dollars and rose."
    assert spoken.positions[spoken.text.index("rose")] == text.index("rose")
    assert spoken.positions[spoken.text.index("five")] == text.index("$")


@pytest.mark.parametrize(
    ("text", "value"), [("XIV", 14), ("MCMXCIX", 1999), ("IIII", None), ("", None), ("IC", None), ("xiv", None)]
)
def test_roman_numerals(text: str, value: int | None) -> None:
    assert roman(text) == value


def test_numbers_of_any_length_are_read() -> None:
    assert whole("9" * 5000) is None
    for code in LANGUAGES:
        for text in ("9" * 5000, "-" + "1" * 5000 + " km", "1." * 3000, "5-" * 3000, "@a." * 2000):
            assert not re.search(r"\d", normalized(written(f"So {text} it is."), code).text)
