"""What every benchmark page says of the machine and the code, and how it is written."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

# What sets processors of one name apart in these measurements, as Linux calls it, and as people do.
_VECTORS = {"avx512f": "AVX-512", "avx512_bf16": "AVX-512 bf16", "amx_bf16": "AMX bf16"}


def processor() -> str:
    """Name of the processor, what it computes with, and its number of cores."""
    name, flags = platform.processor() or platform.machine(), ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        told = [line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line]
        about = {key.strip(): value.strip() for key, value in told}  # of the last core, which is like the others
        name, flags = about.get("model name", name), f" {about.get('flags', '')} "
    vectors = [known for flag, known in _VECTORS.items() if f" {flag} " in flags] or ["no AVX-512"]
    return f"{name} ({', '.join(vectors)}), {os.cpu_count()} cores"


def commit() -> str:
    """The commit that was measured, marked when the tree differs from it."""
    root = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "../nemo_ext", "../conf")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")


def describe() -> str:
    """Hardware, versions and commit, as one line."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "nemo_toolkit", "numpy"))
    return f"Measured on {processor()}; Python {platform.python_version()}, {versions}; commit {commit()}."


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write(path: Path, title: str, command: str, paragraphs: list[str]) -> None:
    """Write a benchmark page beside its script, and print it."""
    text = "\n\n".join([f"# {title}", f"```\n{command}\n```", *paragraphs]) + "\n"
    path.write_text(text, encoding="utf-8")
    print(text)
