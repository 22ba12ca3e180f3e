"""Configurations of older releases in the words of NeMo 3.

What is kept is listed here, key by key and class by class: whatever else a file says is left behind, and named. So a
file cannot bring a class that the model does not need, and a renamed module is one row of a table.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nemo_ext.allowed import TOKENIZERS
from nemo_ext.errors import NemoExtError
from nemo_ext.models.stock import stock_voices
from nemo_ext.nemo_archive import NemoArchive
from nemo_ext.types import BaseVoice

FASTPITCH = "nemo.collections.tts.models.fastpitch.FastPitchModel"
HIFIGAN = "nemo.collections.tts.models.hifigan.HifiGanModel"

_TTS, _TOKENIZERS = "nemo.collections.tts", "nemo.collections.common.tokenizers.text_to_speech.tts_tokenizers"
# Classes by part, as NeMo 3 names them, and under what modules releases since 1.0 had them.
_CLASSES: dict[str, dict[str, str]] = {
    "input_fft": {"FFTransformerEncoder": f"{_TTS}.modules.transformer"},
    "output_fft": {"FFTransformerDecoder": f"{_TTS}.modules.transformer"},
    "alignment_module": {"AlignmentEncoder": f"{_TTS}.modules.aligner"},
    "duration_predictor": {"TemporalPredictor": f"{_TTS}.modules.fastpitch"},
    "pitch_predictor": {"TemporalPredictor": f"{_TTS}.modules.fastpitch"},
    "energy_predictor": {"TemporalPredictor": f"{_TTS}.modules.fastpitch"},
    "speaker_encoder": {"SpeakerEncoder": f"{_TTS}.modules.submodules"},
    "lookup_module": {"SpeakerLookupTable": f"{_TTS}.modules.submodules"},
    "text_normalizer": {"Normalizer": "nemo_text_processing.text_normalization.normalize"},
    "text_tokenizer": dict.fromkeys(TOKENIZERS, _TOKENIZERS),
    "g2p": {
        "EnglishG2p": f"{_TTS}.g2p.models.en_us_arpabet",
        "IpaG2p": f"{_TTS}.g2p.models.i18n_ipa",
        "ChineseG2p": f"{_TTS}.g2p.models.zh_cn_pinyin",
    },
    "preprocessor": {
        "AudioToMelSpectrogramPreprocessor": "nemo.collections.asr.modules",
        "FilterbankFeatures": "nemo.collections.asr.parts.preprocessing.features",
    },
    "generator": {"Generator": f"{_TTS}.modules.hifigan_modules"},
}
_FORMER_NAMES = {"IPAG2P": "IpaG2p", "FFTransformerDecoderAdapter": "FFTransformerDecoder"}
_FORMER_NAMES |= {f"{name}Adapter": name for name in ("FFTransformerEncoder", "AlignmentEncoder", "TemporalPredictor")}
_FORMER_MODULES = (
    "nemo_text_processing.g2p.",
    f"{_TTS}.g2p.",
    f"{_TTS}.torch.g2ps.",
    f"{_TTS}.torch.tts_tokenizers.",
    f"{_TTS}.modules.",
    "nemo.collections.common.tokenizers.text_to_speech.",
    "nemo.collections.asr.modules.",
    "nemo.collections.asr.parts.",
    "nemo_text_processing.text_normalization.",
)
_NUMBERS = (
    "learn_alignment",
    "n_speakers",
    "symbols_embedding_dim",
    "pitch_embedding_kernel_size",
    "energy_embedding_kernel_size",
    "n_mel_channels",
    "min_token_duration",
    "max_token_duration",
    "use_log_energy",
    "speaker_emb_condition_prosody",
    "speaker_emb_condition_decoder",
    "speaker_emb_condition_aligner",
)
_PARTS = ("input_fft", "output_fft", "alignment_module", "duration_predictor", "pitch_predictor", "preprocessor")
_OPTIONAL_PARTS = ("energy_predictor", "speaker_encoder", "text_tokenizer", "text_normalizer")
_FILES = ("text_tokenizer.g2p.phoneme_dict", "text_tokenizer.g2p.heteronyms", "text_normalizer.whitelist")
_ONLY_ON_THAT_MACHINE = ("cache_dir", "overwrite_cache", "mapping_file", "lm")  # paths, which a stranger chose
# Settings of a preprocessor that a MelSpec has no words for, and the values that ours are computed with.
_USUAL_MEL: dict[str, tuple[Any, ...]] = {
    "window": ("hann", None),
    "normalize": (None, False, ""),
    "preemph": (None, 0, 0.0, False),
    "log": (True,),
    "log_zero_guard_type": ("add",),
    "exact_pad": (False, None),
    "mel_norm": ("slaney",),
    "frame_splicing": (1, None),
}
# Of no interest to whoever speaks: not worth a line.
_SILENT = ("name", "target", "nemo_version", "adapters", "pitch_fmin", "pitch_fmax", "pitch_mean", "pitch_std")
_LOCALES = {"German": "de", "Spanish": "es", "French": "fr", "Italian": "it", "Vietnamese": "vi", "Chinese": "zh"}


@dataclass
class Translated:
    """A configuration in NeMo 3's words."""

    config: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)  # dotted key -> artifact it names
    voices: list[BaseVoice] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)  # what is not carried, each in a line for a person


def fastpitch(checkpoint: NemoArchive) -> Translated:
    """A FastPitch's configuration.

    Raises:
        NemoExtError: a part is missing, or of a class that no FastPitch has.
    """
    given = checkpoint.config
    found = Translated({k: given[k] for k in _NUMBERS if given.get(k) is not None})
    learnt = bool(given.get("learn_alignment"))
    for part in _PARTS:
        if part == "alignment_module" and not learnt:
            continue
        if not isinstance(given.get(part), Mapping):
            raise NemoExtError(f"{checkpoint.path} has no '{part}' in its configuration, so it is no whole FastPitch")
        found.config[part] = _part(part, given[part], checkpoint, found)
    for part in _OPTIONAL_PARTS:
        if isinstance(given.get(part), Mapping):
            found.config[part] = _part(part, given[part], checkpoint, found)
    if given.get("input_fft", {}).get("pre_lnorm") or given.get("output_fft", {}).get("pre_lnorm"):
        raise NemoExtError(f"{checkpoint.path} normalises before its layers (pre_lnorm), which no release could train")
    if learnt and "text_tokenizer" not in found.config:
        raise NemoExtError(
            f"{checkpoint.path} has no text_tokenizer in its configuration, as releases before 1.8 wrote it, so nobody "
            "knows what its symbols are: add the one it was trained with to its model_config.yaml"
        )
    for key in ("labels", "text_normalizer_call_kwargs"):
        if given.get(key) is not None:
            found.config[key] = given[key]
    _speaker_encoder(found, checkpoint)
    _files(found, checkpoint)
    _mel(found)
    if learnt:  # stock's constructor reads the name of a dataset class
        found.config["train_ds"] = {"defer_setup": True, "dataset": {"_target_": f"{_TTS}.data.dataset.TTSDataset"}}
    else:
        found.dropped.append("no learned alignment: it speaks, but cannot be trained on or adapted")
    dataset = (given.get("train_ds") or {}).get("dataset") or {}
    found.voices = _voices(found.config, dataset)
    _name_the_rest(checkpoint, found, {*found.config, "log_config"})
    return found


def hifigan(checkpoint: NemoArchive) -> Translated:
    """A HiFi-GAN's configuration: generator and mel.

    Raises:
        NemoExtError: one of them is missing, or of another class.
    """
    given = checkpoint.config
    found = Translated({})
    for part in ("generator", "preprocessor"):
        if not isinstance(given.get(part), Mapping):
            raise NemoExtError(f"{checkpoint.path} has no '{part}' in its configuration, so it is no whole HiFi-GAN")
        found.config[part] = _part(part, given[part], checkpoint, found, check=False)
    _mel(found)
    found.dropped.append("discriminators: training on begins with new ones")
    _name_the_rest(checkpoint, found, {"generator", "preprocessor", "log_config", "debug"})
    return found


def _part(
    part: str, given: Mapping[str, Any], checkpoint: NemoArchive, found: Translated, check: bool = True
) -> dict[str, Any]:
    """One part with its class in NeMo 3's words; settings that the class does not take any more are named."""
    target = _target(part, given, checkpoint)
    kept: dict[str, Any] = {"_target_": target}
    module, _, name = target.rpartition(".")
    taken = inspect.signature(getattr(importlib.import_module(module), name).__init__).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in taken.values())
    for key, value in given.items():
        if key == "_target_":
            continue
        if key in _ONLY_ON_THAT_MACHINE or (check and not anything and key not in taken):
            if value not in (None, False):
                found.dropped.append(f"{part}.{key}")
        elif key in _CLASSES and isinstance(value, Mapping):
            kept[key] = _part(key, value, checkpoint, found)
        elif part == "speaker_encoder" and key == "gst_module":
            if value is not None:
                kept[key] = value  # taken out again below, with a line of its own
        elif _names_a_class(value):
            raise NemoExtError(
                f"{checkpoint.path} names a class at {part}.{key}, where no release of NeMo does: it may run foreign "
                "code, so it is not loaded; get the model from a source you trust"
            )
        else:
            kept[key] = value
    return kept


def _target(part: str, given: Mapping[str, Any], checkpoint: NemoArchive) -> str:
    written = str(given.get("_target_") or given.get("cls") or "")
    name = written.rpartition(".")[2]
    name = _FORMER_NAMES.get(name, name)
    if name not in _CLASSES[part] or not written.startswith(_FORMER_MODULES):
        known = ", ".join(sorted(_CLASSES[part]))
        raise NemoExtError(
            f"{checkpoint.path} names '{written}' as its {part}, which is not carried (known: {known}); "
            "if it should be one of these, get the model from a source you trust"
        )
    return f"{_CLASSES[part][name]}.{name}"


def _names_a_class(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "_target_" in value or "cls" in value or any(_names_a_class(v) for v in value.values())
    return isinstance(value, list) and any(_names_a_class(v) for v in value)


def _speaker_encoder(found: Translated, checkpoint: NemoArchive) -> None:
    encoder = found.config.get("speaker_encoder")
    if not encoder:
        found.config.pop("speaker_encoder", None)
        return
    if encoder.pop("gst_module", None) is None:
        return
    if not encoder.get("lookup_module") and not encoder.get("precomputed_embedding_dim"):
        raise NemoExtError(
            f"{checkpoint.path} knows its speakers only from reference audio, through global style tokens of stock "
            "NeMo, which are not carried: train again with model/style=gst, which knows voices and styles by name"
        )
    found.dropped.append(
        "global style tokens (gst_module): the speech is that of the release without reference audio; "
        "styles of ours are trained with model/style=gst"
    )


def _mel(found: Translated) -> None:
    """Name what a MelSpec cannot say: speech is as before, but mels of ours are other ones."""
    given = found.config["preprocessor"]
    other = [f"{k}={given[k]}" for k, usual in _USUAL_MEL.items() if k in given and given[k] not in usual]
    if other:
        found.dropped.append(
            f"mels of another kind ({', '.join(other)}): speech is as before, but training on, adapting and vocoders "
            "of ours compute them otherwise"
        )


def _files(found: Translated, checkpoint: NemoArchive) -> None:
    """Which artifact each file of the configuration is."""
    for key in _FILES:
        *parents, last = key.split(".")
        owner: Any = found.config
        for name in parents:
            owner = owner.get(name) if isinstance(owner, Mapping) else None
        value = owner.get(last) if isinstance(owner, Mapping) else None
        if not isinstance(value, str):
            continue
        named = value.removeprefix("nemo:").rpartition("/")[2]
        matching = [a for a in checkpoint.artifacts if a.rpartition("/")[2] == named]
        if not matching and last == "whitelist":
            del owner[last]
            found.dropped.append(f"{key}: '{value}' is not in the file; the normalizer's own is used")
        elif not matching:
            found.files[key] = ""
        else:
            found.files[key] = matching[0]


def _voices(config: Mapping[str, Any], dataset: Any) -> list[BaseVoice]:
    told = dataset if isinstance(dataset, Mapping) else {}
    pitch = {key: _number(told.get(key)) for key in ("pitch_mean", "pitch_std")}
    numbered = stock_voices({**config, "train_ds": {"dataset": pitch}})
    return [dataclasses.replace(voice, language=_language(config)) for voice in numbered]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _language(config: Mapping[str, Any]) -> str:
    tokenizer = config.get("text_tokenizer") or {}
    locale = tokenizer.get("locale") or (tokenizer.get("g2p") or {}).get("locale")
    if isinstance(locale, str):
        return locale[:2].lower()
    name = str(tokenizer.get("_target_", "")).rpartition(".")[2]
    return next((code for start, code in _LOCALES.items() if name.startswith(start)), "en")


def _name_the_rest(checkpoint: NemoArchive, found: Translated, kept: set[str]) -> None:
    rest = sorted(str(k) for k in checkpoint.config if k not in kept and k not in _SILENT)
    training = [k for k in rest if k.endswith(("_ds", "_path", "_scale", "_epochs", "_folder")) or k in _TRAINING]
    if training or "train_ds" in checkpoint.config:
        found.dropped.append(
            "settings of its training: " + ", ".join(sorted({*training, "train_ds"} & {*checkpoint.config}))
        )
    other = [k for k in rest if k not in training]
    if other:
        found.dropped.append("settings that are not known here: " + ", ".join(other))


_TRAINING = ("optim", "sched", "log_images", "max_epochs", "max_steps", "l1_loss_factor", "sup_data_types", "trainer")
