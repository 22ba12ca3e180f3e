"""The chain with real models, trained for a few dozen steps: what it does to them, not how they sound."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nemo_ext
from nemo_ext import voices
from nemo_ext.errors import NemoExtError, NothingToSpeak
from nemo_ext.synthesis import joining
from nemo_ext.synthesis.pipeline import MAX_CHARACTERS, Pipeline, _breaths

SENTENCE = "Seven boats came home late in the evening."


@pytest.fixture(scope="module")
def pipeline(tiny_acoustic: Path, tiny_vocoder: Path) -> Pipeline:
    return nemo_ext.load(tiny_acoustic, tiny_vocoder, device="cpu")


def seconds(speech: Any) -> float:
    return len(speech.audio) / speech.sample_rate


def test_it_speaks(pipeline: Pipeline) -> None:
    speech = pipeline.say(SENTENCE, pipeline.voices[1])
    assert speech.audio.dtype == np.float32
    assert speech.audio.ndim == 1
    assert speech.sample_rate == 22050
    assert np.abs(speech.audio).max() <= 1.0
    assert joining.active_level(speech.audio, 256) > -60
    assert speech.voice == pipeline.voices[1]
    assert speech.notes == []
    assert speech.mel.shape == (80, len(speech.audio) // 256)


def test_a_language_that_the_voice_has_not_learned_is_noted(pipeline: Pipeline, tmp_path: Path) -> None:
    german = dataclasses.replace(pipeline.acoustic.base_voice("ben"), name="otto", language="de")
    file = str(voices.save(german, tmp_path / "otto.voice"))
    said = pipeline.say(SENTENCE, file, language="en")
    assert said.notes == ["voice 'otto' has learned de, not en: it may sound foreign"]
    assert pipeline.say(SENTENCE, "ben", language="en").notes == []


def test_times_follow_the_durations(pipeline: Pipeline) -> None:
    speech = pipeline.say(SENTENCE)
    assert " ".join(word.lower() for word, _, _ in speech.words) == "seven boats came home late in the evening"
    starts = np.array([start for _, start, _ in speech.words])
    ends = np.array([end for _, _, end in speech.words])
    assert (np.diff(starts) > 0).all()
    assert (ends > starts).all()
    assert (starts[1:] >= ends[:-1] - 1e-6).all()
    assert ends[-1] <= seconds(speech)
    # tokens lie end to end, from the beginning to half a frame before the last
    edges = [speech.tokens[0][1]] + [end for _, _, end in speech.tokens]
    assert edges[0] == 0.0
    assert edges[-1] == pytest.approx(seconds(speech) - 0.5 * 256 / 22050, abs=1e-5)
    np.testing.assert_allclose([start for _, start, _ in speech.tokens], edges[:-1])


def test_the_same_text_gives_the_same_audio(pipeline: Pipeline) -> None:
    np.testing.assert_array_equal(pipeline.say(SENTENCE).audio, pipeline.say(SENTENCE).audio)


def test_without_a_voice_the_first_one_speaks_and_is_named(pipeline: Pipeline) -> None:
    speech = pipeline.say(SENTENCE)
    assert speech.voice == pipeline.voices[0]
    assert any(f"'{pipeline.voices[0]}'" in note for note in speech.notes)
    np.testing.assert_array_equal(speech.audio, pipeline.say(SENTENCE, pipeline.voices[0]).audio)
    other = pipeline.say(SENTENCE, pipeline.voices[1]).audio
    assert other.shape != speech.audio.shape or np.abs(other - speech.audio).max() > 0.001


@pytest.mark.parametrize("pace", [0.5, 1.0])
def test_pace_is_a_factor_on_the_speed(pipeline: Pipeline, pace: float) -> None:
    """Against the slowest speech: durations are whole frames, and this model gives a token three of them."""
    text = f"{SENTENCE} {SENTENCE}"
    slowest = seconds(pipeline.say(text, pace=0.25))
    assert seconds(pipeline.say(text, pace=pace)) == pytest.approx(slowest * 0.25 / pace, rel=0.12)


def test_a_pace_above_one_is_faster(pipeline: Pipeline) -> None:
    assert seconds(pipeline.say(SENTENCE, pace=2.0)) < 0.65 * seconds(pipeline.say(SENTENCE))


def test_volume_is_in_decibels(pipeline: Pipeline) -> None:
    plain = pipeline.say(SENTENCE).audio
    np.testing.assert_allclose(pipeline.say(SENTENCE, volume=-6.0206).audio, plain / 2, atol=1e-5)


def test_twenty_decibels_more_do_not_clip(pipeline: Pipeline) -> None:
    speech = pipeline.say(SENTENCE, pipeline.voices[0], volume=20.0)
    assert np.abs(speech.audio).max() <= joining.CEILING + 1e-6
    plain = joining.active_level(pipeline.say(SENTENCE).audio, 256)
    limited = np.abs(pipeline.say(SENTENCE).audio).max() > 0.1
    assert any("clip" in note for note in speech.notes) == limited
    assert joining.active_level(speech.audio, 256) > plain


def test_pitch_moves_what_the_model_is_asked_for(pipeline: Pipeline) -> None:
    acoustic = pipeline.acoustic
    tokens = torch.from_numpy(acoustic.frontend.encode(SENTENCE).ids)[None]
    voice = torch.from_numpy(acoustic.base_voice(pipeline.voices[0]).vector)[None]
    stats = torch.tensor([[acoustic.voices[0].pitch_mean, acoustic.voices[0].pitch_std]])
    lens = torch.tensor([tokens.shape[1]])
    plain = acoustic.predict_mel(tokens, lens, voice, pitch_stats=stats).pitch
    higher = acoustic.predict_mel(tokens, lens, voice, pitch_stats=stats, pitch_shift=12.0).pitch
    torch.testing.assert_close(higher, 2 * plain)
    assert not np.array_equal(pipeline.say(SENTENCE, pitch=12.0).mel, pipeline.say(SENTENCE).mel)


def test_sentences_are_joined_with_pauses_and_without_clicks(pipeline: Pipeline) -> None:
    sentences = ["Seven boats came home.", "Nobody waited for them?", "The rain had stopped!"]
    whole = pipeline.say(" ".join(sentences), pipeline.voices[0])
    alone = [pipeline.say(sentence, pipeline.voices[0]) for sentence in sentences]
    assert [w for w, _, _ in whole.words] == [w for speech in alone for w, _, _ in speech.words]
    assert seconds(whole) > 0.8 * sum(map(seconds, alone))
    # a click is a jump that no sentence on its own has
    largest = max(np.abs(np.diff(speech.audio)).max() for speech in alone)
    assert np.abs(np.diff(whole.audio)).max() < 2.1 * largest
    levels = [
        joining.active_level(whole.audio[int(a * 22050) : int(b * 22050)], 256)
        for a, b in [(whole.words[0][1], whole.words[3][2]), (whole.words[8][1], whole.words[11][2])]
    ]
    assert abs(levels[0] - levels[1]) < 3.0
    spread = [len(speech.mel[0]) for speech in alone]
    assert whole.mel.shape[1] * 256 == len(whole.audio)
    assert max(spread) < whole.mel.shape[1]


def test_slower_speech_has_longer_pauses(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    cuts = joining.pause_cuts
    monkeypatch.setattr(joining, "pause_cuts", lambda *given: (made.append(given[2]), cuts(*given))[1])
    for pace in (0.5, 2.0):
        pipeline.say("Seven boats. Late.", pace=pace)
    assert made[0] == pytest.approx(4 * made[1], abs=2)


def test_an_empty_line_is_a_longer_pause(pipeline: Pipeline) -> None:
    together = pipeline.say("Seven boats came home. Nobody waited.")
    apart = pipeline.say("Seven boats came home.\n\nNobody waited.")
    assert seconds(apart) - seconds(together) == pytest.approx(0.4, abs=0.03)


def test_a_text_of_any_length(pipeline: Pipeline) -> None:
    endless = "and then the boats came home " * 20
    speech = pipeline.say(endless, pace=4.0)
    assert len(speech.words) == 120
    for text in (endless, "x" * 1000, "word, " * 100):
        parts = _breaths(text)
        assert all(len(part) <= MAX_CHARACTERS for part, _ in parts)
        assert "".join(part for part, _ in parts) == text
        assert all(text[at : at + len(part)] == part for part, at in parts)


def test_characters_without_a_token_are_named_with_their_place(pipeline: Pipeline) -> None:
    text = "Seven boats. A ☃ snowman and a \u4f60 came."
    notes = [note for note in pipeline.say(text).notes if "left out" in note]
    assert len(notes) == 1
    assert f"'☃' (SNOWMAN) at {text.index('☃') + 1}" in notes[0]
    assert f"'\u4f60' (CJK UNIFIED IDEOGRAPH-4F60) at {text.index(chr(0x4F60)) + 1}" in notes[0]


@pytest.mark.parametrize("text", ["", "   \n", "...", "☃☃"])
def test_nothing_to_speak_is_said(pipeline: Pipeline, text: str) -> None:
    with pytest.raises(NothingToSpeak, match="nothing to speak"):
        pipeline.say(text)


def test_a_row_of_stars_does_not_silence_the_rest(pipeline: Pipeline) -> None:
    speech = pipeline.say("Seven boats.\n\n☆ ☆ ☆\n\nThey came home.")
    assert len(speech.words) == 5
    assert any("WHITE STAR" in note for note in speech.notes)


def test_an_unknown_voice_names_the_nearest_and_lists_some(pipeline: Pipeline) -> None:
    with pytest.raises(NemoExtError, match=rf"no voice 'adda'.*did you mean '{pipeline.voices[0]}'.*It has: "):
        pipeline.say(SENTENCE, "adda")


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("pace", 0.0, "0.25 to 4"),
        ("pace", -1.0, "0.25 to 4"),
        ("pace", float("nan"), "0.25 to 4"),
        ("pitch", 25.0, "-24 to 24 semitones"),
        ("pitch", float("inf"), "-24 to 24 semitones"),
        ("volume", 21.0, "-60 to 20 dB"),
        ("volume", "loud", "-60 to 20 dB"),
    ],
)
def test_values_out_of_range_are_refused(pipeline: Pipeline, option: str, value: Any, allowed: str) -> None:
    with pytest.raises(NemoExtError, match=f"{option}={value}.*{allowed}"):
        pipeline.say(SENTENCE, **{option: value})


def test_other_mels_are_refused_by_name(pipeline: Pipeline) -> None:
    from nemo_ext.models.vocoder.griffin_lim import GriffinLim

    other = GriffinLim(dataclasses.replace(pipeline.mel_spec, f_max=11025.0, n_mels=100))
    with pytest.raises(NemoExtError, match=r"n_mels: 80 != 100, f_max: 8000.0 != 11025.0"):
        nemo_ext.load(pipeline.acoustic, other)


def test_models_in_each_others_place_are_refused(pipeline: Pipeline) -> None:
    with pytest.raises(NemoExtError, match="acoustic= is a Vocos"):
        nemo_ext.load(pipeline.vocoder)
    with pytest.raises(NemoExtError, match="vocoder= is a FastPitch"):
        nemo_ext.load(pipeline.acoustic, pipeline.acoustic)


def test_without_a_vocoder_griffin_lim_speaks_and_says_so(pipeline: Pipeline) -> None:
    speech = nemo_ext.load(pipeline.acoustic, device="cpu").say(SENTENCE)
    assert any("Griffin-Lim" in note for note in speech.notes)
    assert np.abs(speech.audio).max() <= 1.0
    assert joining.active_level(speech.audio, 256) > -60


def test_a_wrong_device_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(NemoExtError, match="no device 'potato'"):
        nemo_ext.load(pipeline.acoustic, pipeline.vocoder, device="potato")
    if not torch.cuda.is_available():
        with pytest.raises(NemoExtError, match="no GPU here"):
            nemo_ext.load(pipeline.acoustic, pipeline.vocoder, device="cuda")


def test_copy_synthesis_is_as_long_as_the_recording(pipeline: Pipeline, speech: torch.Tensor) -> None:
    recording = speech.numpy()
    copied = pipeline.copy(recording)
    assert copied.shape == recording.shape
    assert np.isfinite(copied).all()
    assert np.abs(copied).max() <= 1.0


def test_audio_that_is_no_number_is_an_error(pipeline: Pipeline) -> None:
    class Broken:
        mel_spec = pipeline.mel_spec

        def decode(self, mel: torch.Tensor) -> torch.Tensor:
            return torch.full((1, mel.shape[2] * 256), float("nan"))

    with pytest.raises(NemoExtError, match="NaN or infinite"):
        Pipeline(pipeline.acoustic, Broken(), "cpu").say(SENTENCE)


def test_the_public_surface() -> None:
    assert nemo_ext.__all__ == ["__version__", "load"]
    assert nemo_ext.__version__.count(".") == 2
