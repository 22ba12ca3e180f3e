"""Text to tokens, with the real engines."""

from __future__ import annotations

import dataclasses
import itertools
import json
import multiprocessing
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from nemo_ext.errors import NemoExtError, NothingToSpeak
from nemo_ext.text import espeak
from nemo_ext.text import frontend as frontend_module
from nemo_ext.text import g2p as pronouncing
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.types import Tokens

HARD = 'Hello, world. Don\'t (stop) = "now"; Ärger 3.10 null'


@pytest.fixture(scope="module")
def plain() -> TextFrontend:
    return TextFrontend(TextConfig(languages=["en", "de"], normalize=False))


def spoken(tokens: Tokens) -> dict[str, str]:
    return {word: "".join(tokens.symbols[first:past]) for word, first, past in tokens.words}


def test_known_pronunciations_of_english_and_german(plain: TextFrontend) -> None:
    assert spoken(plain.encode("Hello, the world is thin.")) == {
        "Hello": "həlˈoʊ",
        "the": "ðə",
        "world": "wˈɜːld",
        "is": "ɪz",
        "thin": "θˈɪn",
    }
    german = spoken(plain.encode("Ich möchte das schöne Buch.", "de"))
    assert german["Ich"] == "ɪç"
    assert german["schöne"] == "ʃˈøːnə"
    assert german["Buch"] == "bˈuːx"


def test_text_of_the_command_line_is_spoken_as_written() -> None:
    tokens = TextFrontend(TextConfig()).encode(HARD)
    assert tokens.normalized == 'Hello, world. Don\'t (stop) equals "now"; Ärger three point one zero null'
    assert spoken(tokens)["Don't"] == "dˈoʊnt"
    assert [s for s in tokens.symbols if s in ',.()";'] == [",", ".", "(", ")", '"', '"', ";"]
    assert [w for w, _, _ in tokens.words][-6:] == ["Ärger", "three", "point", "one", "zero", "null"]
    assert tokens.unknown == []


@pytest.mark.parametrize("alphabet", ["ipa", "arpabet", "chars"])
@pytest.mark.parametrize("g2p", ["espeak", "cmudict", "graphemes"])
def test_every_table_spells_the_hard_text_without_loss(alphabet: str, g2p: str) -> None:
    frontend = TextFrontend(TextConfig(alphabet=alphabet, g2p=g2p))
    tokens = frontend.encode(HARD)
    assert tokens.unknown == []
    assert len(tokens.words) == 12
    assert all(past > first for _, first, past in tokens.words)
    assert tokens.ids.dtype == np.int64
    assert [frontend.table.symbols[i] for i in tokens.ids] == tokens.symbols


def test_silence_has_a_token_at_both_ends(plain: TextFrontend) -> None:
    for text in ("one", "  one. ", '"One!"', "— one —"):
        symbols = plain.encode(text).symbols
        assert symbols[0] == symbols[-1] == " "
        assert all(a != " " or b != " " for a, b in itertools.pairwise(symbols))


def test_no_space_stands_before_a_closing_mark(plain: TextFrontend) -> None:
    for mark in ",.!?;:":
        assert plain.encode(f"one {mark} two").symbols == plain.encode(f"one{mark} two").symbols
    assert plain.encode("(one ) two").symbols == plain.encode("(one) two").symbols


def test_words_lie_in_order_and_hold_all_that_is_no_punctuation(plain: TextFrontend) -> None:
    tokens = plain.encode("At the end of the day, it's a well-known fact of the matter: Jack's here.")
    assert [w for w, _, _ in tokens.words] == (
        [
            "At",
            "the",
            "end",
            "of",
            "the",
            "day",
            "it's",
            "a",
            "well-known",
            "fact",
            "of",
            "the",
            "matter",
            "Jack's",
            "here",
        ]
    )
    covered = {i for _, first, past in tokens.words for i in range(first, past)}
    assert len(covered) == sum(past - first for _, first, past in tokens.words)
    assert {tokens.symbols[i] for i in set(range(len(tokens.ids))) - covered} <= {" ", ",", ":", "."}


def test_words_that_espeak_joins_are_parted(plain: TextFrontend) -> None:
    """Espeak reads "of the" as one word, "ʌvðə"."""
    assert espeak.phonemize("of the", "en-us").split() == ["ʌvðə"]
    assert list(spoken(plain.encode("the end of the world")).items())[2:] == [("of", "ʌv"), ("world", "wˈɜːld")]


def test_a_word_that_espeak_reads_as_several_stays_one(plain: TextFrontend) -> None:
    tokens = plain.encode("about 3.10 today")
    assert spoken(tokens)["3.10"] == "θɹˈiː pɔɪnt wˈʌn zˈiəɹoʊ"
    assert spoken(tokens)["today"] == "tədˈeɪ"


def test_espeak_hears_the_context_of_a_word(plain: TextFrontend) -> None:
    assert spoken(plain.encode("a dog"))["a"] == "ɐ"
    assert spoken(plain.encode("I have read it"))["read"] == "ɹˈɛd"
    assert spoken(plain.encode("to read it"))["read"] == "ɹˈiːd"


def test_unknown_characters_are_named_with_their_place_in_the_given_text() -> None:
    frontend = TextFrontend(TextConfig())
    text = "On 3.10 kg 😀 we say ж!"
    tokens = frontend.encode(text)
    assert tokens.normalized.startswith("On three point one zero kilograms")
    assert tokens.unknown == [("😀", text.index("😀")), ("ж", text.index("ж"))]
    decomposed = "Cafe\u0301 ☃"
    assert frontend.encode(decomposed).unknown == [("☃", decomposed.index("☃"))]


def test_composed_and_decomposed_text_are_the_same(plain: TextFrontend) -> None:
    assert plain.encode("scho\u0308n", "de").symbols == plain.encode("schön", "de").symbols


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("it’s “here” – now…", 'it\'s "here" -- now.'),
        ("soft\u00adware\u200b", "software"),
        ("Wait ... what ?!", "Wait. what?"),
        ("line\none\ttwo", "line one two"),
        ("'quoted' words", "quoted words"),
        ("the dogs' bones", "the dogs bones"),
        ("[[x]] {y}", "(x) (y)"),
    ],
)
def test_ways_of_writing_the_same(plain: TextFrontend, one: str, other: str) -> None:
    assert plain.encode(one).symbols == plain.encode(other).symbols


def test_capitals_do_not_change_a_word(plain: TextFrontend) -> None:
    assert plain.encode("HELLO WORLD").symbols == plain.encode("hello world").symbols
    assert spoken(plain.encode("the U.S. today"))["U.S."] == "jˌuːˈɛs"


@pytest.mark.parametrize("g2p", ["espeak", "cmudict"])
@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("the D N A test", True),
        ("A B C", True),
        ("N A T O", True),
        ("Plan A is good", True),
        ("the A4 paper", True),
        ("A dog", False),
        ("A I know of", False),
        ("so A-list", True),
    ],
)
def test_a_capital_a_among_letters_is_a_letter(text: str, letter: bool, g2p: str) -> None:
    tokens = TextFrontend(TextConfig(g2p=g2p)).encode(text)
    word = next(w for w, _, _ in tokens.words if w.startswith("A"))
    assert spoken(tokens)[word].replace("ˈ", "").replace("ˌ", "").startswith("eɪ") == letter


@pytest.mark.parametrize(
    ("text", "language", "sounds"),
    [
        ("Hm", "en", "həm"),
        ("Hmmm", "en", "həm"),
        ("hm", "de", "həm"),
        ("Hmm", "de", "həm"),
        ("Mm", "en", "mː"),
        ("Shh", "en", "ʃː"),
        ("Pst", "de", "pst"),
        ("psst", "en", "pst"),
        ("HM", "en", "ˌeɪtʃˈɛm"),
    ],
)
def test_sounds_that_have_no_vowel_are_not_spelled(plain: TextFrontend, text: str, language: str, sounds: str) -> None:
    assert spoken(plain.encode(f"{text}, so", language))[text] == sounds


@pytest.mark.parametrize("text", ["", "   \n", "...", "😀", "»…«", "жж"])
def test_text_without_a_word_is_an_error(plain: TextFrontend, text: str) -> None:
    with pytest.raises(NothingToSpeak, match="nothing to speak in") as caught:
        plain.encode(text)
    assert "\n" not in str(caught.value)
    assert caught.value.unknown == [(c, i) for i, c in enumerate(text) if c in "😀ж"]


def test_very_long_words_and_texts_end(plain: TextFrontend) -> None:
    assert len(plain.encode("x" * 3000 + " " + "of the " * 2).words) == 5
    long = plain.encode("Donaudampfschifffahrtsgesellschaft" * 20, "de")  # espeak parts it; nobody has written a blank
    assert len(long.words) == 1
    assert " " not in long.symbols[1:-1]
    words = plain.encode("so this is one of the many words " * 300).words
    assert len(words) == 8 * 300


def test_given_normalized_text_is_not_touched() -> None:
    tokens = TextFrontend(TextConfig(g2p="graphemes", alphabet="chars")).encode(
        "In 1999 I", normalized="In ninety nine I"
    )
    assert tokens.normalized == "In ninety nine I"


def test_tables_depend_on_the_options_alone() -> None:
    ipa = TextFrontend(TextConfig()).table
    assert ipa.symbols[ipa.pad] == "<pad>"
    assert ipa.pad == 0
    assert {"ˈ", "ˌ", "ː", "ə", " ", "A"} <= set(ipa.symbols)
    assert "ç" not in ipa
    both = TextFrontend(TextConfig(languages=["de", "en"])).table
    assert set(ipa.symbols) < set(both.symbols)
    assert both.symbols == TextFrontend(TextConfig(languages=["en", "de"])).table.symbols
    arpabet = TextFrontend(TextConfig(alphabet="arpabet")).table
    assert {"AH0", "AH1", "AH2", "NG", "a"} <= set(arpabet.symbols)
    assert "AH" not in arpabet
    for table in (ipa, both, arpabet):
        assert len(set(table.symbols)) == len(table)
        assert [table.index(s) for s in table.symbols] == list(range(len(table)))


def test_a_given_table_is_taken_as_it_is() -> None:
    frontend = TextFrontend(TextConfig(alphabet="chars", symbols=["<pad>", " ", "b", "a"], normalize=False))
    tokens = frontend.encode("a bad")
    assert tokens.ids.tolist() == [1, 3, 1, 2, 3, 1]
    assert tokens.unknown == [("d", 4)]
    for symbols, message in ((["<pad>", "a"], "lacks ' '"), (["<pad>", " ", "a", "a"], "'a' twice")):
        with pytest.raises(NemoExtError, match=message):
            TextFrontend(TextConfig(symbols=symbols))


def test_the_config_makes_the_same_frontend_again(tmp_path) -> None:
    lexicon = tmp_path / "names.txt"
    lexicon.write_text("Nguyen\tnwˈɪn\n", encoding="utf-8")
    first = TextFrontend(TextConfig(languages=["en", "de"], lexicon=str(lexicon)))
    lexicon.unlink()
    restored = TextFrontend(TextConfig(**json.loads(json.dumps(dataclasses.asdict(first.config)))))
    assert restored.config == first.config
    assert restored.fingerprint() == first.fingerprint()
    assert spoken(restored.encode("Mister Nguyen"))["Nguyen"] == "nwˈɪn"
    assert first.config.g2p == "espeak"
    assert str(tmp_path) not in str(first.config)


@pytest.mark.parametrize(
    "change",
    [
        {"g2p": "cmudict"},
        {"alphabet": "arpabet"},
        {"languages": ["en", "de"]},
        {"normalize": False},
        {"heteronyms": "graphemes"},
        {"lexicon_entries": {"a": "ə"}},
    ],
)
def test_whatever_changes_tokens_changes_the_fingerprint(change: dict) -> None:
    assert TextFrontend(TextConfig(**change)).fingerprint() != TextFrontend(TextConfig()).fingerprint()


def test_two_processes_agree_on_tokens_and_fingerprint(plain: TextFrontend) -> None:
    """Hash seeds differ between processes; nothing may hang on them."""
    code = (
        "from nemo_ext.text.config import TextConfig as C; from nemo_ext.text.frontend import TextFrontend as F;"
        "f = F(C(languages=['en', 'de'], normalize=False));"
        "print(f.fingerprint(), f.encode('the lead of the wind').ids.tolist())"
    )
    said = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(2)}
    assert said == {f"{plain.fingerprint()} {plain.encode('the lead of the wind').ids.tolist()}\n"}


def _ids(frontend: TextFrontend) -> list[int]:
    return frontend.encode("Hello there, Dr. Smith.").ids.tolist()


def test_spawned_workers_encode_the_same() -> None:
    frontend = TextFrontend(TextConfig(languages=["en", "de"]))
    expected = _ids(frontend)  # engines are loaded before it is pickled
    assert _ids(pickle.loads(pickle.dumps(frontend))) == expected
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_ids, (frontend,)) == expected


def test_heteronym_policy() -> None:
    text = "I read a book"
    first = TextFrontend(TextConfig(g2p="cmudict", normalize=False))
    letters = TextFrontend(TextConfig(g2p="cmudict", heteronyms="graphemes", normalize=False))
    assert spoken(first.encode(text))["read"] == "ɹˈɛd"  # cmudict's first
    assert spoken(letters.encode(text))["read"] == "READ"
    assert spoken(letters.encode(text))["book"] == spoken(first.encode(text))["book"] == "bˈʊk"
    by_espeak = TextFrontend(TextConfig(g2p="espeak", heteronyms="graphemes", normalize=False))
    assert spoken(by_espeak.encode(text))["read"] == "READ"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the front end logs: taken at its source, since other packages switch logging off as they please."""
    lines: list[str] = []
    heard = SimpleNamespace(
        info=lambda line, *words: lines.append(line % words), warning=lambda line, *words: lines.append(line % words)
    )
    monkeypatch.setattr(frontend_module, "_log", heard)
    return lines


def test_auto_without_espeak_says_what_it_does(monkeypatch: pytest.MonkeyPatch, said) -> None:
    monkeypatch.setattr(espeak, "available", lambda: False)
    frontend = TextFrontend(TextConfig(languages=["en", "de"], normalize=False))
    assert "pip install 'nemo_ext[espeak]'" in " ".join(said)
    assert frontend.config.g2p == "cmudict"
    assert spoken(frontend.encode("Hello grzlbrk")) == {"Hello": "həlˈoʊ", "grzlbrk": "GRZLBRK"}
    assert spoken(frontend.encode("Straße", "de")) == {"Straße": "STRAẞE"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alphabet": "ippa"}, "did you mean 'ipa'"),
        ({"g2p": "epeak"}, "did you mean 'espeak'"),
        ({"languages": ["fr"]}, "no language 'fr'"),
        ({"languages": []}, "languages is empty"),
        ({"alphabet": "arpabet", "languages": ["en", "de"]}, "English only"),
    ],
)
def test_mistakes_in_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(NemoExtError, match=message) as caught:
        TextFrontend(TextConfig(**options))
    assert "\n" not in str(caught.value)


def test_real_transcripts_leave_nothing_out(corpora) -> None:
    """Without the corpora: espeak's own."""
    if corpora is None:
        from nemo_ext.corpus.sentences import sentences

        rows = [(text, "en") for text in sentences(200, 1)]
    else:
        rows = [
            (line.split("|")[-1], language)
            for folder, language in (("ljspeech_mini", "en"), ("kerstin_de", "de"))
            for line in (corpora / folder / "metadata.csv").read_text(encoding="utf-8").splitlines()
        ]
    frontend = TextFrontend(TextConfig(languages=["en", "de"]))
    for text, language in rows:
        tokens = frontend.encode(text, language, normalized=text)
        assert tokens.unknown == [], text
        assert len(tokens.words) >= len(text.split()) - text.count(" - ") - text.count("--"), text


def test_auto_without_espeak_and_without_a_dictionary_speaks_letters(monkeypatch: pytest.MonkeyPatch, said) -> None:
    monkeypatch.setattr(espeak, "available", lambda: False)
    monkeypatch.setattr(pronouncing, "cmudict_available", lambda: False)
    frontend = TextFrontend(TextConfig(normalize=False))
    assert "words stay letters" in " ".join(said)
    assert spoken(frontend.encode("Hello")) == {"Hello": "HELLO"}
