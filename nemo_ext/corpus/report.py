"""``report.html``: what a corpus is made of, to be looked at and listened to before anything is trained on it."""

from __future__ import annotations

import base64
import io as bytes_io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nemo_ext.console import clock
from nemo_ext.corpus.manifest import Dropped, audio_path, write_text
from nemo_ext.types import MelSpec, Utterance

_EXAMPLES = 6  # utterances to listen to
_LISTED = 200  # dropped rows on the page; dropped.jsonl has all
_INK, _BAR, _LINE = "#1f2933", "#3d7ea6", "#c0532b"


@dataclass
class Example:
    """An utterance to look at and listen to."""

    utterance: Utterance
    picture: str  # data URI
    why: str = ""


def write_report(
    out: Path,
    info: Mapping[str, Any],
    rows: Sequence[Utterance],
    val_ids: set[str],
    dropped: Sequence[Dropped],
    loudness: Mapping[str, float],
) -> Path:
    """Write ``out/report.html``: one file with its pictures inside; only the audio players point outside it.

    ``loudness``: utterance id -> LUFS.
    """
    import jinja2

    seconds = np.array([row.duration for row in rows])
    rate = np.array([len(row.text) / max(row.duration, 1e-3) for row in rows])
    level = np.maximum([loudness[row.id] for row in rows], -70.0)  # the scale's end; a deep hum alone reads -inf
    page = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    page.filters["clock"] = clock
    template = page.from_string((Path(__file__).parent / "report.html.jinja").read_text(encoding="utf-8"))
    html = template.render(
        info=info,
        title=info["title"],
        dropped=dropped[:_LISTED],
        more_dropped=max(0, len(dropped) - _LISTED),
        notes=Counter(_kind(note) for row in rows for note in row.notes).most_common(),
        histograms=[
            ("Duration", _histogram(seconds, "seconds"), f"{seconds.min():.1f} to {seconds.max():.1f} s"),
            ("Speaking rate", _histogram(rate, "characters a second"), f"median {np.median(rate):.1f} a second"),
            ("Loudness", _histogram(level, "LUFS"), f"{level.mean():.1f} ± {level.std():.1f} LUFS"),
        ],
        examples=[Example(row, _spectrogram(out, row)) for row in _examples(rows)],
        outliers=_outliers(rows, rate, level, val_ids),
    )
    return write_text(out / "report.html", html)


def _examples(rows: Sequence[Utterance]) -> list[Utterance]:
    """A few utterances that differ: every voice and style gets its turn, the typical length first."""
    middle = float(np.median([row.duration for row in rows]))
    shelves: dict[tuple[str | None, str | None], list[Utterance]] = {}
    for row in sorted(rows, key=lambda row: (abs(row.duration - middle), row.id)):
        shelves.setdefault((row.speaker, row.style), []).append(row)
    # Voices before styles: with many voices, six players should be six voices.
    seen_voices: set[str | None] = set()
    first: list[Utterance] = []
    later: list[Utterance] = []
    for (voice, _), shelf in sorted(shelves.items(), key=lambda item: (str(item[0][0]), str(item[0][1]))):
        (later if voice in seen_voices else first).append(shelf[0])
        seen_voices.add(voice)
    rest = [row for shelf in shelves.values() for row in shelf[1:3]]
    return (first + later + rest)[:_EXAMPLES]


def _outliers(
    rows: Sequence[Utterance], rate: np.ndarray, level: np.ndarray, val_ids: set[str]
) -> list[tuple[str, str, Utterance, bool]]:
    """What is worth a listen: the extremes are where texts and recordings do not belong together."""
    places = (
        ("fewest characters a second", rate, int(np.argmin(rate)), "{:.1f}/s"),
        ("most characters a second", rate, int(np.argmax(rate)), "{:.1f}/s"),
        ("quietest", level, int(np.argmin(level)), "{:.1f} LUFS"),
        ("loudest", level, int(np.argmax(level)), "{:.1f} LUFS"),
    )
    return [(why, form.format(values[i]), rows[i], rows[i].id in val_ids) for why, values, i, form in places]


def _kind(note: str) -> str:
    """A note without its own figure, so that equal ones can be counted."""
    return "turned down to stay below full scale" if note.startswith("turned down") else note


def _histogram(values: np.ndarray, unit: str) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.0, 2.2), dpi=110)  # placed by hand: automatic layout draws everything twice
    axes = figure.add_axes((0.15, 0.24, 0.80, 0.72))
    finite = values[np.isfinite(values)]
    axes.hist(finite, bins=min(40, max(8, len(finite) // 6)), color=_BAR)
    axes.axvline(float(np.median(finite)), color=_LINE, linewidth=1.5)
    axes.locator_params("x", nbins=6)  # more run into each other
    axes.set_xlabel(unit, color=_INK)
    axes.set_ylabel("utterances", color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    return _data_uri(figure)


def _spectrogram(out: Path, row: Utterance) -> str:
    """Log-mel picture with the pitch drawn over it."""
    from matplotlib.figure import Figure

    from nemo_ext.audio.io import read_mono
    from nemo_ext.audio.mel import log_mel
    from nemo_ext.audio.pitch import mel_f0

    audio, sample_rate = read_mono(audio_path(out, row))
    spec = MelSpec(sample_rate=sample_rate, f_max=min(8000.0, sample_rate / 2))
    mel, pitch = log_mel(audio, spec), mel_f0(audio, spec)
    figure = Figure(figsize=(8.0, 2.2), dpi=100)
    axes = figure.add_axes((0.06, 0.22, 0.86, 0.75))
    end = len(audio) / sample_rate
    axes.imshow(mel, origin="lower", aspect="auto", cmap="magma", extent=(0, end, 0, spec.n_mels), vmin=-9, vmax=1.5)
    axes.set_ylabel("mel band")
    axes.set_xlabel("seconds")
    over = axes.twinx()
    over.plot(
        np.arange(len(pitch)) * spec.hop_length / sample_rate, np.where(pitch > 0, pitch, np.nan), color="#7fe0ff"
    )
    over.set_ylim(50, 600)
    over.set_xlim(0, end)
    over.set_ylabel("pitch, Hz")
    return _data_uri(figure)


def _data_uri(figure: Any) -> str:
    buffer = bytes_io.BytesIO()
    figure.savefig(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
