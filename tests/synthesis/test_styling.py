"""What a person writes as style=, and the vector that it means."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from nemo_ext.audio.io import write
from nemo_ext.config import compose
from nemo_ext.errors import NemoExtError
from nemo_ext.synthesis.casting import Cast
from nemo_ext.synthesis.pipeline import Pipeline
from nemo_ext.synthesis.styling import find_style
from nemo_ext.voices import Voice, mix
from tests.models.acoustic.test_fastpitch import make
from tests.models.acoustic.test_styled import labelled, styled


@pytest.fixture(scope="module")
def model() -> Any:
    made = styled()
    made.style.name_styles([labelled(made, seed) for seed in range(3)])
    # an untrained duration predictor says about no frame a token: make every token last
    torch.nn.init.constant_(made.fastpitch.duration_predictor.fc.bias, 1.5)
    return made


@pytest.fixture(scope="module")
def ada(model: Any) -> Voice:
    voice: Voice = model.base_voice("ada")
    return voice


@pytest.fixture(scope="module")
def clip(speech: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("clips") / "clip.wav", speech.numpy()[: 2 * 22050], 22050)


def asked(wanted: str | None, model: Any, voice: Voice) -> np.ndarray:
    found = find_style(wanted, model, voice, Cast(model))
    assert found is not None
    assert found.dtype == np.float32
    assert found.shape == (16,)
    return found


def test_a_name_is_the_voices_own_style_and_nothing_is_its_neutral_one(model: Any, ada: Voice) -> None:
    np.testing.assert_allclose(asked("anger", model, ada), ada.styles["anger"], atol=1e-6)
    assert np.array_equal(asked(None, model, ada), ada.styles["neutral"])
    assert np.array_equal(asked("", model, ada), ada.styles["neutral"])


def test_a_voice_without_styles_borrows_the_models(model: Any, ada: Voice) -> None:
    stranger = Voice("anna", ada.vector, ada.layout)
    np.testing.assert_allclose(asked("sadness", model, stranger), model.named_styles()["sadness"], atol=1e-6)


def test_a_voice_files_own_styles_are_its_own_and_a_mix_has_those_of_every_part(model: Any, ada: Voice) -> None:
    own = {"neutral": ada.styles["neutral"] + 1, "flüstern": np.full(16, 0.5, np.float32)}
    anna = replace(ada, name="anna", styles=own)
    np.testing.assert_allclose(asked("flu\u0308stern", model, anna), own["flüstern"])
    np.testing.assert_allclose(asked("flüstern:0.5", model, anna), (own["neutral"] + own["flüstern"]) / 2, atol=1e-6)
    assert np.array_equal(asked(None, model, anna), own["neutral"])
    np.testing.assert_allclose(asked("anger", model, anna), model.named_styles()["anger"], atol=1e-6)
    mixed = mix([(anna, 0.25), (model.base_voice("ben"), 0.75)], "both")
    both = 0.25 * own["neutral"] + 0.75 * model.base_voice("ben").styles["neutral"]
    np.testing.assert_allclose(asked(None, model, mixed), both, atol=1e-6)
    with pytest.raises(
        NemoExtError, match=r"^the voice 'both' has no style 'flüstern'\. It has: anger, neutral, sadness$"
    ):
        asked("flüstern", model, mixed)


def test_strengths_lead_from_neutral_and_beyond(model: Any, ada: Voice) -> None:
    neutral, anger, sadness = (ada.styles[s] for s in ("neutral", "anger", "sadness"))
    for strength in (0.0, 0.6, 1.0, 1.5, -0.5):
        expected = neutral + strength * (anger - neutral)
        np.testing.assert_allclose(asked(f"anger:{strength}", model, ada), expected, atol=1e-6)
    both = neutral + 0.6 * (anger - neutral) + 0.4 * (sadness - neutral)
    np.testing.assert_allclose(asked("anger:0.6+sadness:0.4", model, ada), both, atol=1e-6)


def test_without_a_neutral_style_strengths_lead_from_the_mean_or_from_none(ada: Voice) -> None:
    class Other:  # what find_style asks of a model
        style_size = 16

        def named_styles(self) -> dict[str, np.ndarray]:
            return {}

    names = ("calm", "angry")
    voice = Voice(
        "v", ada.vector, ada.layout, styles={n: np.full(16, i + 1.0, np.float32) for i, n in enumerate(names)}
    )
    assert find_style(None, Other(), voice, None) is None  # type: ignore[arg-type]
    found = find_style("angry:0.5", Other(), voice, None)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, np.full(16, 1.75))
    voice.styles.pop("calm")
    np.testing.assert_allclose(find_style("angry:0.5", Other(), voice, None), np.full(16, 1.0))  # type: ignore[arg-type]


def test_a_recording_is_heard_alone_or_as_somebodys(model: Any, ada: Voice, clip: Path) -> None:
    from nemo_ext.audio.io import read_mono

    audio, _ = read_mono(clip)
    alone = asked(str(clip), model, ada)
    np.testing.assert_allclose(alone, model.style_vector_from(audio), atol=1e-6)
    as_ben = model.style_vector_from(audio, model.base_voice("ben"))
    np.testing.assert_allclose(asked(f"{clip}@ben", model, ada), as_ben, atol=1e-6)
    half = asked(f"{clip}:0.5", model, ada)
    np.testing.assert_allclose(half, (alone + ada.styles["neutral"]) / 2, atol=1e-6)
    with pytest.raises(NemoExtError, match=r"no recording at .*nowhere.wav to take a style from"):
        asked("nowhere.wav", model, ada)
    cast = Cast(model)
    cast._base["ben"] = replace(model.base_voice("ben"), mel_stats=None)
    with pytest.raises(NemoExtError, match=r"the voice 'ben' does not tell how it sounds .*: leave @ben out$"):
        find_style(f"{clip}@ben", model, ada, cast)
    with pytest.raises(NemoExtError, match="no voice 'Ben' in this model; did you mean 'ben'"):
        asked(f"{clip}@Ben", model, ada)


def test_a_recording_may_have_a_plus_in_its_name(model: Any, ada: Voice, clip: Path, tmp_path: Path) -> None:
    other = shutil.copy(clip, tmp_path / "a+b:1.wav")
    assert np.array_equal(asked(str(other), model, ada), asked(str(clip), model, ada))
    assert np.array_equal(asked(f"{other}@ben", model, ada), asked(f"{clip}@ben", model, ada))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda audio: audio[:2205], "a style reference of 0.10 s is too short: give at least 0.5 s of speech"),
        (lambda audio: audio[:0], "a style reference of 0.00 s is too short"),
        (lambda audio: audio * 0, "no voiced speech in the style reference: give a recording of somebody speaking"),
        (lambda audio: audio * 1e-4, "no voiced speech in the style reference"),
        (lambda audio: np.where(np.arange(len(audio)) == 9, np.nan, audio), "has samples that are no numbers: record"),
    ],
)
def test_a_recording_that_is_none_is_named(
    model: Any, ada: Voice, clip: Path, tmp_path: Path, spoil: Any, says: str
) -> None:
    audio, rate = soundfile.read(clip)
    soundfile.write(tmp_path / "bad.wav", spoil(audio), rate, subtype="FLOAT")
    with pytest.raises(NemoExtError, match=rf"{tmp_path}/bad\.wav: .*{says}"):
        asked(f"neutral:0.5+{tmp_path}/bad.wav", model, ada)


def test_a_recording_of_another_rate_is_resampled(model: Any, ada: Voice, clip: Path, tmp_path: Path) -> None:
    from nemo_ext.audio.io import read_mono
    from nemo_ext.audio.resample import resample

    audio, rate = read_mono(clip)
    slow = write(tmp_path / "44k.wav", resample(audio, rate, 44100), 44100)
    right, other = asked(str(clip), model, ada), asked(str(slow), model, ada)
    np.testing.assert_allclose(other, right, atol=0.05)
    taken_for_slow = write(tmp_path / "as_it_is.wav", read_mono(slow)[0], rate)  # what not to resample would hear
    assert np.abs(other - right).max() < 0.2 * np.abs(asked(str(taken_for_slow), model, ada) - right).max()


def test_token_weights(model: Any, ada: Voice) -> None:
    weights = [0.2, 0.5, 0.3, 0.0, 0.0]
    written = "tokens:" + ",".join(map(str, weights))
    assert np.array_equal(asked(written, model, ada), model.style_from_tokens(weights))


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("angr", "the voice 'ada' has no style 'angr'; did you mean 'anger'"),
        ("anger:0.5+sad:0.5", "no style 'sad'; .* It has: anger, neutral, sadness"),
        ("anger++sadness", r"style=anger\+\+sadness cannot be read: write anger, anger:0.6, or anger:0.6\+sadness:0.4"),
        (":0.5", "style=:0.5 cannot be read: write anger"),
        ("anger:9", "strength of 9 cannot be spoken: give -4 to 4"),
        ("anger:nan", "strength of nan cannot be spoken"),
        ("tokens:0.1,0.2", "2 token weights, and this model has 5 style tokens"),
        ("tokens:a,b", "cannot be read: write tokens: and numbers"),
        ("tokens:0.1,inf,0,0,0", "give token weights from -4 to 4"),
    ],
)
def test_mistakes_are_one_line(model: Any, ada: Voice, wanted: str, says: str) -> None:
    with pytest.raises(NemoExtError, match=says) as raised:
        asked(wanted, model, ada)
    assert "\n" not in str(raised.value)


def test_a_model_without_style_or_without_labels_says_what_to_do(ada: Voice) -> None:
    plain, unnamed = make().eval(), styled()
    assert find_style(None, plain, ada, Cast(plain)) is None
    with pytest.raises(NemoExtError, match=r"style=anger: this model was trained without styles; .* model/style=gst"):
        find_style("anger", plain, ada, Cast(plain))
    with pytest.raises(NemoExtError, match="no style 'anger': this model's recordings had no style labels"):
        find_style("anger", unnamed, Voice("v", ada.vector, ada.layout), Cast(unnamed))


def test_the_pipeline_speaks_in_the_style(model: Any, ada: Voice, clip: Path) -> None:
    pipeline = Pipeline(model, device="cpu")
    assert np.array_equal(pipeline.say("ab", "ada").mel, pipeline.say("ab", "ada", style="neutral").mel)
    plain = pipeline.say("ab", "ada").mel
    for style in ("anger:3", str(clip), "tokens:1,0,0,0,0"):
        other = pipeline.say("ab", "ada", style=style).mel
        assert other.shape != plain.shape or np.abs(other - plain).max() > 1e-4


def test_the_job_takes_a_style_as_typed() -> None:
    assert compose("say", ["style=anger:0.6+sadness:0.4"]).style == "anger:0.6+sadness:0.4"
    assert compose("say", ["style=tokens:0.2,0.5,0.3"]).style == "tokens:0.2,0.5,0.3"
