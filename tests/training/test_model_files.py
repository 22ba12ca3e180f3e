"""What a training's folder stands for: its model, or the newest whole checkpoint with the weights it validates."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from nemo_ext import _nemo, model_files, torch_file
from nemo_ext.cli import main
from nemo_ext.errors import NemoExtError
from nemo_ext.model_files import CHECKPOINTS, MODEL, UNTRAINED
from nemo_ext.models.acoustic.fastpitch_config import title
from tests.training.conftest import Toy


@pytest.fixture(scope="module")
def _trained(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    more = "trainer.max_steps=4", "trainer.checkpoint_every=2", "trainer.ema=0.5", "model.optim.lr=0.01"
    toy(out, *more, model="fastpitch")
    return out


@pytest.fixture
def trained(_trained: Path, tmp_path: Path) -> Path:
    """A folder of its own with an acoustic model's training of 4 steps, a mean of its weights, two checkpoints."""
    return Path(shutil.copytree(_trained, tmp_path / "ada's run", copy_function=shutil.copy2))


def _touch(path: Path, later: float = 1.0) -> None:
    newest = max(p.stat().st_mtime for p in path.parent.parent.rglob("*"))
    os.utime(path, (newest + later, newest + later))


def test_a_folder_is_its_model_until_the_training_has_gone_on(trained: Path) -> None:
    last = trained / CHECKPOINTS / "step=4.ckpt"
    assert model_files.find(trained) == model_files.ModelFile(trained / MODEL)
    _touch(last)
    assert model_files.find(trained) == model_files.ModelFile(trained / CHECKPOINTS / UNTRAINED, last)


def test_a_model_is_named_by_its_training_wherever_its_file_lies(trained: Path, toy: Toy, tmp_path: Path) -> None:
    copied = Path(shutil.copy(trained / MODEL, tmp_path / "downloaded.nemo"))
    assert title(_nemo.restore(copied)) == "run"  # the name of the folder when it was trained
    (trained / MODEL).unlink()
    assert title(_nemo.restore(trained)) == "run"
    given = toy(tmp_path / "other", "trainer.max_steps=1", "model.name=anna", model="fastpitch")
    assert title(_nemo.restore(given)) == "anna"


def test_a_checkpoint_speaks_with_the_mean_of_its_weights_as_the_model_does(trained: Path) -> None:
    model = _nemo.restore(trained)
    (trained / MODEL).unlink()
    checkpoint = trained / CHECKPOINTS / "step=4.ckpt"
    heard = _nemo.restore(trained)
    assert (model.origin, heard.origin) == ("ada's run/model.nemo", "ada's run/step=4.ckpt")
    assert [voice.name for voice in heard.voices] == ["ada", "ben"]
    weights, raw = model.state_dict(), torch_file.read(checkpoint)["state_dict"]
    assert all(torch.equal(value, weights[name]) for name, value in heard.state_dict().items())
    assert not all(torch.equal(value, weights[name]) for name, value in raw.items())
    earlier = _nemo.restore(trained / CHECKPOINTS / "step=2.ckpt").state_dict()
    assert not all(torch.equal(value, weights[name]) for name, value in earlier.items())


def test_say_speaks_from_the_folder_of_a_training_that_runs_and_says_from_what(
    trained: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (trained / MODEL).unlink()
    newest, out = trained / CHECKPOINTS / "step=4.ckpt", trained / "a.wav"
    assert main(["say", f"acoustic={trained}", "text=Hello.", f"out={out}"]) == 0
    assert f"acoustic={trained}: {newest}, its averaged weights" in capfd.readouterr().err
    assert out.is_file()
    newest.write_bytes(newest.read_bytes()[:-100])
    assert main(["say", f"acoustic={trained}", "text=Hello.", f"out={out}"]) == 0
    told = capfd.readouterr().err
    assert "step=4.ckpt is damaged" in told
    assert f"{trained / CHECKPOINTS / 'step=2.ckpt'}, its averaged weights" in told


def test_what_is_no_model_is_one_line(trained: Path) -> None:
    (trained / MODEL).unlink()
    (trained / CHECKPOINTS / UNTRAINED).rename(trained / "aside")
    with pytest.raises(NemoExtError, match=r"acoustic=.*step=4\.ckpt has no untrained\.nemo beside it"):
        model_files.check("acoustic", str(trained), "a .nemo file")
    (trained / "aside").rename(trained / CHECKPOINTS / UNTRAINED)
    shutil.copy(trained / CHECKPOINTS / "step=4.ckpt", trained / CHECKPOINTS / "odd.ckpt")
    (trained / CHECKPOINTS / "odd.ckpt").write_bytes(b"PK")
    with pytest.raises(NemoExtError, match=r"acoustic=.*odd\.ckpt is damaged"):
        model_files.check("acoustic", str(trained / CHECKPOINTS / "odd.ckpt"), "a .nemo file")
    for checkpoint in (trained / CHECKPOINTS).glob("step=*.ckpt"):
        checkpoint.write_bytes(b"PK")
    with pytest.raises(NemoExtError, match=r"acoustic=.*every checkpoint in .* is damaged"):
        model_files.check("acoustic", str(trained), "a .nemo file")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([1], "has no weights by name"),
        ({"state_dict": {"w": 1}}, "has no weights by name"),
        ({"state_dict": {"w": torch.ones(1)}, "callbacks": {"Average": {"means": 3}}}, "has no weights by name"),
        ({"state_dict": {"w": torch.tensor([float("nan")])}, "callbacks": 7}, "are not finite"),
        ({"state_dict": {"w": torch.ones(1)}, "callbacks": {"Average": {"means": {"x": torch.ones(1)}}}}, "do not fit"),
    ],
)
def test_a_checkpoint_is_anybody_s(trained: Path, content: object, told: str) -> None:
    path = trained / CHECKPOINTS / "step=9.ckpt"
    torch.save(content, path)
    with pytest.raises(NemoExtError, match=told):
        _nemo.restore(path)
