from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nemo_ext.evaluation.identify import cepstra, identify


def by_text(readings: list[Any]) -> dict[str, np.ndarray]:
    return {reading.text: reading.audio for reading in readings}


def test_every_sentence_is_found_in_another_pitch_and_pace(readings: list[Any], other_readings: list[Any]) -> None:
    found = identify(by_text(other_readings), by_text(readings), 22050)
    assert found.accuracy == 1.0
    assert found.confusions == []
    assert min(found.margin.values()) > 1.1


def test_loudness_and_silent_ends_do_not_decide(readings: list[Any]) -> None:
    pause = np.zeros(8000, np.float32)
    quiet = {r.text: np.concatenate([pause, 0.05 * r.audio, pause, pause]) for r in readings}
    assert identify(quiet, by_text(readings), 22050).accuracy == 1.0


def test_swapped_sentences_are_heard_as_what_they_say(readings: list[Any], other_readings: list[Any]) -> None:
    speech = by_text(other_readings)
    first, second = readings[0].text, readings[1].text
    speech[first], speech[second] = speech[second], speech[first]
    found = identify(speech, by_text(readings), 22050)
    assert set(found.confusions) == {(first, second), (second, first)}
    assert found.accuracy == pytest.approx(1 - 2 / len(readings))
    assert found.margin[first] < 1


def test_noise_is_not_identified_and_silence_fails_by_name(readings: list[Any]) -> None:
    generator = np.random.default_rng(0)
    noise = {r.text: generator.normal(0, 0.1, len(r.audio)).astype(np.float32) for r in readings}
    assert identify(noise, by_text(readings), 22050).accuracy < 0.5
    speech = by_text(readings)
    speech[readings[2].text] = np.zeros(30000, np.float32)
    found = identify(speech, by_text(readings), 22050)
    assert found.failed == {readings[2].text: "nothing to hear in it"}
    assert found.total == len(readings)
    assert found.accuracy == pytest.approx(1 - 1 / len(readings))


def test_features_are_normalised(readings: list[Any]) -> None:
    values = cepstra(readings[0].audio, 22050)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-2)


def test_a_level_that_moves_changes_no_feature() -> None:
    """c0, which is the level, is left out: the same sound under a swelling gain has the same cepstra."""
    generator = np.random.default_rng(0)
    tone = np.sin(2 * np.pi * np.cumsum(200 + 100 * np.sin(np.arange(44100) / 3000)) / 22050)
    audio = (0.3 * tone + 0.1 * generator.standard_normal(44100)).astype(np.float32)
    swelling = audio * np.geomspace(0.2, 1.0, len(audio)).astype(np.float32)
    plain, swelled = cepstra(audio, 22050), cepstra(swelling, 22050)
    assert plain.shape == swelled.shape
    assert plain.shape[1] == 19
    assert float(np.abs(plain - swelled).mean()) < 0.05
    assert np.corrcoef(plain[:, 0], swelled[:, 0])[0, 1] > 0.99
