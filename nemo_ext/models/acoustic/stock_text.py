"""The tokenizer inside a checkpoint of stock NeMo, behind the same face as ours."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from nemo_ext.errors import NothingToSpeak
from nemo_ext.text.sentences import split_sentences
from nemo_ext.types import Tokens

_SETTINGS = ("text_tokenizer", "text_normalizer", "text_normalizer_call_kwargs", "labels")


@dataclass(frozen=True)
class StockText:
    """What is known of a stock frontend's settings."""

    languages: list[str]  # ISO 639-1


class StockFrontend:
    """Speaks through ``model.parse``: stock's normalizer, g2p and tokenizer, with no phoneme left to chance."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @property
    def config(self) -> StockText:
        """Its languages: those of the model's voices."""
        return StockText(sorted({voice.language for voice in self._model.voices}))

    @property
    def pad(self) -> int:
        """Id of the padding token, by which the model tells where a text ends."""
        return int(self._model.fastpitch.encoder.padding_idx)

    def fingerprint(self) -> str:
        """A hash of everything that changes tokens: tokenizer, its symbols, its dictionary, the normalizer."""
        settings = [OmegaConf.to_container(self._model.cfg[k]) for k in _SETTINGS if k in self._model.cfg]
        vocab = getattr(self._model, "vocab", None)
        words = getattr(getattr(vocab, "g2p", None), "phoneme_dict", {})
        content = json.dumps([settings, _symbols(vocab), sorted(dict(words).items())], default=str)
        return hashlib.sha256(content.encode()).hexdigest()

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
        symbols = _symbols(getattr(self._model, "vocab", None))
        return Tokens(ids, [symbols[i] if i < len(symbols) else str(i) for i in ids], [], normalized or text)


def _symbols(vocab: Any) -> list[str]:
    return list(vocab.tokens) if vocab is not None else []
