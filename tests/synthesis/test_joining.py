from __future__ import annotations

import numpy as np
import pytest

from nemo_ext.synthesis import joining

RATE, HOP = 22050, 256


def voiced(seconds: float, amplitude: float, hz: float = 140.0) -> np.ndarray:
    """Harmonics of a voice, slowly swelling: its level moves as that of speech does."""
    time = np.arange(int(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 12))
    swell = 0.7 + 0.3 * np.sin(2 * np.pi * 3 * time)
    return (amplitude * wave * swell / np.abs(wave).max()).astype(np.float32)


def test_silent_edges_are_counted_in_frames() -> None:
    audio = np.concatenate([np.zeros(10 * HOP), voiced(1.0, 0.3), np.zeros(20 * HOP)]).astype(np.float32)
    edges = joining.silent_edges(audio, HOP)
    assert abs(edges.before - 10) <= 1
    assert abs(edges.after - 20) <= 1
    assert joining.silent_edges(np.zeros(5000, np.float32), HOP) == joining.Edges(0, 0)


@pytest.mark.parametrize(("after", "before", "pause"), [(0, 0, 34), (50, 50, 34), (5, 3, 34), (40, 0, 34), (0, 90, 9)])
def test_a_pause_has_the_length_asked_for(after: int, before: int, pause: int) -> None:
    cut_after, cut_before, silence = joining.pause_cuts(after, before, pause)
    assert (after - cut_after) + (before - cut_before) + silence == pause
    assert 0 <= cut_after <= after
    assert 0 <= cut_before <= before
    assert silence >= 0


def test_most_of_a_pause_is_the_end_of_the_first_sentence() -> None:
    """In which the last sound decays; a third at most is the silence before the second."""
    assert joining.pause_cuts(50, 50, 34) == (50 - 23, 50 - 11, 0)


def test_one_loud_sentence_does_not_raise_the_others() -> None:
    sentences = [voiced(1.0, 0.1), voiced(1.0, 0.15), voiced(1.0, 0.1)]
    before = [joining.active_level(s, HOP) for s in sentences]
    after = [joining.active_level(s, HOP) for s in joining.level(sentences, before)]
    assert after == pytest.approx([before[0]] * 3, abs=0.01)


def test_sentences_are_brought_to_one_level_but_a_whisper_is_not_shouted() -> None:
    sentences = [voiced(1.0, 0.3), voiced(1.0, 0.2), voiced(1.0, 0.3), voiced(1.0, 0.01)]
    before = [joining.active_level(s, HOP) for s in sentences]
    after = [joining.active_level(s, HOP) for s in joining.level(sentences, before)]
    assert max(after[:3]) - min(after[:3]) < 0.1
    assert after[3] - before[3] == pytest.approx(joining.MAX_LEVELLING_DB, abs=0.01)


def test_silence_between_sentences_does_not_count() -> None:
    quiet = np.zeros(RATE, np.float32)
    sentences = [voiced(1.0, 0.3), quiet, voiced(1.0, 0.2)]
    levelled = joining.level(sentences, [joining.active_level(s, HOP) for s in sentences])
    assert np.isfinite(levelled[1]).all()
    assert not levelled[1].any()


def test_fades_start_and_end_at_silence() -> None:
    faded = joining.fade(np.full(RATE, 0.5, np.float32), RATE)
    assert abs(faded[0]) < 0.001
    assert abs(faded[-1]) < 0.001
    assert np.abs(np.diff(faded)).max() < 0.5 * np.pi / 2 / (joining.FADE_SECONDS * RATE) * 1.1
    np.testing.assert_array_equal(faded[200:-200], 0.5)
    assert len(joining.fade(np.ones(1, np.float32), RATE)) == 1


@pytest.mark.parametrize("amplitude", [0.5, 1.3, 1.9, 8.0])
def test_nothing_clips_and_what_was_done_is_said(amplitude: float) -> None:
    audio = voiced(2.0, amplitude)
    limited, note = joining.limit(audio, RATE)
    assert np.abs(limited).max() <= joining.CEILING + 1e-6
    assert bool(note) == (amplitude > joining.CEILING)
    # a limiter, not a clipper: no run of samples lies flat at the ceiling
    assert (np.abs(limited) > joining.CEILING - 1e-4).mean() < 0.001
    assert np.corrcoef(limited, audio)[0, 1] > 0.95
    if amplitude == 0.5:
        assert limited is audio
    if amplitude == 8.0:
        assert "turned down by" in note


def test_the_ceiling_leaves_room_below_full_scale() -> None:
    limited, _ = joining.limit(voiced(1.0, 1.5), RATE)
    assert 0.97 < float(np.abs(limited).max()) <= 0.9801  # of full scale: a later resampling may overshoot by 2 %
    just_below = voiced(1.0, 0.97)
    assert joining.limit(just_below, RATE)[0] is just_below


def test_the_whole_is_turned_down_by_what_is_beyond_the_limiters_reach() -> None:
    audio = np.full(2 * RATE, 0.01, np.float32)
    audio[100] = 4.0  # 12.2 dB above the ceiling
    limited, note = joining.limit(audio, RATE)
    far_from_the_peak = 20.0 * np.log10(limited[-1] / audio[-1])
    assert far_from_the_peak == pytest.approx(
        joining.MAX_LIMITING_DB - 20.0 * np.log10(4.0 / joining.CEILING), abs=0.01
    )
    assert f"turned down by {-far_from_the_peak:.1f} dB" in note
