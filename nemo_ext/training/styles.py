"""Styles before and after a training: what references are centred on, and the named styles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from nemo_ext.console import tell
from nemo_ext.data.features import FeatureStore
from nemo_ext.data.loaders import in_order
from nemo_ext.data.prepare import mel_statistics, voice_name
from nemo_ext.types import Utterance

_FRAMES_PER_BATCH = 6000  # of the pass that names the styles


def style_names(utterances: Sequence[Utterance]) -> list[str]:
    """The labels of ``utterances``, sorted."""
    return sorted({utterance.style for utterance in utterances if utterance.style})


def learn_about_voices(model: Any, utterances: Sequence[Utterance], features: FeatureStore) -> None:
    """Tell ``model`` the statistics of its base voices' mels, and how often each speaks in which style."""
    names, rows = model.style.names, {voice.name: number for number, voice in enumerate(model.voices)}
    counts = torch.zeros(len(rows), len(names), dtype=torch.long)
    for utterance in utterances:
        if utterance.style in names:
            counts[rows[voice_name(utterance)], names.index(utterance.style)] += 1
    model.style.bank.describe(torch.from_numpy(mel_statistics(utterances, features, model.voices)), counts)


def name_styles(model: Any, train: Any) -> None:
    """When training is done: the mean style of each voice and label over the training utterances, kept in ``model``.

    Nothing happens to a model without style.
    """
    if getattr(model, "style", None) is None:
        return
    model.style.name_styles(in_order(train, _FRAMES_PER_BATCH))
    named = model.style.names if model.style.bank.filled else []
    said = f"named styles: {', '.join(named)}" if named else "no utterance is labelled, so no style has a name"
    tell(said, error=True)
