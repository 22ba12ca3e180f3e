"""When each word and token is spoken, as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nemo_ext import files
from nemo_ext.errors import NemoExtError
from nemo_ext.types import Speech


def timings(speech: Speech) -> dict[str, Any]:
    """Words and tokens of ``speech`` with start and end in seconds and in mel frames, ready for JSON.

    ``number`` counts from 1, as ``#N`` and ``@N`` do in what is asked of single words and tokens. ``end_frame`` is one
    past the last. Frame i is centred at sample ``i * hop_length``; where a sentence's silence was shortened, its
    outermost tokens have fewer frames, perhaps none.
    """
    frames = speech.token_frames
    return {
        "voice": speech.voice,
        "sample_rate": speech.sample_rate,
        "hop_length": len(speech.audio) // max(speech.mel.shape[1], 1),
        "seconds": round(len(speech.audio) / speech.sample_rate, 4),
        "words": [
            {
                "number": i,
                "word": word,
                **_times(start, end, frames[first][0], frames[past - 1][1]),
                "tokens": [first + 1, past],  # numbers of its first and its last
            }
            for i, ((word, start, end), (first, past)) in enumerate(
                zip(speech.words, speech.word_tokens, strict=True), start=1
            )
        ],
        "tokens": [
            {"number": i, "symbol": symbol, **_times(start, end, *span), "pitch": round(hz, 2)}
            for i, ((symbol, start, end), span, hz) in enumerate(
                zip(speech.tokens, frames, speech.token_pitch, strict=True), start=1
            )
        ],
    }


def write_timings(path: Path, speech: Speech) -> None:
    """Write ``timings(speech)`` to ``path``: beside it first, then renamed.

    Raises:
        NemoExtError: the file cannot be written.
    """
    try:
        with files.replacing(path) as beside:
            beside.write_text(json.dumps(timings(speech), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise NemoExtError(f"{path} could not be written: {error.strerror or error}; free some space") from error


def _times(start: float, end: float, first: int, past: int) -> dict[str, Any]:
    return {"start": round(start, 4), "end": round(end, 4), "start_frame": first, "end_frame": past}
