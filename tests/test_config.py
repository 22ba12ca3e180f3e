"""Options: verbatim text, Hydra's grammar for the rest, and every mistake answered in one line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nemo_ext import config, jobs
from nemo_ext.config import option
from nemo_ext.errors import NemoExtError, UsageError
from nemo_ext.types import MelSpec


@dataclass
class Trainer:
    max_steps: int = option(100, "optimizer steps", "steps")
    devices: int | None = option(None, "how many; all of them when left out")
    betas: list[float] = option([0.9, 0.999], "of the optimizer")
    fast: bool = option(False, "cut corners")


@dataclass
class Table:
    file: str = option("", "table of texts", path=True)
    sep: str = option(",", "column separator", verbatim=True)


@dataclass
class BakeConfig:
    text: str = option("", "what to write on the cake", verbatim=True)
    out: str = option("cake.txt", "file to write", path=True)
    voice: str | None = option(None, "who sings", verbatim=True)
    heat: float = option(180.0, "oven, 50 to 300", "degrees")
    icing: str = option("none", "kind of icing", choices=("none", "sugar", "lemon"))
    size: str = option("small", "of the cake")
    log: str = option("", "follows out=")
    mel: MelSpec = field(default_factory=MelSpec)
    trainer: Trainer = field(default_factory=Trainer)
    table: Table = field(default_factory=Table)
    model: dict[str, Any] = option({}, "the model")


@dataclass
class SpongeLosses:
    mel: float = 1.0


@dataclass
class SpongeConfig:
    _target_: str = "nemo_ext.sponge.Sponge"
    width: int = 8
    depth: int = 2
    losses: SpongeLosses = field(default_factory=SpongeLosses)
    optim: dict[str, Any] = field(default_factory=dict)


class Sponge:
    config_class = SpongeConfig


FILES = {
    "bake.yaml": """
        defaults:
          - model: sponge
          - size: small
          - model/size: ${model}_${size}
          - trainer: cpu
          - experiment: null
          - _self_
        log: ${out}.log
        """,
    "model/sponge.yaml": "_target_: nemo_ext.sponge.Sponge\nwidth: 8\noptim:\n  lr: 1e-3\n",
    "model/tart.yaml": "width: 1\n",
    "model/size/sponge_small.yaml": "# @package model\nwidth: 16\n",
    "model/size/sponge_large.yaml": "# @package model\nwidth: 64\n",
    "size/small.yaml": "# @package _global_\nsize: small\n",
    "size/large.yaml": "# @package _global_\nsize: large\n",
    "trainer/cpu.yaml": "devices: 1\n",
    "trainer/gpu.yaml": "devices: null\n",
    "experiment/wedding.yaml": "# @package _global_\ndefaults:\n  - override /size: large\nheat: 160\n",
}


@pytest.fixture
def bake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`bake("heat=200")` composes the job above from a conf folder of its own."""
    import sys
    import textwrap
    from types import ModuleType

    for name, text in FILES.items():
        path = tmp_path / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    sponge = ModuleType("nemo_ext.sponge")
    sponge.Sponge = Sponge  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nemo_ext.sponge", sponge)
    monkeypatch.setitem(jobs.JOBS, "bake", jobs.Job("bake a cake", f"{__name__}:BakeConfig", f"{__name__}:print"))  # type: ignore[arg-type]
    return lambda *overrides: config.compose("bake", overrides, conf=tmp_path / "conf")


@pytest.mark.parametrize(
    "text",
    [
        'Hello, world. Don\'t (stop) = "now"; Ärger 3.10 null',
        "3.10",
        "null",
        "true",
        "[a,b]",
        "{a: b}",
        "${x}",
        "${oc.env:HOME}",
        "\\${x} and \\\\${y}",
        "a=b",
        "",
        "  both ends  ",
        "two\nlines\ttab",
        "???",
        "--help",
        "'quoted'",
        "1,2,3",
        "range(1,3)",
        "~/not/a/path",
        "%s {} \\n",
        "你好 😀",
    ],
)
def test_verbatim_text_arrives_as_typed(bake: Any, text: str) -> None:
    cfg = bake(f"text={text}", f"voice={text}", f"table.sep={text}", "heat=200")
    assert (cfg.text, cfg.voice, cfg.table.sep) == (text, text, text)
    assert cfg.heat == 200.0


def test_paths_are_verbatim_and_know_the_home_folder(bake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    cfg = bake("out=~/a, b/${x}.txt", "table.file=rel/[1].csv")
    assert cfg.out == "/home/ada/a, b/${x}.txt"
    assert cfg.table.file == "rel/[1].csv"


def test_others_may_follow_a_verbatim_option(bake: Any) -> None:
    assert bake("out=a=b, c").log == "a=b, c.log"
    assert bake("out=${oc.env:HOME}").log == "${oc.env:HOME}.log"


def test_groups_sizes_and_experiments(bake: Any) -> None:
    assert bake().model == {"_target_": "nemo_ext.sponge.Sponge", "width": 16, "optim": {"lr": 0.001}}
    assert bake("size=large").model["width"] == 64
    assert bake("size=large", "model.width=5").model["width"] == 5
    assert bake("trainer=gpu").trainer.devices is None
    wedding = bake("experiment=wedding")
    assert (wedding.heat, wedding.size, wedding.model["width"]) == (160.0, "large", 64)
    assert bake("experiment=wedding", "experiment=null").heat == 180.0


def test_values_keep_their_types(bake: Any) -> None:
    cfg = bake("trainer.max_steps=7", "heat=200", "trainer.betas=[0.5,1]", "trainer.fast=true", "mel.n_mels=100")
    assert dataclasses.asdict(cfg.trainer) == {"max_steps": 7, "devices": 1, "betas": [0.5, 1.0], "fast": True}
    assert isinstance(cfg.heat, float)
    assert cfg.mel == MelSpec(n_mels=100)
    assert isinstance(bake().model["optim"], dict)
    assert bake("+model.optim.extra=1").model["optim"] == {"lr": 0.001, "extra": 1}
    assert bake("model.depth=3").model["depth"] == 3
    assert bake("model.optim.lr=0.1", "model.losses.mel=2").model["losses"] == {"mel": 2}


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("txt=Hello, world", "unknown option 'txt='; did you mean 'text'?"),
        ("trainer.max_step=3", "unknown option 'trainer.max_step='; did you mean 'trainer.max_steps'?"),
        ("max_steps=3", "unknown option 'max_steps='; did you mean 'trainer.max_steps'?"),
        ("qqqqqq=3", "unknown option 'qqqqqq='; --help lists the options"),
        ("trainer.max_steps.x=3", "unknown option 'trainer.max_steps.x='"),
        ("model.widht=3", "unknown option 'model.widht='; did you mean 'model.width'?"),
        ("model.optim.rl=3", "unknown option 'model.optim.rl='; did you mean 'model.optim.lr'?"),
        ("model.optim.qq=3", "unknown option 'model.optim.qq='; a new one is written +model.optim.qq="),
        ("+model.extra=3", "unknown option 'model.extra='"),
        ("model.dept=3", "unknown option 'model.dept='; did you mean 'model.depth'?"),
        ("model.width=wide", "model.width= takes a whole number, got 'wide'"),
        ("model=spunge", "model=spunge is not one of sponge, tart; did you mean 'sponge'?"),
        ("size=null", "size=None is not one of large, small"),
        ("model=[sponge]", "is not one of sponge, tart"),
        ("heat=fast", "heat= takes a number, got 'fast'"),
        ("heat=null", "heat= takes a number, got null"),
        ("heat=", "heat= takes a number, got ''"),
        ("trainer.max_steps=3.5", "trainer.max_steps= takes a whole number, got '3.5'"),
        ("trainer.fast=maybe", "trainer.fast= takes true or false, got 'maybe'"),
        ("trainer.betas=[a]", "takes a list such as [a,b], got '['a']'"),
        ("trainer={max_step: 3}", "unknown option 'trainer.max_step='; did you mean 'trainer.max_steps'?"),
        ("trainer.betas=3", "trainer.betas= takes a list such as [a,b], got '3'"),
        ("icing=suger", "icing=suger is not one of none, sugar, lemon; did you mean 'sugar'?"),
        ("heat=1,2", "heat= holds several values"),
        ("heat=range(1,3)", "heat= holds several values"),
        ("log=a b, c", "log= holds several values"),
        ("log=Don't", "log= cannot be read: put the value in quotes of its own"),
        ("~model.width=3", "'~model.width=3' is not an option: write NAME=VALUE"),
        ("world.", "'world.' is not an option: write NAME=VALUE"),
        ("--text=Hello", "options are written NAME=VALUE, without dashes; did you mean 'text'?"),
        ("it said a = b", "is not an option: write NAME=VALUE, and quotes around a value with blanks"),
        ("log=${nothing}", "the options do not resolve: Interpolation key 'nothing' not found"),
        ("model=tart", "conf/bake.yaml with model=tart does not compose"),
    ],
)
def test_mistakes_are_answered_in_one_line(bake: Any, typed: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        bake(typed)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_job_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="there is no job 'trian'; did you mean 'train'"):
        config.compose("trian", [])


def test_a_yaml_that_does_not_fit_its_dataclass(bake: Any, tmp_path: Path) -> None:
    (tmp_path / "conf/trainer/cpu.yaml").write_text("device: 1\n")
    with pytest.raises(NemoExtError, match=r"conf/bake\.yaml does not compose: Key 'device' not in 'Trainer'"):
        bake()


def test_conform_fills_and_refuses() -> None:
    filled = config.conform({"width": 3, "losses": {"mel": 2}}, SpongeConfig)
    assert (filled.width, filled.depth, filled.losses.mel) == (3, 2, 2.0)
    with pytest.raises(UsageError, match=r"unknown option 'model\.widht='; did you mean 'width'"):
        config.conform({"widht": 3}, SpongeConfig, "model.")
    with pytest.raises(UsageError, match=r"model\.losses\.mel= takes a number, got "):
        config.conform({"losses": {"mel": "loud"}}, SpongeConfig, "model.")


def test_the_yaml_of_an_installed_package_is_inside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (config.conf_dir() / "train.yaml").is_file()
    monkeypatch.setattr(config, "__file__", str(tmp_path / "nemo_ext" / "config.py"))
    assert config.conf_dir() == tmp_path / "conf"
    (tmp_path / "nemo_ext" / "conf").mkdir(parents=True)
    assert config.conf_dir() == tmp_path / "nemo_ext" / "conf"


def test_as_yaml_reads_back(bake: Any) -> None:
    import yaml

    cfg = bake("text=Ärger: 1, [2]")
    assert yaml.safe_load(config.as_yaml(cfg)) == dataclasses.asdict(cfg)
