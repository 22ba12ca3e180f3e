"""The only binding to espeak-ng: phonemes of a text, and speech with the start of every phoneme.

espeak-ng comes as a library and its data in the ``espeakng-loader`` wheel, an optional extra since it is GPL-3. The
calls are those of espeak-ng's public header ``speak_lib.h``. The library is one global state without locks, so every
call holds ours, and sets every parameter it depends on: the same call gives the same answer.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np

from nemo_ext.errors import NemoExtError

SAMPLE_RATE = 22050  # Hz, of every voice in the wheel

_AUDIO_OUTPUT_RETRIEVAL = 1  # samples go to the callback, none to a sound card
_INITIALIZE_PHONEME_EVENTS = 0x0001
_INITIALIZE_PHONEME_IPA = 0x0002
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_PHONEMES_IPA = 0x02
_EVENT_LIST_TERMINATED = 0
_EVENT_PHONEME = 7
_RATE, _VOLUME, _PITCH, _RANGE, _WORD_GAP = 1, 2, 3, 4, 7

_lock = threading.Lock()
_library: Any = None
_callback: Any = None  # ctypes frees a callback that nothing refers to
_heard: list[bytes] = []
_events: list[tuple[str, float]] = []


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("phoneme", ctypes.c_char * 8),
    )


def available() -> bool:
    """Whether the espeakng-loader wheel is installed."""
    from importlib.util import find_spec

    return find_spec("espeakng_loader") is not None


def phonemize(text: str, voice: str) -> str:
    """IPA of ``text`` as espeak-ng's ``voice`` (``en-us``, ``de``) reads it, words parted by blanks, stress marked.

    Punctuation ends a clause and is not in the answer; clauses are joined by a blank.

    Raises:
        NemoExtError: espeak-ng is not installed, or has no such voice.
    """
    with _lock:
        library = _started()
        _choose(library, voice)
        pointer = ctypes.c_char_p(_plain(text).encode("utf-8"))
        clauses = []
        while pointer.value:  # each call reads one clause and moves the pointer behind it
            found = library.espeak_TextToPhonemes(ctypes.byref(pointer), _CHARS_UTF8, _PHONEMES_IPA)
            clauses.append((found or b"").decode("utf-8").strip())
    return " ".join(clause for clause in clauses if clause)


def synthesize(
    text: str,
    voice: str,
    *,
    rate: int = 175,
    pitch: int = 50,
    range: int = 50,
    volume: int = 100,
    word_gap: int = 0,
) -> tuple[np.ndarray, int, list[tuple[str, float]]]:
    """``text`` read aloud: audio ``(T_audio,)`` float32 in [-1, 1], its rate in Hz, and ``(IPA phoneme, start in s)``.

    Args:
        text: plain text; markup in it is read as text.
        voice: espeak-ng's name with a variant, ``en-us+f3``.
        rate: words a minute, 80 to 450.
        pitch: base pitch, 0 to 99.
        range: range of pitch, 0 (monotone) to 99.
        volume: 0 to 200, 100 is normal.
        word_gap: pause between words in units of 10 ms.

    Raises:
        NemoExtError: espeak-ng is not installed, has no such voice, or fails.
    """
    with _lock:
        library = _restarted()
        _choose(library, voice)
        for parameter, value in ((_RATE, rate), (_VOLUME, volume), (_PITCH, pitch), (_RANGE, range)):
            library.espeak_SetParameter(parameter, value, 0)
        library.espeak_SetParameter(_WORD_GAP, word_gap, 0)
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # breath and frication are random numbers
        _heard.clear()
        _events.clear()
        data = _plain(text).encode("utf-8") + b"\0"
        failed = library.espeak_Synth(data, len(data), 0, 1, 0, _CHARS_UTF8, None, None)
        if failed or library.espeak_Synchronize():
            raise NemoExtError(f"espeak-ng could not read {text[:40]!r} (error {failed}); try a shorter text")
        samples = np.frombuffer(b"".join(_heard), dtype=np.int16)
        return samples.astype(np.float32) / 32768.0, SAMPLE_RATE, list(_events)


def _plain(text: str) -> str:
    """``text`` without what espeak-ng would take for phoneme input, ``[[...]]``, or for the end of a string."""
    return text.replace("[[", "[ [").replace("\0", " ")


def _choose(library: Any, voice: str) -> None:
    if library.espeak_SetVoiceByName(voice.encode("utf-8")):
        raise NemoExtError(f"espeak-ng has no voice '{voice}'; give one such as en-us, en-gb+f3 or de")


def _restarted() -> Any:
    """The library without memory of what it said before.

    Its flutter and phase are static variables that no call resets, so that a text would sound a little different each
    time: unloading the library and loading it again (2 ms) is what sets them back.
    """
    global _library
    if _library is not None:
        import _ctypes

        _library.espeak_Terminate()
        _ctypes.dlclose(_library._handle)
        _library = None
    return _started()


def _started() -> Any:
    """The library, started on the first call of the process."""
    global _library, _callback
    if _library is not None:
        return _library
    try:
        import espeakng_loader
    except ImportError as error:
        raise NemoExtError("espeak-ng is not installed: pip install 'nemo_ext[espeak]'") from error
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    options = _INITIALIZE_PHONEME_EVENTS | _INITIALIZE_PHONEME_IPA | _INITIALIZE_DONT_EXIT
    data = espeakng_loader.get_data_path().encode()
    if library.espeak_Initialize(_AUDIO_OUTPUT_RETRIEVAL, 0, data, options) != SAMPLE_RATE:
        raise NemoExtError("espeak-ng did not start: install espeakng-loader again")
    receiver = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
    _callback = receiver(_receive)
    library.espeak_SetSynthCallback(_callback)
    _library = library
    return library


def _receive(samples: Any, count: int, events: Any) -> int:
    if samples and count > 0:
        _heard.append(ctypes.string_at(samples, count * 2))
    i = 0
    while events[i].type != _EVENT_LIST_TERMINATED:
        if events[i].type == _EVENT_PHONEME:
            # the field is eight bytes and may be filled to the last, in the middle of a character
            _events.append((events[i].phoneme.decode("utf-8", errors="ignore"), events[i].audio_position / 1000.0))
        i += 1
    return 0
