"""The page: what a person sees, from results as the demo measures them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from nemo_ext.demo import pictures, report
from nemo_ext.demo.measure import Aligned, Results, Spoken
from nemo_ext.demo.page import Chart, Phase, write_page
from nemo_ext.types import MelSpec

SECONDS = dict.fromkeys(report.KINDS, 2.0)
PHASES = [Phase("a corpus", 21.0, "600 utterances"), Phase("training", 300.0), Phase("the page", 1.5)]


def results(heard: int = 10, ratio: float = 1.2, boundary_ms: float = 12.0) -> Results:
    sentences = []
    for voice in ("ada", "ben"):
        for i in range(5):
            text = f"Sentence {i} <b>& more</b>."
            one = Spoken(
                f"{voice}-{i}", text, voice, dict.fromkeys(report.KINDS, 2.0), 0.1, text, 1.4, 5.0 * ratio, 5.0
            )
            if len(sentences) >= heard:
                one.heard = "Something else."
            sentences.append(one)
    aligned = Aligned(600, 17000, 17100, boundary_ms, 1.0, 0.97, 0.87)
    return Results(
        sentences,
        [Spoken("cleo-0", "Hello.", "cleo", SECONDS, 0.1, "Hello.", 1.4, 7.0, 5.0, 9.0, 0.5)],
        [Spoken(f"style-ada-{s}", s, "ada", {"speech": 1.5}) for s in ("neutral", "lively: higher")],
        [Spoken("otherwise-1", "pitch +4", "ada", {"speech": 1.5})],
        aligned,
    )


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href", "data-src") and value]
        if tag not in ("meta", "img", "br", "link", "rect", "line", "image", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def rendered(tmp_path: Path, found: Results) -> str:
    page = report.page(
        found, [Chart("FastPitch", "<svg></svg>")], PHASES, [("Machine", "two cores")], "nemo-ext say", 2
    )
    return write_page(page, tmp_path / "index.html").read_text(encoding="utf-8")


def test_it_is_well_formed_and_links_only_to_what_lies_beside_it(tmp_path: Path) -> None:
    parser = Links()
    parser.feed(rendered(tmp_path, results()))
    assert parser.open == []
    assert len([link for link in parser.found if link.endswith(".wav")]) == 4 * 3 + 3 + 2 + 1 + 10 * 3
    assert all(link.startswith(("audio/", "pictures/")) for link in parser.found)


def test_text_is_escaped(tmp_path: Path) -> None:
    html = rendered(tmp_path, results())
    assert "Sentence 0 &lt;b&gt;&amp; more&lt;/b&gt;." in html
    assert "<b>& more" not in html


def test_the_adapted_voice_and_the_styles_are_on_it(tmp_path: Path) -> None:
    html = rendered(tmp_path, results())
    assert "Three voices" in html
    assert "9.00 dB when the nearest base voice speaks instead" in html
    assert "lively: higher" in html
    text = "\n".join(report.markdown(results(), PHASES))
    assert "| cleo: distortion | 7.00 dB |" in text
    assert "- ada, lively: higher" in text


def test_met_bounds_are_shown_as_met(tmp_path: Path) -> None:
    html = rendered(tmp_path, results())
    assert html.count("✓ met") == 3
    assert "✗ missed" not in html
    assert "10 of 10" in html
    assert "pymcd 0.2.1" in html


@pytest.mark.parametrize(
    "found", [results(heard=9), results(ratio=1.51), results(boundary_ms=25.1), results(boundary_ms=float("nan"))]
)
def test_a_missed_bound_is_shown_as_missed(tmp_path: Path, found: Results) -> None:
    assert rendered(tmp_path, found).count("✗ missed") == 1
    assert "**missed**" in "".join(report.markdown(found, PHASES))


def test_a_failed_measurement_is_counted_named_and_in_no_average(tmp_path: Path) -> None:
    found = results()
    found.sentences[3].mcd = None
    found.sentences[3].failed = ["MCD of speech: silent"]
    assert found.mean_mcd() == pytest.approx(6.0)
    figure = next(f for f in report.figures(found) if f.name == "measurements that failed")
    assert (figure.value, figure.detail) == ("1", "ada-3: MCD of speech: silent")


def test_confusions_stand_in_the_benchmark() -> None:
    text = "".join(report.markdown(results(heard=9), PHASES))
    assert "was taken for “Something else.”" in text
    assert "| in all | 322.5 | 0.0 | |" in text


def test_results_survive_being_kept(tmp_path: Path) -> None:
    found = results()
    found.save(tmp_path / "r.json")
    assert Results.load(tmp_path / "r.json") == found


def test_a_spectrogram_is_a_picture_of_its_frames(tmp_path: Path) -> None:
    from matplotlib.image import imread

    mel = np.full((80, 120), pictures.LOWEST, np.float32)
    mel[:40, 60:] = pictures.HIGHEST
    pictures.mel_png(tmp_path / "m.png", mel)
    image = imread(tmp_path / "m.png")
    assert image.shape[:2] == (160, 120)
    assert image[-1, -1, :3].sum() > 2  # low bands lie below, late frames to the right
    assert image[0, -1, :3].sum() < 0.1
    assert image[-1, 0, :3].sum() < 0.1


def test_the_alignment_shows_path_and_events() -> None:
    path = np.repeat(np.arange(4), 5)
    svg = pictures.alignment_svg(
        np.eye(4, dtype=np.float32)[path], path, list("kˈæt"), MelSpec(), [("k", 0.0), ("æ", 0.1)]
    )
    points = re.search(r'class="path" points="([^"]+)"', svg)
    assert points
    heights = [float(pair.split(",")[1]) for pair in points[1].split()]
    assert heights == sorted(heights, reverse=True)
    assert svg.count('class="tick"') == 2
    assert "NaN" not in svg


def test_curves_are_thinned_and_survive_gaps() -> None:
    long = [(float(i), 1.0 + i) for i in range(5000)]
    svg = pictures.chart_svg([("train", long), ("val", [(10.0, float("nan")), (20.0, 2.0)])], "loss")
    points = re.findall(r'class="curve[^"]*" points="([^"]+)"', svg)
    assert len(points[0].split()) == 300
    assert len(points[1].split()) == 1
    assert "nothing was recorded" in pictures.chart_svg([], "loss")
