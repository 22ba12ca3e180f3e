"""Pictures of the page: spectrograms as PNG files, alignments and curves as SVG that follows light and dark."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from nemo_ext.types import MelSpec

LOWEST, HIGHEST = -10.0, 1.5  # log-mel shown as black and as white; the same on every picture, so they compare

Series = tuple[str, list[tuple[float, float]]]  # name, points


def mel_png(path: Path, mel: NDArray[np.float32]) -> None:
    """Write ``mel (n_mels, T_mel)`` as a picture of one pixel a frame and four pixels a band."""
    import matplotlib.image

    tall = np.repeat(np.asarray(mel, np.float32), 2, axis=0)
    matplotlib.image.imsave(path, tall, vmin=LOWEST, vmax=HIGHEST, cmap="magma", origin="lower")


def alignment_svg(
    attention: NDArray[np.float32],
    path: NDArray[np.int64],
    symbols: Sequence[str],
    spec: MelSpec,
    events: Sequence[tuple[str, float]] = (),
) -> str:
    """Soft attention ``(T_mel, T_text)`` with the hard ``path (T_mel,)`` over it and the known starts as ticks."""
    frames, tokens = attention.shape
    cell, left, bottom = 4.0, 34.0, 34.0
    row = min(max(0.45 * frames * cell / tokens, 7.0), 13.0)
    width, height = left + frames * cell + 8, tokens * row + bottom
    image = np.zeros((tokens, frames, 4), np.uint8)
    image[..., :3] = (124, 92, 255)
    image[..., 3] = (255 * np.sqrt(np.clip(attention.T[::-1], 0, 1))).astype(np.uint8)
    parts = [
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="alignment of tokens and frames">',
        f'<rect class="plot" x="{left}" y="0" width="{frames * cell}" height="{tokens * row}"/>',
        f'<image x="{left}" y="0" width="{frames * cell}" height="{tokens * row}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{_png(image)}"/>',
    ]
    for phoneme, start in events:
        x = left + (start * spec.sample_rate / spec.hop_length + 0.5) * cell
        if x < left + frames * cell:
            parts.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{tokens * row}"/>')
            parts.append(f'<text class="small" x="{x + 2:.1f}" y="{tokens * row + 11}">{escape(phoneme)}</text>')
    points = []
    for frame, token in enumerate(path):
        y = (tokens - 1 - token + 0.5) * row
        points += [f"{left + frame * cell:.1f},{y:.1f}", f"{left + (frame + 1) * cell:.1f},{y:.1f}"]
    parts.append(f'<polyline class="path" points="{" ".join(points)}"/>')
    for token, symbol in enumerate(symbols):
        y, x = (tokens - 1 - token + 0.5) * row + 3.5, left - 6 - 12 * (token % 2)  # two columns: rows are low
        parts.append(f'<text class="small" x="{x:.0f}" y="{y:.1f}" text-anchor="end">{escape(symbol)}</text>')
    seconds = spec.seconds(frames)
    for second in np.arange(0, seconds - 0.1, 0.5):  # no room for a label at the very end
        x = left + second * spec.sample_rate / spec.hop_length * cell
        parts.append(f'<text class="small dim" x="{x:.1f}" y="{height - 4:.0f}">{second:.1f} s</text>')
    return "".join(parts) + "</svg>"


def chart_svg(series: Sequence[Series], unit: str, logarithmic: bool = False) -> str:
    """Curves over training steps. At most 300 points are drawn of each; a logarithmic scale leaves out what is 0."""
    width, height, left, bottom, top = 520.0, 230.0, 46.0, 26.0, 10.0
    shown = [
        (name, [p for p in points if math.isfinite(p[1]) and (p[1] > 0 or not logarithmic)]) for name, points in series
    ]
    drawn = [(name, _thinned(points)) for name, points in shown]
    drawn = [(name, points) for name, points in drawn if points]
    if not drawn:
        return '<p class="dim">nothing was recorded</p>'
    scale = math.log10 if logarithmic else float
    values = [scale(y) for _, points in drawn for _, y in points]
    low, high = (min(values), max(values)) if logarithmic else (min(0.0, *values), max(values))
    high = high if high > low else low + 1.0
    steps = max(x for _, points in drawn for x, _ in points) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        return left + x / steps * (width - left - 8), top + (high - scale(y)) / (high - low) * (height - top - bottom)

    parts = [f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(unit)} over steps">']
    for i in range(5):
        value = low + (high - low) * i / 4
        y = top + (high - value) / (high - low) * (height - top - bottom)
        number = 10**value if logarithmic else value
        parts.append(f'<line class="grid" x1="{left}" x2="{width - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="small dim" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{number:.2g}</text>')
    for i in range(5):
        x = left + (width - left - 8) * i / 4
        anchor = "end" if i == 4 else "middle" if i else "start"
        label = f"{steps * i / 4:.0f}" + (" steps" if i == 4 else "")
        parts.append(f'<text class="small dim" x="{x:.1f}" y="{height - 8}" text-anchor="{anchor}">{label}</text>')
    for colour, (_, points) in enumerate(drawn):
        line = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in points)
        parts.append(f'<polyline class="curve c{colour % 6}" points="{line}"/>')
    keys = "".join(f'<span class="key c{n % 6}">{escape(name)}</span>' for n, (name, _) in enumerate(drawn))
    return "".join(parts) + f'</svg><p class="keys">{keys}</p>'


def _thinned(points: list[tuple[float, float]], most: int = 300) -> list[tuple[float, float]]:
    """Neighbouring points averaged until at most ``most`` are left."""
    if len(points) <= most:
        return points
    groups = np.array_split(np.array(points, np.float64), most)
    return [(float(g[:, 0].mean()), float(g[:, 1].mean())) for g in groups]


def _png(image: NDArray[np.uint8]) -> str:
    import matplotlib.image

    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, image, format="png")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
