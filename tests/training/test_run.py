"""`nemo-ext train`: what it leaves behind, how it stops, how it goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from nemo_ext import _nemo
from nemo_ext.config import compose
from nemo_ext.errors import NemoExtError
from nemo_ext.training.checkpoints import newest
from nemo_ext.training.pictures import read_metrics
from nemo_ext.training.run import train

TOY = [
    "model=vocos",
    "size=tiny",
    "model.width=16",
    "model.hidden_width=32",
    "model.layers=1",
    "model.segment_frames=16",
    "model.batch_size=4",
    "trainer.threads=1",
    "trainer.log_every=1",
]


def options(corpus: Path, out: Path, *more: str) -> list[str]:
    return [*TOY, f"corpus={corpus}", f"out={out}", *more]


def toy(corpus: Path, out: Path, *more: str) -> Path:
    return train(compose("train", options(corpus, out, *more)))


def command(corpus: Path, out: Path, *more: str, before: str = "") -> subprocess.Popen:
    """The command line itself in a process of its own."""
    code = f"{before}\nimport sys; from nemo_ext.cli import main; sys.exit(main())"
    line = [sys.executable, "-c", code, "train", *options(corpus, out, *more)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_a_run_leaves_a_model_checkpoints_curves_and_logs(tiny_vocoder):
    out = tiny_vocoder.parent
    assert {"model.nemo", "plan.json", "metrics.jsonl", "curves.png", "checkpoints", "logs"} <= {
        p.name for p in out.iterdir()
    }
    losses = read_metrics(out / "metrics.jsonl")
    assert {"train/loss", "train/mel", "val/mel"} <= set(losses)
    first, last = losses["train/mel"][1][0], losses["train/mel"][1][-1]
    assert last < first
    assert _nemo.restore(tiny_vocoder).decode(torch.zeros(1, 80, 3)).shape == (1, 768)


def test_pictures_alignments_and_audio_are_in_the_tensorboard_log(tiny_acoustic):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(tiny_acoustic.parent / "logs"), size_guidance={"images": 0, "audio": 0})
    log.Reload()
    tags = log.Tags()
    assert {"mel/target", "mel/predicted", "alignment/soft", "alignment/hard", "curve/pitch"} <= set(tags["images"])
    assert any("predicted" in tag for tag in tags["audio"])
    assert "train/mel" in tags["scalars"]
    assert "val/mel" in tags["scalars"]


def test_more_steps_go_on_from_the_last_checkpoint_without_a_jump(espeak_corpus, tmp_path, capfd):
    out = tmp_path / "run"
    toy(espeak_corpus, out, "trainer.max_steps=12", "trainer.val_every=12")
    assert "this training needs" in capfd.readouterr().err
    toy(espeak_corpus, out, "trainer.max_steps=20", "trainer.val_every=20")
    assert "resuming from step 12 of 20" in capfd.readouterr().err
    steps, losses = read_metrics(out / "metrics.jsonl")["train/loss"]
    assert steps == list(range(1, 21))
    before, after = sum(losses[8:12]) / 4, sum(losses[12:16]) / 4
    assert after < 1.15 * before
    toy(espeak_corpus, out, "trainer.max_steps=20")
    assert "finished: 20 of 20 steps are done" in capfd.readouterr().err


def test_a_resumed_run_takes_the_optimizer_with_it(espeak_corpus, tmp_path):
    out = tmp_path / "run"
    toy(espeak_corpus, out, "trainer.max_steps=6")
    path, _ = newest(out / "checkpoints")
    state = torch.load(path, map_location="cpu", weights_only=False)
    assert state["global_step"] == 6
    moments = state["optimizer_states"][0]["state"]
    assert moments
    assert all(int(m["step"]) == 6 for m in moments.values())


def test_a_killed_run_goes_on_with_the_same_command(espeak_corpus, tmp_path):
    out = tmp_path / "run"
    more = ("trainer.max_steps=5000", "trainer.checkpoint_every=10", "trainer.val_every=5000")
    running = command(espeak_corpus, out, *more)
    until = time.monotonic() + 300
    while time.monotonic() < until and newest(out / "checkpoints")[0] is None and running.poll() is None:
        time.sleep(0.2)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    found, _ = newest(out / "checkpoints")
    assert found is not None
    step = int(found.stem.partition("=")[2])
    assert step % 10 == 0
    again = command(espeak_corpus, out, *(f"trainer.max_steps={step + 4}", "trainer.val_every=5000"))
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert f"resuming from step {step} of {step + 4}" in said
    assert (out / "model.nemo").is_file()


def test_asked_to_stop_it_saves_first(espeak_corpus, tmp_path):
    out = tmp_path / "run"
    running = command(espeak_corpus, out, "trainer.max_steps=100000", "trainer.val_every=100000")
    metrics = out / "metrics.jsonl"
    until = time.monotonic() + 300
    while time.monotonic() < until and not (metrics.exists() and metrics.stat().st_size) and running.poll() is None:
        time.sleep(0.2)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 128 + signal.SIGTERM, said
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    found, _ = newest(out / "checkpoints")
    assert found is not None


def test_a_full_disk_is_one_line_and_keeps_what_was_there(espeak_corpus, tmp_path):
    """A real write failure: the process may write no file larger than 40 kB, which no checkpoint is."""
    out = tmp_path / "run"
    toy(espeak_corpus, out, "trainer.max_steps=3")
    before = {p.name: p.stat().st_size for p in (out / "checkpoints").iterdir()}
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))"
    running = command(
        espeak_corpus, out, "trainer.max_steps=9", "trainer.val_every=9", "logger.tensorboard=false", before=limit
    )
    _, said = running.communicate(timeout=300)
    assert running.returncode == 1, said
    assert "could not be written" in said.strip().splitlines()[-1]
    assert "Traceback" not in said
    assert {p.name: p.stat().st_size for p in (out / "checkpoints").iterdir()} == before


def test_a_damaged_checkpoint_falls_back_to_the_one_before(espeak_corpus, tmp_path, capfd):
    out = tmp_path / "run"
    toy(espeak_corpus, out, "trainer.max_steps=8", "trainer.checkpoint_every=4")
    last = out / "checkpoints" / "step=8.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    capfd.readouterr()
    toy(espeak_corpus, out, "trainer.max_steps=10")
    said = capfd.readouterr().err
    assert "step=8.ckpt is damaged" in said
    assert "resuming from step 4 of 10" in said


def test_a_loss_that_is_no_number_names_step_and_utterances(espeak_corpus, tmp_path):
    with pytest.raises(NemoExtError, match=r"no number at step \d+ .*utterances \w+") as raised:
        toy(espeak_corpus, tmp_path / "run", "model.optim.lr=1e30", "trainer.max_steps=40", "model.gradient_clip=1e30")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run" / "model.nemo").exists()


def test_too_little_disk_is_said_before_anything_starts(espeak_corpus, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    with pytest.raises(NemoExtError, match="GiB free and this training writes about"):
        toy(espeak_corpus, tmp_path / "run", "trainer.max_steps=4")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_max_minutes_becomes_steps_and_stays(espeak_corpus, tmp_path):
    out = tmp_path / "run"
    toy(espeak_corpus, out, "trainer.max_minutes=0.02")
    plan = json.loads((out / "plan.json").read_text())
    assert plan["max_steps"] == max(1, int(1.2 / plan["seconds_per_step"]))
    assert newest(out / "checkpoints")[0].name == f"step={plan['max_steps']}.ckpt"
    toy(espeak_corpus, out, "trainer.max_minutes=0.02")
    assert json.loads((out / "plan.json").read_text())["max_steps"] == plan["max_steps"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["corpus=/nowhere"], "no finished corpus at /nowhere"),
        (["corpus="], "corpus= is missing"),
        (["out="], "out= is missing"),
        (["trainer=gpu"], "torch sees no GPU"),
        (["model._target_=os.system"], "none of our models"),
    ],
)
def test_mistakes_are_one_line(espeak_corpus, tmp_path, change, said):
    if change == ["trainer=gpu"] and torch.cuda.is_available():
        change = ["trainer=gpu", "corpus=/nowhere"]
        said = "no finished corpus"
    with pytest.raises(NemoExtError, match=said) as raised:
        toy(espeak_corpus, tmp_path / "run", *change)
    assert "\n" not in str(raised.value)


def test_another_model_in_the_same_folder_is_refused(espeak_corpus, tmp_path):
    out = tmp_path / "run"
    toy(espeak_corpus, out, "trainer.max_steps=3")
    with pytest.raises(NemoExtError, match="holds a training of another model"):
        train(compose("train", ["model=hifigan", "size=tiny", f"corpus={espeak_corpus}", f"out={out}"]))


def test_the_same_seed_gives_the_same_losses(espeak_corpus, tmp_path):
    for name in ("a", "b"):
        toy(espeak_corpus, tmp_path / name, "trainer.max_steps=4", "seed=7")
    a, b = (read_metrics(tmp_path / name / "metrics.jsonl")["train/loss"] for name in ("a", "b"))
    assert a == b
