"""Where somebody speaks, by level alone."""

from __future__ import annotations

import numpy as np
import pytest

from nemo_ext.audio.activity import active, without_silence

RATE = 22050


@pytest.fixture(scope="module")
def spoken(speech):
    """Some seconds of one speaker."""
    return speech.numpy()[: 2 * RATE]


def test_silence_around_and_within_speech_is_left_out(spoken):
    gap = np.random.default_rng(0).normal(0, 3e-4, 2 * RATE).astype(np.float32)  # a quiet room, -70 dBFS
    audio = np.concatenate([gap, spoken, gap, spoken, gap])
    found = active(audio, RATE)
    assert found.shape == audio.shape
    # the middle second of each gap: what is kept around speech takes less than half a second
    for start in (0, len(gap) + len(spoken), 2 * (len(gap) + len(spoken))):
        assert not found[start + RATE // 2 : start + 3 * RATE // 2].any()
    heard = without_silence(audio, RATE)
    assert len(heard) == found.sum()
    assert len(heard) < 2.5 * len(spoken)
    power = float(np.square(audio[found], dtype=np.float64).sum() / np.square(audio, dtype=np.float64).sum())
    assert power > 0.999


def test_the_level_of_the_recording_does_not_matter(spoken):
    assert (active(spoken, RATE) == active(0.3 * spoken, RATE)).mean() > 0.98


def test_what_is_kept_around_speech_is_kept_on_both_sides():
    frame = round(0.030 * RATE)
    tone = 0.2 * np.sin(2 * np.pi * 200 * np.arange(40 * frame) / RATE)
    found = active(np.concatenate([np.zeros(40 * frame), tone, np.zeros(40 * frame)]).astype(np.float32), RATE)
    first, last = np.flatnonzero(found)[[0, -1]] // frame
    assert 3 <= 40 - first <= 4  # an eighth of an even number of frames falls on one side
    assert 3 <= last - 79 <= 4


@pytest.mark.parametrize("level", [0.0, 1e-4])
def test_silence_has_no_speech_in_it(level):
    audio = np.random.default_rng(0).normal(0, 1, RATE).astype(np.float32) * np.float32(level)
    assert not active(audio, RATE).any()
    assert len(without_silence(audio, RATE)) == 0


def test_next_to_nothing_is_no_speech():
    assert active(np.zeros(5, np.float32), RATE).shape == (5,)
