"""Speaker models of NeMo as encoders: TitaNet, ECAPA, SpeakerNet, or one that ``nemo-ext train model=speaker`` made.

Koluguri and others, "TitaNet" (arXiv 2110.04410); ECAPA: models/speaker/model.py. Whole recordings are read, silence
included, as NeMo's own extraction does; the embedding is brought to unit length, since these models are trained on
angles.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nemo_ext.audio.activity import active
from nemo_ext.audio.resample import resample
from nemo_ext.errors import NemoExtError

_METHOD = 1  # raise it when the same recording and weights give other numbers
_LEAST = 0.25  # s of speech


class NemoEncoder:
    """Implements ``types.SpeakerEncoder`` with a speaker model in a ``.nemo`` file."""

    def __init__(self, path: str | Path) -> None:
        """Restore the model at ``path``; see ``_nemo.restore`` for what a file may hold.

        Raises:
            NemoExtError: the file is missing, damaged, holds another kind of model, or names code outside the
                allow-list.
        """
        from nemo_ext import _nemo
        from nemo_ext.models.speaker.model import SpeakerModel

        path = Path(path).expanduser()
        model: Any = _nemo.restore(path)
        if not isinstance(model, SpeakerModel):
            raise NemoExtError(
                f"{path} holds a {type(model).__name__}, which is no speaker encoder: give a TitaNet or ECAPA, or "
                "train one with `nemo-ext train model=speaker`"
            )
        self.model, self.name, self.size = model, path.name, model.embedding_size
        self.identity = _identity(model)

    @torch.inference_mode()
    def embed(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        """``audio (T_audio,)`` in [-1, 1] -> ``(E,)`` float32 of unit length.

        Raises:
            NemoExtError: there is no speech in it.
        """
        if active(audio, sample_rate).sum() < _LEAST * sample_rate:
            raise NemoExtError("there is no speech in this recording: it is silent, or nearly so")
        heard = torch.from_numpy(resample(audio, sample_rate, self.model.sample_rate))[None]
        found = self.model.embeddings(heard, torch.tensor([heard.shape[1]]))
        return np.asarray(found[0].numpy(), dtype=np.float32)


def _identity(model: Any) -> str:
    """Hash over every weight: the file may be copied, packed again, or renamed."""
    digest = hashlib.sha256(f"nemo/{_METHOD}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
