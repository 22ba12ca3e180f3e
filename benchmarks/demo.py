"""Runs the demo from nothing and writes its figures beside this script."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import hardware

from nemo_ext.config import compose
from nemo_ext.demo import report
from nemo_ext.demo.measure import Results
from nemo_ext.demo.run import PLANNED, demo, phases, settings
from nemo_ext.demo.state import State


def main() -> None:
    """``--out``: a folder to keep the demo in; a finished one is only written up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as fresh:
        out = arguments.out or Path(fresh) / "demo"
        cfg = compose("demo", [f"out={out}"])
        demo(cfg)
        results = Results.load(out / "results.json")
        spent = phases(State(out, settings(cfg), PLANNED))
    chosen = ", ".join(f"{name} {value}" for name, value in settings(cfg).items())
    hardware.write(
        Path(__file__).with_suffix(".md"),
        "The demo",
        "python benchmarks/demo.py",
        [
            f"What `nemo-ext demo` makes of nothing: {chosen}. How the figures are measured: "
            "[docs/evaluation.md](../docs/evaluation.md).",
            hardware.describe(),
            *report.markdown(results, spent),
        ],
    )


if __name__ == "__main__":
    main()
