"""Packages that are run when they are asked: nothing is missing, and speaking imports none of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nemo_ext.deferred import defer

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that says when it is run, with two submodules; deferred."""
    folder = tmp_path / "slow_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("ran = True\nfrom slow_package.one import first\nsecond = 2\n")
    (folder / "one.py").write_text("first = 1\n")
    (folder / "two.py").write_text("third = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    for name in ("slow_package", "slow_package.one", "slow_package.two"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    defer(["slow_package"])
    return "slow_package"


def test_a_package_runs_when_a_name_of_its_own_is_asked_for(package: str) -> None:
    module = __import__(package)
    from slow_package import first, two  # type: ignore[import-not-found]

    assert (first, two.third) == (1, 3)
    assert "ran" not in vars(module)
    assert module.second == 2
    assert vars(module)["ran"]
    with pytest.raises(AttributeError, match="module 'slow_package' has no attribute 'fourth'"):
        _ = module.fourth


def test_models_come_without_what_they_do_not_use() -> None:
    asked = "wandb.sdk", "torchmetrics.text", "pandas.core", "nemo.collections.tts.models.magpietts"
    script = (
        "import sys, nemo_ext.models.acoustic.fastpitch, nemo_ext.models.vocoder.hifigan\n"
        f"print([n for n in {asked} if n in sys.modules])\n"
        "import torchmetrics, nemo.collections.tts.models as models\n"
        "print(models.AlignerModel.__name__, torchmetrics.MeanSquaredError.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["[]", "AlignerModel MeanSquaredError"]
