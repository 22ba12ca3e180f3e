from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from nemo_ext.errors import NemoExtError
from nemo_ext.evaluation import mcd

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pymcd imports pkg_resources through its dependencies
    from pymcd.mcd import Calculate_MCD


def test_the_cepstra_are_pymcds(readings: list[Any]) -> None:
    theirs = Calculate_MCD(MCD_mode="dtw").wav2mcep_numpy(readings[0].audio)
    np.testing.assert_allclose(mcd.mel_cepstrum(readings[0].audio), theirs, atol=1e-9)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pymcd loads files through librosa's deprecated reader
def test_the_figure_is_pymcds(readings: list[Any], other_readings: list[Any], tmp_path: Path) -> None:
    for reading, other in zip(readings[:3], other_readings[:3], strict=True):
        for name, side in (("a.wav", reading), ("b.wav", other)):
            soundfile.write(tmp_path / name, side.audio, 22050, subtype="FLOAT")
        theirs = Calculate_MCD(MCD_mode="dtw").calculate_mcd(str(tmp_path / "a.wav"), str(tmp_path / "b.wav"))
        ours = mcd.mcd(reading.audio, other.audio)
        assert ours == pytest.approx(theirs, rel=1e-6)
        assert mcd.mcd_files(tmp_path / "a.wav", tmp_path / "b.wav") == pytest.approx(ours, rel=1e-4)


def test_nearer_readings_have_less_distortion(readings: list[Any], other_readings: list[Any]) -> None:
    noise = np.random.default_rng(0).normal(size=len(readings[0].audio)).astype(np.float32)
    same = mcd.mcd(readings[0].audio, readings[0].audio)
    dirty = mcd.mcd(readings[0].audio, readings[0].audio + 0.003 * noise)
    another_sentence = mcd.mcd(readings[0].audio, other_readings[1].audio)
    assert same == pytest.approx(0.0, abs=1e-6)
    assert 0.1 < dirty < another_sentence


def test_a_gain_counts_because_c0_is_in(readings: list[Any]) -> None:
    loud = readings[0].audio / np.abs(readings[0].audio).max()
    assert mcd.mcd(loud, 0.5 * loud) > 1.0


def test_what_cannot_be_measured_is_an_error_never_a_figure() -> None:
    for audio, reason in (
        (np.zeros(9000, np.float32), "silent"),
        (np.full(9000, np.nan, np.float32), "not finite"),
        (np.ones(9, np.float32), "at least 512 samples"),
    ):
        with pytest.raises(NemoExtError, match=reason):
            mcd.mel_cepstrum(audio)


def test_the_variant_is_named() -> None:
    assert "pymcd 0.2.1" in mcd.VARIANT
    assert "order 13" in mcd.VARIANT
