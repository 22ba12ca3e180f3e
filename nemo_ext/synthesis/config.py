"""Options of ``nemo-ext say``."""

from __future__ import annotations

from dataclasses import dataclass

from nemo_ext.config import option


@dataclass
class SayConfig:
    """Speak a text and write it to a file."""

    acoustic: str = option("", "acoustic model, a .nemo file", verbatim=True)
    vocoder: str = option("", "vocoder, a .nemo file; without one the audio comes from Griffin-Lim", verbatim=True)
    text: str = option("", "what to speak, of any length; '-' reads standard input", verbatim=True)
    text_file: str = option("", "file with the text, UTF-8, instead of text=", verbatim=True)
    out: str = option("speech.wav", "file to write, .wav or .flac, 16-bit", verbatim=True)
    voice: str = option("", "name of a voice; the model's first one when left out", verbatim=True)
    style: str = option(
        "",
        "anger, anger:0.6, anger:0.6+sadness:0.4, clip.wav, tokens:0.2,0.5,...; else neutral",
        verbatim=True,
    )
    language: str = option("", "language of the text, en or de; the voice's own when left out")
    pace: float = option(1.0, "speed, 0.25 to 4", "factor")
    pitch: float = option(0.0, "shift of the pitch, -24 to 24", "semitones")
    volume: float = option(0.0, "gain, -60 to 20; never clips", "dB")
    device: str = option("auto", "cpu, cuda, cuda:1 ..., or auto: a GPU where there is one")
