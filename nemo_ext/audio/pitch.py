"""F0 of a recording, one value for each mel frame.

Default: DIO (M. Morise, H. Kawahara, H. Katayose, "Fast and reliable F0 estimation method based on the period
extraction of vocal fold vibration of singing voice and speech", AES 35th Conference, 2009) refined by StoneMask, both
of WORLD (M. Morise, F. Yokomori, K. Ozawa, IEICE Trans. E99-D, 2016), through pyworld.

Why DIO, and why on decimated audio: against librosa.pyin on real speech its gross errors are the fewest of what was
tried, and a low rate costs no accuracy (the search band ends far below 2.7 kHz) but makes it five times faster.
The figures stand in docs/corpus.md.
"""

from __future__ import annotations

import warnings

import numpy as np

from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.types import MelSpec

METHODS = ("dio", "harvest", "pyin")
_SEARCH_RATE = 5500  # Hz, what DIO searches at
_GROSS = 0.2  # a pitch further off than 20 % is a gross error (Rabiner and others, 1976)


def f0(
    audio: np.ndarray,
    sample_rate: int,
    hop_length: int,
    f_min: float = 65.0,
    f_max: float = 600.0,
    method: str = "dio",
) -> np.ndarray:
    """Pitch of ``audio (T_audio,)`` -> ``(T_mel,)`` float32 in Hz, 0 where unvoiced.

    Frame ``i`` is the pitch at ``i * hop_length`` samples, the centre of mel frame ``i``;
    ``T_mel = T_audio // hop_length + 1``, as many as the mel has. ``f_min`` and ``f_max``: the search band in Hz.
    ``method``: ``dio`` (fast, few gross errors), ``harvest`` (voices more frames, slow), ``pyin`` (librosa's, slower).

    Raises:
        NemoExtError: unknown method or an impossible search band.
    """
    frames = audio.shape[-1] // hop_length + 1
    if method not in METHODS:
        raise NemoExtError(
            f"unknown pitch method '{method}'{nearest(method, METHODS)}; choose one of {', '.join(METHODS)}"
        )
    if not 0 < f_min < f_max < _SEARCH_RATE / 2:
        raise NemoExtError(
            f"pitch band {f_min:g}-{f_max:g} Hz cannot be searched: it must be rising, above 0 and below "
            f"{_SEARCH_RATE // 2} Hz"
        )
    if audio.ndim != 1:
        raise NemoExtError(f"pitch wants mono audio (T,), not an array of shape {audio.shape}")
    # A digital silence or a click of a few samples has no pitch, and WORLD reads past the end of the latter.
    if audio.shape[-1] < 2 * sample_rate / f_min or not np.any(audio):
        return np.zeros(frames, dtype=np.float32)
    if method == "pyin":
        found = _pyin(audio, sample_rate, hop_length, f_min, f_max)
    else:
        found = _world(audio, sample_rate, hop_length, f_min, f_max, method)
    # WORLD counts frames in floating-point milliseconds and may be one off.
    return np.pad(found[:frames], (0, max(0, frames - len(found)))).astype(np.float32)


def mel_f0(
    audio: np.ndarray, spec: MelSpec, f_min: float = 65.0, f_max: float = 600.0, method: str = "dio"
) -> np.ndarray:
    """Pitch of ``audio (T_audio,)`` at the frames of ``spec``'s mel, ``(T_mel,)`` float32 in Hz, 0 where unvoiced."""
    return f0(audio, spec.sample_rate, spec.hop_length, f_min, f_max, method)


def gross_pitch_error(estimate: np.ndarray, reference: np.ndarray) -> tuple[int, int]:
    """``(gross errors, frames that both call voiced)``: an estimate further than 20 % from the reference is gross.

    Both ``(T_mel,)`` in Hz, 0 where unvoiced. Add both counts over a set, then divide.
    """
    both = (estimate > 0) & (reference > 0)
    off = np.abs(estimate[both] / reference[both] - 1.0) > _GROSS
    return int(off.sum()), int(both.sum())


def _world(audio: np.ndarray, sample_rate: int, hop_length: int, f_min: float, f_max: float, method: str) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyworld imports pkg_resources, which warns that it will go
        import pyworld

    wave = np.ascontiguousarray(audio, dtype=np.float64)
    period = 1000.0 * hop_length / sample_rate  # ms
    if method == "harvest":
        found, _ = pyworld.harvest(wave, sample_rate, f0_floor=f_min, f0_ceil=f_max, frame_period=period)
        return np.asarray(found)
    decimation = min(12, max(1, round(sample_rate / _SEARCH_RATE)))  # WORLD allows 1 to 12
    rough, when = pyworld.dio(
        wave, sample_rate, f0_floor=f_min, f0_ceil=f_max, frame_period=period, speed=decimation, allowed_range=0.1
    )
    refined = np.asarray(pyworld.stonemask(wave, rough, when, sample_rate))
    # StoneMask may push a value out of the band that was asked for; there DIO's own is the better guess.
    return np.where((refined >= f_min) & (refined <= f_max), refined, np.asarray(rough))


def _pyin(audio: np.ndarray, sample_rate: int, hop_length: int, f_min: float, f_max: float) -> np.ndarray:
    import librosa

    # Two periods of the lowest pitch and more, a power of two: 1024 at 22,050 Hz, as stock NeMo has it.
    window = 1 << int(np.ceil(np.log2(3.0 * sample_rate / f_min)))
    found, _, _ = librosa.pyin(
        audio, fmin=f_min, fmax=f_max, sr=sample_rate, frame_length=window, hop_length=hop_length, fill_na=0.0
    )
    return np.asarray(found)
