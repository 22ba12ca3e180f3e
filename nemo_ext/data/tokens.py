"""Token ids of a corpus, cached by text and by everything in the frontend that changes tokens."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nemo_ext.data import cache
from nemo_ext.errors import NemoExtError
from nemo_ext.types import Utterance

if TYPE_CHECKING:
    from nemo_ext.text.frontend import TextFrontend

_log = logging.getLogger(__name__)


def encode_corpus(utterances: Sequence[Utterance], frontend: TextFrontend, cache_dir: str | Path) -> list[np.ndarray]:
    """Token ids ``(T_text,)`` int32 of each utterance, from the cache where it knows them.

    The cache is one file for each ``frontend.fingerprint()``; its keys are hashes of text, normalized text and
    language.

    Raises:
        NemoExtError: the frontend refuses a text, for instance because nothing in it can be spoken.
    """
    path = Path(cache_dir) / f"tokens-{frontend.fingerprint()[:16]}.safetensors"
    known = _read(path, frontend)
    keys = [_key(utterance, frontend) for utterance in utterances]
    if not set(keys) <= known.keys():
        with cache.in_turn(Path(cache_dir)):
            known = _read(path, frontend)
            new = {key: utterance for key, utterance in zip(keys, utterances, strict=True) if key not in known}
            if new:
                _encode(new, known, frontend, path)
    return [known[key] for key in keys]


def _encode(new: dict[bytes, Utterance], known: dict[bytes, np.ndarray], frontend: TextFrontend, path: Path) -> None:
    unknown: dict[str, str] = {}  # character -> the first utterance that has it

    def encode(utterance: Utterance) -> np.ndarray:
        try:
            spoken = frontend.encode(utterance.text, _language(utterance, frontend), utterance.normalized_text)
        except NemoExtError as error:
            raise NemoExtError(f"utterance '{utterance.id}': {error}") from error
        for character, position in spoken.unknown:
            unknown.setdefault(character, f"'{utterance.id}' at position {position}")
        return np.asarray(spoken.ids, dtype=np.int32)

    cache.fill(new, known, encode, lambda: _write(path, known), "turning text into tokens")
    for character, where in unknown.items():
        _log.warning("the token table does not know %r (first in %s); it is left out", character, where)


def _language(utterance: Utterance, frontend: TextFrontend) -> str:
    return utterance.language or frontend.config.languages[0]


def _key(utterance: Utterance, frontend: TextFrontend) -> bytes:
    parts = (utterance.text, utterance.normalized_text or "", _language(utterance, frontend))
    return hashlib.sha256("\0".join(parts).encode()).digest()[:16]


def _write(path: Path, known: dict[bytes, np.ndarray]) -> None:
    ids = np.concatenate([*known.values(), np.zeros(0, np.int32)])
    lens = np.array([len(tokens) for tokens in known.values()], dtype=np.int64)
    cache.write(path, {"keys": np.frombuffer(b"".join(known), dtype=np.uint8), "lens": lens, "ids": ids})


def _read(path: Path, frontend: TextFrontend) -> dict[bytes, np.ndarray]:
    """What is cached; a missing or damaged file is an empty cache, and so is one with tokens that the table lacks."""
    held = cache.read(path, ("keys", "lens", "ids"), "tokens")
    if held is None:
        return {}
    keys, lens, ids = held["keys"], held["lens"], held["ids"]
    if not _fits(keys, lens, ids, len(frontend.config.symbols)):
        _log.warning("cache of tokens %s is not of this table and is made again", path)
        return {}
    each = np.split(ids, np.cumsum(lens)[:-1]) if len(lens) else []
    return {keys[16 * i : 16 * i + 16].tobytes(): tokens for i, tokens in enumerate(each)}


def _fits(keys: np.ndarray, lens: np.ndarray, ids: np.ndarray, symbols: int) -> bool:
    if keys.dtype != np.uint8 or lens.dtype != np.int64 or ids.dtype != np.int32 or lens.ndim != 1 or ids.ndim != 1:
        return False
    lengths = len(lens) == 0 or (int(lens.min()) > 0 and int(lens.max()) <= len(ids))
    whole = lengths and keys.shape == (16 * len(lens),) and int(lens.sum()) == len(ids)
    return whole and (len(ids) == 0 or (int(ids.min()) >= 0 and int(ids.max()) < symbols))
