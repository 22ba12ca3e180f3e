"""Checkpoints that older releases of NeMo wrote themselves, before and after `nemo-ext migrate`.

    sh benchmarks/migration.sh FOLDER

calls this with the folders in which benchmarks/old_releases/write_files.py left each release's files. Writes
benchmarks/migration.md; exits with an error if anything differs by more than the bound.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import describe, table, write

from nemo_ext import _nemo, config
from nemo_ext.models.migrate.run import Migrated, migrate
from nemo_ext.synthesis.casting import Cast

BOUND = 1e-5  # of log-mels, and of audio in [-1, 1]
TOLD = {
    "arpabet": "1 speaker, ARPAbet, energy",
    "arpabet_3_speakers": "3 speakers, ARPAbet, energy",
    "ipa": "1 speaker, IPA, no energy",
    "ipa_3_speakers": "3 speakers, IPA, energy",
    "lookup_add_layernorm": "3 speakers, SpeakerEncoder table, add and conditional layer norm",
    "lookup_concat": "3 speakers, SpeakerEncoder table, concat",
    "lookup_style_tokens": "3 speakers, SpeakerEncoder table and style tokens, without reference audio",
    "precomputed": "SpeakerEncoder with a precomputed embedding",
    "durations_given": "no learned alignment, letters",
    "arpabet_adapters": "2 adapters in the checkpoint",
    "ipa_3_speakers_adapters": "3 speakers, 2 adapters in the checkpoint",
    "arpabet_adapter_post": "adapter of NeMo's default parts, norm last, GELU",
    "hifigan": "HiFi-GAN, residual blocks of pairs",
    "hifigan_v3": "HiFi-GAN, single residual blocks",
}


@dataclass
class Differences:
    """Largest differences between a release's own output and ours."""

    base: float = 0.0
    adapters: float = 0.0
    compared: int = 0
    lengths: list[str] = field(default_factory=list)  # keys whose frames differ in number
    tokens: list[str] = field(default_factory=list)  # texts that became other tokens

    def note(self, key: str, theirs: np.ndarray, ours: np.ndarray) -> None:
        """One pair of mels ``(n_mels, T_mel)`` or audios ``(T_audio,)``."""
        self.compared += 1
        if theirs.shape != ours.shape:
            self.lengths.append(key)
            return
        apart = float(np.abs(theirs - ours).max())
        if not np.isfinite(apart):
            apart = float("inf")
        if "/" in key:
            self.adapters = max(self.adapters, apart)
        else:
            self.base = max(self.base, apart)

    @property
    def good(self) -> bool:
        """Whether everything is as before."""
        return max(self.base, self.adapters) <= BOUND and not self.lengths and not self.tokens


def run(source: Path, out: Path, **options: Any) -> Migrated:
    """`nemo-ext migrate source out=out`."""
    typed = [f"{key}={value}" for key, value in options.items()]
    return migrate(config.compose("migrate", [str(source), f"out={out}", *typed]))


def fastpitch(held: Any, about: dict[str, Any], source: Path, place: Path, **options: Any) -> Differences:
    """The migrated FastPitch, restored from its file, against the arrays that the release computed."""
    found, speakers = Differences(), range(about["speakers"])
    adapters = about.get("adapters", [])
    # an adapted voice takes the embedding of one speaker, so each speaker takes a migration
    for chosen in speakers if adapters else [0]:
        folder = place / f"{source.stem}-{chosen}-{len(options)}"
        run(source, folder / "new.nemo", voices=folder, speaker=f"speaker_{chosen}", **options)
        model = _nemo.restore(folder / "new.nemo")
        cast = Cast(model, folder)
        for t, text in enumerate(about["texts"]):
            if not np.array_equal(model.frontend.encode(text, normalized=text).ids, held[f"tokens_{t}"]):
                found.tokens.append(f"{source.name}: {text}")
        spoken = [(f"{adapter}/", adapter, chosen) for adapter in adapters]
        spoken += [("", f"speaker_{speaker}", speaker) for speaker in ([chosen] if adapters else speakers)]
        for prefix, voice, speaker in spoken:
            vector = torch.from_numpy(cast.find(voice).vector)[None]
            for t in range(len(about["texts"])):
                tokens = torch.from_numpy(held[f"tokens_{t}"])[None]
                lens = torch.tensor([tokens.shape[1]])
                for pace in (1.0, 0.8):
                    key = f"{prefix}mel_{t}_{speaker}_{pace}"
                    found.note(key, held[key], model.predict_mel(tokens, lens, vector, pace=pace).mel[0].numpy())
    return found


def hifigan(held: Any, source: Path, place: Path) -> Differences:
    """The migrated HiFi-GAN, restored from its file, against the audio that the release computed."""
    found = Differences()
    run(source, place / f"{source.stem}.nemo")
    model = _nemo.restore(place / f"{source.stem}.nemo")
    found.note("audio", held["audio"], model.decode(torch.from_numpy(held["mel"])[None])[0].numpy())
    return found


def cases(folder: Path, place: Path) -> list[tuple[str, Differences]]:
    """Every case of one release."""
    found = []
    for path in sorted(folder.glob("*.npz"), key=lambda p: list(TOLD).index(p.stem)):
        held, source = np.load(path), path.with_suffix(".nemo")
        about = json.loads(str(held["about"]))
        if about["kind"] == "hifigan":
            found.append((TOLD[path.stem], hifigan(held, source, place)))
            continue
        found.append((TOLD[path.stem], fastpitch(held, about, source, place)))
        base = source.with_name(f"{path.stem}_base.nemo")
        if base.exists():
            given = fastpitch(held, about, base, place, adapters=source.with_suffix(".pt"))
            found.append((f"{TOLD[path.stem].partition(' in the')[0]} in a file of save_adapters", given))
    return found


def main() -> None:
    """Compare and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="each release's files")
    folders = parser.parse_args().folders
    torch.set_num_threads(1)
    rows, failed = [], []
    place = Path(tempfile.mkdtemp(prefix="migration-"))
    try:
        for folder in folders:
            release = json.loads((folder / "release.json").read_text())["nemo"]
            for told, found in cases(folder, place / release):
                failed += [] if found.good else [f"NeMo {release}, {told}: {found}"]
                adapters = f"{found.adapters:.1e}" if found.adapters else "-"
                same = "yes" if not found.tokens else "NO"
                if "HiFi-GAN" in told:
                    same = "-"
                rows.append([release, told, str(found.compared), f"{found.base:.1e}", adapters, same])
    finally:
        shutil.rmtree(place)
    worst = max(float(row[3]) for row in rows), max(float(row[4]) for row in rows if row[4] != "-")
    write(
        Path(__file__).with_suffix(".md"),
        "Migration",
        "sh benchmarks/migration.sh FOLDER",
        [
            "Each file was written by the release named, with its own classes in an environment of its own, and so was "
            "what stands before: the mel of fixed token ids at pace 1 and 0.8 for every speaker, and the audio of a "
            "fixed mel. After is `nemo-ext migrate`, then the new file restored. Models are small (width 48, two "
            "layers) and their weights random; adapters are NeMo's LinearAdapter with random weights, before switched "
            "on in the checkpoint, after a voice file. Differences are the largest over all values of all outputs, in "
            f"natural-log mel or in audio between -1 and 1; the bound is {BOUND:g}.",
            table(
                ["NeMo", "checkpoint", "outputs", "largest difference", "with adapters", "same tokens of three texts"],
                rows,
            ),
            f"**Largest difference of all: {worst[0]:.1e} without adapters, {worst[1]:.1e} with.** "
            + ("Nothing is beyond the bound." if not failed else "BEYOND THE BOUND: " + "; ".join(failed)),
            "A zero is exact: both sides do the same operations in the same order on the same torch. The releases ran "
            "on torch 2.13.0 on a CPU, as we do (the torch of their days comes with gigabytes of CUDA), on Python 3.11 "
            "and numpy 1.26; the rest is pinned in [old_releases](old_releases). Two packages that NeMo asks for at "
            "import were replaced by empty modules in those environments: torchaudio, which has no build beside this "
            "torch, and youtokentome, which has none for this Python. No text-to-speech model calls them.",
            describe(),
        ],
    )
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
