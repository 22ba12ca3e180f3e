"""Ranges of options, and tables that a file gave."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from nemo_ext._options import Option, conformed, describe, out_of_range
from nemo_ext.config import compose, number, option
from nemo_ext.errors import NemoExtError, UsageError
from nemo_ext.types import MelSpec


@dataclass
class Inner:
    size: int = number(4, 1, 8)
    name: str = "x"


@dataclass
class Table:
    rate: float = number(0.5, 0.0, 1.0)
    steps: list[int] = number([1, 2], 1, 9)
    above: float = number(1.0, above=0.0)
    kind: str = option("a", "", choices=("a", "b"))
    inner: Inner = field(default_factory=Inner)
    maybe: int | None = None
    words: dict[str, str] = field(default_factory=dict)
    flag: bool = False
    anything: Any = None

    def check(self) -> None:
        if self.rate > self.above:
            raise NemoExtError("rate is above above")


def test_a_table_is_made_of_what_a_file_gave():
    values = {"rate": 1, "steps": [3], "kind": "b", "inner": {"size": 2}, "maybe": None, "words": {"a": "b"}}
    made = conformed(Table, values, "it")
    assert made == Table(1.0, [3], 1.0, "b", Inner(2), None, {"a": "b"})
    assert isinstance(made.rate, float)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([], "it is .*not a table of settings"),
        ({"ratte": 1}, "it has 'ratte', which is not known; did you mean 'rate'"),
        ({"rate": "1"}, "it: rate is 1, not a number"),
        ({"rate": True}, "it: rate is True, not a number"),
        ({"inner": {"size": True}}, "it: inner: size is True, not a whole number"),
        ({"rate": 2}, "it: rate=2 is outside 0 to 1"),
        ({"rate": float("nan")}, "it: rate=nan is nan is not a finite number"),
        ({"above": 0}, "it: above=0 is not above 0"),
        ({"above": float("inf")}, "not a finite number"),
        ({"above": 0.1}, "it: rate is above above"),
        ({"steps": [1, 10]}, "outside 1 to 9"),
        ({"steps": 1}, "steps is 1, not a list"),
        ({"steps": [1, "a"]}, r"steps\[1\] is a, not a whole number"),
        ({"kind": "c"}, "not one of a, b"),
        ({"inner": {"size": 1.5}}, "it: inner: size is 1.5, not a whole number"),
        ({"inner": {"size": 9}}, "inner: size=9 is outside 1 to 8"),
        ({"words": {"a": 1}}, "words: a is 1, not a text"),
        ({"words": {1: "a"}}, "words is"),
        ({"flag": 1}, "flag is 1, not true or false"),
        ({"maybe": "x"}, "maybe is x, not a whole number"),
    ],
)
def test_what_no_table_has_is_one_line(values, why):
    with pytest.raises(NemoExtError, match=why) as raised:
        conformed(Table, values, "it")
    assert "\n" not in str(raised.value)


def test_a_range_is_told_as_people_write_it():
    assert Option("x", float, 0.0, least=0.0).refuses(-1.0) == "outside 0 and above"
    assert Option("x", float, 0.0, most=2.0).refuses(3.0) == "outside 2 and below"
    assert Option("x", float, 0.0, above=0.0, most=2.0).refuses(0.0) == "outside 0 to 2, 0 excluded"
    assert Option("x", int, 0, least=0, most=2**32 - 1).refuses(2**32) == "outside 0 to 4294967295"
    assert Option("x", bool, True, least=2).refuses(True) == ""
    assert Option("x", float, 0.0).refuses(1e300) == ""


def test_ranges_reach_into_nested_tables():
    table = Table(inner=Inner(size=100))
    assert out_of_range(table, known=describe(Table)) == "inner.size=100 is outside 1 to 8"
    assert out_of_range(Table()) == ""


@pytest.mark.parametrize(
    "settings",
    [
        {"n_mels": 10**9},
        {"n_fft": 2**31},
        {"hop_length": 0},
        {"hop_length": -1},
        {"sample_rate": 1},
        {"win_length": 2048},
        {"f_max": 20_000.0},
        {"f_min": 9000.0},
        {"mag_power": 0.0},
        {"log_guard": 0.0},
    ],
)
def test_settings_that_make_no_mel_are_refused(settings):
    with pytest.raises(NemoExtError, match=r"^mel"):
        conformed(MelSpec, settings, "mel")


@pytest.mark.parametrize(
    ("job", "override", "why"),
    [
        ("train", "trainer.threads=-3", "trainer.threads=-3 is outside 0 to 4096"),
        ("train", "trainer.max_steps=0", "outside 1 and above"),
        ("train", "trainer.gradient_clip=nan", "not a finite number"),
        ("train", "model.dropout=2", "model.dropout=2.0 is outside 0 to 0.99"),
        ("train", "model.losses.mel=-1", "outside 0 and above"),
        ("train", "model.optim.lr=nan", "model.optim.lr=nan is not a finite number"),
        ("train", "features.mel.n_mels=0", "features.mel.n_mels=0 is outside 1 to 1024"),
        ("adapt", "lr=inf", "not a finite number"),
        ("export", "threads=-1", "outside 0 to 4096"),
        ("corpus", "espeak.sentences=0", "outside 1 to"),
    ],
)
def test_options_of_jobs_have_ranges(job, override, why):
    with pytest.raises(UsageError, match=why):
        compose(job, [override])
