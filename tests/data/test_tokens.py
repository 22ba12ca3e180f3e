from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from nemo_ext.corpus.manifest import Corpus
from nemo_ext.data.tokens import encode_corpus
from nemo_ext.errors import NemoExtError
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.types import Tokens


class Counting(TextFrontend):
    """A frontend that remembers what it was asked."""

    def __init__(self, **options: object) -> None:
        super().__init__(TextConfig(**{"alphabet": "chars", "g2p": "graphemes", "normalize": False, **options}))
        self.asked: list[str] = []

    def encode(self, text: str, language: str = "en", normalized: str | None = None) -> Tokens:
        self.asked.append(text)
        return super().encode(text, language, normalized)


def test_each_text_is_encoded_once(corpus: Corpus, tmp_path: Path) -> None:
    first, again = Counting(), Counting()
    tokens = encode_corpus(corpus.utterances, first, tmp_path)
    assert sorted(first.asked) == sorted({utterance.text for utterance in corpus.utterances})
    cached = encode_corpus(corpus.utterances, again, tmp_path)
    assert again.asked == []
    for utterance, ids, same in zip(corpus.utterances, tokens, cached, strict=True):
        np.testing.assert_array_equal(ids, same)
        expected = first.encode(utterance.text, "en", utterance.normalized_text)
        np.testing.assert_array_equal(ids, expected.ids)


def test_a_changed_text_is_encoded_again(corpus: Corpus, tmp_path: Path) -> None:
    encode_corpus(corpus.utterances, Counting(), tmp_path)
    corpus.train[0].text = "Something else."
    corpus.train[1].normalized_text = "another thing"
    frontend = Counting()
    tokens = encode_corpus(corpus.utterances, frontend, tmp_path)
    assert frontend.asked == ["Something else.", corpus.train[1].text]
    np.testing.assert_array_equal(tokens[0], frontend.encode("Something else.").ids)


def test_a_changed_frontend_never_reuses_tokens(corpus: Corpus, tmp_path: Path) -> None:
    encode_corpus(corpus.utterances, Counting(), tmp_path)
    other = Counting(languages=["en", "de"])
    encode_corpus(corpus.utterances, other, tmp_path)
    assert len(other.asked) == len(corpus.utterances)


def test_a_damaged_cache_is_made_again(corpus: Corpus, tmp_path: Path) -> None:
    good = encode_corpus(corpus.utterances, Counting(), tmp_path)
    (cache,) = tmp_path.glob("tokens-*")
    raw = bytearray(cache.read_bytes())
    raw[-30] ^= 1
    for damaged in (bytes(raw), cache.read_bytes()[:-7], b""):
        cache.write_bytes(damaged)
        frontend = Counting()
        for ids, same in zip(encode_corpus(corpus.utterances, frontend, tmp_path), good, strict=True):
            np.testing.assert_array_equal(ids, same)
        assert frontend.asked


def test_what_is_done_survives_an_interruption(corpus: Corpus, tmp_path: Path) -> None:
    class Stops(Counting):
        def encode(self, text: str, language: str = "en", normalized: str | None = None) -> Tokens:
            if len(self.asked) == 4:
                raise KeyboardInterrupt
            return super().encode(text, language, normalized)

    with pytest.raises(KeyboardInterrupt):
        encode_corpus(corpus.utterances, Stops(), tmp_path)
    frontend = Counting()
    encode_corpus(corpus.utterances, frontend, tmp_path)
    assert len(frontend.asked) == len(corpus.utterances) - 4


def test_unknown_characters_are_reported_by_name_and_position(
    corpus: Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus.train[0].text = "Well \u2603 then."
    encode_corpus(corpus.train[:1], Counting(), tmp_path)
    assert "'\u2603'" in caplog.text
    assert corpus.train[0].id in caplog.text
    assert "position 5" in caplog.text


def test_a_text_that_cannot_be_spoken_names_the_utterance(corpus: Corpus, tmp_path: Path) -> None:
    nothing = dataclasses.replace(corpus.train[0], text="\u2603\u2603")
    with pytest.raises(NemoExtError, match=f"utterance '{nothing.id}': nothing to speak"):
        encode_corpus([nothing], Counting(), tmp_path)
