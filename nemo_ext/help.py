"""What ``--help`` says: made from the jobs' dataclasses and the folders under conf/, so that it cannot go stale."""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nemo_ext import config, jobs
from nemo_ext._options import describe

_NAME_COLUMN = 30


def overview() -> str:
    """All jobs, one line each."""
    lines = ["nemo-ext JOB [option=value ...]", ""]
    for name, job in jobs.JOBS.items():
        lines += _row(f"  {name}", job.help, 10)
    lines += [
        "",
        "nemo-ext JOB --help lists a job's options with units and defaults; --cfg prints what they come to.",
        "",
    ]
    lines += ["for example"]
    lines += [f"  nemo-ext {name} {job.example}".rstrip() for name, job in jobs.JOBS.items()]
    return "\n".join(lines)


def page(name: str, options: Sequence[str] = (), conf: Path | None = None) -> str:
    """All options of the job ``name``; defaults are those that hold with ``options`` (``model=vocos``)."""
    job = jobs.find(name)
    described = describe(jobs.load(job.config))
    groups = config.groups(name, conf)
    values = dataclasses.asdict(config.compose(name, options, conf=conf))
    lines = [f"nemo-ext {name}: {job.help}", ""]
    if job.example:
        lines += [f"  nemo-ext {name} {job.example}", ""]
    shown = {o.name: o for o in described.values() if o.name not in groups and not o.free}
    if shown:
        lines.append("options (text, names and paths are taken as typed; quote them for the shell)")
        for o in shown.values():
            about = o.help + (f" [{' | '.join(o.choices)}]" if o.choices else "")
            lines += _row(f"  {o.name}={_plain(_at(values, o.name))}{f' {o.unit}' if o.unit else ''}", about)
    chosen = [g for g in groups.values() if not str(g.default).startswith("${")]
    if chosen:
        lines += ["", "choices (each a file under conf/)"]
        for g in chosen:
            about = f"{described[g.name].help}: " if g.name in described and described[g.name].help else ""
            lines += _row(f"  {g.name}={_plain(g.default)}", about + " | ".join(g.choices))
    for o in described.values():
        free = _at(values, o.name)
        if o.free and free and "_target_" in free:
            lines += ["", f"{o.name}: {o.help}" if o.help else o.name]
            told = _comments((conf or config.conf_dir()) / o.name / f"{free.get('name')}.yaml")
            for key, value in _flat(free):
                lines += _row(f"  {o.name}.{key}={_plain(value)}", told.get(key, ""))
    return "\n".join(lines)


def _row(name: str, about: str, column: int = _NAME_COLUMN) -> list[str]:
    width = max(60, min(120, shutil.get_terminal_size((100, 24)).columns)) - column - 2
    if not about:
        return [name]
    wrapped = textwrap.wrap(about, width)
    first = [f"{name:<{column}}  {wrapped[0]}"] if len(name) <= column else [name, " " * (column + 2) + wrapped[0]]
    return [*first, *(" " * (column + 2) + line for line in wrapped[1:])]


def _at(values: dict[str, Any], name: str) -> Any:
    found: Any = values
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _plain(value: Any) -> str:
    """A value as a person would type it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(_plain(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{_plain(v)}" for k, v in value.items()) + "}"
    return str(value)


def _comments(path: Path) -> dict[str, str]:
    """What a YAML file says of its keys: the comment at the end of a value's line, by dotted name."""
    import yaml

    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines = text.splitlines()

    def walk(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, str]]:
        for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
            yield from walk(value, f"{prefix}{key.value}.")
            _, mark, comment = lines[key.start_mark.line].partition(" # ")
            if mark:
                yield prefix + key.value, comment.strip()

    return dict(walk(yaml.compose(text), ""))


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if key == "_target_":
            continue
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
