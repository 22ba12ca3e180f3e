"""Our models with the weights of an old checkpoint."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from nemo_ext import _nemo, untrusted
from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.migrate import translate
from nemo_ext.migrate.config import MigrateConfig
from nemo_ext.migrate.translate import Translated
from nemo_ext.modules.adapters import AdapterConfig
from nemo_ext.nemo_archive import NemoArchive
from nemo_ext.types import BaseVoice

_COMPARED = 4  # voices whose speech is compared with that of NeMo's own code
_AT_MOST = 1e-4  # largest difference of the mels that is taken for rounding
_FRAMES = 3  # of each token in that comparison
_LEARNS = AdapterConfig(kind="shared")  # what a voice adapted later may change
# buffers that NeMo computes from the configuration, and what only its own training used
_MADE_AGAIN = ("preprocessor.", "fastpitch.speaker_encoder.gst_module.")


@contextmanager
def fastpitch(
    checkpoint: NemoArchive, cfg: MigrateConfig, adapters: AdapterConfig | None, weights: Mapping[str, Tensor]
) -> Iterator[tuple[Any, Translated]]:
    """Our FastPitch with ``weights``, for as long as the files of its tokenizer are on a disk.

    Args:
        checkpoint: where it comes from.
        cfg: files and names that the checkpoint lacks.
        adapters: those that voices bring from NeMo; None: the ones that ours are adapted with.
        weights: the checkpoint's without its adapters'.

    Raises:
        NemoExtError: the checkpoint cannot be carried; the reason is named.
    """
    from nemo_ext.models.acoustic.fastpitch import FastPitch

    found = translate.fastpitch(checkpoint)
    voices = _named(found.voices, checkpoint, cfg)
    found.voices = [_with_pitch(voice, cfg) for voice in voices]
    if not found.voices[0].pitch_mean:
        found.dropped.append(
            "pitch in Hz, which it does not tell: pitch= cannot be shifted; give pitch_mean= and pitch_std="
        )
    with TemporaryDirectory(prefix="migrate-") as folder:
        settings = {
            **found.config,
            **_files(found, checkpoint, cfg, Path(folder)),
            "base_voices": [dataclasses.asdict(voice) for voice in found.voices],
            "voice_adapters": dataclasses.asdict(adapters or _LEARNS),
        }
        settings = _nemo.with_old_tokenizer(settings, checkpoint.config.get("nemo_version"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # shared down-projections are drawn: the same file gives the same model
            model = _nemo.build(FastPitch, settings, checkpoint.path, checkpoint.weights)
        _check_symbols(model, weights, checkpoint)
        _load(model, weights, checkpoint)
        yield model.eval(), found


def hifigan(checkpoint: NemoArchive) -> tuple[Any, Translated]:
    """Our HiFi-GAN with the checkpoint's generator.

    Raises:
        NemoExtError: the checkpoint cannot be carried; the reason is named.
    """
    from nemo_ext.models.vocoder.hifigan import HifiGan

    found = translate.hifigan(checkpoint)
    # stock compares with the number 1, so a configuration with the text "1" made the other block; the weights tell
    found.config["generator"]["resblock"] = 1 if any(".convs1." in key for key in checkpoint.weights) else 2
    model = _nemo.build(HifiGan, found.config, checkpoint.path, checkpoint.weights)
    weights = {k: v for k, v in checkpoint.weights.items() if k.startswith("generator.")}
    if not weights:
        raise NemoExtError(f"{checkpoint.path} has no weights of a generator: give a whole HiFi-GAN checkpoint")
    if not any(k.endswith(("weight_g", "original0")) for k in weights):
        found.dropped.append("nothing of its weights, but it was saved after an export: its weight norm is put back")
    _load(model, _with_weight_norm(weights, model.state_dict()), checkpoint)
    return model.eval(), found


def _with_weight_norm(weights: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in the names of torch's first weight norm: ``weight_g`` and ``weight_v``.

    Later releases of torch call them ``parametrizations.weight.original0`` and ``1``; a model that was exported before
    it was saved has the product only, and stock NeMo cannot restore such a file.
    """
    named = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    out = {}
    for key, tensor in weights.items():
        for former, now in named.items():
            key = key.replace(former, now)
        if f"{key}_g" in ours and key not in ours:
            out[f"{key}_v"] = tensor
            out[f"{key}_g"] = torch.linalg.vector_norm(tensor, dim=tuple(range(1, tensor.dim())), keepdim=True)
        else:
            out[key] = tensor
    return out


def compare(model: Any) -> float:
    """Largest difference between the mels of NeMo's own code and of ours, on the same weights and every symbol.

    Raises:
        NemoExtError: they differ by more than rounding, or are no numbers.
    """
    symbols = model.fastpitch.encoder.word_emb.num_embeddings
    ids = [i for i in range(symbols) if i != model.fastpitch.encoder.padding_idx]
    tokens = torch.tensor([ids])
    durations = torch.full_like(tokens, _FRAMES)
    largest = 0.0
    for i, voice in enumerate(model.voices[:_COMPARED]):
        with torch.inference_mode():
            theirs, _, their_durations, *_ = model.fastpitch(text=tokens, durs=durations, speaker=torch.tensor([i]))
            vector = model.voice_vector(voice.name)[None]
            lens = torch.tensor([len(ids)])
            ours = model.predict_mel(tokens, lens, vector, durations=durations).mel
            own_durations = model.predict_mel(tokens, lens, vector).durations
        apart = float((ours - theirs).abs().max())
        rounded = torch.floor(their_durations + 0.5).long()
        if not apart <= _AT_MOST or not torch.equal(rounded, own_durations):
            raise NemoExtError(
                f"voice '{voice.name}' would not sound as before: its mel differs by {apart:.3g} from NeMo's own "
                f"(at most {_AT_MOST:g}), durations of {int((rounded != own_durations).sum())} symbols differ; "
                "nothing was written. Please report this file's configuration"
            )
        largest = max(largest, apart)
    return largest


# -------------------------------------------------------------------------- parts


def _load(model: Any, weights: Mapping[str, Tensor], checkpoint: NemoArchive) -> None:
    kept = {k: v for k, v in weights.items() if not k.startswith(_MADE_AGAIN)}
    try:
        result = model.load_state_dict(kept, strict=False)
    except RuntimeError as error:
        lines = str(error).strip().splitlines()
        raise NemoExtError(
            f"{checkpoint.path}: its weights do not fit its configuration: {lines[-1].strip()[:240]}"
        ) from error
    missing = [k for k in result.missing_keys if not k.startswith((*_MADE_AGAIN, "voice_adapters."))]
    if missing or result.unexpected_keys:
        what = f"lacks {missing[0]}" if missing else f"has {result.unexpected_keys[0]}, which no part of it takes"
        count = len(missing) + len(result.unexpected_keys)
        raise NemoExtError(
            f"{checkpoint.path} {what} ({count} weights do not fit): its configuration is another model's"
        )


def _check_symbols(model: Any, weights: Mapping[str, Tensor], checkpoint: NemoArchive) -> None:
    table = weights.get("fastpitch.encoder.word_emb.weight")
    ours = model.fastpitch.encoder.word_emb.num_embeddings
    if table is not None and len(table) != ours:
        raise NemoExtError(
            f"{checkpoint.path} was trained with {len(table)} symbols, and NeMo 3 makes {ours} of its tokenizer's "
            "settings: its dictionary or tokenizer changed since. Give the dictionary it was trained with as "
            "phoneme_dict="
        )


def _files(found: Translated, checkpoint: NemoArchive, cfg: MigrateConfig, folder: Path) -> dict[str, Any]:
    """The parts of the configuration that name files, which are put into ``folder``."""
    changed: dict[str, Any] = {
        k: copy.deepcopy(found.config[k]) for k in ("text_tokenizer", "text_normalizer") if k in found.config
    }
    given = {"phoneme_dict": cfg.phoneme_dict, "heteronyms": cfg.heteronyms}
    g2p = (changed.get("text_tokenizer") or {}).get("g2p")
    wanted = dict(found.files)
    if isinstance(g2p, dict):
        wanted |= {f"text_tokenizer.g2p.{name}": "" for name, path in given.items() if path}
        if g2p.get("phoneme_dict") is None and not cfg.phoneme_dict:
            wanted["text_tokenizer.g2p.phoneme_dict"] = ""
    for key, artifact in wanted.items():
        *parents, last = key.split(".")
        owner = changed
        for name in parents:
            owner = owner[name]
        if given.get(last):
            own = Path(given[last]).expanduser()
            if not own.is_file():
                raise NemoExtError(f"{last}={given[last]}: there is no such file")
            content, name = untrusted.read_bytes(own, what="dictionary"), own.name
        elif artifact:
            content, name = checkpoint.artifacts[artifact], artifact.rpartition("/")[2]
        else:
            raise NemoExtError(
                f"{checkpoint.path} does not bring its {last}: give the file it was trained with as {last}="
            )
        # NeMo puts a hash before the name of each artifact, and will again; a stranger may have put nothing behind it
        name = re.sub(r"^[0-9a-f]{32}_", "", name)
        path = folder / (name if name.strip(".") else last)
        while path.exists():
            path = path.with_name(f"_{path.name}")
        path.write_bytes(content)
        owner[last] = str(path)
    return changed


def _with_pitch(voice: BaseVoice, cfg: MigrateConfig) -> BaseVoice:
    if not cfg.pitch_mean:
        return voice
    if cfg.pitch_mean < 0 or cfg.pitch_std <= 0:
        raise NemoExtError("pitch_mean= and pitch_std= go together and are in Hz: give both, above 0")
    return dataclasses.replace(voice, pitch_mean=cfg.pitch_mean, pitch_std=cfg.pitch_std)


def _named(voices: list[BaseVoice], checkpoint: NemoArchive, cfg: MigrateConfig) -> list[BaseVoice]:
    """``voices`` with the names of ``speakers=``, or else of a map in the checkpoint's configuration."""
    names = _speaker_names(checkpoint, cfg)
    if not names:
        return voices
    if sorted(names.values()) != list(range(len(voices))):
        raise NemoExtError(
            f"{cfg.speakers or checkpoint.path} names {len(names)} speakers, numbers {min(names.values())} to "
            f"{max(names.values())}, and the model has {len(voices)}: each needs one name, from 0"
        )
    by_number = {number: name for name, number in names.items()}
    return [dataclasses.replace(voice, name=by_number[i]) for i, voice in enumerate(voices)]


def _speaker_names(checkpoint: NemoArchive, cfg: MigrateConfig) -> dict[str, int]:
    if cfg.speakers:
        try:
            told = untrusted.read_json(Path(cfg.speakers).expanduser(), 16 << 20, "table of speakers")
        except NemoExtError as error:
            raise NemoExtError(f"speakers={cfg.speakers} cannot be read: give a JSON file of name -> number") from error
        found = _map(told)
        if not found:
            raise NemoExtError(f"speakers={cfg.speakers} is no map of name -> number")
        return found
    dataset = (checkpoint.config.get("train_ds") or {}).get("dataset") or {}
    for owner in (checkpoint.config, dataset):
        for key in ("speaker_map", "speakers", "speaker_names", "speaker_ids"):
            found = _map(owner.get(key) if isinstance(owner, Mapping) else None)
            if found:
                return found
    return {}


def _map(told: Any) -> dict[str, int]:
    if isinstance(told, list) and told and all(isinstance(name, str) for name in told):
        return {name: i for i, name in enumerate(told)}
    if isinstance(told, Mapping) and told and all(type(n) is int for n in told.values()):
        return {str(name): int(number) for name, number in told.items()}
    return {}


def embedding(model: Any, name: str) -> tuple[BaseVoice, Tensor]:
    """The base voice ``name`` (the first for an empty name) and its embedding ``(E,)``.

    Raises:
        NemoExtError: there is none of that name.
    """
    names = [voice.name for voice in model.voices]
    if name and name not in names:
        raise NemoExtError(
            f"speaker={name} is no voice of this model{nearest(name, names)}; it has {', '.join(names[:12])}"
        )
    index = names.index(name) if name else 0
    size = model.voice_layout.slots[0].size
    return model.voices[index], model.voice_vector(names[index])[:size]
