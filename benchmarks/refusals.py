"""What a wrong command line costs, and a first sentence: seconds of processor time, of two versions in turn.

Each version is a checkout, run by the same Python. Processor time is user and system time of the whole process, the
least of several tries, so that a busy machine disturbs it little.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import hardware
import numpy as np
import soundfile

HERE = Path(__file__).resolve()
# what is wrong, and the command line; {A}, {V} and {C} are an acoustic model, a vocoder and a corpus in {DIR}
WRONG = (
    ("train without options", "train"),
    ("train: no such corpus", "train model=fastpitch corpus={DIR}/nowhere out={DIR}/run"),
    ("train: out= is below a file", "train model=fastpitch corpus={C} out={DIR}/taken/run"),
    ("train: no such init", "train model=fastpitch corpus={C} out={DIR}/run init={DIR}/no.nemo"),
    ("train: no such acoustic", "train model=vocos corpus={C} out={DIR}/run acoustic={DIR}/no.nemo"),
    ("train: steps", "train model=vocos corpus={C} out={DIR}/run trainer.max_steps=0"),
    ("train: no GPU", "train model=vocos corpus={C} out={DIR}/run trainer=gpu"),
    ("train: unknown model option", "train model=fastpitch corpus={C} out={DIR}/run model.widht=64"),
    ("adapt without options", "adapt"),
    ("adapt: out= is no voice", "adapt base={A} corpus={C} out={DIR}/anna consent=unknown"),
    ("adapt: out= is below a file", "adapt base={A} corpus={C} out={DIR}/taken/a.voice consent=unknown"),
    ("adapt: no such base", "adapt base={DIR}/no.nemo corpus={C} out={DIR}/a.voice consent=unknown"),
    ("adapt: no such corpus", "adapt base={A} corpus={DIR}/nowhere out={DIR}/a.voice consent=unknown"),
    ("adapt: no such vocoder", "adapt base={A} corpus={C} out={DIR}/a.voice consent=- vocoder={DIR}/no.nemo"),
    ("adapt: no such clip", "adapt base={A} reference={DIR}/no.wav out={DIR}/a.voice consent=unknown"),
    ("say without options", "say"),
    ("say: no such acoustic", "say acoustic={DIR}/no.nemo text=Hello out={DIR}/a.wav"),
    ("say: no such vocoder", "say acoustic={A} vocoder={DIR}/no.nemo text=Hello out={DIR}/a.wav"),
    ("say: acoustic= is no model", "say acoustic={DIR}/taken text=Hello out={DIR}/a.wav"),
    ("say: no such folder for out=", "say acoustic={A} text=Hello out={DIR}/nowhere/a.wav"),
    ("say: no such voice file", "say acoustic={A} voice={DIR}/no.voice text=Hello out={DIR}/a.wav"),
    ("say: no such folder of voices", "say acoustic={A} voices={DIR}/nowhere text=Hello out={DIR}/a.wav"),
    ("say: pace out of range", "say acoustic={A} pace=9 text=Hello out={DIR}/a.wav"),
    ("say: unknown language", "say acoustic={A} language=xx text=Hello out={DIR}/a.wav"),
    ("say: no such bundle", "say bundle={DIR}/nowhere text=Hello out={DIR}/a.wav"),
    ("voice: no such file", "voice show={DIR}/no.voice"),
    ("voice: no such acoustic", "voice show=ada acoustic={DIR}/no.nemo"),
    ("export without options", "export"),
    ("export: no such acoustic", "export acoustic={DIR}/no.nemo vocoder={V} out={DIR}/bundle"),
    ("export: no such vocoder", "export acoustic={A} vocoder={DIR}/no.nemo out={DIR}/bundle"),
    ("export: no such bundle to verify", "export verify={DIR}/nowhere"),
    ("export: out= is a file", "export acoustic={A} vocoder={V} out={DIR}/taken"),
    ("migrate: no such source", "migrate {DIR}/no.nemo out={DIR}/new.nemo"),
    ("migrate: out= is no .nemo", "migrate {A} out={DIR}/new"),
    ("corpus: no such source", "corpus recipe=ljspeech source={DIR}/nowhere out={DIR}/c"),
    ("demo: out= is a file", "demo out={DIR}/taken"),
    ("text: unknown language", "text text=Hello language=xx"),
    ("doctor: a misspelt option", "doctor jbo=say"),
    ("a misspelt option", "train corpsu=here"),
)  # fmt: skip
RIGHT = (
    ("say from .nemo, to the end", "say acoustic={A} vocoder={V} text=Hello. out={DIR}/a.wav"),
)  # fmt: skip


def main() -> None:
    """Measure every line, and write the page."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--before", required=True, help="checkout of the earlier version")
    arguments.add_argument("--after", default=str(HERE.parents[1]), help="checkout of the later one")
    arguments.add_argument("--tries", type=int, default=2)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        rows = [measure(what, line, folder, given) for what, line in (*WRONG, *RIGHT)]
    wrong = [row[2] for row in rows[: len(WRONG)]]
    text = [
        f"Processor time (user and system) of the whole process in seconds, the least of {given.tries} tries, both "
        f"versions in turn, one thread. Before: commit {_commit(given.before)}. The slowest refusal takes "
        f"**{max(wrong):.2f} s** (goal: 1.5 s).",
        hardware.table(["command", "before", "after", "exit"], [_shown(row) for row in rows]),
        hardware.describe(),
    ]
    command = "python benchmarks/refusals.py --before CHECKOUT"
    hardware.write(HERE.with_suffix(".md"), "Wrong command lines, and the first sentence", command, text)


def _shown(row: tuple[str, float, float, str]) -> list[str]:
    return [row[0], f"{row[1]:.2f}", f"{row[2]:.2f}", row[3]]


def _commit(checkout: str) -> str:
    words = ["git", "-C", checkout, "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def measure(what: str, line: str, folder: str, given: argparse.Namespace) -> tuple[str, float, float, str]:
    """Seconds before and after, and the exit status of the latter."""
    places = {"{A}": "{DIR}/acoustic.nemo", "{V}": "{DIR}/vocoder.nemo", "{C}": "{DIR}/corpus", "{DIR}": folder}
    for name, place in places.items():
        line = line.replace(name, place)
    words = line.split()
    took: dict[str, list[float]] = {given.before: [], given.after: []}
    status = 0
    for _ in range(given.tries):
        for checkout, seconds in took.items():
            spent, status = run(checkout, words, folder)
            seconds.append(spent)
    print(f"{what}: {min(took[given.before]):.2f} -> {min(took[given.after]):.2f}", file=sys.stderr, flush=True)
    return what, min(took[given.before]), min(took[given.after]), str(status)


def run(checkout: str, words: list[str], folder: str) -> tuple[float, int]:
    """Processor seconds and exit status of one command line, by the version in ``checkout``."""
    environment = {**os.environ, "PYTHONPATH": checkout, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "nemo_ext", *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime, done.returncode


def make(folder: Path) -> None:
    """A corpus, two untrained models and a file that is in the way, in ``folder``."""
    import untrained

    from nemo_ext import _nemo

    (folder / "taken").write_text("taken\n")
    _nemo.save(untrained.acoustic("tiny"), folder / "acoustic.nemo")
    _nemo.save(untrained.hifigan("tiny"), folder / "vocoder.nemo")
    source = folder / "source" / "wavs"
    source.mkdir(parents=True)
    for i in range(3):
        tone = 0.3 * np.sin(2 * np.pi * (150 + i) * np.arange(44100) / 22050)
        soundfile.write(source / f"a-{i}.wav", tone, 22050)
    (folder / "source" / "metadata.csv").write_text("".join(f"a-{i}|Hello.|Hello.\n" for i in range(3)))
    words = ["corpus", "recipe=ljspeech", f"source={folder / 'source'}", f"out={folder / 'corpus'}"]
    if run(str(HERE.parents[1]), words, str(folder))[1]:
        raise SystemExit("the corpus could not be made")


if __name__ == "__main__":
    main()
