"""A folder is replaced by a whole one, or stays: whatever comes in between."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nemo_ext.errors import NemoExtError
from nemo_ext.export.files import whole_folder


def write(out: Path, content: str) -> None:
    with whole_folder(out, "mark") as folder:
        (folder / "mark").write_text(content)


@pytest.mark.parametrize(
    ("error", "raised"), [(KeyboardInterrupt(), KeyboardInterrupt), (OSError("full"), NemoExtError)]
)
def test_what_was_there_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, raised: type[BaseException]
) -> None:
    """Stopped when the old folder has left its place and the new one has not taken it."""
    out, replace = tmp_path / "out", os.replace
    write(out, "old")

    def stopped(source: Path, target: Path) -> Any:
        if Path(source).name.startswith(".writing-"):
            raise error
        return replace(source, target)

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(raised):
        write(out, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "mark").read_text() == "old"
    monkeypatch.undo()
    write(out, "new")
    assert (out / "mark").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
