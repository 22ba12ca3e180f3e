"""What a ``.nemo`` file may name: for each kind of model a closed list of the classes that its parts may be.

NeMo's own allow-list admits every function under whole packages, some of which write files or delete folders. Here a
class is admitted at one place of one kind of model, everything else is refused by name, and no setting may be a path:
a file that a part reads has to lie in the archive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nemo_ext.errors import NemoExtError
from nemo_ext.untrusted import nodes, shown

_TTS, _ASR = "nemo.collections.tts", "nemo.collections.asr"
_TOKENIZERS = "nemo.collections.common.tokenizers.text_to_speech.tts_tokenizers"
_SUBMODULES = f"{_TTS}.modules.submodules"


@dataclass(frozen=True)
class Part:
    """A part of a model, as its configuration has it."""

    classes: tuple[str, ...] = ()  # full paths of what its `_target_` may be
    parts: Mapping[str, Part] = field(default_factory=dict)  # those within it, by key
    files: tuple[str, ...] = ()  # settings that name an artifact of the archive
    left_out: tuple[str, ...] = ()  # settings of the machine or the training that wrote it: not taken over
    only: tuple[str, ...] = ()  # where there are any: every other setting is left out
    long: tuple[str, ...] = ()  # settings that may have thousands of entries
    model: bool = False  # a whole model, whose configuration names its own class as `target`


_PREDICTOR = Part((f"{_TTS}.modules.fastpitch.TemporalPredictor",))
_PREPROCESSOR = Part(
    (
        f"{_ASR}.modules.AudioToMelSpectrogramPreprocessor",
        f"{_ASR}.parts.preprocessing.features.FilterbankFeatures",
    )
)
_G2P = Part(
    (
        f"{_TTS}.g2p.models.en_us_arpabet.EnglishG2p",
        f"{_TTS}.g2p.models.i18n_ipa.IpaG2p",
        f"{_TTS}.g2p.models.zh_cn_pinyin.ChineseG2p",
    ),
    files=("phoneme_dict", "heteronyms"),
    left_out=("mapping_file",),
)
TOKENIZERS = (
    "EnglishCharsTokenizer",
    "EnglishPhonemesTokenizer",
    "GermanCharsTokenizer",
    "GermanPhonemesTokenizer",
    "SpanishCharsTokenizer",
    "FrenchCharsTokenizer",
    "ItalianCharsTokenizer",
    "ItalianPhonemesTokenizer",
    "VietnameseCharsTokenizer",
    "IPATokenizer",
    "ChinesePhonemesTokenizer",
)
_OPTIM = Part(tuple(f"torch.optim.{name}" for name in ("Adam", "AdamW", "RAdam", "NAdam", "SGD", "RMSprop", "Adagrad")))
_OF_TRAINING = ("train_ds", "validation_ds", "test_ds", "log_config", "sched", "trainer", "exp_manager", "hydra")

# Stock's constructor reads the class's name, and only the dataset of a stock checkpoint knows its voices' pitch.
_DATASET = Part(
    (
        f"{_TTS}.data.dataset.TTSDataset",
        f"{_TTS}.data.text_to_speech_dataset.TextToSpeechDataset",
        f"{_TTS}.torch.data.TTSDataset",
    ),
    only=("_target_", "pitch_mean", "pitch_std"),
)

FASTPITCH = Part(
    parts={
        "optim": _OPTIM,
        "train_ds": Part(only=("dataset",), parts={"dataset": _DATASET}),
        "preprocessor": _PREPROCESSOR,
        "input_fft": Part((f"{_TTS}.modules.transformer.FFTransformerEncoder",)),
        "output_fft": Part((f"{_TTS}.modules.transformer.FFTransformerDecoder",)),
        "alignment_module": Part((f"{_TTS}.modules.aligner.AlignmentEncoder",)),
        "duration_predictor": _PREDICTOR,
        "pitch_predictor": _PREDICTOR,
        "energy_predictor": _PREDICTOR,
        "speaker_encoder": Part(
            (f"{_SUBMODULES}.SpeakerEncoder",),
            parts={
                "lookup_module": Part((f"{_SUBMODULES}.SpeakerLookupTable",)),
                "gst_module": Part(
                    (f"{_SUBMODULES}.GlobalStyleToken",),
                    parts={
                        "reference_encoder": Part((f"{_SUBMODULES}.ReferenceEncoder",)),
                        "style_attention": Part((f"{_SUBMODULES}.StyleAttention",)),
                    },
                ),
            },
        ),
        "text_tokenizer": Part(tuple(f"{_TOKENIZERS}.{name}" for name in TOKENIZERS), parts={"g2p": _G2P}),
        "text_normalizer": Part(
            ("nemo_text_processing.text_normalization.normalize.Normalizer",),
            files=("whitelist",),
            left_out=("cache_dir", "overwrite_cache", "lm"),
        ),
    },
    left_out=_OF_TRAINING,
    long=("voices", "text"),
    model=True,
)
VOCOS = Part(parts={"optim": _OPTIM}, left_out=_OF_TRAINING, model=True)
HIFIGAN = Part(
    parts={
        "preprocessor": _PREPROCESSOR,
        "generator": Part((f"{_TTS}.modules.hifigan_modules.Generator",)),
        "optim": _OPTIM,
    },
    left_out=_OF_TRAINING,
    model=True,
)
_JOINED = {
    "acoustic": replace(FASTPITCH, classes=("nemo_ext.models.acoustic.fastpitch.FastPitch",)),
    "vocoder": replace(HIFIGAN, classes=("nemo_ext.models.vocoder.hifigan.HifiGan",)),
}
END_TO_END = Part(parts={"parts": Part(parts=_JOINED), "optim": _OPTIM}, left_out=_OF_TRAINING, model=True)
SPEAKER = Part(
    parts={
        "preprocessor": _PREPROCESSOR,
        "encoder": Part((f"{_ASR}.modules.ECAPAEncoder", f"{_ASR}.modules.ConvASREncoder")),
        "decoder": Part((f"{_ASR}.modules.SpeakerDecoder",)),
        "optim": _OPTIM,
        "loss": Part(
            (
                f"{_ASR}.losses.angularloss.AngularSoftmaxLoss",
                "nemo.collections.common.losses.CrossEntropyLoss",
                "nemo.collections.common.losses.cross_entropy.CrossEntropyLoss",
            ),
            only=("_target_", "scale", "margin"),
        ),
    },
    left_out=(*_OF_TRAINING, "spec_augment", "augmentor"),
    model=True,
)
# What training of NeMo's may name where it is left out: not a closed list, since nothing of it is built.
_NAMED_IN_TRAINING = re.compile(
    r"(torch\.optim|nemo\.collections\.(tts|asr|common)\.(data|losses|tokenizers|g2p|torch|parts\.utils\.callbacks|"
    r"parts\.utils\.tts_dataset_utils|modules)|nemo_text_processing\.(g2p|text_normalization))(\.[A-Za-z_]\w*)+"
)
_MOST_VALUES = 5000  # of settings; a model has some hundreds
_MOST_OF_LONG = 40_000  # of voices and text: 2,800 voices, or 20,000 words of a lexicon
_CLASS_KEYS = ("_target_", "target", "cls", "class_path")


def checked(config: Mapping[str, Any], part: Part, where: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What of a model's ``config`` is built, and which of its settings are files: dotted key -> artifact's name.

    ``config`` consists of plain containers, ``where`` names its source in messages.

    Raises:
        NemoExtError: it names a class at a place where a model of this kind has none, or another one than it may have,
            or has more values than any model.
    """
    files: dict[str, str] = {}
    kept = _checked(config, part, where, "", files)
    for long, most in ((False, _MOST_VALUES), (True, _MOST_OF_LONG)):
        if (count := _count(kept, part, long)) > most:
            raise NemoExtError(
                f"{where} has {count} values {'of voices and text' if long else 'beside voices and text'}, more than "
                f"the {most} that a model has: it is not loaded"
            )
    return kept, files


def _count(config: Mapping[str, Any], part: Part, long: bool) -> int:
    """Values of the settings that may be ``long``, or of all others: OmegaConf takes a second for some thousands."""
    count = 0
    for key, value in config.items():
        if key in part.parts and isinstance(value, Mapping):
            count += _count(value, part.parts[key], long)
        elif (key in part.long) == long:
            count += sum(1 for _ in nodes(value))
    return count


def _checked(config: Mapping[str, Any], part: Part, where: str, place: str, files: dict[str, str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in config.items():
        here = f"{place}{key}"
        if part.model and key == "target":
            continue  # which model it is has been decided
        if key in part.parts and isinstance(value, Mapping):
            kept[key] = _checked(value, part.parts[key], where, f"{here}.", files)
        elif key in part.left_out or (part.only and key not in part.only):
            _refuse_strange({key: value}, where, place)
        elif key == "_target_" and part.classes:
            if value not in part.classes:
                raise _foreign(value, where, here)
            kept[key] = value
        elif key in part.files and value is not None:
            files[here] = _artifact(value, where, here)
        else:
            _refuse_classes({key: value}, where, place)
            kept[key] = value
    return kept


def _artifact(value: Any, where: str, here: str) -> str:
    if not isinstance(value, str):
        raise NemoExtError(f"{where}: '{here}' is {shown(value)}, not the name of a file")
    return value.removeprefix("nemo:").rpartition("/")[2]


def _refuse_classes(node: Any, where: str, place: str) -> None:
    """Refuse any class, and any of Hydra's own keys, in a part that has none."""
    for here, key, value in _keys(node, place):
        if key in _CLASS_KEYS and (key == "_target_" or (isinstance(value, str) and "." in value)):
            raise _foreign(value, where, here)
        if key.startswith("_") and key.endswith("_"):
            raise NemoExtError(f"{where} has '{here[:80]}', which steers what is called: it is not loaded")


def _refuse_strange(node: Any, where: str, place: str) -> None:
    """Refuse names in what is left out, so that a file that tries something is not half accepted."""
    for here, key, value in _keys(node, place):
        if key in _CLASS_KEYS and isinstance(value, str) and "." in value and not _NAMED_IN_TRAINING.fullmatch(value):
            raise _foreign(value, where, here)


def _keys(node: Any, place: str) -> Iterator[tuple[str, str, Any]]:
    """Each key below ``node`` with its dotted place and its value."""
    left = [(place, node)]
    while left:
        above, one = left.pop()
        if isinstance(one, Mapping):
            for key, value in one.items():
                yield f"{above}{key}", str(key), value
                left.append((f"{above}{key}.", value))
        elif isinstance(one, list | tuple | set):
            left += [(above, item) for item in one]


def _foreign(value: Any, where: str, here: str) -> NemoExtError:
    return NemoExtError(
        f"{where} names {str(value)[:160]!r} ({here[:80]}), which is outside the allow-list: it may run foreign code, "
        "so it is not loaded; get the model from a source you trust, or let nemo-ext migrate read an older release's"
    )
