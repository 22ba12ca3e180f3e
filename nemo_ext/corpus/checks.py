"""What happens to imperfect recordings. The table for people is in docs/corpus.md; each row of it has a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nemo_ext.audio import io, loudness, whole
from nemo_ext.audio.channels import loudest_against
from nemo_ext.audio.resample import resample
from nemo_ext.corpus.found import (
    BAD_ROW,
    EMPTY_TEXT,
    NOT_FINITE,
    SAME_ID,
    SILENT,
    TOO_SHORT,
    TRUNCATED,
    UNREADABLE,
    Found,
    relative,
)
from nemo_ext.corpus.manifest import Dropped
from nemo_ext.errors import NemoExtError
from nemo_ext.types import Utterance

_MOST_TEXT = 10_000  # letters of one utterance: ten minutes of speech
_EXACT_HEADERS = (".wav", ".flac")  # other formats' headers only estimate the length


class RejectedError(Exception):
    """A recording that is left out, with one of the reasons of ``corpus.found``."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def sift_rows(found: Found, source: Path) -> tuple[list[Utterance], list[Dropped]]:
    """Rows worth opening a recording for, and everything dropped so far: by the recipe, for its text or its id."""
    kept: dict[str, Utterance] = {}
    dropped = list(found.dropped)
    for row in found.utterances:
        where = relative(Path(row.audio_filepath), source) if row.audio_filepath else ""
        if len(row.text) > _MOST_TEXT:
            detail = f"a text of {len(row.text)} letters; {_MOST_TEXT} are the most"
            dropped.append(Dropped(row.id, BAD_ROW, detail, path=where, text=row.text[:200]))
        elif not any(letter.isalnum() for letter in row.text):
            detail = f"'{row.text[:60]}' has no letter" if row.text else ""
            dropped.append(Dropped(row.id, EMPTY_TEXT, detail, path=where))
        elif row.id in kept:
            first = relative(Path(kept[row.id].audio_filepath), source)
            dropped.append(Dropped(row.id, SAME_ID, f"the row with {first} was taken", path=where, text=row.text))
        else:
            kept[row.id] = row
    return list(kept.values()), dropped


def read_whole(path: Path) -> tuple[np.ndarray, int]:
    """``(audio (C, T_audio), sample rate)`` of a recording that is all there.

    Raises:
        RejectedError: unreadable, truncated, or several recordings in one file.
    """
    try:
        missing = whole.missing_bytes(path)
        if missing:
            raise RejectedError(TRUNCATED, f"{missing} bytes fewer than its header says")
        if (parts := whole.parts(path)) > 1:
            raise RejectedError(UNREADABLE, f"{parts} recordings joined in one file: cut it into one file each")
        header = io.info(path)
        audio, rate = io.read(path)
    except NemoExtError as error:
        # A FLAC that breaks off has a sound header but no end: the decoder loses its way.
        reason = TRUNCATED if "lost sync" in str(error).lower() else UNREADABLE
        raise RejectedError(reason, str(error).removeprefix(f"{path} ")) from error
    if path.suffix.lower() in _EXACT_HEADERS and audio.shape[1] < header.samples:
        seconds, promised = audio.shape[1] / rate, header.seconds
        raise RejectedError(TRUNCATED, f"{seconds:.2f} s of the {promised:.2f} s that its header says")
    return audio, rate


def mend(audio: np.ndarray, rate: int, to_rate: int, min_seconds: float) -> tuple[np.ndarray, list[str]]:
    """``audio (C, T_audio)`` at ``rate`` Hz -> ``(T_audio,)`` at ``to_rate`` Hz within full scale, and what was done.

    Raises:
        RejectedError: nothing worth keeping: NaN, silence, too short.
    """
    notes: list[str] = []
    if not np.isfinite(audio).all():
        count = int((~np.isfinite(audio)).sum())
        raise RejectedError(NOT_FINITE, f"{count} of {audio.size} samples")
    seconds = audio.shape[1] / rate
    if seconds < min_seconds:
        raise RejectedError(TOO_SHORT, f"{seconds:.2f} s; {min_seconds:g} s is the least")
    mono, mixed = _mix_down(audio)
    notes += mixed
    level = loudness.rms_db(mono)
    if level < loudness.SILENCE_DB:
        raise RejectedError(SILENT, f"{level:.0f} dBFS; speech lies above {loudness.SILENCE_DB:.0f}")
    if any(_clipped_runs(channel) for channel in audio):
        notes.append("clipped in the source")
    if rate != to_rate:
        notes.append(f"resampled from {rate} Hz")
    mono, gain = loudness.headroom(resample(mono, rate, to_rate))
    if gain < -0.005:
        notes.append(f"turned down {-gain:.2f} dB to stay below full scale")
    return mono, notes


def _mix_down(audio: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The channels' mean; where they cancel each other (one is wired the wrong way round), the louder channel."""
    channels = audio.shape[0]
    if channels == 1:
        return audio[0], []
    loudest = loudest_against(audio)
    if loudest is not None:
        return audio[loudest], [f"the louder of {channels} channels that cancel each other"]
    return np.asarray(audio.mean(axis=0)), [f"mixed down from {channels} channels"]


def _clipped_runs(audio: np.ndarray) -> bool:
    """Three or more neighbouring samples at full scale; at the top where that lies above it, as floats may."""
    top = loudness.peak(audio)
    at_top = np.abs(audio) >= (top if top > 1.0 else 0.999)
    return bool((at_top[:-2] & at_top[1:-1] & at_top[2:]).any())
