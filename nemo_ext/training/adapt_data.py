"""The new speaker's recordings, checked against the base that is to speak like them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader

from nemo_ext.corpus.manifest import Corpus, load_corpus
from nemo_ext.corpus.splits import split
from nemo_ext.data.features import FeatureConfig, FeatureStore
from nemo_ext.data.loaders import acoustic_loaders, in_order
from nemo_ext.data.prepare import base_voices, prepare, voice_name
from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.training.adapt_config import LEAST_SECONDS, AdaptConfig
from nemo_ext.types import BaseVoice, Utterance

_HELD_OUT = 0.1  # of the speech, where the corpus itself keeps less for validation
_LEAST_HELD_OUT = 2  # utterances


@dataclass
class Recordings:
    """What there is of the new speaker."""

    corpus: Corpus  # train: to learn from; val: held out
    voice: BaseVoice  # language, pitch in Hz, seconds
    store: FeatureStore
    train: DataLoader[Any]  # shuffled
    val: DataLoader[Any]  # held-out utterances, always the same
    whole: DataLoader[Any]  # everything, always the same
    notes: list[str]

    @property
    def seconds(self) -> float:
        """Of speech to learn from."""
        return sum(u.duration for u in self.corpus.train)

    def hash(self) -> str:
        """Identity of the recordings: 32 hexadecimal digits over their bytes, whatever their order."""
        digest = hashlib.sha256()
        for one in sorted(self.store.entry(u).audio_hash for u in self.corpus.utterances):
            digest.update(one.encode())
        return digest.hexdigest()[:32]


def gather(config: AdaptConfig, base: Any) -> Recordings:
    """The recordings of ``config.corpus`` as ``base`` learns them; features that are missing are made.

    Raises:
        NemoExtError: another sample rate, a language or letters that the base does not know, several speakers, or too
            little speech.
    """
    whole, notes = load_corpus(config.corpus), []
    _check_rate(whole, base)
    rows = _of_one_speaker(whole, config)
    rows = _in_known_language(rows, base, config)
    rows, left_out = _with_known_letters(rows, base, config)
    notes += left_out
    seconds = sum(u.duration for u in rows)
    if seconds < LEAST_SECONDS or len(rows) < 2:
        raise NemoExtError(
            f"{config.corpus} has {seconds:.1f} s of speech in {len(rows)} utterances: adaptation needs at least "
            f"{LEAST_SECONDS:g} s in two; from a single clip, make a voice with reference=CLIP.wav"
        )
    train, val = _held_out(whole, rows, config.seed)
    corpus = Corpus(whole.dir, train, val, whole.info)
    store = FeatureStore(
        corpus.dir, FeatureConfig(base.mel_spec, config.pitch_method, config.pitch_f_min, config.pitch_f_max)
    )
    prepare(corpus.utterances, store)
    voice = base_voices(corpus.utterances, store)[0]
    loading: dict[str, Any] = {"workers": config.trainer.workers, "seed": config.seed}
    made = acoustic_loaders(corpus, base.frontend, [voice], store, config.frames_per_batch, **loading)
    everything = Corpus(corpus.dir, corpus.utterances, val, corpus.info)
    again = acoustic_loaders(everything, base.frontend, [voice], store, config.frames_per_batch)[0]
    return Recordings(corpus, voice, store, *made, in_order(again, config.frames_per_batch), notes)


def _check_rate(corpus: Corpus, base: Any) -> None:
    rate, wanted = corpus.info.get("sample_rate"), base.mel_spec.sample_rate
    if rate is not None and int(rate) != wanted:
        raise NemoExtError(
            f"corpus {corpus.dir} has {rate} Hz and the base {base.origin} speaks {wanted} Hz: make the corpus again "
            f"with sample_rate={wanted}"
        )


def _of_one_speaker(corpus: Corpus, config: AdaptConfig) -> list[Utterance]:
    spoken = sorted({voice_name(u) for u in corpus.utterances})
    if config.speaker and config.speaker not in spoken:
        raise NemoExtError(
            f"speaker={config.speaker} is not in {config.corpus}{nearest(config.speaker, spoken)}; "
            f"its speakers: {', '.join(spoken[:12])}"
        )
    if not config.speaker and len(spoken) > 1:
        raise NemoExtError(
            f"{config.corpus} has {len(spoken)} speakers ({', '.join(spoken[:12])}): choose one with speaker=NAME"
        )
    wanted = config.speaker or spoken[0]
    # a corpus of one utterance has it on both sides of its split
    return list({u.id: u for u in corpus.utterances if voice_name(u) == wanted}.values())


def _in_known_language(rows: Sequence[Utterance], base: Any, config: AdaptConfig) -> list[Utterance]:
    settings = getattr(base.frontend, "config", None)  # a stock checkpoint does not tell
    known = list(settings.languages) if settings is not None else []
    foreign = sorted({u.language for u in rows if u.language and known and u.language not in known})
    if foreign:
        raise NemoExtError(
            f"{config.corpus} speaks {', '.join(foreign)} and the base {base.origin} only {', '.join(known)}: "
            "adapt a base of that language"
        )
    return list(rows)


def _with_known_letters(rows: Sequence[Utterance], base: Any, config: AdaptConfig) -> tuple[list[Utterance], list[str]]:
    """Utterances whose every letter the base can say, and what is to be told of the others."""
    kept, unknown = [], {}
    for u in rows:
        try:
            tokens = base.frontend.encode(u.text, u.language or base.voices[0].language, u.normalized_text)
            letters = [c for c, _ in tokens.unknown if any(x.isalpha() for x in c)]
        except NemoExtError as error:
            letters = [c for c, _ in getattr(error, "unknown", [])] or ["no word"]
        if letters:
            unknown[u.id] = "".join(letters)
        else:
            kept.append(u)
    if not unknown:
        return kept, []
    shown = ", ".join(f"{k} ({v[:8]})" for k, v in list(unknown.items())[:3])
    if len(unknown) * 2 > len(rows):
        raise NemoExtError(
            f"{len(unknown)} of {len(rows)} texts of {config.corpus} have letters that the base {base.origin} does not "
            f"know, for instance {shown}: adapt a base of that language and alphabet"
        )
    return kept, [f"{len(unknown)} utterances with letters that the base does not know are left out: {shown}"]


def _held_out(corpus: Corpus, rows: list[Utterance], seed: int) -> tuple[list[Utterance], list[Utterance]]:
    """What to learn from, and what to stop by: the corpus's own validation part where that is enough."""
    aside = {u.id for u in corpus.val}
    train, val = [u for u in rows if u.id not in aside], [u for u in rows if u.id in aside]
    wanted = _HELD_OUT * sum(u.duration for u in rows)
    if len(val) >= _LEAST_HELD_OUT and sum(u.duration for u in val) >= wanted and train:
        return train, val
    if not train:  # a speaker of the validation part only
        train, val = rows, []
    # of one alone, split gives both sides the same
    more = split(train, _HELD_OUT, seed)[1] if len(train) > 1 else []
    chosen = {u.id for u in val} | {u.id for u in more}
    for u in rows:  # two short ones at least, if anything is left to learn from
        if len(chosen) >= _LEAST_HELD_OUT or len(rows) - len(chosen) <= _LEAST_HELD_OUT:
            break
        chosen.add(u.id)
    return [u for u in rows if u.id not in chosen], [u for u in rows if u.id in chosen]
