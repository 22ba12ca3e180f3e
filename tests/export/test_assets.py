"""What a bundle knows of texts and styles: written by the export, read without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nemo_ext.errors import NemoExtError
from nemo_ext.export.style_assets import StyleAssets, read_style, write_style
from nemo_ext.export.text_assets import read_text, write_text
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend

TEXT = "Seven boats, and Nemo's 3 of them!"


@pytest.mark.parametrize("alphabet", ["ipa", "arpabet", "chars"])
def test_the_frontend_comes_back(alphabet: str, tmp_path: Path) -> None:
    own = {"boats": "b oʊ # t s"} if alphabet == "ipa" else {"boats": "B OW1 T S"}
    entries = {"boats": "bots"} if alphabet == "chars" else {k: v.replace("# ", "") for k, v in own.items()}
    frontend = TextFrontend(TextConfig(alphabet=alphabet, lexicon_entries=entries, languages=["en"]))
    assert write_text(frontend, tmp_path) == ["text.json", "lexicon.tsv"]
    again = read_text(tmp_path)
    assert again.config == frontend.config
    assert again.fingerprint() == frontend.fingerprint()
    np.testing.assert_array_equal(again.encode(TEXT).ids, frontend.encode(TEXT).ids)


def test_a_frontend_without_a_lexicon_has_no_file_of_it(tmp_path: Path) -> None:
    frontend = TextFrontend(TextConfig(alphabet="chars", normalize=False))
    assert write_text(frontend, tmp_path) == ["text.json"]
    assert read_text(tmp_path).config == frontend.config


def test_what_a_bundle_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NemoExtError, match="a tokenizer of NeMo's, which a bundle cannot hold"):
        write_text(object(), tmp_path)
    frontend = TextFrontend(TextConfig(alphabet="chars", normalize=False))
    frontend.config.lexicon_entries["two\nlines"] = "a"
    with pytest.raises(NemoExtError, match="must stand in one line"):
        write_text(frontend, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"alphabet": "ipa"}', '{"alphabet": [1]}', "[" * 100_000, "\x00", '"text"']
)
def test_a_damaged_text_is_one_line(content: str, tmp_path: Path) -> None:
    write_text(TextFrontend(TextConfig(alphabet="chars", normalize=False)), tmp_path)
    (tmp_path / "text.json").write_text(content)
    with pytest.raises(NemoExtError, match=r"text\.json cannot be read, or lexicon\.tsv beside it"):
        read_text(tmp_path)


def assets() -> StyleAssets:
    generator = np.random.default_rng(0)
    named = {"anger": generator.normal(size=8).astype(np.float32), "": np.zeros(8, np.float32)}
    values = generator.normal(size=(5, 8)).astype(np.float32)
    return StyleAssets(named, values, generator.uniform(1, 2, 80).astype(np.float32), 0.25)


def test_styles_come_back(tmp_path: Path) -> None:
    assert write_style(assets(), tmp_path) == "style.safetensors"
    again = read_style(tmp_path, 8, 80)
    assert set(again.named) == {"anger", ""}
    np.testing.assert_array_equal(again.named["anger"], assets().named["anger"])
    np.testing.assert_array_equal(again.token_values, assets().token_values)
    np.testing.assert_array_equal(again.typical_deviation, assets().typical_deviation)
    assert again.typical_range == 0.25


@pytest.mark.parametrize(
    ("size", "n_mels", "factor", "said"),
    [(7, 80, 1.0, "does not belong"), (8, 64, 1.0, "does not belong"), (8, 80, np.nan, "does not belong")],
)
def test_styles_of_another_model_are_refused(size: int, n_mels: int, factor: float, said: str, tmp_path: Path) -> None:
    wrong = assets()
    wrong.token_values = wrong.token_values * np.float32(factor)
    write_style(wrong, tmp_path)
    with pytest.raises(NemoExtError, match=said):
        read_style(tmp_path, size, n_mels)


def test_damaged_styles_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(NemoExtError, match=r"there is no style\.safetensors"):
        read_style(tmp_path, 8, 80)
    write_style(assets(), tmp_path)
    content = (tmp_path / "style.safetensors").read_bytes()
    for damaged in (content[:200], b"", b"nonsense" * 9):
        (tmp_path / "style.safetensors").write_bytes(damaged)
        with pytest.raises(NemoExtError, match="cannot be read: export the bundle again"):
            read_style(tmp_path, 8, 80)
