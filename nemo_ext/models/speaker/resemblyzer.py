"""Resemblyzer's speaker encoder, without Resemblyzer: its weights, and our code around them.

Wan and others, "Generalized End-to-End Loss for Speaker Verification" (arXiv 1710.10467): a three-layer LSTM reads
windows of 1.6 s of a 40-band mel; its last state, projected, rectified and brought to unit length, is a d-vector; the
d-vector of a recording is the mean over its windows, again of unit length. The weights (Apache-2.0) come inside the
package ``resemblyzer``, which is found but **never imported**: its import needs a voice activity detector
(webrtcvad) and a function of scipy that no longer exist in current versions.

What we changed: silence is skipped by level (audio/activity.py) instead of by that detector; every recording is brought
to one level (the package raises quiet ones only, and the network hears levels, so that one's microphone changes one's
voice); resampling is soxr's. Given the same samples the embeddings are those of the package
(benchmarks/speaker_encoders.md).
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nemo_ext.audio.activity import without_silence
from nemo_ext.audio.mel import slaney_basis
from nemo_ext.audio.resample import resample
from nemo_ext.errors import NemoExtError

_RATE = 16000  # Hz
_N_FFT, _HOP, _BANDS = 400, 160, 40  # 25 ms, 10 ms
_WINDOW = 160  # frames that the network reads at a time
_STEP = 77  # frames from one window to the next: 1.3 windows a second
_COVERAGE = 0.75  # of the last window that must be recording, or it is left out
_LEVEL = -26.0  # dBFS that every recording is brought to: as many errors as with the package's levels
_LEAST = 0.25  # s of speech
_METHOD = 1  # raise it when the same recording and weights give other numbers
_WEIGHTS = "pretrained.pt"


class Resemblyzer(nn.Module):
    """Implements ``types.SpeakerEncoder``: 256 values, none of them negative, of unit length."""

    name = "resemblyzer"
    size = 256

    def __init__(self, weights: str | Path | None = None) -> None:
        """``weights``: a ``pretrained.pt``; the installed package's unless given.

        Raises:
            NemoExtError: the package is not installed, or its weights are not there or not what we know.
        """
        super().__init__()
        path = Path(weights) if weights is not None else _find()
        self.lstm = nn.LSTM(_BANDS, 256, num_layers=3, batch_first=True)
        self.linear = nn.Linear(256, self.size)
        self.register_buffer("basis", torch.from_numpy(slaney_basis(_RATE, _N_FFT, _BANDS, 0.0, _RATE / 2)), False)
        try:
            raw = path.read_bytes()
            held = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
            # what is left out, scale and offset of the similarity, served training only
            self.load_state_dict({k: v for k, v in held.items() if k.startswith(("lstm.", "linear."))})
        except FileNotFoundError as error:
            raise NemoExtError(f"no weights at {path}: install resemblyzer again ({_INSTALL})") from error
        except Exception as error:  # a file of another kind fails in many ways
            raise NemoExtError(f"{path} holds no weights of resemblyzer's encoder: install it again") from error
        self.identity = hashlib.sha256(raw + f"/{self.name}/{_METHOD}".encode()).hexdigest()[:16]
        self.requires_grad_(False).eval()

    def embed(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        """``audio (T_audio,)`` in [-1, 1] -> ``(256,)`` float32 of unit length.

        Raises:
            NemoExtError: there is no speech in it.
        """
        speech = without_silence(resample(audio, sample_rate, _RATE), _RATE)
        if len(speech) < _LEAST * _RATE:
            raise NemoExtError("there is no speech in this recording: it is silent, or nearly so")
        return self.embed_speech(_levelled(speech))

    @torch.inference_mode()
    def embed_speech(self, speech: np.ndarray) -> np.ndarray:
        """``speech (T_audio,)`` at 16 kHz, without silence, of usual level -> ``(256,)`` float32."""
        starts = _window_starts(len(speech))
        padded = np.pad(speech, (0, max(0, (starts[-1] + _WINDOW) * _HOP - len(speech))))
        mel = self.mel(torch.from_numpy(padded.astype(np.float32)))
        windows = torch.stack([mel[start : start + _WINDOW] for start in starts])
        mean = self(windows).mean(dim=0)
        return np.asarray(F.normalize(mean, dim=0).numpy(), dtype=np.float32)

    def mel(self, audio: Tensor) -> Tensor:
        """``audio (T_audio,)`` at 16 kHz -> mel of the power spectrum ``(T_mel, 40)``, not its logarithm."""
        window = torch.hann_window(_N_FFT, device=audio.device)  # periodic
        spectrum = torch.stft(audio, _N_FFT, _HOP, window=window, center=True, pad_mode="constant", return_complex=True)
        power: Tensor = spectrum.abs().square()
        return (self.basis @ power).T  # type: ignore[operator]

    def forward(self, windows: Tensor) -> Tensor:
        """``windows (N, 160, 40)`` -> ``(N, 256)`` of unit length."""
        _, (hidden, _) = self.lstm(windows)
        return F.normalize(torch.relu(self.linear(hidden[-1])), dim=1)


_INSTALL = "pip install --no-deps resemblyzer"


def _find() -> Path:
    """The weights in the installed package, found without importing it."""
    spec = importlib.util.find_spec("resemblyzer")
    if spec is None or not spec.submodule_search_locations:
        raise NemoExtError(
            f"the encoder 'resemblyzer' is not installed: {_INSTALL} (what it depends on is not needed), "
            "or give the path of a speaker model (.nemo)"
        )
    return Path(spec.submodule_search_locations[0]) / _WEIGHTS


def _window_starts(samples: int) -> list[int]:
    """First frame of each window over ``samples`` samples; at least one, which may reach beyond the end."""
    frames = math.ceil((samples + 1) / _HOP)
    starts = list(range(0, max(1, frames - _WINDOW + _STEP + 1), _STEP))
    covered = (samples - starts[-1] * _HOP) / (_WINDOW * _HOP)
    return starts[:-1] if covered < _COVERAGE and len(starts) > 1 else starts


def _levelled(audio: np.ndarray) -> np.ndarray:
    """``audio`` with an RMS of -26 dBFS. What then lies beyond full scale is not cut: nobody hears it."""
    level = 10.0 * math.log10(max(float(np.mean(np.square(audio, dtype=np.float64))), 1e-12))
    return audio * np.float32(10.0 ** ((_LEVEL - level) / 20.0))
