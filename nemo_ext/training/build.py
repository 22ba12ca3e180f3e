"""From options to a model and its batches."""

from __future__ import annotations

import dataclasses
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from nemo_ext.config import conform
from nemo_ext.corpus.manifest import Corpus, load_corpus
from nemo_ext.data.augment import Augment
from nemo_ext.data.crops import crop_loaders
from nemo_ext.data.embeddings import embed_corpus, mean_embeddings
from nemo_ext.data.features import FeatureConfig, FeatureStore
from nemo_ext.data.prepare import base_voices, prepare, voice_name
from nemo_ext.errors import NemoExtError
from nemo_ext.models.speaker.encoders import speaker_encoder
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.text.languages import language as find_language
from nemo_ext.training import compiled, feed
from nemo_ext.training.config import TrainConfig
from nemo_ext.training.joint import joined
from nemo_ext.training.plan import corpus_hash, flat
from nemo_ext.training.preflight import check_disk
from nemo_ext.training.start import predicted_by, start_from
from nemo_ext.training.styles import learn_about_voices, style_names


@dataclass
class Built:
    """Everything that a fit takes."""

    model: Any  # the LightningModule
    train: Any  # loader of Batch or SegmentBatch
    val: Any
    settings: dict[str, Any]  # what the weights depend on, by dotted name
    defaults: dict[str, Any]  # of the model's options, likewise


def build(config: TrainConfig) -> Built:
    """The model that ``config`` names, and loaders of its corpus; features that are missing are made.

    Raises:
        NemoExtError: the corpus is missing or empty or of another sample rate, the model is none of ours, an option of
            it is unknown, what it starts from does not fit it, or the disk has no room for the features.
    """
    built = _build(config)
    # what a training starts from is a part of it, wherever the files lie
    built.settings["init"] = start_from(built.model, config.init) if config.init else ""
    built.defaults |= {"init": "", "acoustic": ""}
    return built


def _languages(asked: list[str], corpus: Corpus) -> list[str]:
    """Languages of the token table: those that were asked for, otherwise the corpus's.

    Raises:
        NemoExtError: the corpus speaks one that was not asked for, or one that nobody here reads.
    """
    untold = asked[0] if asked else "en"
    spoken = sorted({find_language(utterance.language or untold).code for utterance in corpus.utterances})
    missing = [code for code in spoken if code not in [find_language(code).code for code in asked]]
    if asked and missing:
        raise NemoExtError(
            f"text.languages=[{','.join(asked)}] lacks {', '.join(missing)}, which {corpus.dir} speaks: "
            f"write text.languages=[{','.join([*asked, *missing])}], or leave it out"
        )
    return asked or spoken


def _build(config: TrainConfig) -> Built:
    cls = _model_class(config.model)
    settings: Any = OmegaConf.to_container(conform(config.model, cls.config_class, "model."), resolve=True)
    if config.acoustic and not feed.is_vocoder(cls):
        raise NemoExtError(f"acoustic= is for vocoders, which learn its mels; model= is a {cls.__name__}: leave it out")
    feed.check(config, cls)
    compiled.check(config, cls)
    corpus = _corpus(config, feed.hears_any_rate(config, cls))
    if hasattr(cls, "embeddings"):  # a speaker encoder hears recordings, and needs no features
        return _speaker(config, cls, settings, corpus)
    identity = {"corpus": corpus_hash(corpus.dir), "seed": config.seed, "model": settings}
    identity["features"] = dataclasses.asdict(config.features)
    if config.augment != Augment():
        identity["augment"] = dataclasses.asdict(config.augment)
    settings = {**settings, "mel": dataclasses.asdict(config.features.mel)}
    if feed.is_vocoder(cls):  # reads no text
        model = cls(OmegaConf.create(settings))
        made = None
        if config.acoustic:
            made = predicted_by(config.acoustic, corpus, _features(config, corpus), config.trainer.accelerator)
        identity["acoustic"] = made.identity if made else ""
        train, val = feed.segments(config, corpus, settings, lambda: _features(config, corpus), made)
        return Built(model, train, val, flat(identity), _defaults(cls))
    languages = _languages(config.text.languages, corpus)
    features = _features(config, corpus)
    frontend = TextFrontend(dataclasses.replace(config.text, languages=languages))
    voices = base_voices(corpus.utterances, features)
    if hasattr(cls, "parts"):
        model, parts = joined(cls, settings, features.config.mel, frontend, voices)
        identity["model"] = {**identity["model"], **parts}  # wherever their files lie
        identity |= {"text": dataclasses.asdict(model.frontend.config), "frames_per_batch": config.frames_per_batch}
        styles = model.acoustic.style.names if model.acoustic.style is not None else []
        train, val = feed.utterances(config, corpus, model.frontend, model.voices, features, audio=True, styles=styles)
        return Built(model, train, val, flat(identity), _defaults(cls))
    text = dataclasses.asdict(frontend.config)
    settings = {**settings, "text": text, "voices": [dataclasses.asdict(voice) for voice in voices]}
    identity |= {"text": text, "frames_per_batch": config.frames_per_batch}
    styles = style_names(corpus.train) if settings.get("style", {}).get("tokens") else []
    settings |= {"style_names": styles}
    embeddings = None
    if settings.get("voice_encoder"):
        encoder = speaker_encoder(settings["voice_encoder"])
        embeddings = embed_corpus(corpus.utterances, features, encoder)
        about = {"name": encoder.name, "identity": encoder.identity, "size": encoder.size}
        settings["encoder"] = {**about, "spec": settings["voice_encoder"]}
        identity["model"] = {**identity["model"], "voice_encoder": about}  # wherever its file lies
    model = cls(OmegaConf.create(settings))
    if embeddings is not None:
        model.set_base_embeddings(torch.from_numpy(mean_embeddings(corpus.utterances, embeddings, voices)))
    if getattr(model, "style", None) is not None:
        learn_about_voices(model, corpus.train, features)
    more: dict[str, Any] = {"embeddings": embeddings, "styles": styles}
    train, val = feed.utterances(config, corpus, frontend, voices, features, **more)
    return Built(model, train, val, flat(identity), _defaults(cls))


def _defaults(cls: Any) -> dict[str, Any]:
    return flat({"model": dataclasses.asdict(cls.config_class())})


def _speaker(config: TrainConfig, cls: Any, settings: dict[str, Any], corpus: Corpus) -> Built:
    spec = config.features.mel
    names = sorted({voice_name(utterance) for utterance in corpus.utterances})
    if len(names) < 2:
        raise NemoExtError(
            f"corpus {config.corpus} has the speaker '{names[0]}' only, and an encoder learns to tell speakers apart: "
            "give a corpus of several"
        )
    identity = {"corpus": corpus_hash(corpus.dir), "seed": config.seed, "model": settings}
    identity["features"] = {"mel": dataclasses.asdict(spec)}
    voices = [{"name": name} for name in names]
    model = cls(OmegaConf.create({**settings, "mel": dataclasses.asdict(spec), "voices": voices}))
    crops = {"crop_seconds": settings["crop_seconds"], "batch_size": settings["batch_size"], "seed": config.seed}
    train, val = crop_loaders(corpus, names, spec, workers=config.trainer.workers, **crops)
    return Built(model, train, val, flat(identity), _defaults(cls))


def _model_class(model: dict[str, Any]) -> Any:
    target = str(model.get("_target_", ""))
    module, _, name = target.rpartition(".")
    if not module.startswith("nemo_ext.models."):
        raise NemoExtError(f"model._target_={target or 'nothing'} is none of our models: choose model=fastpitch, ...")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise NemoExtError(f"model._target_={target}: there is no such model ({error})") from error


def _corpus(config: TrainConfig, any_rate: bool) -> Corpus:
    corpus = load_corpus(config.corpus)
    if not corpus.train or not corpus.val:
        part = "validation" if corpus.train else "training"
        raise NemoExtError(f"corpus {config.corpus} has no {part} utterances: make it again from more recordings")
    rate, wanted = corpus.info.get("sample_rate"), config.features.mel.sample_rate
    if rate is not None and int(rate) != wanted and not any_rate:
        raise NemoExtError(
            f"corpus {config.corpus} has {rate} Hz and features.mel.sample_rate is {wanted} Hz: make the corpus again "
            f"with sample_rate={wanted}, or set features.mel.sample_rate={rate}"
        )
    return corpus


def _features(config: TrainConfig, corpus: Corpus) -> FeatureStore:
    chosen = config.features
    store = FeatureStore(
        corpus.dir, FeatureConfig(chosen.mel, chosen.pitch_method, chosen.pitch_f_min, chosen.pitch_f_max)
    )
    kept = store.cache_dir / store.fingerprint
    there = sum(file.stat().st_size for file in kept.rglob("*.safetensors"))
    needed = store.bytes_needed(sum(utterance.duration for utterance in corpus.utterances)) - there
    check_disk(Path(corpus.dir), needed, "its features take", "")
    prepare(corpus.utterances, store)
    return store
