"""LibriSpeech and LibriTTS: English audio books by hundreds of readers.

What: LibriSpeech, 1,000 h at 16 kHz (openslr.org/12); LibriTTS, 585 h at 24 kHz with punctuation (openslr.org/60).
Licence: CC BY 4.0, both.
Cite: V. Panayotov and others, "Librispeech: an ASR corpus based on public domain audio books", ICASSP 2015;
    H. Zen and others, "LibriTTS", Interspeech 2019.
Layouts: ``[subset/]1688/142285/1688-142285-0000.flac`` + ``1688-142285.trans.txt`` (id, space, text on each line);
    LibriTTS ``.../<id>.wav`` + ``<id>.original.txt`` + ``<id>.normalized.txt``;
    ``wav/1688/<id>.flac`` + ``txt/1688/<id>.txt`` (small sets for tests).
LibriSpeech's transcripts are in capitals without punctuation; capitals are lowered, for g2p would spell them.
"""

from __future__ import annotations

from pathlib import Path

from nemo_ext.corpus.config import CorpusConfig
from nemo_ext.corpus.found import Found, audio_files, clean_text, read_text, wanted
from nemo_ext.corpus.recipes._pairs import pair, texts_of_files

LANGUAGE = "en"
LAYOUT, IDS = "LibriSpeech", r"\d+-\d+-\d{4}|\d+_\d+_\d{6}_\d{6}"
PROVENANCE = "LibriSpeech / LibriTTS (V. Panayotov, H. Zen and others; LibriVox readers); CC BY 4.0"


def read(source: Path, config: CorpusConfig) -> Found:
    """Recordings anywhere below ``source``, with the texts of any of the three layouts."""
    recordings = [(path.stem, path) for path in audio_files(source)]
    spoken = dict(texts_of_files(source, "**/*.normalized.txt", ".normalized.txt"))
    texts = texts_of_files(source / "txt", "*/*.txt")
    texts += texts_of_files(source, "**/*.original.txt", ".original.txt")
    texts += [(name, spoken[name]) for name in sorted(spoken.keys() - {name for name, _ in texts})]
    for path in sorted(source.rglob("*.trans.txt")):
        lines = (line.strip().partition(" ") for line in read_text(path).split("\n"))
        texts += [(name, clean_text(text)) for name, _, text in lines if name]
    if not recordings or not texts:
        raise wanted(source, "librispeech", "reader/chapter/*.flac with *.trans.txt (or *.normalized.txt)")
    found = pair(recordings, texts, source)
    lowered = 0
    for row in found.utterances:
        if row.text.isupper():
            row.text = row.text.lower()
            lowered += 1
        row.normalized_text = spoken.get(row.id)
        row.speaker = row.id.replace("_", "-").split("-")[0]
        row.language = config.language or LANGUAGE
    if lowered:
        found.notes.append(f"{lowered} transcripts were in capitals and have been lowered")
    return found
