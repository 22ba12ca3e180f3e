"""What this machine gives us."""

import os
from pathlib import Path

import pytest

from nemo_ext.machine import cores, existing


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system keeps no process off a core")
def test_cores_are_those_that_the_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    assert cores() == len(allowed)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_what_is_there_of_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert existing(tmp_path) == tmp_path
    assert existing(tmp_path / "a" / "b.voice") == tmp_path
    monkeypatch.chdir(tmp_path)
    assert existing(Path("a/b")) == tmp_path
