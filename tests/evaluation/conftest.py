"""Real speech for the measures: an espeak voice reading known sentences, with the starts of its phonemes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

SENTENCES = [
    "The kettle sings before the tea is ready.",
    "Nobody remembers who planted these trees.",
    "Seven boats came home late in the evening.",
    "A small light burns at the end of the road.",
    "Please put the heavy box behind the door.",
    "Winter arrives early in the northern hills.",
    "Her brother repairs old clocks for a living.",
    "We could hear the river long before we saw it.",
]


@dataclass
class Reading:
    text: str
    audio: np.ndarray
    sample_rate: int
    events: list[tuple[str, float]]


def read_aloud(text: str, pitch: int = 50, rate: int = 160) -> Reading:
    from nemo_ext.audio.resample import resample
    from nemo_ext.text.espeak import synthesize

    audio, sample_rate, events = synthesize(text, "en-us", pitch=pitch, rate=rate)
    return Reading(text, resample(audio, sample_rate, 22050), 22050, events)


@pytest.fixture(scope="session")
def readings() -> list[Reading]:
    return [read_aloud(text) for text in SENTENCES]


@pytest.fixture(scope="session")
def other_readings() -> list[Reading]:
    """The same sentences, higher and slower."""
    return [read_aloud(text, pitch=70, rate=140) for text in SENTENCES]
