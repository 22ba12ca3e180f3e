from __future__ import annotations

import pytest

from nemo_ext.text.sentences import split_sentences


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("en", ["Dr. Smith met Mr. J. S. Bach at 3.10 p.m. on Jan. 5.", "He left!", "Why?"]),
        ("en", ["He said no.", "Then he sat.", "It was I.", "He knew."]),
        ("en", ["He went home .", "Then he slept."]),
        ("en", ['"Stop!" he said.', '"Now?"', "(Yes.)", "And so on…"]),
        ("en", ["The U.S. Army came at 5 a.m. sharp.", "No. 5 was last, i.e. nobody, etc.", "The end"]),
        ("de", ["Am 3. Mai kam z. B. Dr. Müller, d.h. um 3.10 Uhr.", "Im 21. Jahrhundert!", "Das ist so.", "Aha."]),
        ("de", ["Es war 1999.", "Er sah Ludwig den 14. von hinten usw.", "Dann ging er."]),
        ("de", ["Er ist 30.", "Dann ging er am 2. Weihnachtstag.", "Der 3. Mann war es.", "Es waren 2,5 Mio. Euro."]),
        (
            "de",
            [
                "Im XX. Jahrhundert wohnte er in der Hauptstr. 5.",
                "Siehe Abb. 4.2.",
                "Das ist alles.",
                "Max I. Müller kam.",
            ],
        ),
        ("de", ["Papst Benedikt XVI. kam nach Köln.", "Es war Karl V.", "Er ging."]),
        ("en", ["I said no.", "5 people left.", "No. 5 is here.", "He lives at 5 Oak Dr.", "He is 6 ft. 2 in. tall."]),
        ("en", ["He came at 5 p.m.", "She left at 3 p.m. sharp.", "Go to 12 Elm St.", "Then stop."]),
        ("de", ["Er kam am 30. Januar 2020.", "„Wirklich?“", "Ja."]),
    ],
)
def test_sentences(language: str, sentences: list[str]) -> None:
    assert split_sentences(" ".join(sentences), language) == sentences
    assert split_sentences("\n\n ".join(sentences), language) == sentences


def test_pieces_are_parts_of_the_text_in_order() -> None:
    text = "  One… two.\n\nThree\nfour!!  ***\n\n? Five"
    end = 0
    pieces = split_sentences(text, "en")
    for piece in pieces:
        at = text.index(piece, end)
        assert not text[end:at].strip()
        end = at + len(piece)
    assert not text[end:].strip()
    assert all(any(c.isalnum() for c in piece) for piece in pieces)


@pytest.mark.parametrize("text", ["", " \n ", "...", "?! ..."])
def test_nothing_to_say_is_no_sentence(text: str) -> None:
    assert split_sentences(text, "en") == []


def test_a_long_text_takes_no_time_to_speak_of() -> None:
    text = "This is Dr. No. 5 of 10.000. It has an end. " * 5000
    assert len(split_sentences(text, "en")) == 10000
