"""style.safetensors: what a bundle knows of styles beside the graph of the style encoder.

named/NAME          (S,)        the mean style of the utterances labelled with it, over the voices
token_values        (tokens, S) what one style token adds at weight 1
typical_deviation   (n_mels,)   of a voice's log-mels, and
typical_range       ()          of its pitch over its mean: what a stranger's reference is measured with
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nemo_ext.audio.reference import typical_range
from nemo_ext.errors import NemoExtError
from nemo_ext.export.bundle import STYLE
from nemo_ext.untrusted import read_bytes
from nemo_ext.voices import LARGEST, Vector

_MOST = 256 << 20  # bytes of a table of styles
_NAMED = "named/"


@dataclass
class StyleAssets:
    """What style.safetensors holds."""

    named: dict[str, Vector]  # name -> (S,)
    token_values: Vector  # (tokens, S)
    typical_deviation: Vector  # (n_mels,)
    typical_range: float

    @classmethod
    def of(cls, model: Any) -> StyleAssets:
        """Of an acoustic model with styles."""
        style = model.style
        _, values = style.encoder._memory()
        return cls(
            model.named_styles(),
            values.flatten(1).detach().float().cpu().numpy(),
            style.bank.statistics[:, 1].mean(0).float().cpu().numpy(),
            typical_range(model.voices),
        )


def write_style(assets: StyleAssets, folder: Path) -> str:
    """Write ``assets`` into ``folder``; the file's name."""
    from safetensors.numpy import save

    tensors = {f"{_NAMED}{name}": vector for name, vector in assets.named.items()}
    tensors |= {"token_values": assets.token_values, "typical_deviation": assets.typical_deviation}
    tensors["typical_range"] = np.array(assets.typical_range, np.float32)
    # as bytes: safetensors' own way to a file makes one that only its owner may read
    content = save({name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()})
    (folder / STYLE).write_bytes(content)
    return STYLE


def read_style(folder: Path, size: int, n_mels: int) -> StyleAssets:
    """What ``write_style`` wrote, for styles of ``size`` values. Nothing in the file is run.

    Raises:
        NemoExtError: the file is missing, damaged or of another model.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = folder / STYLE
    if not path.exists():
        raise NemoExtError(f"there is no {STYLE} in {folder}: export the bundle again")
    try:
        tensors = load(read_bytes(path, _MOST, "table of styles"))
        named = {k.removeprefix(_NAMED): v for k, v in tensors.items() if k.startswith(_NAMED)}
        values, deviation, spread = (tensors[k] for k in ("token_values", "typical_deviation", "typical_range"))
    # an AttributeError: of numbers that numpy has no name for, such as bfloat16
    except (NemoExtError, SafetensorError, AttributeError, KeyError, ValueError, TypeError) as error:
        raise NemoExtError(f"{path} cannot be read: export the bundle again") from error
    fits = all(v.shape == (size,) for v in named.values()) and values.ndim == 2 and values.shape[1] == size
    fits = fits and deviation.shape == (n_mels,) and spread.size == 1
    fits = fits and all(v.dtype == np.float32 for v in tensors.values())
    fits = fits and bool((deviation >= 0).all() and (spread >= 0).all())
    if not fits or any(not np.isfinite(v).all() or np.abs(v).max(initial=0) > LARGEST for v in tensors.values()):
        raise NemoExtError(f"{path} does not belong to this model, or is damaged: export the bundle again")
    return StyleAssets(named, values, deviation, float(spread.reshape(())))
