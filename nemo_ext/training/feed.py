"""Which loaders feed a training: torch's, from features made ahead, or DALI's, from the recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nemo_ext.corpus.manifest import Corpus
from nemo_ext.data.augment import Augment
from nemo_ext.data.dali import dali_acoustic_loader, dali_vocoder_loaders
from nemo_ext.data.dali_graph import require
from nemo_ext.data.features import FeatureStore
from nemo_ext.data.loaders import acoustic_loaders, vocoder_loaders
from nemo_ext.data.predicted import PredictedMels
from nemo_ext.errors import NemoExtError
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.training.config import TrainConfig
from nemo_ext.types import BaseVoice


def check(config: TrainConfig, cls: Any) -> None:
    """
    Raises:
        NemoExtError: DALI is asked for and not installed, or for what it does not do.
    """
    config.augment.check()
    if config.loader == "torch":
        if config.augment != Augment():
            raise NemoExtError("augment.* is done by DALI: add loader=dali, or leave it out")
        return
    if hasattr(cls, "embeddings"):
        raise NemoExtError("loader=dali makes mels, and a speaker encoder hears recordings: leave it out")
    if hasattr(cls, "decode") and not is_vocoder(cls):
        raise NemoExtError("loader=dali gives mels or segments, and a joint model needs both: leave it out")
    if config.acoustic:
        raise NemoExtError("loader=dali makes mels of recordings, and acoustic= brings its own: leave one of them out")
    require()


def is_vocoder(cls: Any) -> bool:
    """Whether the model, or its class, reads mels only: a joint one has both methods."""
    return hasattr(cls, "decode") and not hasattr(cls, "predict_mel")


def hears_any_rate(config: TrainConfig, cls: Any) -> bool:
    """Whether recordings are resampled as they are read: a vocoder's by DALI, which needs no features either."""
    return config.loader == "dali" and is_vocoder(cls)


def segments(
    config: TrainConfig,
    corpus: Corpus,
    settings: dict[str, Any],
    features: Callable[[], FeatureStore],
    predicted: PredictedMels | None = None,
) -> tuple[Any, Any]:
    """Loaders of ``types.SegmentBatch``, for training and for validation; ``features`` makes what torch's need.

    ``predicted``: an acoustic model's mels, to learn on instead of the recordings'.
    """
    batches: dict[str, Any] = {
        "segment_frames": settings["segment_frames"],
        "batch_size": settings["batch_size"],
        "seed": config.seed,
    }
    if config.loader == "dali":
        return dali_vocoder_loaders(corpus, config.features.mel, **batches, augment=config.augment, **_dali(config))
    return vocoder_loaders(corpus, features(), **batches, workers=config.trainer.workers, predicted=predicted)


def utterances(
    config: TrainConfig,
    corpus: Corpus,
    frontend: TextFrontend,
    voices: Sequence[BaseVoice],
    features: FeatureStore,
    **more: Any,
) -> tuple[Any, Any]:
    """Loaders of ``types.Batch``, for training and for validation; ``more`` as in ``acoustic_loaders``."""
    dali = config.loader == "dali"
    workers = 0 if dali else config.trainer.workers
    loading: dict[str, Any] = {"workers": workers, "seed": config.seed, "accumulate": config.trainer.accumulate}
    train, val = acoustic_loaders(corpus, frontend, voices, features, config.frames_per_batch, **loading, **more)
    if not dali:
        return train, val
    changed = dali_acoustic_loader(train, augment=config.augment, **_dali(config))
    return changed, dali_acoustic_loader(val, **_dali(config))


def _dali(config: TrainConfig) -> dict[str, Any]:
    return {"threads": max(1, config.trainer.workers), "gpu": config.trainer.accelerator == "gpu"}
