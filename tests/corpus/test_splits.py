from __future__ import annotations

import random
from collections import Counter

import pytest

from nemo_ext.corpus.splits import split
from nemo_ext.types import Utterance


def rows(**voices: int) -> list[Utterance]:
    return [
        Utterance(f"{name}-{i}", "", f"{name} says {i}", speaker=name) for name, n in voices.items() for i in range(n)
    ]


def ids(some: list[Utterance]) -> set[str]:
    return {row.id for row in some}


@pytest.mark.parametrize("count", [2, 5, 10, 100, 600])
def test_nothing_is_lost_and_neither_part_is_empty(count: int) -> None:
    train, val, notes = split(rows(a=count), 0.05, 0)
    assert sorted(ids(train) | ids(val)) == sorted(f"a-{i}" for i in range(count))
    assert not ids(train) & ids(val)
    assert len(val) == max(1, round(0.05 * count))
    assert train
    assert notes == []


def test_every_voice_with_ten_has_one() -> None:
    train, val, _ = split(rows(a=200, b=10, c=9, d=40), 0.05, 0)
    assert Counter(row.speaker for row in val) == {"a": 10, "b": 1, "d": 2}
    assert {row.speaker for row in train} == {"a", "b", "c", "d"}


def test_it_depends_on_ids_and_seed_and_on_nothing_else() -> None:
    some = rows(a=100, b=60)
    shuffled = list(some)
    random.Random(1).shuffle(shuffled)
    assert ids(split(some, 0.05, 0)[1]) == ids(split(shuffled, 0.05, 0)[1])
    assert ids(split(some, 0.05, 0)[1]) != ids(split(some, 0.05, 1)[1])


def test_a_growing_corpus_keeps_most_of_its_split() -> None:
    before, after = ids(split(rows(a=1000), 0.05, 0)[1]), ids(split(rows(a=1050), 0.05, 0)[1])
    assert len(before & after) >= 40


def test_a_text_that_several_voices_say_is_on_one_side_only() -> None:
    some = rows(a=30, b=30, c=30)
    for row in some:
        number = int(row.id.split("-")[1])
        if number < 24:  # as in VCTK, where everybody begins with the rainbow passage
            row.text = f"The rainbow, part {number}." if row.speaker != "b" else f"the rainbow part {number}"
    train, val, notes = split(some, 0.1, 3)
    words = [{" ".join(row.text.lower().replace(",", "").rstrip(".").split()) for row in part} for part in (train, val)]
    assert words[0].isdisjoint(words[1])
    assert all(count >= 3 for count in Counter(row.speaker for row in val).values())
    assert {row.speaker for row in val} == {"a", "b", "c"}
    assert notes == []


def test_no_voice_loses_its_training_to_validation() -> None:
    some = [Utterance(f"{v}-{t}-{i}", "", f"text {t}", speaker=v) for v in "ab" for t in range(3) for i in range(4)]
    train, val, _ = split(some, 0.05, 0)
    assert Counter(row.speaker for row in val) == {"a": 4, "b": 4}
    assert Counter(row.speaker for row in train) == {"a": 8, "b": 8}


@pytest.mark.parametrize("seed", range(6))
def test_a_text_that_is_most_of_what_a_voice_says_is_for_training(seed: int) -> None:
    some = [Utterance(f"{i}", "", "often" if i < 8 else "seldom", speaker="a") for i in range(12)]
    assert {row.text for row in split(some, 0.05, seed)[1]} == {"seldom"}


def test_promises_that_cannot_be_kept_are_noted() -> None:
    one = rows(a=1)
    assert split(one, 0.05, 0) == (one, one, ["one utterance only: validation is the training utterance itself"])
    same = [Utterance(str(i), "", "always the same", speaker=str(i)) for i in range(10)]
    train, val, notes = split(same, 0.05, 0)
    assert (len(train), len(val)) == (9, 1)
    assert "every recording says the same" in notes[0]
