from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nemo_ext.audio import io, pitch, resample
from nemo_ext.audio.mel import log_mel
from nemo_ext.errors import NemoExtError
from nemo_ext.types import MelSpec

RATE, HOP = 22050, 256


def voice(f0: np.ndarray, sample_rate: int = RATE) -> np.ndarray:
    """Ten harmonics that follow ``f0 (T_audio,)`` in Hz; silent where it is 0."""
    phase = 2 * np.pi * np.cumsum(f0) / sample_rate
    wave = sum(np.sin(k * phase) / k for k in range(1, 11))
    return (0.2 * wave * (f0 > 0)).astype(np.float32)


@pytest.mark.parametrize("method", pitch.METHODS)
def test_follows_a_glide(method: str) -> None:
    truth = np.linspace(110.0, 240.0, 2 * RATE)
    found = pitch.f0(voice(truth), RATE, HOP, 65.0, 500.0, method)
    at_frames = truth[np.minimum(np.arange(len(found)) * HOP, len(truth) - 1)]
    inside = slice(8, -8)  # windows at the edges see too little
    assert (found[inside] > 0).mean() > 0.95
    voiced = found[inside] > 0
    cents = 1200 * np.log2(found[inside][voiced] / at_frames[inside][voiced])
    assert np.abs(np.median(cents)) < 5
    assert np.percentile(np.abs(cents), 95) < 40


@pytest.mark.parametrize("samples", [1, 200, 256, 2047, 22050, 50001])
@pytest.mark.parametrize("rate", [16000, 22050, 48000])
def test_as_many_frames_as_the_mel(samples: int, rate: int) -> None:
    spec = MelSpec(sample_rate=rate, f_max=7600.0)
    audio = (0.1 * np.random.default_rng(0).standard_normal(samples)).clip(-1, 1).astype(np.float32)
    assert pitch.mel_f0(audio, spec).shape == (log_mel(audio, spec).shape[-1],)


def test_a_pitch_step_falls_on_its_frame() -> None:
    step = 60 * HOP  # the centre of frame 60
    truth = np.where(np.arange(120 * HOP) < step, 120.0, 200.0)
    found = pitch.f0(voice(truth), RATE, HOP)
    above = np.flatnonzero(found > 160.0)
    assert abs(int(above[0]) - 60) <= 3  # the change itself smears over a few periods
    truth = np.where(np.arange(120 * HOP) < step, 0.0, 150.0)  # and so does a beginning of voicing
    assert abs(int(np.flatnonzero(pitch.f0(voice(truth), RATE, HOP))[0]) - 60) <= 3


def test_silence_and_noise_are_unvoiced() -> None:
    assert not pitch.f0(np.zeros(RATE, dtype=np.float32), RATE, HOP).any()
    noise = 0.1 * np.random.default_rng(1).standard_normal(RATE).astype(np.float32)
    assert (pitch.f0(noise, RATE, HOP) > 0).mean() < 0.15


def test_stays_in_its_band() -> None:
    truth = np.concatenate([np.full(RATE, 90.0), np.full(RATE, 300.0)])
    found = pitch.f0(voice(truth), RATE, HOP, 150.0, 400.0)
    assert found[found > 0].min() >= 150.0
    assert found.max() <= 400.0


@pytest.mark.parametrize("ceiling", [300.0, 500.0])
def test_refining_does_not_leave_the_band(ceiling: float) -> None:
    """StoneMask knows of no band: of a glide through its end it puts a frame just above."""
    found = pitch.f0(voice(np.linspace(0.97, 1.02, RATE) * 0.99 * ceiling), RATE, HOP, 65.0, ceiling)
    assert 0.98 * ceiling < found.max() <= ceiling


def test_gross_error_counts() -> None:
    reference = np.array([100.0, 100.0, 100.0, 0.0, 100.0])
    estimate = np.array([101.0, 200.0, 0.0, 100.0, 119.0])
    assert pitch.gross_pitch_error(estimate, reference) == (1, 3)


def test_bad_settings_name_the_remedy() -> None:
    audio = np.zeros(RATE, dtype=np.float32)
    with pytest.raises(NemoExtError, match="did you mean 'harvest'"):
        pitch.f0(audio, RATE, HOP, method="harvst")
    with pytest.raises(NemoExtError, match="pitch band"):
        pitch.f0(audio, RATE, HOP, 400.0, 100.0)
    with pytest.raises(NemoExtError, match="mono"):
        pitch.f0(np.zeros((2, RATE), dtype=np.float32), RATE, HOP)


@pytest.mark.parametrize("folder", ["ljspeech_mini/wavs", "vctk_mini/wav", "kerstin_de/wavs"])
def test_gross_errors_on_real_speech(folder: str, corpora: Path | None, espeak_corpus: Path) -> None:
    """At most 3 % against librosa.pyin: the acceptance figure. Without real speech, on the espeak corpus."""
    where = (corpora / folder) if corpora else espeak_corpus / "audio"
    files = sorted(path for path in where.rglob("*") if path.suffix in (".wav", ".flac"))
    wrong = voiced = 0
    for path in files[:: max(1, len(files) // 3)][:3]:
        audio, rate = io.read_mono(path)
        audio = resample.resample(audio, rate, RATE)[: 5 * RATE]
        errors, frames = pitch.gross_pitch_error(
            pitch.f0(audio, RATE, HOP, 65.0, 500.0), pitch.f0(audio, RATE, HOP, 65.0, 500.0, "pyin")
        )
        wrong, voiced = wrong + errors, voiced + frames
    assert voiced > 200
    assert wrong / voiced <= 0.03
