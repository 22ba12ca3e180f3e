"""Options of ``nemo-ext export``."""

from __future__ import annotations

from dataclasses import dataclass, field

from nemo_ext.config import option
from nemo_ext.export.tensorrt import ProfileConfig
from nemo_ext.export.triton import TritonConfig

TARGETS = ("onnx", "tensorrt", "tensorrt_rtx", "triton", "riva")


@dataclass
class RivaConfig:
    """What Riva is told."""

    name: str = option("", "of the whole voice; as the acoustic model's file or folder when left out", verbatim=True)
    language: str = option("", "Riva's code, en-US or de-DE; one command for each of the voices' when left out")
    words: str = option("", "file of words, one a line, that go into the pronunciation dictionary", path=True)
    any_vocoder: bool = option(False, "pack a vocoder that is no HiFi-GAN in its place, which Riva may not take")


@dataclass
class ExportConfig:
    """Make a bundle of an acoustic model and a vocoder, or check one with ``verify``."""

    acoustic: str = option("", "acoustic model, a .nemo file", path=True)
    vocoder: str = option("", "vocoder, a .nemo file: HiFi-GAN or Vocos", path=True)
    voices: str = option("", "folder of .voice files that go into the bundle beside the base voices", path=True)
    out: str = option(
        "", "folder of the bundle to write; a bundle that is there is replaced when all is done", path=True
    )
    targets: list[str] = option(["onnx"], f"what to make: {', '.join(TARGETS)}; onnx always is")
    precision: str = option("fp32", "of decoder and vocoder; the text side is fp32 always", choices=("fp32", "fp16"))
    licence: str = option("", "of the models, told in the bundle: CC-BY-4.0, ...; unknown when left out", verbatim=True)
    riva: RivaConfig = field(default_factory=RivaConfig)
    verify: str = option("", "bundle to check instead: every hash, name, type, shape and voice", path=True)
    threads: int = option(0, "CPU threads; 0: one a core, or OMP_NUM_THREADS", least=0, most=4096)
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    triton: TritonConfig = field(default_factory=TritonConfig)
