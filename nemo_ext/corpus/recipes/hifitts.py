"""Hi-Fi TTS: ten English readers of audio books, recorded well.

What: Hi-Fi Multi-Speaker English TTS Dataset, 292 h at 44.1 kHz (openslr.org/109).
Licence: CC BY 4.0.
Cite: E. Bakhturina, V. Lavrukhin, B. Ginsburg, Y. Zhang, "Hi-Fi Multi-Speaker English TTS Dataset", Interspeech 2021.
Layout: ``<reader>_manifest_<clean|other>_<train|dev|test>.json``, a JSON object a line with ``audio_filepath``
    (``audio/<reader>_<clean|other>/<book>/<name>.flac``), ``text`` and ``text_normalized``.
Its dev utterances are for validation; all others are for training, its test ones too: keep those aside if need be.
"""

from __future__ import annotations

import re
from pathlib import Path

from nemo_ext.corpus.config import CorpusConfig
from nemo_ext.corpus.found import BAD_ROW, NO_RECORDING, Found, clean_text, read_text, wanted
from nemo_ext.corpus.manifest import Dropped
from nemo_ext.errors import NemoExtError
from nemo_ext.types import Utterance
from nemo_ext.untrusted import parse_json

LANGUAGE = "en"
LAYOUT, IDS = "Hi-Fi TTS", r"(92|6097|6670|6671|8051|9017|9136|11614|11697|12787)_.+"
PROVENANCE = "Hi-Fi TTS (E. Bakhturina and others, NVIDIA; LibriVox readers); CC BY 4.0"

_NAME = re.compile(r"(?P<reader>\d+)_manifest_(clean|other)_(?P<part>train|dev|test)")


def read(source: Path, config: CorpusConfig) -> Found:
    """The rows of every manifest, with their recordings."""
    manifests = [(path, name) for path in sorted(source.glob("*.json")) if (name := _NAME.fullmatch(path.stem))]
    if not manifests:
        raise wanted(source, "hifitts", "92_manifest_clean_train.json and audio/92_clean/")
    found, val = Found(), set()
    for path, name in manifests:
        for number, line in enumerate(read_text(path).split("\n"), start=1):
            if not line.strip():
                continue
            try:
                row = parse_json(line, path.name)
                place, text = str(row["audio_filepath"]), clean_text(str(row["text"]))
                spoken = clean_text(str(row.get("text_normalized") or ""))
            except (NemoExtError, KeyError, TypeError):
                where = f"{path.name} line {number} is no JSON object with audio_filepath and text"
                found.dropped.append(Dropped(f"{path.stem}-{number}", BAD_ROW, where, text=line.strip()[:200]))
                continue
            recording = (source / place).resolve()
            identity = f"{name['reader']}_{Path(place).parent.name}_{Path(place).stem}"
            if not recording.is_relative_to(source.resolve()) or not recording.is_file():
                found.dropped.append(Dropped(identity, NO_RECORDING, f"no {place}", text=text))
                continue
            if name["part"] == "dev":
                val.add(identity)
            found.utterances.append(
                Utterance(
                    id=identity,
                    audio_filepath=str(recording),
                    text=text,
                    normalized_text=spoken or None,
                    speaker=name["reader"],
                    language=config.language or LANGUAGE,
                )
            )
    found.val = val or None
    return found
