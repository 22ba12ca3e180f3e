"""What checkpoints of stock NeMo say in their own words, said in ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nemo_ext._options import conformed
from nemo_ext.errors import NemoExtError
from nemo_ext.types import BaseVoice, MelSpec


def stock_mel_spec(preprocessor: Mapping[str, Any]) -> MelSpec:
    """The MelSpec in stock NeMo's preprocessor configuration, which gives lengths in samples or in seconds.

    Raises:
        NemoExtError: it describes none.
    """
    given = {str(k): v for k, v in preprocessor.items() if v is not None}
    try:
        return conformed(MelSpec, _mel_settings(given), "preprocessor")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise NemoExtError(f"preprocessor: it describes no mel ({type(error).__name__}: {error})") from error


def _mel_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    rate = int(given["sample_rate"])
    hop = given["n_window_stride"] if "n_window_stride" in given else round(given["window_stride"] * rate)
    window = given["n_window_size"] if "n_window_size" in given else round(given["window_size"] * rate)
    renamed = {"features": "n_mels", "nfilt": "n_mels", "n_fft": "n_fft", "lowfreq": "f_min", "highfreq": "f_max"}
    chosen = {ours: given[theirs] for theirs, ours in renamed.items() if theirs in given}
    # NeMo's own defaults, for what a configuration leaves out
    guard = given.get("log_zero_guard_value", 2.0**-24)
    guard = {"tiny": 2.0**-126, "eps": 2.0**-23}.get(guard, guard) if isinstance(guard, str) else guard
    chosen |= {"mag_power": given.get("mag_power", 2.0), "log_guard": float(guard)}
    chosen |= {"f_max": chosen.get("f_max") or rate / 2}
    return {"sample_rate": rate, "hop_length": hop, "win_length": window, **chosen}


def stock_preprocessor(mel: MelSpec) -> dict[str, Any]:
    """The other way round: stock NeMo's preprocessor for ``mel``, as far as every model of ours has it alike."""
    return {
        "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
        "sample_rate": mel.sample_rate,
        "features": mel.n_mels,
        "n_fft": mel.n_fft,
        "n_window_size": mel.win_length,
        "n_window_stride": mel.hop_length,
        "window_size": None,
        "window_stride": None,
        "lowfreq": mel.f_min,
        "highfreq": mel.f_max,
        "pad_to": 1,
    }


def stock_voices(cfg: Mapping[str, Any]) -> list[BaseVoice]:
    """The base voices of a stock checkpoint, which numbers its speakers and keeps one mean and deviation of pitch.

    A migrated checkpoint names them under ``base_voices`` (migrate).
    """
    if cfg.get("base_voices"):
        return [BaseVoice(**voice) for voice in cfg["base_voices"]]
    dataset = (cfg.get("train_ds") or {}).get("dataset") or {}
    encoder = cfg.get("speaker_encoder") or {}
    count = (encoder.get("lookup_module") or {}).get("n_speakers") or cfg.get("n_speakers") or 1
    count = 1 if encoder.get("precomputed_embedding_dim") else max(int(count), 1)
    mean, std = float(dataset.get("pitch_mean") or 0.0), float(dataset.get("pitch_std") or 0.0)
    known = mean > 0 and std > 0
    return [
        BaseVoice(f"speaker_{i}", pitch_mean=mean if known else 0.0, pitch_std=std if known else 1.0)
        for i in range(count)
    ]
