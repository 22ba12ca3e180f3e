"""Options of ``nemo-ext migrate``."""

from __future__ import annotations

from dataclasses import dataclass

from nemo_ext.config import option


@dataclass
class MigrateConfig:
    """Make a checkpoint of an older NeMo release ours."""

    source: str = option("", "the old .nemo file; may be given first, without source=", path=True)
    out: str = option("", "the .nemo file to write", path=True)
    adapters: str = option("", "adapters in a file of their own, as NeMo's save_adapters writes them (.pt)", path=True)
    voices: str = option("", "folder for the voice files that adapters become; beside out= when left out", path=True)
    speaker: str = option("", "voice whose embedding adapted voices take; the first one when left out", verbatim=True)
    speakers: str = option("", "names of the voices: a JSON file of name -> number, as NeMo's speakers.json", path=True)
    phoneme_dict: str = option("", "pronunciations, where the old file does not bring them", path=True)
    heteronyms: str = option("", "list of words with several pronunciations, where the old file has none", path=True)
    pitch_mean: float = option(
        0.0, "mean F0 of the voices, where the old file does not tell; 0: unknown", "Hz", least=0.0, most=2000.0
    )
    pitch_std: float = option(
        0.0, "standard deviation of F0, where the old file does not tell; 0: unknown", "Hz", least=0.0, most=2000.0
    )
    consent: str = option("unknown", "who agreed to the adapted voices: 'WHO; WHEN; USE'", verbatim=True)
    overwrite: bool = option(False, "whether files that are there are replaced")
