"""The operators of NVIDIA DALI that make audio and mels of recordings, set up by a ``MelSpec``.

Decoding, downmixing and resampling are done on the CPU (DALI has no other decoder of audio); the spectra on the CPU, or
on a GPU. The numbers are ``audio.mel``'s within 1e-3: the same symmetric Hann window, Slaney filters, and frames
centred on their samples with silence around the recording.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nemo_ext.audio.mel import hann_window, slaney_basis
from nemo_ext.data.augment import Augment
from nemo_ext.errors import NemoExtError
from nemo_ext.types import MelSpec

if TYPE_CHECKING:
    from torch import Tensor

AHEAD = 2  # batches that are at work while one is trained on


def require() -> Any:
    """NVIDIA DALI's package.

    Raises:
        NemoExtError: it is not installed.
    """
    try:
        return importlib.import_module("nvidia.dali")
    except ImportError as error:
        raise NemoExtError(
            f"loader=dali needs NVIDIA DALI ({error}): pip install 'nemo_ext[dali]', or take loader=torch"
        ) from error


@dataclass(frozen=True)
class Graph:
    """What a pipeline computes of each sample.

    Its source gives, for each sample of a batch: an audio file (uint8), where in it to begin and how many samples to
    hear (int32, 1 each), then the gain (float32, 1) and the noise (float32, as many samples) where they are asked for.
    """

    spec: MelSpec
    segment_frames: int | None = None  # a vocoder's: audio and mel of one length; else mel and energy of any length
    augment: Augment = Augment()  # noqa: RUF009  frozen
    threads: int = 1
    device_id: int | None = None  # None: the CPU

    def margin(self) -> int:
        """Samples heard before the first frame's centre."""
        return self.spec.n_fft // 2

    def length(self, frames: int) -> int:
        """Samples to hear for ``frames`` frames, and for the audio of a segment."""
        spectra = (frames - 1) * self.spec.hop_length + self.spec.n_fft
        return spectra if self.segment_frames is None else max(spectra, self.margin() + frames * self.spec.hop_length)

    def build(self, source: Callable[[], Any] | Iterable[Any], batch_size: int) -> Any:
        """A pipeline fed by ``source`` with batches of up to ``batch_size`` samples; StopIteration ends it.

        A segment's outputs are its mel ``(T_mel, n_mels)`` and audio ``(T_mel * hop,)``; an utterance's are its mel and
        energy ``(T_mel,)``, padded with zeros to the longest of the batch. The mel lacks its logarithm: ``log_mel``.

        Raises:
            NemoExtError: DALI is missing, the mel's band does not fit its sample rate, or its ``n_fft`` is odd.
        """
        spec, dali = self.spec, require()
        if spec.n_fft % 2:
            raise NemoExtError(f"features.mel.n_fft={spec.n_fft}: DALI's filters need an even one; take loader=torch")
        slaney_basis(spec.sample_rate, spec.n_fft, spec.n_mels, spec.f_min, spec.f_max)  # refuses what cannot be
        fn, kinds = importlib.import_module("nvidia.dali.fn"), importlib.import_module("nvidia.dali.types")
        loud, noisy = self.augment.gain_db > 0, self.augment.noise_db is not None
        types = [kinds.UINT8, kinds.INT32, kinds.INT32] + [kinds.FLOAT] * (loud + noisy)
        pipeline = dali.Pipeline(batch_size, self.threads, self.device_id, prefetch_queue_depth=AHEAD)
        with pipeline:
            encoded, begin, length, *chance = fn.external_source(
                source, num_outputs=len(types), dtype=types, ndim=[1] * len(types)
            )
            audio, _ = fn.decoders.audio(
                encoded, dtype=kinds.FLOAT, downmix=True, sample_rate=float(spec.sample_rate), quality=60.0
            )
            heard = fn.slice(audio, start=begin, shape=length, axes=[0], out_of_bounds_policy="pad")
            if loud:
                heard = heard * chance[0]
            noised = heard + chance[-1] if noisy else heard
            if self.device_id is not None:
                heard, noised = heard.gpu(), noised.gpu()
            linear = self._magnitude(noised)
            mel = self._mel(linear)
            if self.segment_frames is None:
                energy = dali.math.sqrt(fn.reductions.sum(linear * linear, axes=[1]))
                pipeline.set_outputs(fn.pad(mel, axes=[0]), fn.pad(energy, axes=[0]))
            else:
                samples = self.segment_frames * spec.hop_length
                pipeline.set_outputs(mel, fn.slice(heard, start=[self.margin()], shape=[samples], axes=[0]))
        pipeline.build()
        return pipeline

    def _magnitude(self, heard: Any) -> Any:
        """``(T_audio,)`` with its margins -> linear magnitude ``(T_mel, n_fft // 2 + 1)``."""
        fn = importlib.import_module("nvidia.dali.fn")
        spec = self.spec
        around = spec.n_fft - spec.win_length
        window = np.pad(hann_window(spec.win_length).numpy(), (around // 2, around - around // 2))
        # centred by the margins, which are the recording's own samples where there are any
        framing: dict[str, Any] = {"window_length": spec.n_fft, "window_step": spec.hop_length, "center_windows": False}
        power = fn.spectrogram(heard, nfft=spec.n_fft, power=2, window_fn=window.tolist(), layout="tf", **framing)
        linear = require().math.sqrt(power)  # power=1 would take longer on a CPU
        if self.segment_frames is None or self.length(self.segment_frames) == self._spectra(self.segment_frames):
            return linear
        return fn.slice(linear, start=[0], shape=[self.segment_frames], axes=[0])

    def _spectra(self, frames: int) -> int:
        return (frames - 1) * self.spec.hop_length + self.spec.n_fft

    def _mel(self, linear: Any) -> Any:
        """``(T_mel, n_fft // 2 + 1)`` -> mel ``(T_mel, n_mels)``, without its logarithm."""
        fn, spec = importlib.import_module("nvidia.dali.fn"), self.spec
        return fn.mel_filter_bank(
            linear if spec.mag_power == 1.0 else require().math.pow(linear, spec.mag_power),
            sample_rate=float(spec.sample_rate),
            nfilter=spec.n_mels,
            freq_low=float(spec.f_min),
            freq_high=float(spec.f_max),
            mel_formula="slaney",
            normalize=True,  # triangles of unit area
        )

    def log_mel(self, mel: Tensor) -> Tensor:
        """The pipeline's mel ``(B, T_mel, n_mels)`` -> log-mel ``(B, n_mels, T_mel)``: torch's logarithm is faster."""
        return mel.transpose(1, 2).add(self.spec.log_guard).contiguous().log_()
