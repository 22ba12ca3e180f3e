"""Two processes that train together learn what one alone learns from the same batches."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nemo_ext import _nemo
from nemo_ext.errors import NemoExtError
from nemo_ext.training import checkpoints
from nemo_ext.training.config import StrategyOptions, TrainerOptions
from nemo_ext.training.launch import Processes, processes
from nemo_ext.training.pictures import read_metrics
from nemo_ext.training.strategies import strategy_of

HIFIGAN = [
    "model=hifigan",
    "model.upsample_initial_channel=16",
    "model.segment_frames=16",
    "model.batch_size=4",
    "model.adversarial_from_step=0",  # both optimizers from the first step
    "model.optim.lr=2e-4",
]
NO_CHANCE = ["model.dropout=0.0", "model.attention_dropout=0.0"]
FIRST, STEPS = 200, 20  # FastPitch alone; then each way
PARTS = {"acoustic": "fastpitch-alone", "vocoder": "hifigan-alone"}  # of a joint model, of the runs before
HOW = {
    "alone": [],
    "ddp": ["strategy=ddp"],
    "fsdp": ["strategy=fsdp"],
    "ddp-in-parts": ["strategy=ddp", "trainer.accumulate=2"],
    "fsdp-in-parts": ["strategy=fsdp", "trainer.accumulate=2"],
}
SHARED = [
    *((model, how) for model in ("fastpitch", "hifigan") for how in ("ddp", "fsdp")),
    *(("fastpitch", how) for how in ("ddp-in-parts", "fsdp-in-parts")),
]


def together(lines: list[list[str]], *failure: str, ranks: int = 2) -> subprocess.CompletedProcess[str]:
    """The trainings, by torchrun if there is more than one rank."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    script = str(Path(__file__).with_name("together.py"))
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *launch, script, json.dumps(lines), *failure],
        capture_output=True,
        text=True,
        env=env,
        timeout=500,
        check=False,
    )


def failed(ended: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines with which processes that have failed said why; no rank left a traceback."""
    assert ended.returncode != 0
    assert "[rank" not in ended.stderr, ended.stderr[-3000:]  # torch marks a rank's traceback so; torchrun has its own
    return [row for row in ended.stderr.splitlines() if row.startswith("nemo-ext:")]


def losses(out: Path) -> dict[int, float]:
    return dict(zip(*read_metrics(out / "metrics.jsonl")["train/loss"], strict=True))


@pytest.fixture(scope="module")
def runs(options, tmp_path_factory) -> Path:
    """FastPitch goes on from the same checkpoint, HiFi-GAN begins anew: alone, by DDP and by FSDP2, whole and in parts.

    FastPitch's alignment is a choice among paths. In an untrained model, two are often so near to each other that the
    rounding of a network's outputs decides; after some steps they are told apart.
    """
    folder = tmp_path_factory.mktemp("together")

    def lines(how: str, steps: int = FIRST + STEPS) -> list[list[str]]:
        acoustic = options(folder / f"fastpitch-{how}", *NO_CHANCE, *HOW[how], model="fastpitch")
        vocoder = [o for o in options(folder / f"hifigan-{how}", *HOW[how]) if not o.startswith("model")]
        both = [[*acoustic, f"trainer.max_steps={steps}"], [*HIFIGAN, *vocoder, f"trainer.max_steps={STEPS}"]]
        return both[:1] if how.endswith("in-parts") else both

    first = together([lines("alone", FIRST)[0]], ranks=1)
    assert first.returncode == 0, first.stderr[-3000:]
    shared = [how for how in HOW if how != "alone"]
    for how in shared:
        shutil.copytree(folder / "fastpitch-alone", folder / f"fastpitch-{how}")
    alone = together(lines("alone"), ranks=1)
    assert alone.returncode == 0, alone.stderr[-3000:]
    both = together([line for how in shared for line in lines(how)])
    assert both.returncode == 0, both.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("model", "how"), SHARED)
def test_losses_are_those_of_one_process(runs, model, how):
    """Each is told once a step; those of a validation are the same as well."""
    alone, shared = (read_metrics(runs / f"{model}-{k}" / "metrics.jsonl") for k in ("alone", how))
    steps = alone["train/loss"][0]
    assert shared["train/loss"][0] == steps
    assert len(steps) == (FIRST if model == "fastpitch" else 0) + STEPS
    for step, loss, expected in zip(steps, shared["train/loss"][1], alone["train/loss"][1], strict=True):
        assert loss == pytest.approx(expected, rel=1e-5), step
    told = [name for name in alone if name.startswith("val/")]
    assert len(told) > 2
    for name in told:
        assert shared[name] == (pytest.approx(alone[name][0]), pytest.approx(alone[name][1], rel=1e-3)), name


@pytest.mark.slow
@pytest.mark.parametrize(("model", "how"), SHARED)
def test_what_they_save_is_whole(runs, model, how):
    """One file, as from one process: any number of processes may go on from it."""
    alone, shared = (checkpoints.newest(runs / f"{model}-{k}" / "checkpoints")[0] for k in ("alone", how))
    one, other = checkpoints.read(alone), checkpoints.read(shared)
    assert one["state_dict"].keys() == other["state_dict"].keys()
    for key, value in one["state_dict"].items():
        assert other["state_dict"][key].shape == value.shape
        assert torch.allclose(other["state_dict"][key], value, atol=2e-3), key
    for ours, theirs in zip(one["optimizer_states"], other["optimizer_states"], strict=True):
        assert ours["state"].keys() == theirs["state"].keys()
        assert all(theirs["state"][k]["exp_avg"].shape == v["exp_avg"].shape for k, v in ours["state"].items())
    restored = _nemo.restore(runs / f"{model}-{how}" / "model.nemo")
    assert not any(p.isnan().any() for p in restored.parameters())


@pytest.mark.slow
def test_a_model_of_both_learns_what_it_learns_alone(runs, options, tmp_path):
    """Segments are where they are with one process, and each utterance's counts as much, however few a rank has."""

    def line(how: str) -> list[str]:
        strategy = [] if how == "alone" else [f"strategy={how}"]
        acoustic = [o for o in options(tmp_path / how, *strategy, model="fastpitch") if not o.startswith("model")]
        given = [f"model.{part}={runs / name / 'model.nemo'}" for part, name in PARTS.items()]
        chosen = ["model=fastpitch_hifigan", "model.segment_frames=16", "model.adversarial_from_step=0", *given]
        rate = "model.optim.lr=2e-5"  # of docs/models/fastpitch_hifigan.md: at ten times that rounding grows each step
        return [*chosen, *acoustic, rate, f"trainer.max_steps={STEPS}"]

    for how, ranks in (("alone", 1), ("ddp", 2)):
        ended = together([line(how)], ranks=ranks)
        assert ended.returncode == 0, ended.stderr[-3000:]
    alone, shared = losses(tmp_path / "alone"), losses(tmp_path / "ddp")
    assert sorted(alone) == sorted(shared) == list(range(1, STEPS + 1))
    for step, loss in alone.items():
        assert shared[step] == pytest.approx(loss, rel=1e-5), step


@pytest.mark.slow
@pytest.mark.parametrize("how", ["error", "kill"])
def test_a_rank_that_fails_ends_all(options, tmp_path, how):
    line = [*options(tmp_path / "run", "strategy=ddp", model="fastpitch"), "trainer.checkpoint_every=4"]
    line += ["trainer.max_steps=12"]
    ended = together([line], "1", "6", how)
    said = failed(ended)
    assert said == (["nemo-ext: this rank has had enough"] if how == "error" else []), ended.stderr[-3000:]
    last, notes = checkpoints.newest(tmp_path / "run" / "checkpoints")
    assert (last.name, notes) == ("step=4.ckpt", [])
    alone = [option for option in line if not option.startswith("strategy")]  # one process goes on for both
    again = together([alone], ranks=1)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "resuming from step 4 of 12" in again.stderr
    assert sorted(losses(tmp_path / "run")) == list(range(1, 13))


@pytest.mark.slow
def test_a_model_that_cannot_be_written_ends_all(options, tmp_path):
    line = [*options(tmp_path / "run", "strategy=ddp", model="fastpitch"), "trainer.max_steps=2"]
    ended = together([line], "0", "2", "save")
    said = failed(ended)
    assert said == ["nemo-ext: this rank has had enough"], ended.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("rank", ["0", "1"])
def test_the_process_with_the_first_loss_that_is_no_number_tells_it(options, tmp_path, rank):
    """When the losses are looked at, all processes have some: their weights have been none since that step."""
    line = [*options(tmp_path / "run", "strategy=ddp", model="fastpitch"), "trainer.max_steps=12"]
    ended = together([line], rank, "2", "nan")
    said = failed(ended)
    assert len(said) == 1, ended.stderr[-3000:]
    assert "the loss is no number at step 2 (loss; epoch 0" in said[0]
    assert "hold values that are no numbers" in said[0]


@pytest.mark.slow
@pytest.mark.parametrize("behind", ["0", "1"])
def test_processes_that_see_different_checkpoints_are_refused(options, finished, behind):
    ended = together([[*options(finished, "strategy=ddp"), "trainer.max_steps=12"]], behind, "4", "stale")
    said = failed(ended)
    assert len(said) == 1, ended.stderr[-3000:]
    assert "see different checkpoints" in said[0]
    assert "(some step 4, some step 8)" in said[0]
    assert checkpoints.newest(finished / "checkpoints")[0] == finished / "checkpoints" / "step=8.ckpt"


def test_the_processes_are_those_that_were_started(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "16")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert processes(TrainerOptions()) == Processes(8, 2)
    with pytest.raises(NemoExtError, match="leave both out"):
        processes(TrainerOptions(devices=4))


def test_an_unknown_strategy_is_refused(tiny_vocoder):
    with pytest.raises(NemoExtError, match=r"strategy\.name=dp is none of auto, ddp and fsdp"):
        strategy_of(StrategyOptions(name="dp"), Processes(2, 1), _nemo.restore(tiny_vocoder), "cpu")
