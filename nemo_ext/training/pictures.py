"""Learning curves, and a model's preview as figures and audio for TensorBoard and Weights & Biases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nemo_ext import files
from nemo_ext.types import MelSpec, Preview

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def read_metrics(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """``metrics.jsonl`` as ``name -> (steps, values)``; of a step that a resumed run wrote again, the later line."""
    rows: dict[str, dict[int, float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # the run was killed in the middle of its last line
            continue
        step = row.pop("step")
        for name, value in row.items():
            rows.setdefault(name, {})[step] = value
    return {name: (sorted(at), [at[s] for s in sorted(at)]) for name, at in rows.items()}


def draw_curves(metrics: Path, path: Path) -> None:
    """One small plot a loss, training and validation together, as a PNG."""
    from matplotlib.figure import Figure

    found = read_metrics(metrics)
    names = sorted({name.partition("/")[2] for name in found}, key=lambda n: (n != "loss", n != "mel", n))
    if not names:
        return
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.6 * rows), layout="constrained")
    for i, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, i + 1)
        for part, style in (("train", {"color": "#888"}), ("val", {"color": "#c33", "marker": ".", "linewidth": 1.5})):
            if f"{part}/{name}" in found:
                axes.plot(*found[f"{part}/{name}"], label=part, **style)
        values = [v for part in ("train", "val") for v in found.get(f"{part}/{name}", ([], []))[1]]
        if values and min(values) > 0 and max(values) / min(values) > 20:
            axes.set_yscale("log")
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
        if i == 0:
            axes.legend(fontsize=7)
    figure.supxlabel("steps", fontsize=8)
    with files.replacing(path) as beside:
        figure.savefig(beside, dpi=100, format="png")


def images(preview: Preview) -> dict[str, np.ndarray]:
    """Each mel, alignment and curve of ``preview`` as a picture ``(height, width, 3)`` uint8."""
    from matplotlib.figure import Figure

    drawn: dict[str, np.ndarray] = {}
    mels = [mel for mel in preview.mels.values() if mel.size]
    levels = (
        {"vmin": min(m.min() for m in mels), "vmax": max(m.max() for m in mels)} if mels else {}
    )  # of all: they compare
    for kind, arrays, label in (("mel", preview.mels, "mel band"), ("alignment", preview.alignments, "token")):
        for name, array in arrays.items():
            figure = Figure(figsize=(8, 3), layout="constrained")
            axes = figure.add_subplot()
            scale = levels if kind == "mel" else {}
            axes.imshow(array, origin="lower", aspect="auto", interpolation="nearest", **scale)
            axes.set(xlabel="frame", ylabel=label, title=f"{kind}, {name}")
            drawn[f"{kind}/{name}"] = _pixels(figure)
    for name, curve in preview.curves.items():
        figure = Figure(figsize=(8, 2.5), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(np.where(curve > 0, curve, np.nan))
        axes.set(xlabel="frame", ylabel="Hz", title=name)
        drawn[f"curve/{name}"] = _pixels(figure)
    return drawn


def sounds(preview: Preview, spec: MelSpec) -> dict[str, np.ndarray]:
    """The preview's audio ``(T_audio,)``; a model that makes only mels is heard through Griffin-Lim."""
    if preview.audio:
        return preview.audio
    import torch

    from nemo_ext.models.vocoder.griffin_lim import GriffinLim

    decoder = GriffinLim(spec)
    return {
        f"{name}, Griffin-Lim": decoder.decode(torch.from_numpy(mel)[None])[0].numpy()
        for name, mel in preview.mels.items()
    }


def send(loggers: list[Any], preview: Preview, spec: MelSpec, step: int) -> None:
    """Show ``preview`` in every logger that can show pictures."""
    from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

    drawn, heard = images(preview), sounds(preview, spec)
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            for name, image in drawn.items():
                logger.experiment.add_image(name, image, step, dataformats="HWC")
            for name, audio in heard.items():
                logger.experiment.add_audio(f"audio/{name}", np.clip(audio, -1, 1), step, spec.sample_rate)
        elif isinstance(logger, WandbLogger):
            import wandb

            shown: dict[str, Any] = {name: wandb.Image(image) for name, image in drawn.items()}
            shown |= {f"audio/{name}": wandb.Audio(audio, spec.sample_rate) for name, audio in heard.items()}
            logger.experiment.log({**shown, "trainer/global_step": step})


def _pixels(figure: Figure) -> np.ndarray:
    """``(height, width, 3)`` uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
