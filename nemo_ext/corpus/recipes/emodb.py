"""Emo-DB: ten German actors, ten sentences, seven emotions.

What: Berlin Database of Emotional Speech, 535 utterances, 16 kHz, every file normalized to full scale.
Licence: CC0 1.0 (as published by audEERING).
Cite: F. Burkhardt and others, "A database of German emotional speech", Interspeech 2005.
Layouts: ``wav/03a01Fa.wav``, or ``wav/03/03a01Fa.flac`` with ``txt/03/03a01Fa.txt`` (small sets for tests).
    A name is speaker (03), sentence (a01), emotion (F, first letter of the German word) and version (a).
Ten texts only: a model trained on nothing else will say nothing else well.
"""

from __future__ import annotations

import re
from pathlib import Path

from nemo_ext.corpus.config import CorpusConfig
from nemo_ext.corpus.found import NO_RECORDING, NO_TEXT, Found, audio_files, relative, wanted
from nemo_ext.corpus.manifest import Dropped
from nemo_ext.corpus.recipes._pairs import texts_of_files
from nemo_ext.types import Utterance

LANGUAGE = "de"
LAYOUT, IDS = "Emo-DB", r"\d\d[ab]\d\d[A-Z][a-z]"
PROVENANCE = "Emo-DB, Berlin Database of Emotional Speech (F. Burkhardt and others, 2005); CC0 1.0"

TEXTS = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
EMOTIONS = {
    "W": "anger",  # Wut
    "L": "boredom",  # Langeweile
    "E": "disgust",  # Ekel
    "A": "fear",  # Angst
    "F": "happiness",  # Freude
    "T": "sadness",  # Trauer
    "N": "neutral",
}
_NAME = re.compile(r"(?P<speaker>\d\d)(?P<sentence>[ab]\d\d)(?P<emotion>[A-Z])[a-z]")


def read(source: Path, config: CorpusConfig) -> Found:
    """Recordings under ``wav/``; what they say and how follows from their names."""
    folder = source / "wav"
    recordings = audio_files(folder)
    if not recordings:
        raise wanted(source, "emodb", "wav/03a01Fa.wav and so on")
    written = dict(texts_of_files(source / "txt", "**/*.txt"))
    found = Found()
    for path in recordings:
        code = _NAME.fullmatch(path.stem)
        text = written.get(path.stem) if path.stem in written else TEXTS.get(code["sentence"]) if code else None
        if code is None or text is None or code["emotion"] not in EMOTIONS:
            detail = "its name is not Emo-DB's code of speaker, sentence, emotion and version"
            found.dropped.append(Dropped(path.stem, NO_TEXT, detail, path=relative(path, source)))
            continue
        found.utterances.append(
            Utterance(
                id=path.stem,
                audio_filepath=str(path),
                text=text,
                speaker=code["speaker"],
                language=config.language or LANGUAGE,
                style=EMOTIONS[code["emotion"]],
            )
        )
    missing = written.keys() - {path.stem for path in recordings}
    found.dropped += [Dropped(name, NO_RECORDING, text=written[name]) for name in sorted(missing)]
    return found
