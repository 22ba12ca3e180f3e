"""``nemo-ext corpus``: recordings and their texts -> a corpus folder."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from nemo_ext import files
from nemo_ext.console import clock, tell
from nemo_ext.corpus import recipes
from nemo_ext.corpus.checks import sift_rows
from nemo_ext.corpus.config import CorpusConfig
from nemo_ext.corpus.found import Found, read_text, relative
from nemo_ext.corpus.manifest import (
    Corpus,
    Dropped,
    load_corpus,
    read_dropped,
    read_manifest,
    write_dropped,
    write_jsonl,
    write_manifest,
    write_text,
)
from nemo_ext.corpus.prepare import Job, Journal, Settings, file_name, prepare_all
from nemo_ext.corpus.splits import split
from nemo_ext.errors import NemoExtError
from nemo_ext.jobs import Command
from nemo_ext.text.languages import language as find_language
from nemo_ext.types import Utterance

_RESULTS = ("corpus.yaml", "manifest.jsonl", "train.jsonl", "val.jsonl", "report.html", "events.jsonl")


def build(config: CorpusConfig) -> Corpus:
    """Make the corpus folder ``config.out``, or finish one that was begun, or say that it is finished.

    Raises:
        NemoExtError: the source is not what the recipe reads; more than half was dropped; nothing is left;
            anything was dropped and ``strict`` is set; the folder belongs to something else.
    """
    config.check()
    started = time.monotonic()
    recipe = recipes.load(config.recipe)
    source, out = _folders(config)
    found = recipe.read(source, config)
    rows, dropped = sift_rows(found, source)
    _check_languages(rows)
    jobs = [_job(row, found) for row in rows]

    settings = Settings(str(out), config.sample_rate, config.min_seconds)
    journal = Journal(out)
    identity = _identity(config, source)
    finished = _finished(config, identity, rows, dropped, jobs, settings, journal, source)
    if finished:
        tell(f"corpus at {out} is finished already: {_summary(finished.info)}")
        return finished

    _claim(out, config, source)
    files.sweep(out, out / "audio")
    (out / "corpus.yaml").unlink(missing_ok=True)  # from here until the end, the folder is no finished corpus
    tell(f"corpus {config.recipe} -> {out}: {len(jobs)} recordings, {len(dropped)} already left out")
    done = prepare_all(jobs, settings, journal, config.processes)
    journal.forget_all_but({job.id for job in jobs}, out)
    journal.rewrite()

    kept = _take_outcomes(rows, journal, source, dropped)
    write_dropped(out / "dropped.jsonl", dropped)
    _refuse_too_little(kept, dropped, config, out)
    return _finish(kept, dropped, found, recipes.provenance(recipe, kept), identity, config, journal, done, started)


def _check_languages(rows: list[Utterance]) -> None:
    """Refuse a language that nobody here can read, rather than after all recordings are prepared."""
    for row in {row.language: row for row in rows if row.language}.values():
        try:
            find_language(row.language or "")
        except NemoExtError as error:
            raise NemoExtError(f"utterance '{row.id}': {error}; give language= or correct the table") from error


def _finish(
    kept: list[Utterance],
    dropped: list[Dropped],
    found: Found,
    provenance: str,
    identity: dict[str, Any],
    config: CorpusConfig,
    journal: Journal,
    done: int,
    started: float,
) -> Corpus:
    import yaml

    from nemo_ext.corpus.report import write_report

    out = Path(config.out)
    train, val, notes = _split(kept, found, config)
    notes = found.notes + notes
    info: dict[str, Any] = {
        "recipe": config.recipe,
        "title": config.title or out.resolve().name,
        "provenance": config.provenance or provenance,
        "language": _most_common(row.language for row in kept),
        "sample_rate": config.sample_rate,
        "found": len(kept) + len(dropped),
        "kept": len(kept),
        "dropped": len(dropped),
        "dropped_reasons": dict(Counter(row.reason for row in dropped).most_common()),
        "train": len(train),
        "val": len(val),
        "seconds": round(sum(row.duration for row in kept), 2),
        "voices": _voices(kept),
        "notes": notes,
        "options": identity,
    }
    write_manifest(out / "manifest.jsonl", kept)
    write_manifest(out / "train.jsonl", train)
    write_manifest(out / "val.jsonl", val)
    if found.speak:
        events = ({"id": row.id, "events": journal.outcomes[row.id].events} for row in kept)
        write_jsonl(out / "events.jsonl", events)
    loudness = {row.id: journal.outcomes[row.id].lufs for row in kept}
    write_report(out, info, kept, {row.id for row in val}, dropped, loudness)
    # Last: a folder with a corpus.yaml is a finished corpus.
    write_text(out / "corpus.yaml", yaml.safe_dump(info, allow_unicode=True, sort_keys=False))
    tell(f"corpus at {out}: {_summary(info)}")
    for reason, count in info["dropped_reasons"].items():
        tell(f"  dropped, {reason}: {count}")
    for note in notes:
        tell(f"  note: {note}")
    tell(f"  {done} recordings prepared in {clock(time.monotonic() - started)}; see {out / 'report.html'}")
    return Corpus(out, train, val, info)


def _split(
    kept: list[Utterance], found: Found, config: CorpusConfig
) -> tuple[list[Utterance], list[Utterance], list[str]]:
    """The source's own split where it has one that left something on both sides, else ours."""
    val = [row for row in kept if row.id in (found.val or ())]
    if not 0 < len(val) < len(kept):
        return split(kept, config.val_fraction, config.seed)
    return [row for row in kept if row.id not in (found.val or ())], val, []


def _folders(config: CorpusConfig) -> tuple[Path, Path]:
    """Source and corpus folder; they must not be mixed up, and the latter must be ours."""
    out = Path(config.out)
    synthetic = config.recipe == "espeak"
    if not synthetic and not config.source:
        raise NemoExtError(f"source is missing: name the folder with the recordings, recipe={config.recipe} source=DIR")
    source = out if synthetic else Path(config.source).expanduser().resolve()
    if not synthetic and not source.is_dir():
        raise NemoExtError(f"no folder at {config.source}: give source=DIR with the recordings")
    if not synthetic and (out.resolve() == source or (out.resolve() / "audio") == source):
        raise NemoExtError(f"out={config.out} is the source itself; name another folder, nothing is changed in place")
    ours = (out / ".journal.jsonl").is_file()
    if not ours and out.is_dir() and any((out / name).exists() for name in (*_RESULTS, "audio")):
        raise NemoExtError(f"{out} holds something that this command did not make; name another out=DIR")
    before = _source_of(out)
    if before and before != _described(config, source):
        raise NemoExtError(
            f"{out} is the corpus of '{before}', not of '{_described(config, source)}'; "
            "name another out=DIR, or delete that folder"
        )
    return source, out


def _described(config: CorpusConfig, source: Path) -> str:
    return config.recipe if config.recipe == "espeak" else f"{config.recipe} {source}"


def _source_of(out: Path) -> str:
    path = out / ".source"
    return read_text(path, most=1 << 16).strip() if path.is_file() else ""


def _claim(out: Path, config: CorpusConfig, source: Path) -> None:
    """Write down whose corpus the folder is, so that another one is never written over it."""
    write_text(out / ".source", _described(config, source) + "\n")


def _identity(config: CorpusConfig, source: Path) -> dict[str, Any]:
    """The options that decide what the corpus is; kept in corpus.yaml."""
    options = dataclasses.asdict(config)
    for name in ("out", "processes", "strict"):
        options.pop(name)
    for name in ("csv", "vctk", "espeak"):
        if name != config.recipe:
            options.pop(name)
    for name in ("title", "provenance"):  # corpora of before had none
        if not options[name]:
            options.pop(name)
    options["source"] = "" if config.recipe == "espeak" else str(source)
    return options


def _job(row: Utterance, found: Found) -> Job:
    speak = found.speak.get(row.id)
    text, link = row.text if speak else "", row.id in found.linked
    return Job(row.id, file_name(row.id), row.audio_filepath, speak, text, link)


def _take_outcomes(rows: list[Utterance], journal: Journal, source: Path, dropped: list[Dropped]) -> list[Utterance]:
    """Rows whose recording is fine, pointing at it; the others go to ``dropped``."""
    kept = []
    for row in rows:
        outcome = journal.outcomes[row.id]
        if outcome.reason:
            where = relative(Path(row.audio_filepath), source)
            dropped.append(Dropped(row.id, outcome.reason, outcome.detail, path=where, text=row.text))
        else:
            where = f"audio/{outcome.file}"
            notes = list(dict.fromkeys([*row.notes, *outcome.notes]))
            kept.append(dataclasses.replace(row, audio_filepath=where, duration=outcome.seconds, notes=notes))
    return kept


def _finished(
    config: CorpusConfig,
    identity: dict[str, Any],
    rows: list[Utterance],
    dropped: list[Dropped],
    jobs: list[Job],
    settings: Settings,
    journal: Journal,
    source: Path,
) -> Corpus | None:
    """The corpus that is there, if making it again would give the same."""
    out = Path(config.out)
    if not all((out / name).is_file() for name in ("corpus.yaml", "manifest.jsonl", "dropped.jsonl", "report.html")):
        return None
    corpus = load_corpus(out)
    if corpus.info.get("options") != identity or any(journal.finished(job, settings) is None for job in jobs):
        return None
    all_dropped = list(dropped)
    kept = _take_outcomes(rows, journal, source, all_dropped)
    same = read_manifest(out / "manifest.jsonl") == kept and read_dropped(out / "dropped.jsonl") == all_dropped
    return corpus if same and not (config.strict and all_dropped) else None


def _refuse_too_little(kept: list[Utterance], dropped: list[Dropped], config: CorpusConfig, out: Path) -> None:
    total = len(kept) + len(dropped)
    if kept and 2 * len(dropped) <= total and not (config.strict and dropped):
        return
    for name in _RESULTS:  # nobody should train on what an earlier run left
        (out / name).unlink(missing_ok=True)
    if not total:
        raise NemoExtError(f"nothing was found in {config.source}: is it the right folder?")
    reason, count = Counter(row.reason for row in dropped).most_common(1)[0]
    example = next(row for row in dropped if row.reason == reason)
    most = (
        f"most often '{reason}' ({count}), for instance {example.id}{f': {example.detail}' if example.detail else ''}"
    )
    if not kept:
        what = f"none of {total} recordings is usable"
    elif 2 * len(dropped) > total:
        what = f"{len(dropped)} of {total} were dropped, more than half"
    else:
        what = f"{len(dropped)} of {total} were dropped, and strict=true allows none"
    raise NemoExtError(f"{what}; {most}; all are listed in {out / 'dropped.jsonl'}")


def _voices(rows: list[Utterance]) -> dict[str, dict[str, Any]]:
    by_voice: dict[str, list[Utterance]] = defaultdict(list)
    for row in rows:
        by_voice[row.speaker or ""].append(row)
    return {
        name: {
            "language": _most_common(row.language for row in group),
            "utterances": len(group),
            "seconds": round(sum(row.duration for row in group), 2),
            "styles": dict(Counter(row.style for row in group if row.style).most_common()),
        }
        for name, group in sorted(by_voice.items())
    }


def _most_common(values: Any) -> str | None:
    return next((value for value, _ in Counter(values).most_common(1)), None)


def _summary(info: dict[str, Any]) -> str:
    voices = len(info["voices"])
    return (
        f"{info['kept']} of {info['found']} utterances kept, {clock(info['seconds'])} of {info['language']} speech, "
        f"{voices} voice{'' if voices == 1 else 's'}, {info['train']} for training, {info['val']} for validation"
    )


def then(config: CorpusConfig, _corpus: Corpus) -> Command:
    """The command to type next."""
    return "train", {"model": "fastpitch", "corpus": config.out, "out": f"runs/{Path(config.out).resolve().name}"}
