"""The tokenizer inside a checkpoint of stock NeMo, behind the same face as ours."""

from __future__ import annotations

from typing import Any

import numpy as np

from nemo_ext.errors import NothingToSpeak
from nemo_ext.text.sentences import split_sentences
from nemo_ext.types import Tokens


class StockFrontend:
    """Speaks through ``model.parse``: stock's normalizer, g2p and tokenizer, with no phoneme left to chance."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def sentences(self, text: str, language: str = "en") -> list[str]:
        """``text`` cut into sentences."""
        return split_sentences(text, language)

    def encode(self, text: str, language: str = "en", normalized: str | None = None) -> Tokens:  # noqa: ARG002
        """Tokens of ``text``; stock's tokenizers tell no word boundaries.

        Raises:
            NothingToSpeak: nothing in ``text`` is known to the checkpoint's tokenizer.
        """
        ids = self._model.parse(normalized or text, normalize=normalized is None)[0].cpu().numpy().astype(np.int64)
        if not ids.size:
            raise NothingToSpeak("nothing to speak: no character of the text is known to this model's tokenizer")
        symbols = list(self._model.vocab.tokens) if self._model.vocab is not None else []
        return Tokens(ids, [symbols[i] if i < len(symbols) else str(i) for i in ids], [], normalized or text)
