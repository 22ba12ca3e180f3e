"""Packages that run when they are used: nothing is missing, nothing is there twice, speaking imports none of them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from nemo_ext.deferred import defer

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that shows whether it has run, with three modules; not deferred yet."""
    folder = tmp_path / "slow_package"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "ran = True\nfrom slow_package.one import first\nfrom slow_package.three import *\nsecond = 2\n"
        "class Compared: pass\nclass Below(Compared): pass\n"
    )
    (folder / "one.py").write_text("first = 1\nclass Once: pass\n")
    (folder / "two.py").write_text("third = 3\n")
    (folder / "three.py").write_text("starred = 4\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    for name in ("", ".one", ".two", ".three"):
        monkeypatch.delitem(sys.modules, f"slow_package{name}", raising=False)
    return "slow_package"


def test_a_package_runs_when_a_name_of_its_own_is_asked_for(package: str) -> None:
    defer([package])
    module = __import__(package)
    from slow_package import first, starred, two  # type: ignore[import-not-found]

    assert (first, two.third, starred) == (1, 3, 4)
    assert "ran" not in vars(module)
    assert module.second == 2
    assert vars(module)["ran"]
    with pytest.raises(AttributeError, match="module 'slow_package' has no attribute 'fourth'"):
        _ = module.fourth


def test_a_package_of_first_use_waits_for_more_than_its_stand_ins(package: str) -> None:
    defer([], {package: ("Compared",)})
    module = __import__(package)
    from slow_package import Compared

    assert inspect.getmodule(test_a_package_of_first_use_waits_for_more_than_its_stand_ins) is not None
    assert not isinstance(3, Compared)
    assert not issubclass(int, Compared)
    assert "ran" not in vars(module)

    assert type(Compared()) is module.Compared  # made of the class itself, for which the package has run
    assert vars(module)["ran"]
    assert isinstance(module.Below(), Compared)
    assert issubclass(module.Below, Compared)
    assert module.Compared is not Compared


def test_a_module_of_it_is_imported_after_the_package_has_run_and_once(package: str) -> None:
    defer([], {package: ()})
    module = __import__(package)
    from slow_package.one import Once

    assert vars(module)["ran"]
    assert module.one.Once is Once
    assert sys.modules["slow_package.one"].__spec__.origin.endswith("one.py")  # type: ignore[union-attr]


def test_a_package_that_could_not_run_says_so_again(package: str, tmp_path: Path) -> None:
    (tmp_path / package / "__init__.py").write_text("raise ImportError('its library is missing')\n")
    defer([], {package: ()})
    module = __import__(package)
    for _ in range(2):
        with pytest.raises(ImportError, match="its library is missing"):
            _ = module.second


_USED = """
import sys
import torch
from nemo_ext import _nemo
from nemo_ext.models.acoustic.fastpitch import FastPitch
from nemo_ext.models.vocoder.hifigan import HifiGan
"""


def _printed(script: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", _USED + script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_models_come_without_what_they_do_not_use() -> None:
    asked = (
        "datasets.arrow_dataset",
        "nemo.collections.tts.models.magpietts",
        "pandas.core",
        "sacremoses.tokenize",
        "scipy.stats._stats_py",
        "torch._dynamo.convert_frame",
        "torch.distributed.tensor",
        "torchmetrics.text",
        "transformers.models",
        "wandb.sdk",
    )
    assert _printed(f"print([n for n in {asked} if n in sys.modules])") == ["[]"]


def test_nothing_is_missing_afterwards_and_nothing_is_there_twice() -> None:
    script = """
import importlib
for name in "asr.models tts.models tts.data.dataset tts.modules asr.modules audio.models common.parts".split():
    importlib.import_module("nemo.collections." + name)
import nemo.collections.tts.models as models, nemo.collections.tts as tts, torchmetrics, pandas, wandb, scipy.signal
from nemo.collections.tts.models.fastpitch import FastPitchModel
from nemo.collections.tts.models.hifigan import HifiGanModel
print(issubclass(FastPitch, models.FastPitchModel), models.FastPitchModel is FastPitchModel)
print(tts.models.HifiGanModel is HifiGanModel, models.AlignerModel.__name__)
print(torchmetrics.MeanSquaredError()(torch.ones(2), torch.zeros(2)).item(), pandas.DataFrame({"a": [1]}).a[0])
print(scipy.signal.firwin(3, 0.5).shape, wandb.Settings.__name__)
"""
    assert _printed(script) == ["True True", "True AlignerModel", "1.0 1", "(3,) Settings"]


def test_the_compiler_is_found_after_it_was_not_wanted() -> None:
    script = """
with torch.device("meta"):
    torch.hann_window(8), torch.arange(3) // 2  # computed in Python, for which the compiler used to be imported
from lightning.fabric.wrappers import _unwrap_compiled
module = torch.nn.Linear(2, 2)
print(_unwrap_compiled(module)[1], "torch._dynamo.convert_frame" in sys.modules)
compiled = torch.compile(module, backend="eager")
print(_unwrap_compiled(compiled)[0] is module, compiled(torch.ones(1, 2)).shape)
with torch.device("meta"):
    print(torch.hann_window(8).shape)
"""
    assert _printed(script) == ["None False", "True torch.Size([1, 2])", "torch.Size([8])"]
