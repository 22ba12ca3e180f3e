"""The job ``nemo-ext migrate``: a checkpoint of NeMo 1.x or 2.x in, ours and its voices out."""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nemo_ext import files, model_files, nemo_archive
from nemo_ext import voices as voice_files
from nemo_ext.console import loading, tell
from nemo_ext.errors import NemoExtError
from nemo_ext.jobs import Command
from nemo_ext.machine import existing
from nemo_ext.migrate.config import MigrateConfig
from nemo_ext.types import BaseVoice
from nemo_ext.voices import SUFFIX, Consent, Provenance, Voice, now

_ALWAYS = ("source", "out", "overwrite")  # options; the others are about voices and their text


@dataclass
class Migrated:
    """What was made of an old checkpoint."""

    out: Path
    kind: str  # FastPitch, HiFi-GAN
    version: str  # the NeMo release that wrote it
    base_voices: list[str] = field(default_factory=list)
    voices: list[Path] = field(default_factory=list)  # voice files
    dropped: list[str] = field(default_factory=list)  # what was not carried, each in a line
    difference: float = 0.0  # largest, between the mels of NeMo's own code and ours


def migrate(cfg: MigrateConfig) -> Migrated:
    """Make the checkpoint of ``cfg`` ours, and say what was carried and what not.

    Raises:
        NemoExtError: a missing option, a file that is none, is damaged or would run code, or a model that cannot be
            carried. Nothing is written then.
    """
    out = _checked(cfg)
    consent = Consent.parse(cfg.consent)

    loading()
    from nemo_ext import _nemo  # these cost seconds; a wrong option should not

    _nemo.quiet()
    checkpoint = nemo_archive.read(cfg.source)
    kind = str(checkpoint.config.get("target") or "nameless").rpartition(".")[2]
    if str(checkpoint.config.get("target", "")).startswith("nemo_ext."):
        raise NemoExtError(f"{cfg.source} is one of ours already: it needs no migration")
    if kind == "FastPitchModel":
        made = _fastpitch(checkpoint, cfg, out, consent)
    elif kind == "HifiGanModel":
        made = _hifigan(checkpoint, cfg, out)
    else:
        raise NemoExtError(f"{cfg.source} holds a '{kind}' model, and FastPitchModel and HifiGanModel can be migrated")
    _tell(made)
    return made


def _checked(cfg: MigrateConfig) -> Path:
    """The file to write; refused before anything is read where it cannot be."""
    if not cfg.source:
        raise NemoExtError("no checkpoint given: nemo-ext migrate old.nemo out=new.nemo")
    if not cfg.out:
        raise NemoExtError("out= is missing: give the .nemo file to write")
    out = Path(cfg.out).expanduser()
    if out.suffix != ".nemo":
        raise NemoExtError(f"out={cfg.out} does not end in .nemo: give the file to write")
    if out.exists() and not cfg.overwrite:
        raise NemoExtError(f"out={cfg.out} is there already: give another name, or overwrite=true")
    if out.exists() and Path(cfg.source).expanduser().exists() and out.samefile(Path(cfg.source).expanduser()):
        raise NemoExtError(f"out={cfg.out} is the old checkpoint itself: give another name")
    voices = Path(cfg.voices or out.parent).expanduser()
    for option, folder in (("out", out.parent), ("voices", voices)):
        if not (there := existing(folder)).is_dir():
            raise NemoExtError(f"{option}={getattr(cfg, option)} cannot be made: {there} is no folder")
    model_files.check("source", cfg.source, "the old .nemo file")
    for option in ("adapters", "speakers", "phoneme_dict", "heteronyms"):
        given = Path(getattr(cfg, option)).expanduser()
        # a vocoder has no use for any of them, which is told first
        if not given.exists() and _is_of_a_voice(cfg.source):
            raise NemoExtError(f"{option}={given}: there is no such file; give the path of one, or leave it out")
    return out


def _is_of_a_voice(source: str) -> bool:
    return "FastPitch" in str(nemo_archive.read_config(source).get("target"))


def _hifigan(checkpoint: Any, cfg: MigrateConfig, out: Path) -> Migrated:
    import torch

    from nemo_ext import _nemo
    from nemo_ext.migrate import build

    for option in dataclasses.fields(cfg):
        given = getattr(cfg, option.name)
        if option.name not in _ALWAYS and given != option.default:
            raise NemoExtError(f"{option.name}={given}: a vocoder has no voices and no text; leave it out")
    model, found = build.hifigan(checkpoint)
    with torch.inference_mode():
        audio = model(torch.full((1, model.mel_spec.n_mels, 8), -5.0))
    if not bool(torch.isfinite(audio).all()):
        raise NemoExtError(f"{checkpoint.path}: its audio has NaN or infinite samples: its training failed")
    _nemo.save(model, out)
    return Migrated(out, "HiFi-GAN", checkpoint.version, dropped=found.dropped)


def _fastpitch(checkpoint: Any, cfg: MigrateConfig, out: Path, consent: Consent) -> Migrated:
    from nemo_ext import _nemo
    from nemo_ext.migrate import adapters, build

    weights, given = adapters.split(checkpoint.weights, checkpoint.config.get("adapters"))
    if cfg.adapters:
        given += _from_file(checkpoint, cfg, weights, {a.name for a in given})
    chosen, dropped = adapters.choose(given)
    if given and not chosen:
        dropped.append("no adapter is left: the model is made ready for adapters of ours instead")
    with build.fastpitch(checkpoint, cfg, adapters.config_for(chosen) if chosen else None, weights) as (model, found):
        made = Migrated(out, "FastPitch", checkpoint.version, [v.name for v in model.voices])
        made.difference = build.compare(model)
        made.dropped = [*dropped, *found.dropped]
        model.origin = f"{out.resolve().parent.name}/{out.name}"  # as whoever restores it will name it
        base, embedding = build.embedding(model, cfg.speaker)
        spoken = [_voice(adapter, model, base, embedding, cfg, consent) for adapter in chosen]
        folder = Path(cfg.voices).expanduser() if cfg.voices else out.with_name(f"{out.stem}-voices")
        _folder(out)
        with files.workspace(out) as beside:
            ready = _write_voices(spoken, beside, folder, cfg, made)
            if ready:
                folder.mkdir(parents=True, exist_ok=True)
            _nemo.save(model, out)
            for path in ready:
                made.voices.append(_moved(path, folder / path.name))
    return made


def _from_file(checkpoint: Any, cfg: MigrateConfig, weights: Any, known: set[str]) -> list[Any]:
    """The adapters of ``adapters=``, brought to the places of the checkpoint's model."""
    from nemo_ext.migrate import adapters, build
    from nemo_ext.migrate.adapter_file import read_adapters

    states, settings = read_adapters(cfg.adapters)
    with build.fastpitch(checkpoint, cfg, None, weights) as (model, _):
        found = adapters.from_file(states, settings, model, cfg.adapters)
    return [adapter for adapter in found if adapter.name not in known]  # the checkpoint may hold the same


def _voice(adapter: Any, model: Any, base: BaseVoice, embedding: Any, cfg: MigrateConfig, consent: Consent) -> Voice:
    from nemo_ext.migrate import adapters

    voice: Voice = model.voice_of(
        adapter.name,
        adapters.vector(adapter, model.voice_layout, embedding).numpy(),
        language=base.language,
        pitch_mean=base.pitch_mean,
        pitch_std=base.pitch_std,
        provenance=Provenance(
            made_by="migrated",
            created=now(),
            source=f"adapter '{adapter.name}' of {Path(cfg.adapters or cfg.source).name}, embedding of '{base.name}'",
            consent=consent,
        ),
    )
    return voice


def _write_voices(spoken: list[Voice], beside: Path, folder: Path, cfg: MigrateConfig, made: Migrated) -> list[Path]:
    """Each voice as a file in ``beside``; one that no voice file can hold is named and left out."""
    ready: list[Path] = []
    for voice in spoken:
        stem = re.sub(r"[^\w-]+", "_", voice.name) or "voice"  # a stranger chose the name
        path = beside / f"{stem}{SUFFIX}"
        if path in ready or ((folder / path.name).exists() and not cfg.overwrite):
            where = folder / path.name
            raise NemoExtError(f"{where} is there already: give another folder as voices=, or overwrite=true")
        try:
            ready.append(voice_files.save(voice, path))
        except NemoExtError as error:
            made.dropped.append(f"adapter '{voice.name}': {str(error).partition(': ')[2]}")
    if len(made.base_voices) > 1 and ready and not cfg.speaker:
        made.dropped.append(
            f"with which of {len(made.base_voices)} speakers the adapters were used, which no file tells: "
            f"'{made.base_voices[0]}' is taken; give speaker= for another"
        )
    return ready


def _folder(out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.parent


def _moved(path: Path, to: Path) -> Path:
    if path.stat().st_dev == to.parent.stat().st_dev:
        os.replace(path, to)
    else:  # a folder on another disk
        voice_files.save(voice_files.load(path), to)
    return to


def _tell(made: Migrated) -> None:
    tell(f"{made.out}: a {made.kind} of NeMo {made.version}, now ours")
    if made.base_voices:
        more = f" and {len(made.base_voices) - 8} more" if len(made.base_voices) > 8 else ""
        tell(f"  voices: {', '.join(made.base_voices[:8])}{more}")
        tell(f"  mel against NeMo's own code on the same weights: largest difference {made.difference:.1e}")
    for path in made.voices:
        tell(f"  voice file: {path}")
    for line in made.dropped:
        tell(f"  not carried: {line}")


def then(_cfg: MigrateConfig, made: Migrated) -> Command:
    """The command to type next."""
    spoken = {"text": "Hello.", "out": "hello.wav"}
    if made.base_voices:
        return "say", {"acoustic": made.out, "voice": made.voices[0] if made.voices else "", **spoken}
    return "say", {"acoustic": "ACOUSTIC.nemo", "vocoder": made.out, **spoken}
