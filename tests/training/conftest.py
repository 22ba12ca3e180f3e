"""Toy models that train in a second, on real batches."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nemo_ext.config import compose
from nemo_ext.training.run import train

VOCOS = [
    "model=vocos",
    "size=tiny",
    "model.width=16",
    "model.hidden_width=32",
    "model.layers=1",
    "model.segment_frames=16",
    "model.batch_size=4",
]
FASTPITCH = [
    "model=fastpitch",
    "size=tiny",
    "model.width=16",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "model.head_width=8",
    "model.feedforward_width=16",
    "model.predictor_width=8",
    "model.dropout=0.1",
    "text=chars",
    "frames_per_batch=2500",
]
QUICK = [
    "trainer.threads=1",
    "trainer.measure_seconds=0",
    "trainer.log_every=1",
    "trainer.val_every=1000",
    "logger.tensorboard=false",
]

Options = Callable[..., list[str]]
Toy = Callable[..., Path]


@pytest.fixture(scope="session")
def options(espeak_corpus: Path) -> Options:
    """``options(out, *more, model="vocos")``: a command line; ``more`` comes last, so it wins."""

    def line(out: Path, *more: str, model: str = "vocos") -> list[str]:
        chosen = {"vocos": VOCOS, "fastpitch": FASTPITCH}[model]
        return [*chosen, *QUICK, f"corpus={espeak_corpus}", f"out={out}", *more]

    return line


@pytest.fixture(scope="session")
def told() -> Callable[[Path], list[dict[str, float]]]:
    """``told(out)``: the losses and rates of every step, and of the validation, that a run wrote; not its speed."""

    def read(out: Path) -> list[dict[str, float]]:
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        return [{k: v for k, v in row.items() if not k.endswith("_per_second")} for row in rows]

    return read


@pytest.fixture(scope="session")
def toy(options: Options) -> Toy:
    """``toy(out, *more, model="vocos")`` trains with these ``options``."""

    def run(out: Path, *more: str, model: str = "vocos") -> Path:
        return train(compose("train", options(out, *more, model=model)))

    return run


@pytest.fixture(scope="session")
def _finished(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    toy(out, "trainer.max_steps=8", "trainer.checkpoint_every=4")
    return out


@pytest.fixture
def finished(_finished: Path, tmp_path: Path) -> Path:
    """A folder of its own with a toy vocoder's training of 8 steps; checkpoints of steps 4 and 8."""
    return Path(shutil.copytree(_finished, tmp_path / "run"))
