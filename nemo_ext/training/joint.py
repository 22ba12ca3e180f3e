"""A model of text to audio from its two parts: each fresh, or from the file of a trained one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from nemo_ext import _nemo
from nemo_ext.errors import NemoExtError
from nemo_ext.models.end_to_end.fastpitch_hifigan import joined_config
from nemo_ext.modules.weights import weights_identity
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.types import BaseVoice, MelSpec, check_mels


def joined(
    cls: Any, settings: dict[str, Any], mel: MelSpec, frontend: TextFrontend, voices: Sequence[BaseVoice]
) -> tuple[Any, dict[str, str]]:
    """A model of ``cls`` by its ``settings``, and the identity of each part: of a trained one's weights, or nothing.

    ``frontend`` and ``voices`` are a fresh acoustic model's; a trained one keeps its own.

    Raises:
        NemoExtError: ``acoustic`` or ``vocoder`` names no such model, or one of another mel.
    """
    parts: dict[str, Any] = {name: _part(name, settings[name]) for name in ("acoustic", "vocoder")}
    for part in parts.values():
        if part is not None:
            check_mels(part.mel_spec, mel)
    about = {"text": dataclasses.asdict(frontend.config), "voices": [dataclasses.asdict(voice) for voice in voices]}
    given = {**settings, **about, "mel": dataclasses.asdict(mel), "acoustic": "", "vocoder": ""}
    model = cls(joined_config(given, **parts))
    for name, part in parts.items():
        if part is not None:
            model.parts()[name].load_state_dict(part.state_dict())
    return model, {k: weights_identity(part.state_dict()) if part is not None else "" for k, part in parts.items()}


def _part(name: str, path: str) -> Any:
    if not path:
        return None
    part = _nemo.restore(path)
    wanted = {"acoustic": "FastPitch", "vocoder": "HifiGan"}[name]
    if type(part).__name__ != wanted:
        raise NemoExtError(f"model.{name}={path} is a {type(part).__name__}: give a {wanted}")
    return part
