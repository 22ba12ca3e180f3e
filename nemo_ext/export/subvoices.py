"""The tables of the Riva layout: every pair of a voice and one of its styles is a row, and a row has a name.

Riva knows a speaker's number. ``anna`` is the voice without a style, which is a vector of zeros as in the open layout,
whatever styles it has; ``anna.happy`` is the voice with its named style.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nemo_ext.errors import NemoExtError
from nemo_ext.voices import Vector, Voice

_NAME = re.compile(r"[^\s,:=\"'$`\\]+")  # what riva-build's name:id,name:id and a shell leave whole


@dataclass(frozen=True)
class Tables:
    """What a graph of the Riva layout holds, and what its rows are called."""

    names: tuple[str, ...]  # of the rows: "anna", "anna.happy"
    languages: tuple[str, ...]  # of the rows, ISO 639-1
    rows: NDArray[np.int64]  # (N, 2): voice, style
    voices: Vector  # (V, P)
    styles: Vector | None  # (K, S), the first all zeros: no style; None for a model without style


def tables(voices: Sequence[Voice], style_size: int = 0) -> Tables:
    """Rows of ``voices`` in their order, each followed by its styles by name; ``style_size``: S of the model.

    Raises:
        NemoExtError: no voice, a name that riva-build would take apart, two rows of one name, or a style that is not of
            the model's size.
    """
    if not voices:
        raise NemoExtError("Riva's layout needs a voice at least: the model has none, and none was given")
    names, languages, rows = [], [], []
    styles = [np.zeros(style_size, np.float32)]
    for i, voice in enumerate(voices):
        pairs = [(voice.name, 0)]
        for style in sorted(voice.styles) if style_size else ():
            pairs.append((f"{voice.name}.{style}", len(styles)))
            if voice.styles[style].shape != (style_size,):
                found = voice.styles[style].size
                raise NemoExtError(
                    f"style '{style}' of voice '{voice.name}' has {found} values, and the model's have {style_size}: "
                    "make the voice again"
                )
            styles.append(np.asarray(voice.styles[style], np.float32))
        for name, style_row in pairs:
            if not _NAME.fullmatch(name):
                raise NemoExtError(
                    f"'{name}' cannot be the name of a sub-voice in Riva: rename it without blanks, commas, colons, "
                    "quotes, = $ and \\"
                )
            if name in names:
                raise NemoExtError(f"two sub-voices would be called '{name}' in Riva: rename one of the voices")
            names.append(name)
            languages.append(voice.language)
            rows.append((i, style_row))
    return Tables(
        tuple(names),
        tuple(languages),
        np.array(rows, np.int64),
        np.stack([np.asarray(voice.vector, np.float32) for voice in voices]),
        np.stack(styles) if style_size else None,
    )
