"""Options of ``nemo-ext demo``."""

from __future__ import annotations

from dataclasses import dataclass

from nemo_ext.config import option


@dataclass
class DemoConfig:
    """A corpus made on the spot, two models trained on it, and a page with what they say."""

    out: str = option("out/demo", "folder of the demo; the page is index.html in it", path=True)
    sentences: int = option(600, "sentences of the corpus", least=1)
    unseen: int = option(50, "sentences to speak that are not in the corpus, 1 to 50")
    shown: int = option(3, "of these, shown with pictures in each voice", least=0)
    size: str = option("tiny", "size of both models: tiny, small or full")
    newcomer_sentences: int = option(60, "sentences of a voice that the base never heard; it is adapted from them")
    adapt_steps: int = option(150, "training steps of that voice", least=1)
    acoustic_steps: int = option(800, "training steps of the FastPitch", least=1)
    frames_per_batch: int = option(3000, "budget of a FastPitch batch", "mel frames", least=1)
    vocoder_steps: int = option(2000, "training steps of the Vocos", least=1)
    trainer: str = option("cpu", "cpu or gpu")
