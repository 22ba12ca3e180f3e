"""Plant the bugs of tests/mutations.tsv one after the other in a copy of the repository, and see whether tests notice.

`python tests/mutate.py [WORD ...]`: the rows that hold one of the words, or all of them. Their tests run over the copy
as it is first, for what fails there kills nothing; `--trusted` leaves that out.
"""

import argparse
import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "mutations.tsv"
_LONGEST = 600  # s for the tests of one row


@dataclass(frozen=True)
class Mutation:
    """One bug: ``old``, which stands exactly once in ``file``, becomes ``new``; ``tests``: what ought to notice."""

    file: str
    old: str
    new: str
    tests: str

    def planted(self, root: Path) -> str:
        """The file's text with the bug in it.

        Raises:
            ValueError: the old text does not stand exactly once in the file.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        if (times := text.count(self.old)) != 1:
            raise ValueError(f"{self.file}: {self.old!r} stands there {times} times, and must stand once")
        return text.replace(self.old, self.new)


def mutations(table: Path = TABLE) -> list[Mutation]:
    """The rows of ``table``; its first line names the columns."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [Mutation(*row) for row in rows[1:]]


def copied(place: Path) -> Path:
    """A copy of the repository's files below ``place``, as they are in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    return place


def noticed(copy: Path, tests: str) -> str:
    """The first failure of ``tests`` in ``copy``, "too long", or "" when all pass."""
    # no cached bytecode: two versions of a file may have the same size and second
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "--no-header", "-p", "no:cacheprovider", *tests.split()]
    with subprocess.Popen(
        command,
        cwd=copy,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=_LONGEST)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "too long"
    if process.returncode == 0:
        return ""
    failed = re.search(r"^(FAILED|ERROR) .*", said, re.MULTILINE)
    return failed[0] if failed else said.strip()[-200:] or f"exit status {process.returncode}"


def main() -> int:
    """Exit status 0 when every bug was noticed."""
    parser = argparse.ArgumentParser(description="plant known bugs in a copy, and see whether tests notice")
    parser.add_argument("words", nargs="*", help="only rows that hold one of these")
    parser.add_argument("--trusted", action="store_true", help="do not run the tests without a bug first")
    options = parser.parse_args()
    chosen = [
        m for m in mutations() if not options.words or any(w in "\t".join(vars(m).values()) for w in options.words)
    ]
    survived = 0
    with tempfile.TemporaryDirectory(prefix="mutate-") as place:
        copy = copied(Path(place))
        every = " ".join(dict.fromkeys(test for m in chosen for test in m.tests.split()))
        if not options.trusted and (failure := noticed(copy, every)):
            sys.exit(f"the tests fail without any bug: {failure}")
        for mutation in chosen:
            whole = (copy / mutation.file).read_text(encoding="utf-8")
            (copy / mutation.file).write_text(mutation.planted(copy), encoding="utf-8")
            failure = noticed(copy, mutation.tests)
            (copy / mutation.file).write_text(whole, encoding="utf-8")
            survived += not failure
            said = ("killed" if failure else "SURVIVED", mutation.file, mutation.old, mutation.new, failure)
            print("\t".join(" ".join(part.split()) for part in said), flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} killed")
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main())
