from __future__ import annotations

import numpy as np
import pytest

from nemo_ext.audio import loudness, resample


def tone(hz: float, rate: int, seconds: float = 1.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_resampling_keeps_pitch_level_and_length(rate: int) -> None:
    there = resample.resample(tone(440.0, rate), rate, 22050)
    assert there.dtype == np.float32
    assert abs(len(there) - 22050) <= 1
    middle = slice(2000, 20000)
    np.testing.assert_allclose(there[middle], tone(440.0, 22050)[middle], atol=1e-3)


def test_resampling_channels_apart_and_same_rate_is_identity() -> None:
    both = np.stack([tone(300.0, 16000), tone(700.0, 16000)])
    there = resample.resample(both, 16000, 22050)
    assert there.shape[0] == 2
    np.testing.assert_allclose(there[1], resample.resample(both[1], 16000, 22050), atol=1e-6)
    assert resample.resample(both, 16000, 16000) is both


def test_nothing_above_the_new_nyquist_remains() -> None:
    there = resample.resample(tone(15000.0, 48000), 48000, 22050)
    assert loudness.rms_db(there[1000:-1000]) < -90


def test_headroom_only_lowers() -> None:
    quiet = tone(200.0, 22050, level=0.5)
    same, gain = loudness.headroom(quiet)
    assert same is quiet
    assert gain == 0.0
    lower, gain = loudness.headroom(quiet * 3)
    assert loudness.peak(lower) == pytest.approx(0.99, abs=1e-4)
    assert gain == pytest.approx(20 * np.log10(0.99 / 1.5), abs=0.01)


def test_levels() -> None:
    assert loudness.rms_db(np.zeros(100, dtype=np.float32)) == -np.inf
    assert loudness.rms_db(np.zeros(0, dtype=np.float32)) == -np.inf
    assert loudness.rms_db(tone(1000.0, 22050, level=1.0)) == pytest.approx(-3.01, abs=0.01)


@pytest.mark.parametrize("rate", [16000, 22050, 48000])
def test_loudness_of_the_standards_tone(rate: int) -> None:
    # BS.1770: a full-scale 997 Hz sine in one channel reads -3.01 LUFS
    assert loudness.lufs(tone(997.0, rate, 5.0, 1.0), rate) == pytest.approx(-3.01, abs=0.05)
    assert loudness.lufs(tone(997.0, rate, 0.3, 0.1), rate) == pytest.approx(-23.01, abs=0.3)
    assert loudness.lufs(tone(30.0, rate, 5.0, 1.0), rate) < -8, "the high-pass takes the lowest sounds away"
    assert loudness.lufs(tone(6000.0, rate, 5.0, 1.0), rate) == pytest.approx(-3.01 + 3.3, abs=0.3), "the shelf lifts"


def test_loudness_gates_out_pauses() -> None:
    # EBU Tech 3341, case 3, in one channel: the two soft parts do not count
    parts = [(10.0, -36.0), (60.0, -23.0), (10.0, -36.0)]
    audio = np.concatenate([tone(1000.0, 16000, seconds, 10 ** (level / 20)) for seconds, level in parts])
    assert loudness.lufs(audio, 16000) == pytest.approx(-26.01, abs=0.1)
    assert loudness.lufs(np.zeros(16000, dtype=np.float32), 16000) == -np.inf
    assert loudness.lufs(np.zeros(0, dtype=np.float32), 16000) == -np.inf
