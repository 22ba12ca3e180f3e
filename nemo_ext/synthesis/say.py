"""The job ``nemo-ext say``: a text in, an audio file out."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from nemo_ext import files, model_files
from nemo_ext.console import loading, tell
from nemo_ext.errors import NemoExtError
from nemo_ext.synthesis.config import SayConfig, check_runner
from nemo_ext.synthesis.prosody import LIMITS, Prosody, check_range
from nemo_ext.synthesis.timings import write_timings
from nemo_ext.text.languages import language as find_language
from nemo_ext.types import Speech
from nemo_ext.untrusted import open_regular, read_text
from nemo_ext.voices import SUFFIX, parse_mix

FORMATS = (".wav", ".flac")

_MOST_TEXT = 16 << 20  # bytes: several long books


def say(cfg: SayConfig) -> Speech:
    """Speak the text of ``cfg`` and write it to ``cfg.out``; prints what was made and what should be known of it.

    Raises:
        NemoExtError: a missing option, an unreadable text, a place that cannot be written, or anything that
            `Pipeline.say` refuses. Nothing is written then.
    """
    out, timings = _options(cfg)
    text = _text(cfg)
    prosody = Prosody.parse(cfg.prosody) if cfg.prosody else None
    _files(cfg)
    if not cfg.bundle:
        loading()

    from nemo_ext.audio.io import write  # these cost seconds; a wrong option should not
    from nemo_ext.synthesis.pipeline import load

    pipeline = load(
        cfg.acoustic or None,
        cfg.vocoder or None,
        cfg.device,
        cfg.voices or None,
        bundle=cfg.bundle or None,
        backend=cfg.backend,
        precision=cfg.precision,
    )
    started = time.perf_counter()
    speech = pipeline.say(
        text,
        cfg.voice or None,
        pace=cfg.pace,
        pitch=cfg.pitch,
        pitch_range=cfg.pitch_range,
        energy=cfg.energy,
        volume=cfg.volume,
        prosody=prosody,
        language=cfg.language or None,
        style=cfg.style or None,
    )
    taken = time.perf_counter() - started
    files.sweep(out.parent)
    write(out, speech.audio, speech.sample_rate)
    if timings is not None:
        write_timings(timings, speech)
    seconds = len(speech.audio) / speech.sample_rate
    voice = pipeline.cast.find(cfg.voice or speech.voice)
    tell(
        f"{out}: {seconds:.2f} s, voice {voice}, made in {taken:.2f} s ({taken / seconds:.3f} of real time)"
        + (f", by {pipeline.backend}" if cfg.bundle else "")
    )
    for note in speech.notes:
        tell(f"  note: {note}")
    return speech


def _options(cfg: SayConfig) -> tuple[Path, Path | None]:
    """The files to write, of speech and of timings."""
    if cfg.bundle and (cfg.acoustic or cfg.vocoder):
        both = "acoustic=" if cfg.acoustic else "vocoder="
        raise NemoExtError(f"{both} and bundle= are both given: leave one out; a bundle holds both models")
    if not cfg.acoustic and not cfg.bundle:
        raise NemoExtError("acoustic= is missing: give the path of an acoustic model's .nemo file, or a bundle=")
    check_runner(bool(cfg.bundle), cfg.device, cfg.backend, cfg.precision)
    out = _writable("out", cfg.out, FORMATS, "audio format")
    timings = _writable("timings", cfg.timings, (".json",), "format of timings") if cfg.timings else None
    for name in LIMITS:
        check_range(name, getattr(cfg, name))
    if cfg.language:
        find_language(cfg.language)
    return out, timings


def _files(cfg: SayConfig) -> None:
    """See that what ``cfg`` names is there, before what reads it is imported."""
    kinds = {"acoustic": "an acoustic model", "vocoder": "a vocoder"}
    for option, kind in kinds.items():
        if given := getattr(cfg, option):
            model_files.check(option, given, f"{kind}'s .nemo file, or the folder of its training")
    if cfg.voices and not Path(cfg.voices).expanduser().is_dir():
        raise NemoExtError(f"voices={cfg.voices} is no folder: give one with {SUFFIX} files in it")
    for name in _voice_files(cfg.voice):
        open_regular(Path(name).expanduser(), "voice file").close()


def _voice_files(voice: str) -> list[str]:
    """The files that ``voice=`` names: alone, or as parts of a mix."""
    if voice.endswith(SUFFIX) and Path(voice).expanduser().is_file():
        return [voice]
    return [name for name, _ in parse_mix(voice) if name.endswith(SUFFIX)] if voice else []


def _writable(option: str, name: str, suffixes: tuple[str, ...], what: str) -> Path:
    """The path to write, refused before any model is loaded when it cannot be written."""
    out = Path(name).expanduser()
    if out.suffix.lower() not in suffixes:
        raise NemoExtError(f"{option}={name} names no {what} we write: end it in {' or '.join(suffixes)}")
    folder = out.parent
    if not folder.is_dir():
        raise NemoExtError(f"{option}={name}: there is no folder {folder}; make it first")
    if out.is_dir() or not os.access(folder, os.W_OK):
        raise NemoExtError(f"{option}={name} cannot be written: choose a file in a folder of your own")
    return out


def _text(cfg: SayConfig) -> str:
    if cfg.text_file:
        if cfg.text:
            raise NemoExtError("text= and text_file= are both given: leave one out")
        path = Path(cfg.text_file).expanduser()
        try:
            return read_text(path, _MOST_TEXT, "text")
        except NemoExtError as error:
            raise NemoExtError(f"text_file={cfg.text_file} cannot be read: {error}") from error
    if cfg.text and cfg.text != "-":
        return cfg.text
    if not cfg.text and (sys.stdin is None or sys.stdin.isatty()):
        raise NemoExtError('nothing to speak: give text="...", text_file=PATH, or pipe a text in')
    try:
        content = sys.stdin.buffer.read(_MOST_TEXT + 1)
        if len(content) > _MOST_TEXT:
            raise NemoExtError(f"the text on standard input is longer than {_MOST_TEXT >> 20} MiB: give a part of it")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NemoExtError("the text on standard input is not UTF-8") from error
