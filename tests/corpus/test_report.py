from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from nemo_ext.corpus.build import build
from nemo_ext.corpus.config import CorpusConfig


@pytest.fixture(scope="module")
def page(espeak_corpus: Path) -> str:
    return (espeak_corpus / "report.html").read_text(encoding="utf-8")


def test_it_stands_alone(page: str) -> None:
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert links
    outside = [link for link in links if not link.startswith(("data:image/png;base64,", "audio/"))]
    assert outside == []
    assert "http" not in page


def test_players_point_at_recordings(page: str, espeak_corpus: Path) -> None:
    players = re.findall(r'<audio[^>]* src="([^"]+)"', page)
    assert len(players) >= 6
    assert all((espeak_corpus / unquote(link)).is_file() for link in players)


def test_pictures_show_something(page: str) -> None:
    from matplotlib.image import imread

    pictures = re.findall(r"data:image/png;base64,([^\"]+)", page)
    assert len(pictures) == 3 + 6  # histograms and spectrograms
    for picture in pictures:
        pixels = imread(io.BytesIO(base64.b64decode(picture)))
        assert min(pixels.shape[:2]) > 150
        assert np.ptp(pixels[..., :3]) > 0.5


def test_it_says_what_the_corpus_is(page: str) -> None:
    for word in ("ada", "ben", "lively", "40", "38 + 2", "22050 Hz", "espeak-ng"):
        assert word in page


def test_drops_and_texts_are_shown_and_escaped(lj: Callable[..., Path], tmp_path: Path) -> None:
    source = lj("<b>evil</b>|<script>alert(1)</script>|x", "gone|A lost sentence.|A lost sentence.")
    build(CorpusConfig(recipe="ljspeech", source=str(source), out=str(tmp_path / "out")))
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "text without a recording: 2" in html
    assert "A lost sentence." in html
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
