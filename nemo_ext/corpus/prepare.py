"""Source recordings -> the corpus's 16-bit mono WAV files, by several processes, taking up where a run stopped."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from nemo_ext import files
from nemo_ext.audio import io, loudness
from nemo_ext.console import Progress
from nemo_ext.corpus.checks import RejectedError, mend, read_whole
from nemo_ext.corpus.found import Speak
from nemo_ext.errors import NemoExtError
from nemo_ext.machine import cores
from nemo_ext.untrusted import number, parse_json, read_bytes, string, whole_number

_VERSION = 1  # raise it when the same source would become another WAV
_SMALL = 24  # so few recordings are done sooner than processes start


@dataclass(frozen=True)
class Settings:
    """What decides how a recording turns out."""

    out: str
    sample_rate: int  # Hz
    min_seconds: float


@dataclass
class Job:
    """One recording to prepare."""

    id: str
    file: str  # name under audio/
    source: str = ""  # path of the recording; "" when it is synthesized
    speak: Speak | None = None
    text: str = ""  # what to synthesize
    link: bool = False  # the source is a corpus's file already: linked where nothing is to be mended

    def fingerprint(self, settings: Settings) -> str:
        """Changes when the source recording or the settings do."""
        made_of: dict[str, Any] = {"version": _VERSION, "rate": settings.sample_rate, "least": settings.min_seconds}
        if self.speak:
            made_of |= dataclasses.asdict(self.speak) | {"text": self.text}
        else:
            made_of |= {"link": True} if self.link else {}
            try:
                status = os.stat(self.source)
                made_of |= {"source": self.source, "size": status.st_size, "changed": status.st_mtime_ns}
            except OSError:
                made_of |= {"source": self.source}
        return hashlib.sha1(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


@dataclass
class Outcome:
    """What became of a job: a file, or the reason why not."""

    id: str
    file: str
    fingerprint: str = ""
    bytes: int = 0  # of the file written
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    lufs: float = 0.0
    events: list[tuple[str, float]] = field(default_factory=list)  # (phoneme, start in s)
    reason: str = ""  # why it was dropped
    detail: str = ""


_OUTCOME_KEYS = {f.name for f in dataclasses.fields(Outcome)}
_TEXTS = ("id", "file", "fingerprint", "reason", "detail")


def file_name(name: str) -> str:
    """A file name for the id ``name``, the id itself where that is harmless; different ids get different names."""
    harmless = re.sub(r"[^\w.\-]", "_", name, flags=re.UNICODE).lstrip(".")[:80]
    harmless = harmless.encode()[:200].decode(errors="ignore")  # a disk's names are counted in bytes
    if harmless != name or not name:
        harmless = f"{harmless or 'utterance'}-{hashlib.sha1(name.encode()).hexdigest()[:8]}"
    return f"{harmless}.wav"


def prepare(job: Job, settings: Settings) -> Outcome:
    """Read (or synthesize), check, mix down, resample and write one recording."""
    outcome = Outcome(job.id, job.file, job.fingerprint(settings))
    target = Path(settings.out) / "audio" / job.file
    try:
        if job.speak:
            from nemo_ext.corpus.recipes.espeak import speak

            audio, rate, outcome.events = speak(job.text, job.speak)
        else:
            audio, rate = read_whole(Path(job.source))
        mono, outcome.notes = mend(audio, rate, settings.sample_rate, settings.min_seconds)
    except RejectedError as rejected:
        outcome.reason, outcome.detail = rejected.reason, rejected.detail
        target.unlink(missing_ok=True)  # an earlier, good state of the source may have left it
        return outcome
    if job.speak:
        outcome.notes = []  # nobody needs to know that a synthesizer's output was resampled
    if not (job.link and _linked(Path(job.source), target, np.array_equal(audio, mono[None]))):
        io.write(target, mono, settings.sample_rate)
    outcome.bytes = target.stat().st_size
    outcome.seconds = round(mono.shape[0] / settings.sample_rate, 4)
    outcome.lufs = round(loudness.lufs(mono, settings.sample_rate), 2)
    return outcome


def _linked(source: Path, target: Path, untouched: bool) -> bool:
    """Whether ``target`` is now the file ``source`` itself, or a copy of it: a 16-bit WAV that needed no mending."""
    if not untouched or source.suffix != ".wav" or soundfile.info(str(source)).subtype != "PCM_16":
        return False
    with files.replacing(target) as beside:
        beside.unlink()
        try:
            os.link(source.resolve(), beside)
        except OSError:  # another disk, or one without hard links
            shutil.copyfile(source, beside)
    return True


class Journal:
    """What has been done in a corpus folder so far, one line a recording, written as it is done."""

    def __init__(self, out: Path) -> None:
        self.path = out / ".journal.jsonl"
        self.outcomes: dict[str, Outcome] = {}
        for own in (self.path, out / "audio"):
            if own.is_symlink():  # what is written and removed here would be somebody else's
                raise NemoExtError(f"{own} is a symbolic link, and no corpus folder has one: name another out=DIR")
        if self.path.is_file():
            for row in _whole_lines(self.path):
                outcome = _outcome(row)
                if outcome:
                    self.outcomes[outcome.id] = outcome

    def finished(self, job: Job, settings: Settings) -> Outcome | None:
        """The outcome of ``job`` if nothing has changed since, and its file is still there."""
        outcome = self.outcomes.get(job.id)
        if outcome is None or outcome.file != job.file or outcome.fingerprint != job.fingerprint(settings):
            return None
        if outcome.reason:
            return outcome
        written = Path(settings.out) / "audio" / outcome.file
        return outcome if written.is_file() and written.stat().st_size == outcome.bytes else None

    def forget_all_but(self, ids: set[str], out: Path) -> int:
        """Remove the files of utterances that are no more in the source; files that we did not write stay."""
        keep = {outcome.file for name, outcome in self.outcomes.items() if name in ids}
        gone = [name for name in self.outcomes if name not in ids]
        for name in gone:
            file = self.outcomes.pop(name).file
            if file not in keep:
                (out / "audio" / file).unlink(missing_ok=True)
        return len(gone)

    def rewrite(self) -> None:
        """One line for each utterance, instead of one for each time it was done."""
        from nemo_ext.corpus.manifest import write_jsonl

        write_jsonl(self.path, (dataclasses.asdict(outcome) for outcome in self.outcomes.values()))


def prepare_all(jobs: list[Job], settings: Settings, journal: Journal, processes: int) -> int:
    """Do every job that is not done yet; how many that were. Results are in ``journal.outcomes``.

    Raises:
        NemoExtError: the disk is full; what was done until then is kept.
    """
    todo = [job for job in jobs if journal.finished(job, settings) is None]
    if not todo:
        return 0
    workers = 1 if len(todo) <= _SMALL else min(processes or cores(), len(todo))
    journal.path.parent.mkdir(parents=True, exist_ok=True)
    with journal.path.open("a", encoding="utf-8") as log, Progress(len(todo), "preparing recordings") as progress:
        for outcome in _outcomes(todo, settings, workers):
            journal.outcomes[outcome.id] = outcome
            log.write(json.dumps(dataclasses.asdict(outcome), ensure_ascii=False) + "\n")
            log.flush()
            progress.step()
    return len(todo)


def _outcomes(jobs: list[Job], settings: Settings, workers: int) -> Iterator[Outcome]:
    if workers == 1:
        for job in jobs:
            yield prepare(job, settings)
        return
    # spawn: a forked child of a process that runs torch's threads may hang
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread)
    try:
        yield from pool.map(_prepare, ((job, settings) for job in jobs), chunksize=4)
    except BrokenProcessPool as error:
        raise NemoExtError(
            "a process that prepared recordings died: is memory short, or is this called from a script without "
            "`if __name__ == '__main__':`? processes=1 works in both cases"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C: what is under way, and no more


def _prepare(task: tuple[Job, Settings]) -> Outcome:
    return prepare(*task)


def _one_thread() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _outcome(row: dict[str, Any]) -> Outcome | None:
    """What a line of a journal tells, if a run of ours can have written it.

    The journal may have come with somebody's folder: the file it names is the one that this id has here, and no other.
    """
    if row.keys() != _OUTCOME_KEYS or any(not isinstance(row[name], str) for name in _TEXTS):
        return None
    if row["file"] != file_name(row["id"]):
        return None
    try:
        number(row["seconds"], "seconds", 0.0)
        number(row["lufs"], "lufs", -1000.0, 1000.0)
        whole_number(row["bytes"], "bytes", 0)
        notes = [string(note, "note") for note in row["notes"]]
        events = [(string(phoneme, "phoneme"), number(at, "start")) for phoneme, at in row["events"]]
    except (NemoExtError, TypeError, ValueError):
        return None
    return Outcome(**row | {"notes": notes, "events": events})


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Lines of a journal whose last one may have been cut by a kill."""
    content = read_bytes(path, what="journal")
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    for line in whole.split(b"\n"):
        try:
            row = parse_json(line.decode(), path.name) if line.strip() else None
        except (NemoExtError, UnicodeDecodeError):
            continue  # what it told is done again
        if isinstance(row, dict):
            yield row
