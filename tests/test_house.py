"""The habits of the house that a machine can hold."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import nemo_ext
from nemo_ext import config, jobs

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 500  # lines
_SUFFIXES = {".py", ".md", ".yaml", ".toml", ".txt", ".sh", ".jinja", ".j2"}


def tracked() -> list[Path]:
    """The files of the repository; in a copy without git, whatever lies in its folders."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        names = [ROOT / line for line in listed.stdout.splitlines()]
    else:
        names = [p for part in ("nemo_ext", "conf", "docs", "scripts", "tests") for p in (ROOT / part).rglob("*")]
    return [p for p in names if p.is_file() and (p.suffix in _SUFFIXES or p.name in ("Makefile", "run"))]


def markdown() -> list[Path]:
    return [p for p in tracked() if p.suffix == ".md"]


def test_the_public_surface() -> None:
    assert sorted(nemo_ext.__all__) == ["__version__", "load"]
    assert all(hasattr(nemo_ext, name) for name in nemo_ext.__all__)
    assert importlib.metadata.version("nemo_ext") == nemo_ext.__version__


def test_files_stay_readable() -> None:
    long = {str(p.relative_to(ROOT)): n for p in tracked() if p.suffix == ".py" and (n := _lines(p)) > LONGEST}
    assert not long


def test_nothing_is_called_utils() -> None:
    assert not [p for p in tracked() if p.stem in ("utils", "util", "helpers", "misc", "common")]


def test_no_work_is_left_in_comments() -> None:
    marks = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
    assert not [p for p in tracked() if marks.search(p.read_text(encoding="utf-8"))]


def test_no_path_of_one_machine() -> None:
    places = re.compile(r"(?<![\w.])/(home|root|work|Users)/\w")
    found = {p.name: m[0] for p in tracked() if (m := places.search(p.read_text(encoding="utf-8")))}
    assert set(found) <= {"test_config.py", "test_house.py"}


def test_each_job_has_its_script_and_each_script_its_job() -> None:
    scripts = {p.stem: p.read_text() for p in (ROOT / "scripts").glob("*.py")}
    assert set(scripts) == set(jobs.JOBS)
    for name, text in scripts.items():
        assert f'main(["{name}", *sys.argv[1:]])' in text


def test_tested_versions_are_within_the_bounds() -> None:
    pinned = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line[0] != "#"]
    versions = {_canonical(r.name): next(iter(r.specifier)).version for r in pinned}
    for line in importlib.metadata.requires("nemo_ext") or []:
        needed = Requirement(line)
        if needed.name == "triton":  # not pinned: a CUDA build of torch brings the one it was made with
            continue
        extras = ("", "dev", "espeak", "cmudict", "eval", "onnx", "speaker")
        if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
            assert needed.specifier.contains(versions[_canonical(needed.name)], prereleases=True), line


def test_what_is_imported_is_required() -> None:
    """Every package that the code imports is one of ours to require, in the core or an extra."""
    required = {_canonical(Requirement(line).name) for line in importlib.metadata.requires("nemo_ext") or []}
    providers = importlib.metadata.packages_distributions()
    imported = {name for path in (ROOT / "nemo_ext").rglob("*.py") for name in _imports(path)}
    # logger=wandb says so where it is missing; eff is NVIDIA's, in no public index; google.protobuf comes with onnx and
    # tritonclient, whose files are its messages
    asked_for = {"wandb", "eff", "google"}
    foreign = imported - set(sys.stdlib_module_names) - {"nemo_ext"} - asked_for
    assert not {n for n in foreign if not required & {_canonical(d) for d in providers.get(n, [])}}


@pytest.mark.parametrize("page", markdown(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert not [t for t in targets if not (page.parent / t).exists()]


def commands() -> Iterator[tuple[str, str]]:
    """Every line of a document's code block that calls ``nemo-ext``."""
    for page in markdown():
        for block in re.findall(r"^```(?:sh|bash)?\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            for line in block.replace("\\\n", " ").splitlines():
                call = line.partition("  #")[0].rpartition("| ")[2].strip()
                if call.startswith("nemo-ext "):
                    yield str(page.relative_to(ROOT)), call


@pytest.mark.parametrize(("page", "call"), list(commands()))
def test_commands_in_the_documents_can_be_typed(page: str, call: str) -> None:
    """Options in square brackets may be left out; ``a|b`` stands for a choice."""
    # a list, name=[a,b], keeps its brackets
    _, job, *options = shlex.split(re.sub(r"(?<!=)\[([^\[\]]*)\]", r"\1", call))
    if job == "JOB" or any(o.startswith("--") for o in options):
        return
    assert config.compose(job, [o.partition("|")[0] for o in options if "..." not in o]) is not None


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())
