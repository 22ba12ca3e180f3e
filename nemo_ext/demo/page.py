"""The page that the demo leaves behind: what is on it, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from nemo_ext import files


@dataclass
class Clip:
    """One recording, with its picture. Paths are relative to the page."""

    label: str
    audio: str
    picture: str = ""
    seconds: float = 0.0


@dataclass
class Line:
    """One sentence in one voice."""

    text: str
    voice: str
    clips: list[Clip]
    heard: str = ""  # the sentence that it was identified as; the same as text when all is well
    mcd: float | None = None  # dB, speech against reading
    mcd_copy: float | None = None  # dB, copy synthesis against reading
    note: str = ""

    @property
    def identified(self) -> bool:
        """Whether it was heard as itself."""
        return self.heard == self.text


@dataclass
class Figure:
    """One measured figure and what it was held against."""

    name: str
    value: str
    bound: str = ""  # "" for a figure that is only stated
    met: bool | None = None
    detail: str = ""  # of what it was measured
    how: str = ""  # the measure's definition


@dataclass
class Chart:
    """A picture in SVG with what it shows."""

    title: str
    svg: str
    caption: str = ""


@dataclass
class Phase:
    """One step of the demo, its share of the time."""

    name: str
    seconds: float
    what: str = ""
    processor_seconds: float = 0.0


@dataclass
class Page:
    """Everything on the page."""

    title: str
    lead: str
    voices: list[str]
    figures: list[Figure]
    shown: list[Line]  # in full, with pictures
    newcomer: list[Line]  # in the adapted voice
    styles: list[Line]  # one sentence in every style
    controls: list[Line]  # one sentence, spoken differently
    sentences: list[Line]  # all, in a table
    alignments: list[Chart]
    curves: list[Chart]
    phases: list[Phase]
    facts: list[tuple[str, str]] = field(default_factory=list)
    command: str = ""

    @property
    def seconds(self) -> float:
        """Time of all phases together."""
        return sum(phase.seconds for phase in self.phases)


def write_page(page: Page, path: Path) -> Path:
    """Render ``page`` to ``path``; written beside and renamed."""
    import jinja2

    template = resources.files("nemo_ext.demo").joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    with files.replacing(path) as beside:
        beside.write_text(environment.from_string(template).render(page=page), encoding="utf-8")
    return path
