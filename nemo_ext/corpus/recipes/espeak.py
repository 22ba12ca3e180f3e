"""A small English corpus made on the spot: a few voices, a few ways of speaking, nothing downloaded.

What: sentences of our own (``corpus.sentences``), read by espeak-ng, a formant synthesizer. The audio is no human
    speech and sounds like it; what it is good for is to see the whole chain work, with phoneme times known exactly.
Licence: espeak-ng is GPL-3 (an optional extra, ``espeakng-loader``); the sentences are ours; the audio made here is
    the user's own.
Layout: none; ``events.jsonl`` beside the manifest holds when each phoneme starts.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from nemo_ext.corpus.checks import mend
from nemo_ext.corpus.config import CorpusConfig, EspeakOptions, EspeakStyle, EspeakVoice
from nemo_ext.corpus.found import Found, Speak
from nemo_ext.corpus.manifest import read_jsonl
from nemo_ext.corpus.sentences import sentences
from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.types import Utterance

LANGUAGE = "en"
PROVENANCE = "made on the spot by espeak-ng (GPL-3) from sentences of this package; no human speech"

Events = list[tuple[str, float]]  # (phoneme in IPA, when it starts in s)


def read(source: Path, config: CorpusConfig) -> Found:
    """Sentences dealt to voices and styles; they are spoken while the corpus is prepared. ``source`` is not used."""
    del source
    options = config.espeak
    if not options.voices or not options.styles:
        raise NemoExtError("espeak.voices and espeak.styles must each name at least one")
    found = Found()
    turns = _turns(options)
    for number, sentence in enumerate(sentences(options.sentences, config.seed), start=1):
        voice, style = next(turns)
        name = f"{voice.name}-{style.name}-{number:04d}"
        found.utterances.append(
            Utterance(name, "", sentence, speaker=voice.name, language=config.language or LANGUAGE, style=style.name)
        )
        found.speak[name] = _how(voice, style)
    return found


def reading(
    text: str, voice: str, style: str = "neutral", options: EspeakOptions | None = None, sample_rate: int = 22050
) -> tuple[np.ndarray, Events]:
    """How the corpus maker itself reads ``text``: ``((T_audio,) float32 at sample_rate, phoneme events)``.

    ``voice`` and ``style``: names in ``options`` (default: the default corpus). The same treatment as in the corpus.

    Raises:
        NemoExtError: a voice or style that the options do not name, or espeak-ng is not installed.
    """
    options = options or EspeakOptions()
    voices = {one.name: one for one in options.voices}
    styles = {one.name: one for one in options.styles}
    for kind, name, known in (("voice", voice, voices), ("style", style, styles)):
        if name not in known:
            raise NemoExtError(f"the espeak corpus has no {kind} '{name}'{nearest(name, known)}; it has {list(known)}")
    audio, rate, events = speak(text, _how(voices[voice], styles[style]))
    mono, _ = mend(audio, rate, sample_rate, 0.0)
    return mono, events


def speak(text: str, how: Speak) -> tuple[np.ndarray, int, Events]:
    """``((1, T_audio) float32, sample rate in Hz, phoneme events)`` of ``text``."""
    from nemo_ext.text.espeak import synthesize

    audio, rate, events = synthesize(text, how.voice, rate=how.rate, pitch=how.pitch, range=how.range)
    return np.asarray(audio, dtype=np.float32)[None], rate, [(ipa, float(start)) for ipa, start in events]


def read_events(corpus_dir: str | Path) -> dict[str, Events]:
    """``{utterance id: phoneme events}`` of the espeak corpus in ``corpus_dir``."""
    rows = read_jsonl(Path(corpus_dir) / "events.jsonl")
    return {str(row["id"]): [(str(ipa), float(start)) for ipa, start in row["events"]] for _, row in rows}


def _how(voice: EspeakVoice, style: EspeakStyle) -> Speak:
    return Speak(voice.voice, style.rate, max(0, min(99, voice.pitch + style.pitch)), style.range)


def _turns(options: EspeakOptions) -> itertools.cycle[tuple[EspeakVoice, EspeakStyle]]:
    """Who speaks next, and how: voices in turn, and within a voice the styles in proportion to their shares."""
    shares = [max(0, round(10 * style.share)) for style in options.styles]
    if not any(shares):
        raise NemoExtError("espeak.styles: at least one share must be above 0")
    # The style that is furthest behind its share goes next, so that any number of sentences is dealt fairly.
    given = [0.0] * len(shares)
    order: list[EspeakStyle] = []
    for _ in range(sum(shares)):
        next_style = max(range(len(shares)), key=lambda i: (shares[i] * (len(order) + 1) / sum(shares) - given[i], -i))
        given[next_style] += 1
        order.append(options.styles[next_style])
    return itertools.cycle([(voice, style) for style in order for voice in options.voices])
