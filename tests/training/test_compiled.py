"""A compiled training is the training, only faster."""

import pytest
import torch

from nemo_ext import _nemo
from nemo_ext.config import compose
from nemo_ext.errors import NemoExtError
from nemo_ext.training import checkpoints, compiled
from nemo_ext.training.build import build
from nemo_ext.training.pictures import read_metrics
from nemo_ext.training.run import train

HIFIGAN = [
    "model=hifigan",
    "size=tiny",
    "model.upsample_initial_channel=16",
    "model.segment_frames=16",
    "model.batch_size=4",
    "model.adversarial_from_step=1",
    "model.discriminator_warmup=1",
    "trainer.max_steps=4",
]


def line(options, out, *more):
    return [*HIFIGAN, *(o for o in options(out) if not o.startswith(("model", "size"))), *more]


@pytest.mark.slow
def test_losses_and_what_is_saved_are_those_of_an_eager_training(options, tmp_path):
    """The generator alone, then with discriminators that learn, then with discriminators that are asked."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    more = ("trainer.val_every=2", "trainer.ema=0.9")
    for how in ("false", "true"):
        train(compose("train", line(options, tmp_path / how, *more, f"trainer.compile={how}")))
    eager, ours = (read_metrics(tmp_path / how / "metrics.jsonl") for how in ("false", "true"))
    # of the generator one, and of each discriminator two
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 5
    assert set(eager) == set(ours)
    for name in ("train/loss", "train/mel", "train/disc", "train/fm", "val/mel"):
        assert ours[name][0] == eager[name][0]
        assert ours[name][1] == pytest.approx(eager[name][1], rel=1e-4), name
    one, other = (checkpoints.read(tmp_path / how / "checkpoints/step=4.ckpt") for how in ("false", "true"))
    assert list(one["state_dict"]) == list(other["state_dict"])
    assert list(one["callbacks"]["Average"]["means"]) == list(other["callbacks"]["Average"]["means"])
    saved = [_nemo.restore(tmp_path / how / "model.nemo") for how in ("false", "true")]
    assert list(saved[0].state_dict()) == list(saved[1].state_dict())
    train(compose("train", line(options, tmp_path / "true", *more, "trainer.max_steps=5")))  # goes on without it
    assert read_metrics(tmp_path / "true" / "metrics.jsonl")["train/loss"][0] == [1, 2, 3, 4, 5]
    mel = torch.randn(1, 80, 20)
    assert torch.allclose(saved[0].decode(mel), saved[1].decode(mel), atol=1e-3)


@pytest.mark.parametrize(
    ("model", "more", "said"),
    [
        ("fastpitch", [], "for vocoders, whose segments have one shape; the batches of a FastPitch have another each"),
        ("vocos", ["strategy=fsdp"], "trainer.compile=true and strategy=fsdp.*leave one of them out"),
        ("vocos", [], r"needs the C\+\+ compiler no-such-compiler: install it"),
    ],
)
def test_what_it_is_not_for_is_told(options, tmp_path, monkeypatch, model, more, said):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(NemoExtError, match=said) as raised:
        build(compose("train", options(tmp_path, "trainer.compile=true", *more, model=model)))
    assert "\n" not in str(raised.value)


def test_whatever_is_no_step_is_not_compiled(tiny_vocoder):
    model = _nemo.restore(tiny_vocoder)
    callback, seen = compiled.Compiled(), []

    def backend(graph, inputs):
        seen.append(len(graph.graph.nodes))
        return graph.forward

    def compiles():
        torch._dynamo.reset()
        seen.clear()
        model(torch.randn(1, 80, 16))
        return bool(seen)

    callback.on_fit_start(None, model)
    model.generator.compile(backend=backend)
    try:
        assert not compiles()  # a validation before the first step
        callback.on_train_batch_start(None, model, None, 0)
        assert compiles()
        callback.on_train_batch_end(None, model, None, None, 0)
        assert not compiles()
    finally:
        callback.on_exception(None, model, KeyboardInterrupt())
    assert compiles()
    assert not any("_orig_mod" in name for name in model.state_dict())
