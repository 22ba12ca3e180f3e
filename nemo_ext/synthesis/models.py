"""Speaking with models in torch: the side of the chain that trained ``.nemo`` files take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from nemo_ext.errors import NemoExtError
from nemo_ext.synthesis.prosody import NEUTRAL, Settings
from nemo_ext.synthesis.sides import Said, differs
from nemo_ext.types import AcousticModel, Tokens, VocoderModel
from nemo_ext.voices import Vector, Voice


class ModelSide:
    """An acoustic model and a vocoder on one device."""

    def __init__(self, acoustic: AcousticModel, vocoder: VocoderModel | None, device: str) -> None:
        """
        Raises:
            NemoExtError: one of them is no such model, or there is no such device.
        """
        if not hasattr(acoustic, "predict_mel"):
            raise NemoExtError(f"acoustic= is a {type(acoustic).__name__}, which reads no text: give an acoustic model")
        if vocoder is not None and not hasattr(vocoder, "decode"):
            raise NemoExtError(f"vocoder= is a {type(vocoder).__name__}, which makes no audio: give a vocoder")
        self.device = find_device(device)
        self.backend = f"torch {torch.__version__.partition('+')[0]}, {self.device}"
        self.notes: list[str] = []
        if vocoder is None:
            from nemo_ext.models.vocoder.griffin_lim import GriffinLim

            vocoder = GriffinLim(acoustic.mel_spec)
            self.notes.append("no vocoder was given: audio by Griffin-Lim, which sounds metallic")
        self.acoustic: Any = _at(acoustic, self.device)
        self.vocoder: Any = _at(vocoder, self.device)

    @torch.inference_mode()
    def speak(self, tokens: Tokens, voice: Voice, style: Vector | None, settings: Settings) -> Said:
        """See `Side.speak`."""

        def given(name: str) -> Any:
            value = settings[name]
            return torch.from_numpy(value).to(self.device)[None] if isinstance(value, np.ndarray) else value

        # a model is asked only for what somebody asked for: not every one knows all of it
        more = {name: given(name) for name in ("pitch_range", "energy") if differs(settings[name], NEUTRAL[name])}
        if style is not None:
            more["style"] = torch.from_numpy(style).to(self.device)[None]
        ids = torch.from_numpy(tokens.ids).to(self.device)[None]
        said = self.acoustic.predict_mel(
            ids,
            torch.tensor([ids.shape[1]], device=self.device),
            torch.from_numpy(voice.vector).to(self.device)[None],
            pitch_stats=torch.tensor([[voice.pitch_mean, voice.pitch_std]], device=self.device),
            pace=given("pace"),
            pitch_shift=given("pitch"),
            **more,
        )
        mel = said.mel[:, :, : int(said.mel_lens[0])]
        return Said(
            said.durations[0].cpu().numpy(),
            said.pitch[0].float().cpu().numpy(),
            mel[0].float().cpu().numpy(),
            self._decode(mel),
        )

    def copy(self, audio: np.ndarray) -> np.ndarray:
        """See `Side.copy`."""
        from nemo_ext.audio.mel import log_mel

        spec = self.acoustic.mel_spec
        mel = torch.from_numpy(log_mel(np.ascontiguousarray(audio, dtype=np.float32), spec))
        return self._decode(mel[None].to(self.device))

    @torch.inference_mode()
    def _decode(self, mel: torch.Tensor) -> np.ndarray:
        audio: np.ndarray = self.vocoder.decode(mel)[0].float().cpu().numpy()
        return audio


def restored(source: str | Path | Any, device: str) -> Any:
    """The model in the ``.nemo`` file ``source``; a model is given back as it is.

    Raises:
        NemoExtError: the file cannot be restored, or there is no such device.
    """
    if not isinstance(source, str | Path):
        return source
    from nemo_ext import _nemo

    return _nemo.restore(source, find_device(device))


def find_device(name: str) -> torch.device:
    """The device that ``name`` means: ``auto`` is a GPU where there is one.

    Raises:
        NemoExtError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise NemoExtError(f"no device '{name}': give auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise NemoExtError(f"device={name}, but torch sees no GPU here: give device=cpu")
    return device


def _at(model: Any, device: torch.device) -> Any:
    return model.to(device).eval() if isinstance(model, torch.nn.Module) else model
