"""The mels that an acoustic model makes of a corpus, as long as the recordings: what a vocoder is fine-tuned on.

A vocoder that learned on recordings' mels has never heard the smoothed ones that an acoustic model predicts, and sounds
metallic on them. Here the model speaks every utterance with the durations that its own aligner finds in the recording,
and with the recording's pitch and energy (teacher forcing, as in HiFi-GAN, arXiv 2010.05646, section 4.4), so that each
frame of the prediction belongs to the same samples as the recording's frame. Nothing is random in it: dropout is off,
and utterances are spoken one at a time, so that a stopped run that goes on makes the same numbers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nemo_ext.console import Progress
from nemo_ext.corpus.manifest import Corpus
from nemo_ext.data import cache
from nemo_ext.data.collate import collate_acoustic
from nemo_ext.data.dataset import AcousticDataset
from nemo_ext.data.features import FeatureStore
from nemo_ext.data.tokens import encode_corpus
from nemo_ext.errors import NemoExtError
from nemo_ext.modules.weights import weights_identity
from nemo_ext.types import Utterance, check_mels

# Raise it when the same model and recording give other numbers than before.
ALGORITHM = 1
_WHAT = "predicted mels"


@dataclass
class PredictedMels:
    """Where the predicted mel of each utterance lies. Can be pickled, so that any worker can read it."""

    paths: dict[str, Path]  # by utterance id; an utterance that cannot be aligned has none
    identity: str  # of the model and the settings they were made with

    def load(self, utterance: Utterance) -> np.ndarray:
        """The predicted mel ``(n_mels, T_mel)`` of ``utterance``, as many frames as the recording's.

        Raises:
            NemoExtError: the file is gone or damaged.
        """
        held = cache.read(self.paths[utterance.id], ("mel",), _WHAT)
        if held is None:
            raise NemoExtError(f"{self.paths[utterance.id]} is gone or damaged: start the training again to make it")
        return held["mel"]


def predict_mels(
    corpus: Corpus, acoustic: Any, store: FeatureStore, device: str | torch.device | None = None
) -> PredictedMels:
    """Let ``acoustic`` speak every utterance of ``corpus`` that the cache does not know yet.

    Files lie in ``<features folder>/predicted-<identity>/``, one an utterance, found by the recording's bytes, the
    tokens and the voice.

    Args:
        corpus: whose features are in ``store``; training and validation utterances are spoken alike.
        acoustic: a model with ``learn``, ``mel_spec``, ``frontend`` and ``voices``; it speaks in evaluation mode.
        store: the corpus' features; its mel settings are the model's.
        device: where it speaks, and only if there is something to say; where it is unless given.

    Raises:
        NemoExtError: the model is none that can be aligned, was made for other mels, does not know a voice of the
            corpus, or makes a mel that is no number.
    """
    if not hasattr(acoustic, "learn") or getattr(acoustic, "aligner", None) is None:
        raise NemoExtError(
            f"acoustic= is a {type(acoustic).__name__} without an aligner of its own: give a FastPitch that learned one"
        )
    check_mels(acoustic.mel_spec, store.config.mel)
    utterances = corpus.utterances
    tokens = encode_corpus(utterances, acoustic.frontend, store.cache_dir)
    try:
        dataset = AcousticDataset(utterances, tokens, store, acoustic.voices, _styles(acoustic))
    except NemoExtError as error:
        raise NemoExtError(f"acoustic= cannot speak this corpus: {error}") from error
    identity = _identity(acoustic, store)
    folder = store.cache_dir / f"predicted-{identity}"
    made = PredictedMels({}, identity)
    for index, utterance in enumerate(dataset.utterances):
        key = [store.entry(utterance).audio_hash, dataset.tokens[index].tolist(), dataset.voice_ids[index]]
        name = hashlib.sha256(json.dumps([*key, utterance.style]).encode()).hexdigest()[:32]
        made.paths[utterance.id] = folder / name[:2] / f"{name}.safetensors"

    def missing(among: Sequence[int]) -> list[int]:
        return [i for i in among if cache.read(made.paths[dataset.utterances[i].id], ("mel",), _WHAT) is None]

    if silent := missing(range(len(dataset))):
        with cache.in_turn(folder) as waited:
            if silent := missing(silent) if waited else silent:
                _speak(acoustic, dataset, silent, made, device)
    return made


@torch.no_grad()
def _speak(acoustic: Any, dataset: AcousticDataset, indices: Sequence[int], made: PredictedMels, on: Any) -> None:
    was_training, before = acoustic.training, next(acoustic.parameters()).device
    acoustic.eval()
    device = torch.device(before if on is None else on)
    acoustic.to(device)
    with Progress(len(indices), "predicting mels") as progress:
        for index in indices:
            utterance = dataset.utterances[index]
            _, mel, _ = acoustic.learn(collate_acoustic([dataset[index]], acoustic.frontend.pad).to(device))
            if not bool(torch.isfinite(mel).all()):
                raise NemoExtError(f"acoustic= makes a mel that is no number of utterance '{utterance.id}'")
            cache.write(made.paths[utterance.id], {"mel": mel[0].float().cpu().contiguous().numpy()})
            progress.step()
    acoustic.train(was_training)
    acoustic.to(before)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # the training that follows wants the room


def aligned(corpus: Corpus, made: PredictedMels) -> Corpus:
    """``corpus`` without the utterances that have no predicted mel (too much text for their length).

    Raises:
        NemoExtError: no training utterance, or none for validation, is left.
    """
    parts = [[u for u in part if u.id in made.paths] for part in (corpus.train, corpus.val)]
    if not all(parts):
        raise NemoExtError(f"none of the {'validation' if parts[0] else 'training'} utterances could be aligned")
    return dataclasses.replace(corpus, train=parts[0], val=parts[1])


def _styles(acoustic: Any) -> list[str]:
    style = getattr(acoustic, "style", None)
    return [] if style is None else list(style.names)


def _identity(acoustic: Any, store: FeatureStore) -> str:
    """Everything that a predicted mel depends on but the utterance."""
    voices = [dataclasses.asdict(voice) for voice in acoustic.voices]
    settings = json.dumps([ALGORITHM, store.fingerprint, voices, acoustic.frontend.fingerprint()], sort_keys=True)
    digest = hashlib.sha256(settings.encode())
    digest.update(weights_identity(acoustic.state_dict()).encode())
    return digest.hexdigest()[:16]
