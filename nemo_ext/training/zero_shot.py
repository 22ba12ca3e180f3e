"""A voice from one short clip: a speaker encoder's embedding of it, and no training.

It needs a base model that was trained on embeddings of that encoder (``model.voice_encoder``), so that a speaker whom
it has never heard is one more point among those it knows: Jia and others, "Transfer Learning from Speaker Verification
to Multispeaker Text-To-Speech Synthesis" (arXiv 1806.04558).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nemo_ext.audio import io, loudness
from nemo_ext.audio.activity import active
from nemo_ext.audio.mel import log_mel
from nemo_ext.audio.pitch import mel_f0
from nemo_ext.audio.resample import resample
from nemo_ext.data.features import hash_of_file
from nemo_ext.errors import NemoExtError
from nemo_ext.models.speaker.encoders import speaker_encoder
from nemo_ext.types import SpeakerEncoder
from nemo_ext.voices import Consent, Provenance, Voice, now

_LEAST = 1.0  # s of recording
_LEAST_SPEECH = 0.5  # s in it


def voice_from_clip(
    model: Any, clip: str | Path, name: str, consent: Consent, encoder: SpeakerEncoder | str | None = None
) -> Voice:
    """The voice in the recording ``clip``, for the acoustic model ``model``: its embedding, and zero adapters.

    Args:
        model: a FastPitch trained with ``model.voice_encoder``.
        clip: an audio file of one speaker; ten seconds are plenty.
        name: of the voice.
        consent: who agreed, when, for what use.
        encoder: the one that the model was trained with, or where it is; looked for where it was then unless given.

    Raises:
        NemoExtError: the model's voices are a learned table; the encoder is another than the model's, or not there;
            the clip cannot be read, is shorter than 1 s, silent, or has no pitch.
    """
    clip = Path(clip).expanduser()
    wanted = getattr(model, "encoder", None)
    if wanted is None:
        raise NemoExtError(
            f"{getattr(model, 'origin', 'this model')} learned a table of its own voices and takes none from a clip: "
            "train one with model.voice_encoder=resemblyzer, or adapt this one to recordings with corpus="
        )
    encoder = _encoder(wanted, encoder)
    audio, rate = _checked(clip)
    try:
        embedding = encoder.embed(audio, rate)
    except NemoExtError as error:
        raise NemoExtError(f"{clip}: {error}") from error
    seconds = len(audio) / rate
    audio = resample(audio, rate, model.mel_spec.sample_rate)
    pitch_mean, pitch_std = _pitch(audio, model, clip)
    mel = log_mel(audio, model.mel_spec)
    voice: Voice = model.voice_of(
        name,
        embedding,
        language=_language(model),
        pitch_mean=pitch_mean,
        pitch_std=pitch_std,
        mel_stats=np.stack([mel.mean(axis=1), mel.std(axis=1)]).astype(np.float32),
        provenance=Provenance(
            made_by="zero-shot",
            created=now(),
            source=clip.name,
            recordings=1,
            seconds=round(seconds, 3),
            recordings_hash=hash_of_file(clip),
            consent=consent,
        ),
    )
    return voice


def _encoder(wanted: Any, given: SpeakerEncoder | str | None) -> SpeakerEncoder:
    """The encoder that the model was trained with.

    Raises:
        NemoExtError: ``given`` is another; or it is not where it was.
    """
    if given is None:
        # A path in a model's file is whoever wrote it's choice: only what has no path is found by itself.
        if wanted.spec != "resemblyzer":
            raise NemoExtError(
                f"this model takes embeddings of the encoder '{wanted.name}' ({wanted.identity}): give that file as "
                "encoder="
            )
        given = speaker_encoder(wanted.spec)
    elif isinstance(given, str):
        given = speaker_encoder(given)
    if given.identity != wanted.identity:
        raise NemoExtError(
            f"the encoder '{given.name}' ({given.identity}) is not the one this model was trained with, "
            f"'{wanted.name}' ({wanted.identity}): give that one"
        )
    return given


def _checked(clip: Path) -> tuple[np.ndarray, int]:
    """The clip's audio ``(T_audio,)``, and its rate in Hz, if there is a voice to be found in it."""
    audio, rate = io.read_mono(clip)
    seconds = len(audio) / rate
    if seconds < _LEAST:
        raise NemoExtError(f"{clip} is {seconds:.2f} s long, and a voice takes at least {_LEAST:g} s; ten are better")
    if not np.isfinite(audio).all():
        raise NemoExtError(f"{clip} has samples that are no numbers: record or export it again")
    if loudness.rms_db(audio) < loudness.SILENCE_DB:
        raise NemoExtError(f"{clip} is silent ({loudness.rms_db(audio):.0f} dBFS): record it again")
    spoken = float(active(audio, rate).sum()) / rate
    if spoken < _LEAST_SPEECH:
        raise NemoExtError(f"{clip} has {spoken:.2f} s of speech between silences: record more")
    return audio, rate


def _pitch(audio: np.ndarray, model: Any, clip: Path) -> tuple[float, float]:
    """Mean and standard deviation in Hz over voiced frames."""
    pitch = mel_f0(audio, model.mel_spec)
    voiced = pitch[pitch > 0].astype(np.float64)
    if not len(voiced):
        raise NemoExtError(f"{clip} has no voiced sound: is it a whisper, or noise? Record somebody who speaks")
    return round(float(voiced.mean()), 3), round(max(1.0, float(voiced.std())), 3)


def _language(model: Any) -> str:
    """The language that most of the base voices speak."""
    spoken = [voice.language for voice in model.voices]
    return max(sorted(set(spoken)), key=spoken.count)
