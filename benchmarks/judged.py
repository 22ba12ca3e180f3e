"""What an independent recogniser makes of the demo's speech, beside its copy synthesis and the reading itself.

    python benchmarks/judged.py FOLDER

FOLDER: speech.json, copy.json and reading.json, each written by a judge outside this project with ``whole`` (cer, wer,
distillmos, ovrl_mos, ...) of one sound file a sentence: Whisper base, DistillMOS, DNSMOS.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import hardware

COLUMNS = {"cer": "character error rate", "wer": "word error rate", "distillmos": "DistillMOS", "ovrl_mos": "DNSMOS"}


def main() -> None:
    """Write the page beside this script."""
    folder, rows = Path(sys.argv[1]), []
    for kind, shown in (("reading", "the reading"), ("copy", "copy synthesis"), ("speech", "speech")):
        whole = json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))["whole"]
        cells = [f"{100 * whole[k]:.1f} %" if k.endswith("er") else f"{whole[k]:.2f}" for k in COLUMNS]
        rows.append([shown, str(whole["files"]), str(len(whole["failed"])), *cells])
    hardware.write(
        Path(__file__).with_suffix(".md"),
        "The demo's speech, heard by others",
        "python benchmarks/judged.py FOLDER",
        [
            "Every second unseen sentence of the demo in both voices, judged by models that nothing here was trained "
            "with: Whisper base (int8, beam 5) for the error rates, over all characters and words (lower case, letters "
            "and digits); DistillMOS and DNSMOS, means over the files. The reading is espeak-ng's own, of which both "
            "models learned: speech cannot be expected to be better than it.",
            hardware.table(["", "files", "not judged", *COLUMNS.values()], rows),
            hardware.describe(),
        ],
    )


if __name__ == "__main__":
    main()
