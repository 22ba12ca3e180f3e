"""Options of ``nemo-ext say`` and ``nemo-ext voice``."""

from __future__ import annotations

from dataclasses import dataclass

from nemo_ext.config import option
from nemo_ext.errors import NemoExtError


@dataclass
class SayConfig:
    """Speak a text and write it to a file."""

    acoustic: str = option("", "acoustic model, a .nemo file", verbatim=True)
    vocoder: str = option("", "vocoder, a .nemo file; without one the audio comes from Griffin-Lim", verbatim=True)
    bundle: str = option("", "folder that `nemo-ext export` made, instead of acoustic= and vocoder=", path=True)
    backend: str = option(
        "auto",
        "what runs a bundle: the first that is there, or the one that is named; cuda and onnxruntime are ONNX Runtime",
        choices=("auto", "tensorrt", "cuda", "openvino", "onnxruntime"),
    )
    precision: str = option(
        "auto",
        "of a bundle's vocoder: fp32, or auto: bf16 by OpenVINO on a processor with AMX or AVX-512 BF16",
        choices=("auto", "fp32"),
    )
    text: str = option("", "what to speak, of any length; '-' reads standard input", verbatim=True)
    text_file: str = option("", "file with the text, UTF-8, instead of text=", verbatim=True)
    out: str = option("speech.wav", "file to write, .wav or .flac, 16-bit", verbatim=True)
    voice: str = option(
        "", "a base voice, a .voice file, or a mix anna:0.7+bob:0.3; the model's first one when left out", verbatim=True
    )
    voices: str = option("", "folder of .voice files, which can then be named without path and ending", path=True)
    style: str = option(
        "",
        "anger, anger:0.6, anger:0.6+sadness:0.4, clip.wav, tokens:0.2,0.5,...; else neutral",
        verbatim=True,
    )
    language: str = option("", "language of the text, en or de; the voice's own when left out")
    pace: float = option(1.0, "speed, 0.25 to 4", "factor")
    pitch: float = option(0.0, "shift of the pitch, -24 to 24", "semitones")
    pitch_range: float = option(1.0, "on the distance from the voice's mean pitch, 0 (monotone) to 4", "factor")
    energy: float = option(0.0, "how forcefully it is spoken, -20 to 20", "dB")
    volume: float = option(0.0, "gain, -60 to 20; never clips", "dB")
    prosody: str = option(
        "", "the same for single words: 'never: pitch=3, pace=0.8; #2: energy=4'; #N is the N-th word", verbatim=True
    )
    timings: str = option("", "file to write, .json: when each word and token is spoken", path=True)
    device: str = option("auto", "cpu, cuda, cuda:1 ..., or auto: a GPU where there is one")


@dataclass
class VoiceConfig:
    """Show a voice file, list a folder of them, or mix a new one: give one of ``show``, ``list`` and ``mix``."""

    show: str = option("", "voice file, or name of a voice, to show", path=True)
    list: str = option("", "folder whose voice files to list", path=True)
    mix: str = option("", "voices with weights: anna:0.7+bob:0.3; names, or .voice files", verbatim=True)
    out: str = option("", "voice file to write the mix to", path=True)
    voices: str = option("", "folder in which names are looked up; this one when left out", path=True)
    acoustic: str = option("", "base model, a .nemo file: its base voices can then take part", path=True)


def check_runner(bundle: bool, device: str, backend: str, precision: str) -> None:
    """
    Raises:
        NemoExtError: an option of a bundle for models, or one of models for a bundle.
    """
    if bundle and device not in ("auto", "cpu"):
        raise NemoExtError(f"device={device} is for models: with bundle= say backend=, which names the device too")
    if not bundle and backend != "auto":
        raise NemoExtError(f"backend={backend} is for bundle=: a .nemo file is run by torch, on device=")
    if not bundle and precision != "auto":
        raise NemoExtError(f"precision={precision} is for bundle=: a .nemo file is run by torch, in float32")
