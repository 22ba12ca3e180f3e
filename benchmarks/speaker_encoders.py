"""Speaker encoders on real speech: how well they tell 14 speakers apart, and ours beside the package they come from.

    NEMO_EXT_CORPORA=DIR python benchmarks/speaker_encoders.py [--models PATH.nemo ...] [--threads 1]

Writes benchmarks/speaker_encoders.md. The package `resemblyzer` is measured too where it can be imported, which needs
`webrtcvad` and setuptools; a name that scipy dropped is lent to it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import describe, table, write

from nemo_ext.audio import io
from nemo_ext.evaluation.speakers import separation
from nemo_ext.models.speaker.encoders import speaker_encoder

Recording = tuple[np.ndarray, int]


def the_package() -> tuple[Any, Any] | str:
    """The package's own encoder and its preprocessing, or why there is none."""
    import scipy.ndimage

    lent = types.ModuleType("scipy.ndimage.morphology")
    lent.binary_dilation = scipy.ndimage.binary_dilation  # type: ignore[attr-defined]
    sys.modules.setdefault(lent.__name__, lent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from resemblyzer import VoiceEncoder, preprocess_wav
        except ImportError as error:
            return f"The package itself could not be imported here ({error})."
    return VoiceEncoder("cpu", verbose=False), preprocess_wav


def timed(embed: Callable[[np.ndarray, int], np.ndarray], recordings: list[Recording]) -> tuple[np.ndarray, float]:
    """Embeddings ``(N, E)``, and seconds of processor time for all of them."""
    start = time.process_time()
    found = [embed(audio, rate) for audio, rate in recordings]
    return np.stack(found), time.process_time() - start


def main() -> None:
    """Measure and write the page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--models", type=Path, nargs="*", default=[], help="speaker models beside resemblyzer")
    options.add_argument("--names", nargs="*", default=[], help="of the models, for the table")
    options.add_argument("--notes", nargs="*", default=[], help="paragraphs below the tables")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--passes", type=int, default=2, help="the fastest counts")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    root = Path(os.environ["NEMO_EXT_CORPORA"])
    sets: dict[str, list[Path]] = {
        "vctk_mini": sorted((root / "vctk_mini" / "wav").rglob("*.flac")),
        "librispeech_multi": sorted((root / "librispeech_multi").rglob("*.flac")),
    }
    paths = [path for found in sets.values() for path in found]
    recordings = [io.read_mono(path) for path in paths]
    seconds = sum(len(audio) / rate for audio, rate in recordings)
    speaker = [path.stem.partition("_")[0].partition("-")[0] for path in paths]
    where = np.array([name for name, found in sets.items() for _ in found])

    ways: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
        "resemblyzer, ours": speaker_encoder("resemblyzer").embed
    }
    package = the_package()
    if not isinstance(package, str):
        theirs, preprocess = package
        ways["resemblyzer, the package"] = lambda audio, rate: theirs.embed_utterance(preprocess(audio, rate))
    names = [*args.names, *(str(path) for path in args.models[len(args.names) :])]
    for name, path in zip(names, args.models, strict=True):
        ways[name] = speaker_encoder(str(path)).embed
    for embed in ways.values():
        embed(*recordings[0])
    rows, found = [], {}
    for name, embed in ways.items():
        runs = [timed(embed, recordings) for _ in range(args.passes)]
        found[name] = runs[0][0]
        every = separation(found[name], speaker)
        each = [
            separation(found[name][where == part], [s for s, w in zip(speaker, where, strict=True) if w == part])
            for part in sets
        ]
        rows.append(
            [
                name,
                f"{found[name].shape[1]}",
                f"{every.same:.3f} ± {every.same_std:.3f}",
                f"{every.different:.3f} ± {every.different_std:.3f}",
                f"{100 * every.equal_error_rate:.1f} % at {every.threshold:.3f}",
                *[f"{100 * part.equal_error_rate:.1f} %" for part in each],
                f"{seconds / min(run[1] for run in runs):.0f}x",
            ]
        )
        print(rows[-1], flush=True)
    told = [package] if isinstance(package, str) else [compared(*package, recordings, found)]
    write(
        Path(__file__).with_suffix(".md"),
        "Speaker encoders",
        f"NEMO_EXT_CORPORA=DIR python benchmarks/speaker_encoders.py --threads {args.threads}",
        [
            describe(),
            f"{len(paths)} utterances ({seconds / 60:.1f} min) of {len(set(speaker))} speakers: `vctk_mini` (4, one "
            "studio) and `librispeech_multi` (10, one home each). Cosines and equal error rate over all pairs of "
            f"utterances, {every.pairs} of them; then within each set. Speed: times real time, in processor time, "
            f"reading left out, {args.threads} thread(s), the best of {args.passes} passes in one run.",
            table(
                ["encoder", "values", "one speaker", "two speakers", "EER", *(f"EER {name}" for name in sets), "speed"],
                rows,
            ),
            *told,
            *args.notes,
        ],
    )


def compared(theirs: Any, preprocess: Any, recordings: list[Recording], found: dict[str, np.ndarray]) -> str:
    """How close ours comes to the package."""
    ours: Any = speaker_encoder("resemblyzer")
    alike = []
    for audio, rate in recordings:
        speech = preprocess(audio, rate)
        alike.append(float(ours.embed_speech(speech.astype(np.float32)) @ theirs.embed_utterance(speech)))
    each = (found["resemblyzer, ours"] * found["resemblyzer, the package"]).sum(axis=1)
    quiet = []  # cosine between a recording and the same, 12 dB down
    for audio, rate in recordings[::10]:
        pair = [audio, np.float32(10 ** (-12 / 20)) * audio]
        a, b = (ours.embed(x, rate) for x in pair)
        c, d = (theirs.embed_utterance(preprocess(x, rate)) for x in pair)
        quiet.append((float(a @ b), float(c @ d)))
    least = np.min(quiet, axis=0)
    return (
        "Ours beside the package, cosine between the embeddings of one recording: on the same speech, silence cut by "
        f"the package's detector for both, at least {min(alike):.6f}; each with its own way of skipping silence, "
        f"median {np.median(each):.3f}, lowest {each.min():.3f}. The same recording turned down by 12 "
        f"dB: ours at least {least[0]:.3f}, the package's at least {least[1]:.3f} ({len(quiet)} recordings)."
    )


if __name__ == "__main__":
    main()
