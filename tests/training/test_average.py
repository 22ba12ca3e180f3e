"""The mean of the weights: what it is, where it is used, that a resumed run goes on with it."""

from types import SimpleNamespace

import pytest
import torch

from nemo_ext import _nemo
from nemo_ext.errors import NemoExtError
from nemo_ext.model_files import spoken_with
from nemo_ext.models.vocoder.vocos import Vocos
from nemo_ext.training import checkpoints
from nemo_ext.training.average import Average, averaged
from nemo_ext.training.watch import Watch


def test_what_is_saved_is_the_mean_of_every_steps_weights(toy, tmp_path, monkeypatch):
    seen: list[dict[str, torch.Tensor]] = []

    def noting(name: str):
        before = getattr(Watch, name)

        def noted(self, trainer, pl_module, *others):
            before(self, trainer, pl_module, *others)
            seen.append({k: w.detach().clone() for k, w in averaged(pl_module).items()})

        monkeypatch.setattr(Watch, name, noted)

    noting("on_train_start")
    noting("on_train_batch_end")
    toy(tmp_path / "run", "trainer.max_steps=6", "trainer.ema=0.5", "trainer.val_every=3")
    content = checkpoints.read(checkpoints.newest(tmp_path / "run" / "checkpoints")[0])
    model = _nemo.restore(tmp_path / "run" / "model.nemo")
    assert len(seen) == 7
    for name, weight in averaged(model).items():
        mean = seen[0][name]
        for step in range(1, 7):
            share = min(0.5, (1 + step) / (10 + step))
            mean = share * mean + (1 - share) * seen[step][name]
        assert torch.allclose(weight, mean, atol=1e-6), name
        assert torch.equal(spoken_with(content)[name], weight)
        assert torch.equal(content["state_dict"][name], seen[-1][name])  # training went on with the weights themselves
    assert any(not torch.equal(w, seen[-1][k]) for k, w in averaged(model).items())


def test_after_a_validation_the_weights_are_what_they_were():
    model, average = torch.nn.Linear(2, 1, bias=False), Average(0.5)
    first, second = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 6.0]])
    model.weight.data.copy_(first)
    average.on_train_start(SimpleNamespace(global_step=0), model)
    model.weight.data.copy_(second)
    average.on_train_batch_end(SimpleNamespace(global_step=1000), model)
    average.on_validation_start(None, model)
    assert torch.equal(model.weight.data, (first + second) / 2)
    average.on_validation_end(None, model)
    assert torch.equal(model.weight.data, second)


def test_what_is_shown_is_what_is_saved(toy, tmp_path, monkeypatch):
    shown: list[dict[str, torch.Tensor]] = []
    before = Vocos.preview

    def noted(self, batch):
        shown.append({k: w.detach().clone() for k, w in averaged(self).items()})
        return before(self, batch)

    monkeypatch.setattr(Vocos, "preview", noted)
    toy(tmp_path / "run", "trainer.max_steps=3", "trainer.ema=0.9", "trainer.val_every=3", "logger.tensorboard=true")
    saved = _nemo.restore(tmp_path / "run" / "model.nemo").state_dict()
    (weights,) = shown
    assert all(torch.equal(saved[name], weight) for name, weight in weights.items())


def test_a_resumed_run_goes_on_with_its_mean(toy, tmp_path):
    options = ("trainer.ema=0.9", "model.optim.sched=null")
    toy(tmp_path / "whole", "trainer.max_steps=6", *options)
    toy(tmp_path / "halves", "trainer.max_steps=3", *options)
    toy(tmp_path / "halves", "trainer.max_steps=6", *options)
    one, other = (_nemo.restore(tmp_path / k / "model.nemo").state_dict() for k in ("whole", "halves"))
    assert all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("decay", [1.0, -0.1, 2.0])
def test_a_share_that_is_none_is_refused(decay):
    with pytest.raises(NemoExtError, match=r"trainer\.ema=.*give a share below 1"):
        Average(decay)
