"""The text side of a bundle: text.json, the options of the frontend with its table; lexicon.tsv, a person's own words.

text.json     the fields of TextConfig, but for the lexicon's entries
lexicon.tsv   word<TAB>pronunciation, UTF-8, a row a word; there is none where the model has no lexicon
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from nemo_ext.errors import NemoExtError
from nemo_ext.export.bundle import LEXICON, TEXT
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.untrusted import read_json, read_lines

_MOST = 64 << 20  # bytes of a table
_ELSEWHERE = ("lexicon", "lexicon_entries")  # a path that is no longer needed; lexicon.tsv
_KINDS: dict[str, type] = {
    "alphabet": str,
    "g2p": str,
    "languages": list,
    "normalize": bool,
    "heteronyms": str,
    "symbols": list,
}


def write_text(frontend: Any, folder: Path) -> list[str]:
    """Write what makes ``frontend`` again into ``folder``; the names of the files.

    Raises:
        NemoExtError: it is not a frontend of ours, or an entry of the lexicon cannot stand in a line.
    """
    if not isinstance(frontend, TextFrontend):
        raise NemoExtError(
            "this model's text goes through a tokenizer of NeMo's, which a bundle cannot hold: bring the model over "
            "with `nemo-ext migrate`, or train one with a text frontend of ours"
        )
    told = {k: v for k, v in dataclasses.asdict(frontend.config).items() if k not in _ELSEWHERE}
    entries = frontend.config.lexicon_entries
    for word, phones in entries.items():
        if not word or any(c in word + phones for c in "\t\n\r"):
            raise NemoExtError(f"lexicon entry {word!r}: a word and its phones must stand in one line, without a tab")
    (folder / TEXT).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if not entries:
        return [TEXT]
    rows = "".join(f"{word}\t{phones}\n" for word, phones in sorted(entries.items()))
    (folder / LEXICON).write_text(rows, encoding="utf-8")
    return [TEXT, LEXICON]


def read_text(folder: Path) -> TextFrontend:
    """The frontend that ``write_text`` wrote into ``folder``.

    Raises:
        NemoExtError: a file is missing or damaged.
    """
    path = folder / TEXT
    if not path.exists():
        raise NemoExtError(f"there is no {TEXT} in {folder}: export the bundle again")
    try:
        told = read_json(path, _MOST, "text table")
        for name, kind in _KINDS.items():
            if not isinstance(told[name], kind) or (kind is list and not all(isinstance(s, str) for s in told[name])):
                raise ValueError(name)
        config = TextConfig(**{name: told[name] for name in _KINDS}, lexicon_entries=_entries(folder / LEXICON))
    except (NemoExtError, ValueError, KeyError, TypeError) as error:
        raise NemoExtError(f"{path} cannot be read, or {LEXICON} beside it: export the bundle again") from error
    if not config.symbols:
        raise NemoExtError(f"{path} holds no symbols: export the bundle again")
    return TextFrontend(config)


def _entries(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    rows = [line.split("\t") for line in read_lines(path, _MOST, "lexicon") if line]
    if any(len(row) != 2 for row in rows):
        raise ValueError(path.name)
    return dict(rows)
