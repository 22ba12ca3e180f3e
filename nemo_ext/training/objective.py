"""A few validation sentences, always the same, spoken now and then while the model trains, and measured.

Losses of an acoustic model are taken with the true durations, pitch and energy; what a person will hear is made with
the predicted ones. So the model speaks the sentences freely, and is compared with their recordings:

- ``val/mcd`` mel-cepstral distortion in dB (evaluation/mcd.py). An acoustic model is heard through Griffin-Lim, and so
  is the recording's own mel, so that the vocoder cancels out; a vocoder reads the recording's mel and is compared with
  the recording itself. The two kinds of figure do not compare, and neither with published ones.
- ``val/f0_cents`` root mean square error of F0 over the frames voiced in both, along the path that warps the mels.
- ``val/length_error`` mean of ``|spoken / recorded - 1|`` of the lengths; the frames before and behind count, too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch.distributed.tensor import DTensor

from nemo_ext.audio.io import read_mono
from nemo_ext.audio.pitch import mel_f0
from nemo_ext.audio.resample import resample
from nemo_ext.console import tell
from nemo_ext.data.collate import collate_acoustic
from nemo_ext.errors import NemoExtError
from nemo_ext.evaluation import mcd
from nemo_ext.evaluation.pitch_error import pitch_error
from nemo_ext.evaluation.warping import fast_warp
from nemo_ext.models.vocoder.griffin_lim import GriffinLim
from nemo_ext.training.feed import is_vocoder
from nemo_ext.types import MelSpec

_MEASURES = ("mcd", "f0_cents", "length_error")
_SHORT, _LONG = 1.0, 10.0  # seconds of a sentence that is chosen

Audio = NDArray[np.float32]


@dataclass
class Sentence:
    """One sentence as it was recorded."""

    mel: NDArray[np.float32]  # (n_mels, T_mel)
    pitch: NDArray[np.float32]  # (T_mel,) Hz
    audio: Audio  # (T_audio,), what the spoken one is compared with
    cepstrum: NDArray[np.float64] | None = None  # of that audio, once it is known


class ObjectiveMetrics(Callback):
    """Speaks ``count`` sentences at every ``every``-th validation; logs under ``val/``.

    On the first process only, and for about ``budget`` seconds: if that is not enough for all, those that were measured
    within it stay the sentences from then on. Nothing is measured of other kinds of models and loaders, nor of a
    model whose weights are dealt out to processes (``strategy=fsdp``): none of them can speak alone.
    """

    def __init__(self, every: int, val_every: int, count: int = 4, budget: float = 20.0) -> None:
        self.every, self.val_every, self.count, self.budget = every, val_every, count, budget
        self._sentences: list[Sentence] = []
        self._given: Any = None  # what the model speaks from, of all sentences: a Batch, or mels

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Lightning shows what was logged at an earlier validation as if it were of this one."""
        for name in _MEASURES:
            trainer.callback_metrics.pop(f"val/{name}", None)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Speak and measure, when it is time."""
        # by the step, not by a counter of validations: a resume changes nothing
        if (
            not trainer.is_global_zero
            or trainer.sanity_checking
            or (trainer.global_step // self.val_every) % self.every
        ):
            return
        dataset = getattr(trainer.val_dataloaders, "dataset", None)
        if self._given is None and (_dealt_out(pl_module) or not self._choose(dataset, pl_module)):
            return
        for name, value in self._measured(self._speak(pl_module), pl_module).items():
            pl_module.log(name, value, rank_zero_only=True)

    # ------------------------------------------------------------- the sentences

    def _choose(self, dataset: Any, model: Any) -> bool:
        """The same sentences every time: spread evenly over the validation ones of a usual length, by voice."""
        store, utterances = getattr(dataset, "store", None), getattr(dataset, "utterances", [])
        if store is None or not (hasattr(model, "own_voices") or is_vocoder(model)):
            return False
        seconds = [model.mel_spec.seconds(store.entry(u).frames) for u in utterances]
        usual = [i for i, s in enumerate(seconds) if _SHORT <= s <= _LONG] or list(range(len(utterances)))
        usual.sort(key=lambda i: (utterances[i].speaker or "", utterances[i].id))
        places = np.linspace(0, len(usual) - 1, min(self.count, len(usual))).round().astype(int)
        chosen = [usual[i] for i in places]
        features = [store.load(utterances[i]) for i in chosen]
        if hasattr(model, "own_voices"):
            self._given = collate_acoustic([dataset[i] for i in chosen], model.frontend.pad)
            heard = [self._heard(f.mel, model.mel_spec) for f in features]
        else:
            predicted = getattr(
                dataset, "predicted", None
            )  # a vocoder that is tuned to an acoustic model reads its mels
            mels = [predicted.load(utterances[i]) for i in chosen] if predicted else [f.mel for f in features]
            self._given = [torch.from_numpy(mel)[None] for mel in mels]
            heard = [read_mono(store.audio_path(utterances[i]))[0] for i in chosen]
        self._sentences = [Sentence(f.mel, f.pitch, audio) for f, audio in zip(features, heard, strict=True)]
        return True

    def _heard(self, mel: NDArray[np.float32], spec: MelSpec) -> Audio:
        audio: Audio = GriffinLim(spec).decode(torch.from_numpy(mel)[None])[0].numpy()
        return audio

    # ------------------------------------------------------------------ speaking

    @torch.no_grad()
    def _speak(self, model: Any) -> list[tuple[NDArray[np.float32], Audio | None]]:
        """Mel ``(n_mels, T_mel)`` and, of a vocoder, audio of each sentence."""
        if not hasattr(model, "own_voices"):
            decoded = [model.decode(mel.to(model.device))[0].float().cpu().numpy() for mel in self._given]
            return [(s.mel, audio) for s, audio in zip(self._sentences, decoded, strict=True)]
        batch = self._given.to(model.device)
        style = model.style.learn(batch, voices_known=True)[0] if getattr(model, "style", None) is not None else None
        said = model.predict_mel(batch.tokens, batch.token_lens, model.own_voices(batch), style=style)
        mels, lens = said.mel.float().cpu().numpy(), said.mel_lens.tolist()
        return [(mel[:, :frames], None) for mel, frames in zip(mels, lens, strict=True)]

    # ----------------------------------------------------------------- measuring

    def _measured(self, spoken: list[tuple[NDArray[np.float32], Audio | None]], model: Any) -> dict[str, float]:
        began, found = time.monotonic(), []
        for number, sentence in enumerate(self._sentences):
            mel, audio = spoken[number]
            found.append(_compare(sentence, mel, self._heard(mel, model.mel_spec) if audio is None else audio, model))
            if time.monotonic() - began > self.budget and number + 1 < len(self._sentences):
                self._sentences = self._sentences[: number + 1]
                tell(
                    f"objective metrics: {number + 1} sentences from here on, for more take over {self.budget:.0f} s",
                    error=True,
                )
                break
        known = {name: [measures[name] for measures in found if name in measures] for name in _MEASURES}
        return {f"val/{name}": float(np.mean(values)) for name, values in known.items() if values}


def _dealt_out(model: LightningModule) -> bool:
    return any(isinstance(weight, DTensor) for weight in model.parameters())


def _compare(sentence: Sentence, mel: NDArray[np.float32], audio: Audio, model: Any) -> dict[str, float]:
    """Measures of a sentence that was spoken; what cannot be measured (silence, nothing voiced) is left out."""
    spec, told = model.mel_spec, {}
    try:
        if sentence.cepstrum is None:
            sentence.cepstrum = mcd.mel_cepstrum(resample(sentence.audio, spec.sample_rate, mcd.SAMPLE_RATE))
        spoken = mcd.mel_cepstrum(resample(audio, spec.sample_rate, mcd.SAMPLE_RATE))
        told["mcd"] = mcd.cepstral_distortion(spoken, sentence.cepstrum)
    except NemoExtError:  # silent: an early model, or a late disaster that the losses show
        return told
    if hasattr(model, "own_voices"):
        told["length_error"] = abs(mel.shape[1] / sentence.mel.shape[1] - 1.0)
    pitch = mel_f0(audio, spec)[: mel.shape[1]]
    path = fast_warp(mel.T[: len(pitch)].astype(np.float64), sentence.mel.T.astype(np.float64))
    try:
        told["f0_cents"] = pitch_error(pitch[path[:, 0]], sentence.pitch[path[:, 1]]).rmse_cents
    except NemoExtError:  # nothing voiced in both
        return told
    return told
