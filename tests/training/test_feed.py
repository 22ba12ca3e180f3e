"""Trainings that DALI feeds."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from nemo_ext.errors import NemoExtError
from nemo_ext.training.checkpoints import read
from nemo_ext.training.pictures import read_metrics


def losses(out: Path) -> list[float]:
    return list(read_metrics(out / "metrics.jsonl")["train/loss"][1])


def weights(out: Path, step: int) -> dict[str, Any]:
    return dict(read(out / "checkpoints" / f"step={step}.ckpt")["state_dict"])


@pytest.mark.parametrize("model", ["vocos", "fastpitch"])
def test_dali_trains_as_torch_does(model: str, toy: Any, tmp_path: Path) -> None:
    """The losses differ by what 1e-3 in the mel makes; a resumed training ends with the very same weights."""
    dali = ["loader=dali", "trainer.max_steps=5", "trainer.checkpoint_every=2", "trainer.keep_checkpoints=3"]
    toy(tmp_path / "torch", "trainer.max_steps=5", model=model)
    toy(tmp_path / "dali", *dali, model=model)
    assert losses(tmp_path / "dali") == pytest.approx(losses(tmp_path / "torch"), rel=1e-3)
    shutil.copytree(tmp_path / "dali", tmp_path / "resumed")
    for step in (4, 5):
        (tmp_path / "resumed/checkpoints" / f"step={step}.ckpt").unlink()
    toy(tmp_path / "resumed", *dali, "trainer.workers=2", model=model)
    assert losses(tmp_path / "resumed") == losses(tmp_path / "dali")
    ours, theirs = (weights(tmp_path / name, 5) for name in ("resumed", "dali"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["augment.gain_db=6"], r"augment\.\* is done by DALI: add loader=dali"),
        (["loader=dali", "augment.gain_db=-6"], r"augment\.gain_db=-6: give 0"),
        (["loader=dali", "model=speaker", "size=tiny"], "a speaker encoder hears recordings: leave it out"),
    ],
)
def test_what_cannot_be_is_one_line(options: list[str], said: str, espeak_corpus: Path, tmp_path: Path) -> None:
    from nemo_ext.config import compose
    from nemo_ext.training.run import train

    with pytest.raises(NemoExtError, match=said) as raised:
        train(compose("train", [f"corpus={espeak_corpus}", f"out={tmp_path / 'run'}", "model=vocos", *options]))
    assert "\n" not in str(raised.value)


def test_without_dali_the_extra_is_named(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(NemoExtError, match=r"pip install 'nemo_ext\[dali\]'"):
        toy(tmp_path / "run", "loader=dali")


def test_another_augmentation_is_another_training(toy: Any, tmp_path: Path) -> None:
    toy(tmp_path / "run", "loader=dali", "augment.gain_db=6", "trainer.max_steps=1")
    with pytest.raises(NemoExtError, match=r"augment\.gain_db=6.0 there, 3.0 now"):
        toy(tmp_path / "run", "loader=dali", "augment.gain_db=3", "trainer.max_steps=2")
