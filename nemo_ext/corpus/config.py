"""Options of ``nemo-ext corpus``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from nemo_ext.config import option
from nemo_ext.errors import NemoExtError
from nemo_ext.text.languages import language as find_language


@dataclass
class CsvOptions:
    """Where the columns of anyone's table are (``recipe=csv``)."""

    table: str = option("metadata.csv", "the table, inside the source folder or absolute", path=True)
    delimiter: str = option(",", "what stands between columns; 'tab' for a tabulator", verbatim=True)
    quoting: str = option(
        "minimal", "minimal: columns may stand in double quotes; none: quotes are letters", choices=("minimal", "none")
    )
    header: bool = option(True, "the first line names the columns; without it, columns go by number, from 1")
    encoding: str = option("utf-8-sig", "encoding of the table")
    path: str = option("path", "column with the recording's path, relative to the source folder", verbatim=True)
    text: str = option("text", "column with what is said", verbatim=True)
    id: str = option("id", "column with a unique name; without it, the path is the name", verbatim=True)
    speaker: str = option("speaker", "column with the speaker's name, where there is one", verbatim=True)
    language: str = option("language", "column with the language code, where there is one", verbatim=True)
    style: str = option("style", "column with the style or emotion, where there is one", verbatim=True)
    unlisted: bool = option(True, "report recordings beside the listed ones that the table does not name as dropped")


@dataclass
class VctkOptions:
    """``recipe=vctk``."""

    microphone: int = option(1, "which of VCTK 0.92's two microphones to take, 1 or 2")


@dataclass
class EspeakVoice:
    """A speaker of the espeak corpus."""

    name: str = option("ada", "the voice's name in the manifest", verbatim=True)
    voice: str = option("en-us+f3", "espeak-ng's voice, with its variant", verbatim=True)
    pitch: int = option(50, "espeak-ng's base pitch", unit="0-99")


@dataclass
class EspeakStyle:
    """A way of speaking of the espeak corpus."""

    name: str = option("neutral", "the style's name in the manifest")
    share: float = option(1.0, "how much of the corpus is in this style, relative to the others", above=0.0)
    rate: int = option(165, "speed", unit="words a minute", least=20, most=1000)
    pitch: int = option(0, "added to the voice's base pitch", unit="0-99")
    range: int = option(50, "how far the melody moves", unit="0-99", least=0, most=99)


@dataclass
class EspeakOptions:
    """The corpus made on the spot (``recipe=espeak``)."""

    sentences: int = option(
        600, "distinct sentences; each is read once, by one voice in one style", least=1, most=1_000_000
    )
    voices: list[EspeakVoice] = dataclasses.field(
        default_factory=lambda: [EspeakVoice("ada", "en-us+f3", 50), EspeakVoice("ben", "en-us+m3", 40)],
        metadata={"help": "speakers: name, voice, pitch", "unit": "", "verbatim": False},
    )
    styles: list[EspeakStyle] = dataclasses.field(
        default_factory=lambda: [
            EspeakStyle("neutral", share=2.0, rate=165, pitch=0, range=50),
            EspeakStyle("lively", share=1.0, rate=195, pitch=15, range=80),
        ],
        metadata={"help": "ways of speaking: name, share, rate, pitch, range", "unit": "", "verbatim": False},
    )


@dataclass
class CorpusConfig:
    """Recordings and their texts -> a corpus folder that every other job reads."""

    recipe: str = option("espeak", "how to read the source: ljspeech vctk librispeech hifitts emodb csv espeak joined")
    source: str = option("", "folder with the recordings (not for espeak)", path=True)
    out: str = option("out/corpus", "corpus folder to make", path=True)
    title: str = option("", "name of the corpus on its page; empty: the name of its folder", verbatim=True)
    provenance: str = option(
        "", "whose recordings, under what licence; empty: what the recipe knows of them", verbatim=True
    )
    language: str = option("", "language spoken, ISO 639-1 (en, de); empty: the recipe's own", verbatim=True)
    speaker: str = option("", "voice name where the source names none; empty: the source folder's name", verbatim=True)
    sample_rate: int = option(22050, "of the corpus; everything is resampled to it", unit="Hz")
    min_seconds: float = option(0.3, "shorter recordings are dropped", unit="s")
    val_fraction: float = option(0.05, "part of each voice that is kept for validation")
    seed: int = option(0, "decides which utterances are for validation, and what espeak says", least=0, most=2**32 - 1)
    strict: bool = option(False, "fail if anything at all is dropped")
    processes: int = option(0, "how many to prepare recordings with; 0: one a core", least=0, most=4096)
    csv: CsvOptions = dataclasses.field(default_factory=CsvOptions)
    vctk: VctkOptions = dataclasses.field(default_factory=VctkOptions)
    espeak: EspeakOptions = dataclasses.field(default_factory=EspeakOptions)

    def check(self) -> None:
        """Refuse values that cannot work, before anything is read.

        Raises:
            NemoExtError: names the option and what it may be.
        """
        limits = {
            "sample_rate": (self.sample_rate, 8000, 96000, "Hz"),
            "min_seconds": (self.min_seconds, 0.0, 60.0, "seconds"),
            "val_fraction": (self.val_fraction, 0.0, 0.5, "of each voice"),
            "processes": (self.processes, 0, 1024, "processes"),
            "vctk.microphone": (self.vctk.microphone, 1, 2, "as VCTK numbers them"),
            "espeak.sentences": (self.espeak.sentences, 1, 20000, "sentences"),
        }
        for name, (value, low, high, unit) in limits.items():
            if not low <= value <= high:
                raise NemoExtError(f"{name}={value} is outside {low:g} to {high:g} {unit}")
        if self.csv.quoting not in ("minimal", "none"):
            raise NemoExtError(f"csv.quoting={self.csv.quoting} is unknown; choose minimal or none")
        if self.language:
            find_language(self.language)
        if not self.out:
            raise NemoExtError("out is missing: name the corpus folder to make, out=DIR")
