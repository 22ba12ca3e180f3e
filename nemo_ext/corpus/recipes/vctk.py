"""VCTK: about 110 English speakers with many accents.

What: CSTR VCTK Corpus, 44 h; 0.92 (2019, two microphones, 48 kHz flac) or 0.80 (2016, wav).
Licence: CC BY 4.0 (0.92); Open Data Commons Attribution 1.0 (0.80).
Cite: C. Veaux, J. Yamagishi, K. MacDonald, "CSTR VCTK Corpus", University of Edinburgh, 2019, doi 10.7488/ds/2645.
Layouts: ``wav48_silence_trimmed/p225/p225_001_mic1.flac`` + ``txt/p225/p225_001.txt`` (0.92);
    ``wav48/p225/p225_001.wav`` + ``txt/...`` (0.80); ``wav/p225/p225_001.flac`` + ``txt/...`` or a ``metadata.csv``
    with ``id|path|speaker|...|text`` and a header (small sets for tests).
Texts are shared by many speakers (each begins with the rainbow passage): the split keeps them apart.
"""

from __future__ import annotations

import re
from pathlib import Path

from nemo_ext.corpus.config import CorpusConfig
from nemo_ext.corpus.found import Found, audio_files, wanted
from nemo_ext.corpus.recipes._pairs import pair, texts_of_files, texts_of_table

LANGUAGE = "en"
LAYOUT, IDS = "VCTK", r"[ps]\d{1,3}_\d{3}"
PROVENANCE = "CSTR VCTK Corpus (C. Veaux, J. Yamagishi, K. MacDonald, University of Edinburgh); CC BY 4.0"

_FOLDERS = ("wav48_silence_trimmed", "wav48", "wav")
_MICROPHONE = re.compile(r"_mic(\d)$")


def read(source: Path, config: CorpusConfig) -> Found:
    """Recordings of one microphone, each with the text file of the same name."""
    folder = next((source / name for name in _FOLDERS if (source / name).is_dir()), None)
    texts = texts_of_files(source / "txt", "*/*.txt") or texts_of_table(source / "metadata.csv")
    if folder is None or not texts:
        raise wanted(source, "vctk", "txt/p225/p225_001.txt and wav48_silence_trimmed/ (or wav48/, wav/)")
    recordings: list[tuple[str, Path]] = []
    set_aside = 0
    for path in audio_files(folder):
        microphone = _MICROPHONE.search(path.stem)
        if microphone and int(microphone.group(1)) != config.vctk.microphone:
            set_aside += 1
            continue
        recordings.append((_MICROPHONE.sub("", path.stem), path))
    found = pair(recordings, texts, source)
    for row in found.utterances:
        row.speaker = Path(row.audio_filepath).parent.name
        row.language = config.language or LANGUAGE
    if set_aside:
        other = 3 - config.vctk.microphone
        found.notes.append(f"{set_aside} recordings of microphone {other} were set aside (vctk.microphone={other})")
    return found
