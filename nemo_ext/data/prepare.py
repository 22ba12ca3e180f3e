"""Making the features of a corpus ahead of training, and what follows from them: the base voices' pitch."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np

from nemo_ext.console import Progress
from nemo_ext.data.cache import in_turn
from nemo_ext.data.features import Entry, FeatureStore
from nemo_ext.errors import NemoExtError
from nemo_ext.machine import cores
from nemo_ext.types import BaseVoice, Utterance

_SECONDS_WORTH_A_PROCESS = 600.0  # of speech: below that, one process is done before another has imported torch


@dataclass(frozen=True)
class Prepared:
    """What ``prepare`` found and did."""

    reused: int  # utterances whose features were there and whole
    made: int


def prepare(utterances: Sequence[Utterance], store: FeatureStore, processes: int = 0) -> Prepared:
    """See that ``store`` holds good features of every utterance as its recording is now.

    Every recording is hashed and every cached file checked (about 0.1 ms a second of speech on one core); what is
    missing or damaged is made. Stopped in the middle, it goes on from there the next time.

    Args:
        utterances: of one corpus; their ids are unique.
        store: its ``entries`` are filled.
        processes: how many to compute with; 0: one a core, fewer when there is little to do.

    Raises:
        NemoExtError: a recording cannot be read, or the disk is full.
    """
    missing = _missing(utterances, store)
    if missing:
        with in_turn(store.cache_dir / store.fingerprint) as waited:  # others of a training may want the same
            missing = _missing(missing, store) if waited else missing
            worth = math.ceil(sum(utterance.duration for utterance in missing) / _SECONDS_WORTH_A_PROCESS)
            workers = processes or max(1, min(cores(), worth))
            with Progress(len(missing), "computing mel, pitch and energy") as progress:
                for utterance, entry in zip(missing, _made(missing, store, workers), strict=True):
                    store.entries[utterance.id] = entry
                    progress.step()
    return Prepared(reused=len(utterances) - len(missing), made=len(missing))


def _missing(utterances: Sequence[Utterance], store: FeatureStore) -> list[Utterance]:
    """Those of ``utterances`` whose features ``store`` has to make; of the others it then has the entries."""
    missing = []
    with ThreadPoolExecutor(2 * cores()) as pool, Progress(len(utterances), "checking features") as progress:
        try:
            for utterance, entry in zip(utterances, pool.map(store.check, utterances), strict=True):
                if entry is None:
                    missing.append(utterance)
                else:
                    store.entries[utterance.id] = entry
                progress.step()
        finally:
            pool.shutdown(cancel_futures=True)
    return missing


def _made(utterances: list[Utterance], store: FeatureStore, workers: int) -> Iterator[Entry]:
    if workers == 1:
        yield from map(store.make, utterances)
        return
    # spawn: a forked child of a process that runs torch's threads may hang
    context = multiprocessing.get_context("spawn")
    empty = FeatureStore(store.corpus_dir, store.config, store.cache_dir)  # without what is known so far: less to send
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(empty,)) as pool:
        try:
            yield from pool.map(_make, utterances, chunksize=8)
        except BrokenProcessPool as error:
            raise NemoExtError(
                "a process that computed features was killed; is memory short? Start again: what is done is kept"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


_store: FeatureStore | None = None  # of a child process


def _start(store: FeatureStore) -> None:
    import torch

    global _store
    _store = store
    torch.set_num_threads(1)  # the other cores have processes of their own


def _make(utterance: Utterance) -> Entry:
    assert _store is not None
    return _store.make(utterance)


def voice_name(utterance: Utterance) -> str:
    """Name of the base voice that speaks: the manifest's speaker, or ``default`` where it names none."""
    return utterance.speaker or "default"


def base_voices(utterances: Sequence[Utterance], store: FeatureStore) -> list[BaseVoice]:
    """One base voice for each speaker of ``utterances``, sorted by name, with the pitch of its voiced frames in Hz.

    A voice without any voiced frame (whispering, or a pitch band that does not fit) keeps mean 0 and deviation 1.
    """
    spoken: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        spoken.setdefault(voice_name(utterance), []).append(utterance)
    return [_voice(name, spoken[name], [store.entry(u) for u in spoken[name]], store) for name in sorted(spoken)]


def _voice(name: str, utterances: list[Utterance], entries: list[Entry], store: FeatureStore) -> BaseVoice:
    styles = {utterance.style for utterance in utterances}
    languages = [utterance.language for utterance in utterances if utterance.language]
    voice = BaseVoice(
        name,
        style=styles.pop() if len(styles) == 1 else None,
        utterances=len(utterances),
        seconds=round(sum(store.config.mel.seconds(entry.frames - 1) for entry in entries), 3),
    )
    if languages:
        voice.language = max(sorted(set(languages)), key=languages.count)
    voiced = sum(entry.voiced for entry in entries)
    if voiced:
        mean = math.fsum(entry.pitch_sum for entry in entries) / voiced
        variance = math.fsum(entry.pitch_square_sum for entry in entries) / voiced - mean**2
        voice.pitch_mean = round(mean, 3)
        voice.pitch_std = round(max(1.0, math.sqrt(max(0.0, variance))), 3)  # below 1 Hz it is no melody but noise
    return voice


def mel_statistics(utterances: Sequence[Utterance], store: FeatureStore, voices: Sequence[BaseVoice]) -> np.ndarray:
    """Mean and deviation of each base voice's log-mels over all frames: ``(voices, 2, n_mels)`` float32.

    A voice that says nothing in ``utterances`` gets 0 and 1.
    """
    rows = {voice.name: number for number, voice in enumerate(voices)}
    sums = np.zeros((len(voices), 2, store.config.mel.n_mels))
    frames = np.zeros((len(voices), 1))
    for utterance in utterances:
        mel, row = store.load(utterance).mel.astype(np.float64), rows[voice_name(utterance)]
        sums[row] += np.stack([mel.sum(1), np.square(mel).sum(1)])
        frames[row] += mel.shape[1]
    mean, square = (sums[:, i] / np.maximum(frames, 1) for i in range(2))
    deviation = np.where(frames > 0, np.sqrt(np.maximum(square - mean**2, 0.0)), 1.0)
    return np.stack([mean, deviation], axis=1).astype(np.float32)
