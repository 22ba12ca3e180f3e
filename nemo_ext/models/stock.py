"""What checkpoints of stock NeMo say in their own words, said in ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from nemo_ext.types import MelSpec


def stock_mel_spec(preprocessor: Mapping[str, Any]) -> MelSpec:
    """The MelSpec in stock NeMo's preprocessor configuration, which gives lengths in samples or in seconds."""
    given = {str(k): v for k, v in preprocessor.items() if v is not None}
    rate = int(given["sample_rate"])
    hop = given["n_window_stride"] if "n_window_stride" in given else round(given["window_stride"] * rate)
    window = given["n_window_size"] if "n_window_size" in given else round(given["window_size"] * rate)
    renamed = {"features": "n_mels", "nfilt": "n_mels", "n_fft": "n_fft", "lowfreq": "f_min", "highfreq": "f_max"}
    chosen = {ours: given[theirs] for theirs, ours in renamed.items() if theirs in given}
    chosen |= {"mag_power": given["mag_power"]} if "mag_power" in given else {}
    return dataclasses.replace(MelSpec(sample_rate=rate, hop_length=hop, win_length=window), **chosen)
