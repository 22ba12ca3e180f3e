"""The table of planted bugs stays true: each old text stands once in its file, and the tests to notice it are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import mutate


def test_every_row_can_be_planted() -> None:
    rows = mutate.mutations()
    assert len(rows) >= 50
    for row in rows:
        compile(row.planted(mutate.ROOT), row.file, "exec")  # raises where the old text is not there once
        assert all((mutate.ROOT / test.partition("::")[0]).is_file() for test in row.tests.split()), row.tests


def test_a_text_that_is_gone_or_ambiguous_is_named(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text("a = 1\nb = 1\n", encoding="utf-8")
    assert mutate.Mutation("some.py", "a = 1", "a = 2", "").planted(tmp_path) == "a = 2\nb = 1\n"
    for old, times in (("= 1", 2), ("= 3", 0)):
        with pytest.raises(ValueError, match=rf"some.py: '{old}' stands there {times} times"):
            mutate.Mutation("some.py", old, "", "").planted(tmp_path)


def test_a_failure_is_noticed_and_the_tree_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text("def test_it():\n    assert 1 == 1\n", encoding="utf-8")
    assert mutate.noticed(tmp_path, "test_some.py") == ""
    (tmp_path / "test_some.py").write_text("def test_it():\n    assert 1 == 2\n", encoding="utf-8")
    assert mutate.noticed(tmp_path, "test_some.py").startswith("FAILED test_some.py::test_it")
