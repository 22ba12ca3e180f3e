"""Pace, pitch, range, energy and volume: each acts on the tokens it is asked for, and on no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nemo_ext
from nemo_ext.errors import NemoExtError
from nemo_ext.synthesis.joining import active_level, shaped
from nemo_ext.synthesis.pipeline import Pipeline
from nemo_ext.synthesis.prosody import LIMITS, Control, Prosody
from nemo_ext.synthesis.timings import timings, write_timings
from nemo_ext.types import Speech

TEXT = "Seven boats never came home at 3:10. Nobody waited for seven boats!"
NEVER = 2  # words count from 0 here


@pytest.fixture(scope="module")
def pipeline(tiny_acoustic: Path, tiny_vocoder: Path) -> Pipeline:
    return nemo_ext.load(tiny_acoustic, tiny_vocoder, device="cpu")


@pytest.fixture(scope="module")
def plain(pipeline: Pipeline) -> Speech:
    return pipeline.say(TEXT, "ada")


@pytest.fixture
def asked(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the model is asked for, sentence by sentence, while it speaks."""
    seen: list[dict[str, Any]] = []
    speak = pipeline.acoustic.predict_mel

    def watched(tokens: Any, *rest: Any, **options: Any) -> Any:
        said = speak(tokens, *rest, **options)
        seen.append({"tokens": tokens.shape[1], "durations": said.durations[0].numpy(), **options})
        return said

    monkeypatch.setattr(pipeline.acoustic, "predict_mel", watched)
    return seen


def durations(seen: list[dict[str, Any]]) -> np.ndarray:
    return np.concatenate([said["durations"] for said in seen])


def tokens_of(speech: Speech, *words: int) -> list[int]:
    return [i for word in words for i in range(*speech.word_tokens[word])]


def differing(one: Any, other: Any) -> list[int]:
    return np.flatnonzero(np.asarray(one) != np.asarray(other)).tolist()


def test_neutral_settings_are_the_same_bits_as_none(pipeline: Pipeline, plain: Speech) -> None:
    neutral = pipeline.say(TEXT, "ada", pace=1.0, pitch=0.0, pitch_range=1.0, energy=0.0, volume=0.0)
    np.testing.assert_array_equal(neutral.audio, plain.audio)
    zeros = np.zeros(len(plain.tokens))
    for prosody in (
        Prosody(),
        "never: pitch=0, pace=1, pitch_range=1, energy=0, volume=0; #1: pace=1",
        Prosody(tokens={range(0, 5): Control()}, curves={"pitch": zeros, "pace": zeros + 1, "volume": zeros}),
    ):
        same = pipeline.say(TEXT, "ada", prosody=prosody)
        np.testing.assert_array_equal(same.audio, plain.audio)
        assert same.tokens == plain.tokens
        assert same.token_pitch == plain.token_pitch


@pytest.mark.parametrize("pace", [0.5, 2.0])
def test_pace_of_a_word_leaves_every_other_duration(
    pipeline: Pipeline, plain: Speech, asked: list[dict[str, Any]], pace: float
) -> None:
    pipeline.say(TEXT, "ada")
    before, inside = durations(asked), tokens_of(plain, NEVER)
    asked.clear()
    changed = pipeline.say(TEXT, "ada", prosody=f"never: pace={pace}")
    after = durations(asked)
    assert set(differing(before, after)) <= set(inside)
    # each is rounded to frames by itself
    assert abs(after[inside].sum() - before[inside].sum() / pace) <= len(inside) * 0.75
    assert after[inside].sum() != before[inside].sum()
    assert changed.token_pitch == plain.token_pitch


def test_pace_of_a_word_is_relative_to_the_whole(pipeline: Pipeline, asked: list[dict[str, Any]]) -> None:
    pipeline.say(TEXT, "ada", pace=0.5)
    slow = durations(asked)
    asked.clear()
    changed = pipeline.say(TEXT, "ada", pace=0.5, prosody="never: pace=2")
    inside = tokens_of(changed, NEVER)
    assert set(differing(slow, durations(asked))) <= set(inside)
    assert durations(asked)[inside].sum() < 0.7 * slow[inside].sum()
    with pytest.raises(NemoExtError, match=r"pace=0\.15 of words and whole together.*0\.25 to 4"):
        pipeline.say(TEXT, "ada", pace=0.5, prosody="never: pace=0.3")


def test_pitch_of_a_word_is_in_semitones_and_moves_nothing_else(pipeline: Pipeline, plain: Speech) -> None:
    changed = pipeline.say(TEXT, "ada", prosody="never: pitch=3")
    inside = tokens_of(plain, NEVER)
    assert differing(changed.token_pitch, plain.token_pitch) == inside
    before, after = np.array(plain.token_pitch)[inside], np.array(changed.token_pitch)[inside]
    np.testing.assert_allclose(12 * np.log2(after / before), 3.0, atol=1e-3)
    assert changed.token_frames == plain.token_frames


def test_range_of_a_word_draws_it_to_the_voices_mean(pipeline: Pipeline, plain: Speech) -> None:
    changed = pipeline.say(TEXT, "ada", prosody="never: pitch_range=0")
    inside = tokens_of(plain, NEVER)
    assert set(differing(changed.token_pitch, plain.token_pitch)) <= set(inside)
    mean = pipeline.cast.find("ada").pitch_mean
    np.testing.assert_allclose(np.array(changed.token_pitch)[inside], mean, rtol=1e-5)
    assert np.ptp(pipeline.say(TEXT, "ada", pitch_range=2.0).token_pitch) > 1.5 * np.ptp(plain.token_pitch)


def moved_by(changed: Speech, plain: Speech, word: int) -> tuple[float, float]:
    """How far the mel moved within a word of the first sentence, and in the rest of that sentence.

    The decoder attends over a whole sentence, so the rest moves a little; the next sentence must not move at all.
    """
    moved = np.abs(changed.mel - plain.mel).mean(axis=0)
    first, last = plain.word_tokens[word]
    within = np.s_[plain.token_frames[first][0] : plain.token_frames[last - 1][1]]
    second = plain.token_frames[plain.word_tokens[8][0] - 1][0]  # the pause before it
    assert moved[second:].max() == 0.0
    return float(moved[within].mean()), float(np.delete(moved[:second], within).mean())


def test_energy_of_a_word_changes_the_mel_there(pipeline: Pipeline, plain: Speech) -> None:
    changed = pipeline.say(TEXT, "ada", prosody="never: energy=12")
    assert changed.token_pitch == plain.token_pitch
    assert changed.token_frames == plain.token_frames
    inside, elsewhere = moved_by(changed, plain, NEVER)
    assert inside > 3 * elsewhere
    np.testing.assert_allclose(pipeline.say(TEXT, "ada", energy=-6.0).mel.shape, plain.mel.shape)


def test_energy_of_a_sentence_is_not_levelled_away(pipeline: Pipeline, plain: Speech) -> None:
    changed = pipeline.say(TEXT, "ada", prosody="#1-8: energy=12")
    second = plain.token_frames[plain.word_tokens[8][0]][0] * 256
    np.testing.assert_allclose(changed.audio[second:], plain.audio[second:], atol=1e-6)
    alone = [pipeline.say(TEXT[:36], "ada", prosody=f"#1-8: energy={energy}") for energy in (0, 12)]
    louder = [active_level(speech.audio, 256) for speech in alone]
    moved = active_level(changed.audio[:second], 256) - active_level(plain.audio[:second], 256)
    assert abs(louder[1] - louder[0]) > 0.2
    assert moved == pytest.approx(louder[1] - louder[0], abs=0.1)


def test_volume_of_a_word_is_a_gain_on_its_samples(pipeline: Pipeline, plain: Speech) -> None:
    changed = pipeline.say(TEXT, "ada", volume=-10.0, prosody="never: volume=-20")
    quiet = pipeline.say(TEXT, "ada", volume=-10.0)
    _, start, end = plain.words[NEVER]
    first, past = int(start * 22050), int(end * 22050)
    np.testing.assert_allclose(
        changed.audio[first + 120 : past - 120], 0.1 * quiet.audio[first + 120 : past - 120], atol=1e-5
    )
    outside = np.r_[0 : first - 120, past + 120 : len(quiet.audio)]
    np.testing.assert_allclose(changed.audio[outside], quiet.audio[outside], atol=1e-6)
    np.testing.assert_array_equal(changed.mel, plain.mel)


def test_a_gain_moves_without_a_click() -> None:
    audio = np.ones(256 * 40, np.float32)
    gains = np.zeros(40, np.float32)
    gains[10:20] = -20.0
    out = shaped(audio, gains, 256, 22050)
    assert out[256 * 15] == pytest.approx(0.1, abs=1e-6)
    assert out[:2000].min() == 1.0
    assert np.abs(np.diff(out)).max() < 0.03


def test_pitch_of_a_word_reaches_the_mel_there(pipeline: Pipeline, plain: Speech) -> None:
    """Not the F0 of the audio: a model of 60 steps does not yet sing what it is asked for."""
    changed = pipeline.say(TEXT, "ada", prosody="never: pitch=12")
    inside, elsewhere = moved_by(changed, plain, NEVER)
    assert inside > 3 * elsewhere


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("never", [2]),
        ("NEVER", [2]),
        ("#3", [2]),
        ("#2-4", [1, 2, 3]),
        ("seven", [0, 11]),
        ("boats!", [1, 12]),
        ("seven boats", [0, 1, 11, 12]),
        ("3:10", [6, 7]),
        ("three", [6]),
        ("at 3:10", [5, 6, 7]),
        ("#13", [12]),
    ],
)
def test_words_as_a_person_names_them(pipeline: Pipeline, plain: Speech, key: str, words: list[int]) -> None:
    assert [word.lower() for word, _, _ in plain.words][5:9] == ["at", "three", "ten", "nobody"]
    changed = pipeline.say(TEXT, "ada", prosody=f"{key}: pitch=2")
    got = set(differing(changed.token_pitch, plain.token_pitch))
    wanted = set(tokens_of(plain, *words))
    assert wanted <= got
    # a range of words takes their tokens, not the pauses between
    assert got == wanted


def test_a_word_that_comes_several_times_is_changed_each_time_and_the_note_says_so(pipeline: Pipeline) -> None:
    notes = pipeline.say(TEXT, "ada", prosody="seven: pitch=1; never: pitch=1").notes
    assert notes == ["prosody: 'seven' comes 2 times, and each is changed (#1, #12)"]


def test_a_number_wins_over_a_spelling(pipeline: Pipeline, plain: Speech) -> None:
    changed = pipeline.say(TEXT, "ada", prosody="#12: pitch=0; seven: pitch=2")
    assert differing(changed.token_pitch, plain.token_pitch) == tokens_of(plain, 0)


def test_tokens_by_range_by_number_and_by_curve(pipeline: Pipeline, plain: Speech) -> None:
    one, two = tokens_of(plain, NEVER)[:2]
    by_range = pipeline.say(TEXT, "ada", prosody=Prosody(tokens={range(one, two + 1): Control(pitch=2.0)}))
    assert differing(by_range.token_pitch, plain.token_pitch) == [one, two]
    by_number = pipeline.say(TEXT, "ada", prosody=f"@{one + 1}-{two + 1}: pitch=2")
    assert by_number.token_pitch == by_range.token_pitch
    curve = np.zeros(len(plain.tokens))
    curve[[one, two]] = 2.0
    by_curve = pipeline.say(TEXT, "ada", prosody=Prosody(curves={"pitch": curve}))
    np.testing.assert_array_equal(by_curve.mel, by_range.mel)
    # on top of its word: 2 semitones and 3
    both = pipeline.say(
        TEXT, "ada", prosody=Prosody({"never": Control(pitch=3.0)}, {range(one, two): Control(pitch=2.0)})
    )
    assert 12 * np.log2(both.token_pitch[one] / plain.token_pitch[one]) == pytest.approx(5.0, abs=1e-3)
    assert 12 * np.log2(both.token_pitch[two] / plain.token_pitch[two]) == pytest.approx(3.0, abs=1e-3)


@pytest.mark.parametrize(
    ("prosody", "said"),
    [
        ("nver: pitch=3", "no word 'nver' in the text; did you mean 'never'"),
        ("zzzz: pitch=3", "no word 'zzzz' in the text; it has seven, boats, never"),
        ("boats never seven: pitch=1", "no word 'boats never seven'"),
        ("boats nobody: pitch=1", "no word 'boats nobody'"),
        ("ten nobody: pitch=1", "no word 'ten nobody'"),  # a full stop stands between them
        ("...: pitch=1", "no word '...'"),
        ("#14: pitch=3", "'#14': the text has 13 words"),
        ("#0: pitch=3", "numbers count from 1"),
        ("#3-2: pitch=3", "the lower comes first"),
        ("@999: pitch=3", "tokens 999-999: the text has"),
        ("never pitch=3", "'never pitch=3' cannot be read: write 'never: pitch=3, pace=0.8; #2: energy=4'"),
        ("never: pitch", "'never: pitch' cannot be read"),
        ("never:", "'never:' cannot be read"),
        (": pitch=3", "cannot be read"),
        (";", "asks for nothing"),
        ("never: pich=3", "unknown setting 'pich'; did you mean 'pitch'"),
        ("never: pitch=high", "pitch=high of 'never' is no number"),
        ("never: pitch=nan", "pitch=nan of 'never' cannot be spoken: give -24 to 24 semitones"),
        ("never: pitch=1, pitch=2", "'never' has pitch= twice"),
        ("never: pitch=1; never: pitch=2", "'never' has pitch= twice"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(pipeline: Pipeline, prosody: str, said: str) -> None:
    with pytest.raises(NemoExtError) as raised:
        pipeline.say(TEXT, "ada", prosody=prosody)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_numbers_of_numpy_are_numbers(pipeline: Pipeline) -> None:
    same = pipeline.say("Seven boats.", "ada", pace=2)
    for two in (np.int64(2), np.float32(2), np.float64(2)):
        assert np.array_equal(pipeline.say("Seven boats.", "ada", pace=two).audio, same.audio)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", LIMITS)
def test_ranges_are_the_same_for_a_word_as_for_the_whole(pipeline: Pipeline, name: str) -> None:
    lowest, highest, unit = LIMITS[name]
    for value in (lowest - 0.01, highest + 0.01):
        with pytest.raises(NemoExtError, match=f"{name}={value}.*give {lowest:g} to {highest:g} {unit}"):
            pipeline.say(TEXT, "ada", **{name: value})
        with pytest.raises(NemoExtError, match=f"give {lowest:g} to {highest:g} {unit}"):
            pipeline.say(TEXT, "ada", prosody=f"never: {name}={value}")
        with pytest.raises(NemoExtError, match=f"give {lowest:g} to {highest:g} {unit}"):
            pipeline.say(TEXT, "ada", prosody=Prosody({"never": Control(**{name: value})}))


def test_curves_and_ranges_that_do_not_fit(pipeline: Pipeline, plain: Speech) -> None:
    tokens = len(plain.tokens)
    with pytest.raises(NemoExtError, match=rf"curve of pitch has shape \(3,\), and the text {tokens} tokens"):
        pipeline.say(TEXT, "ada", prosody=Prosody(curves={"pitch": [0.0, 1.0, 2.0]}))
    with pytest.raises(NemoExtError, match="did you mean 'pitch'"):
        pipeline.say(TEXT, "ada", prosody=Prosody(curves={"pich": [0.0] * tokens}))
    with pytest.raises(NemoExtError, match="-24 to 24 semitones"):
        pipeline.say(TEXT, "ada", prosody=Prosody(curves={"pitch": [float("nan")] * tokens}))
    with pytest.raises(NemoExtError, match=f"the text has {tokens} tokens"):
        pipeline.say(TEXT, "ada", prosody=Prosody(tokens={range(0, tokens + 1): Control(pitch=1.0)}))


def test_a_model_without_energy_says_so(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.acoustic.fastpitch, "energy_predictor", None)
    assert len(pipeline.say(TEXT, "ada").words) == 13
    with pytest.raises(NemoExtError, match="trained without energy"):
        pipeline.say(TEXT, "ada", energy=3.0)


def test_timings_are_those_of_the_audio(pipeline: Pipeline, plain: Speech, tmp_path: Path) -> None:
    write_timings(tmp_path / "t.json", plain)
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]
    told = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert told == timings(plain)
    assert (told["sample_rate"], told["hop_length"], told["voice"]) == (22050, 256, "ada")
    assert [w["word"] for w in told["words"]] == [word for word, _, _ in plain.words]
    assert [w["number"] for w in told["words"]] == list(range(1, 14))
    frame = 256 / 22050
    for row in told["words"] + told["tokens"]:
        assert row["start"] == pytest.approx(max(row["start_frame"] - 0.5, 0) * frame, abs=1e-3)
        assert row["end"] == pytest.approx(max(row["end_frame"] - 0.5, 0) * frame, abs=1e-3)
    for word in told["words"]:
        first, last = word["tokens"]
        assert told["tokens"][first - 1]["start_frame"] == word["start_frame"]
        assert told["tokens"][last - 1]["end_frame"] == word["end_frame"]
    # silence between the sentences belongs to no token
    spoken = sum(t["end_frame"] - t["start_frame"] for t in told["tokens"])
    assert 0 < spoken <= plain.mel.shape[1]
    assert told["tokens"][-1]["end_frame"] == plain.mel.shape[1]
