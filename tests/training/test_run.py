"""`nemo-ext train`: what it leaves behind, what it refuses, what happens when it is called again."""

import fcntl
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time

import pytest
import torch

from nemo_ext import _nemo
from nemo_ext.cli import main
from nemo_ext.config import compose
from nemo_ext.errors import NemoExtError, UsageError
from nemo_ext.training import plan, run
from nemo_ext.training.build import build
from nemo_ext.training.pictures import read_metrics
from nemo_ext.training.run import train


def test_a_vocoder_learns_and_speaks(tiny_vocoder):
    out = tiny_vocoder.parent
    left = {"model.nemo", "plan.json", "config.yaml", "metrics.jsonl", "curves.png", "checkpoints", "logs"}
    assert left <= {p.name for p in out.iterdir()}
    losses = read_metrics(out / "metrics.jsonl")
    assert {"train/loss", "train/mel", "train/lr", "val/mel"} <= set(losses)
    assert losses["train/mel"][1][-1] < 0.9 * losses["train/mel"][1][0]
    assert _nemo.restore(tiny_vocoder).decode(torch.zeros(1, 80, 3)).shape == (1, 768)


def test_an_acoustic_model_learns_and_knows_its_voices_and_text(tiny_acoustic):
    losses = read_metrics(tiny_acoustic.parent / "metrics.jsonl")
    assert losses["train/mel"][1][-1] < 0.9 * losses["train/mel"][1][0]
    model = _nemo.restore(tiny_acoustic)
    assert [voice.name for voice in model.voices] == ["ada", "ben"]
    assert model.frontend.encode("Hello.", "en").ids.size > 4


def test_languages_that_were_asked_for_are_the_table_s(options, tmp_path, capfd):
    """The corpus is English: more may be asked for, but not without English."""
    line = options(tmp_path / "both", "text.languages=[de,en]", model="fastpitch")
    both = build(compose("train", line)).model.frontend
    alone = build(compose("train", options(tmp_path / "alone", model="fastpitch"))).model.frontend
    assert (both.config.languages, alone.config.languages) == (["de", "en"], ["en"])
    assert "ß" not in alone.table
    assert "ß" in both.table
    assert main(["train", *options(tmp_path / "german", "text.languages=[de]", model="fastpitch")]) == 1
    said = capfd.readouterr().err
    assert "text.languages=[de] lacks en" in said
    assert "text.languages=[de,en]" in said


def test_the_command_itself(options, tmp_path, capfd):
    out = tmp_path / "run"
    assert main(["train", *options(out, "trainer.max_steps=2")]) == 0
    said = capfd.readouterr().err
    assert "this training needs: 0." in said
    assert f"{out}/model.nemo: trained for 2 steps" in said
    assert "GPU available" not in said
    assert main(["train", *options(out, "trainer.max_steps=2")]) == 0
    assert "finished: 2 of 2 steps are done" in capfd.readouterr().err
    assert main(["train", *options(out, "trainer.max_steps=2", "seed=1")]) == 1
    said = capfd.readouterr().err.splitlines()
    assert said[-1].startswith(f"nemo-ext: {out} holds a training with other settings (seed=0 there, 1 now)")


def test_finished_without_its_model_writes_it_again(toy, finished, capfd):
    before = _nemo.restore(finished / "model.nemo").state_dict()
    (finished / "model.nemo").unlink()
    assert toy(finished, "trainer.max_steps=8") == finished / "model.nemo"
    assert "finished: 8 of 8" in capfd.readouterr().err
    after = _nemo.restore(finished / "model.nemo").state_dict()
    assert set(before) == set(after)
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_the_model_of_a_shorter_training_is_not_taken_for_the_finished_one(toy, finished):
    """As it lies there when a longer training was done but could not write its model."""
    model = finished / "model.nemo"
    right = _nemo.restore(model).state_dict()
    model.write_bytes(b"of step 4")
    os.utime(model, (0, 0))
    assert toy(finished, "trainer.max_steps=8") == model
    written = model.stat().st_mtime_ns
    assert all(torch.equal(value, right[name]) for name, value in _nemo.restore(model).state_dict().items())
    toy(finished, "trainer.max_steps=8")
    assert model.stat().st_mtime_ns == written


def test_a_number_of_the_node_is_nothing_to_one_that_trains_alone(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("NODE_RANK", "1")
    assert toy(tmp_path / "run", "trainer.max_steps=1").is_file()


def test_the_others_wait_for_the_one_that_writes_the_model_again(toy, finished, monkeypatch):
    model = finished / "model.nemo"
    kept = model.rename(finished / "kept.nemo")
    monkeypatch.setenv("RANK", "1")
    writes = threading.Timer(1.0, kept.rename, [model])
    before = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "build", lambda config, build=run.build: (build(config), writes.start())[0])
        assert toy(finished, "trainer.max_steps=8") == model
    writes.join()
    assert time.monotonic() - before > 1.0
    assert not list(finished.glob(".saving-*"))


def test_what_all_have_in_common_the_first_process_writes(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    metrics = tmp_path / "run" / "metrics.jsonl"
    metrics.parent.mkdir()
    metrics.write_text('{"step": 7}\n')
    toy(tmp_path / "run", "trainer.max_steps=1")
    assert not {"config.yaml", "plan.json", "model.nemo"} & {p.name for p in metrics.parent.iterdir()}
    assert metrics.read_text().startswith('{"step": 7}\n')  # it does not cut what the first writes to


@pytest.mark.parametrize("room", [20_000, 200_000])
def test_no_room_for_the_model_is_one_line_and_nothing_half_written(toy, finished, room):
    (finished / "model.nemo").unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(NemoExtError, match=r"model\.nemo could not be written: .*; free some space") as raised:
            toy(finished, "trainer.max_steps=8")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(raised.value)
    assert not [p for p in finished.iterdir() if p.name.startswith((".saving", "model"))]


def test_fewer_steps_than_are_done_is_finished(toy, finished, capfd):
    toy(finished, "trainer.max_steps=5")
    assert "finished: 8 of 5 steps are done" in capfd.readouterr().err


@pytest.mark.parametrize("change", ["model.width=32", "seed=3", "features.mel.f_max=7600", "model.batch_size=8"])
def test_another_training_in_the_folder_is_refused(toy, finished, change):
    name, value = change.split("=")
    with pytest.raises(NemoExtError, match=rf"{name}=\S+ there, {value}(\.0)? now\): give another out=") as raised:
        toy(finished, change, "trainer.max_steps=12")
    assert "\n" not in str(raised.value)


def test_a_training_of_a_version_without_an_option_goes_on_while_it_stands_at_its_default(toy, finished, capfd):
    """model.small_discriminators is at its default in that run, model.width is not."""
    plan = finished / "plan.json"
    kept = json.loads(plan.read_text())
    without = {k: v for k, v in kept["settings"].items() if k != "model.small_discriminators"}
    plan.write_text(json.dumps({**kept, "settings": without}))
    toy(finished, "trainer.max_steps=9")
    assert "resuming from step 8 of 9" in capfd.readouterr().err
    del without["model.width"]
    plan.write_text(json.dumps({**kept, "settings": without}))
    with pytest.raises(NemoExtError, match=r"model\.width=nothing there, 16 now"):
        toy(finished, "trainer.max_steps=10")


def test_another_model_in_the_folder_is_refused(finished, options):
    line = [o for o in options(finished, "size=tiny") if not o.startswith("model")]
    with pytest.raises(NemoExtError, match=r"other settings \(model\._target_=.*Vocos there, .*HifiGan now"):
        train(compose("train", [*line, "model=hifigan"]))


def test_a_moved_corpus_is_the_same_and_a_changed_one_is_not(toy, finished, espeak_corpus, tmp_path, capfd):
    moved = tmp_path / "moved"
    shutil.copytree(espeak_corpus, moved)
    toy(finished, f"corpus={moved}", "trainer.max_steps=9")
    assert "resuming from step 8 of 9" in capfd.readouterr().err
    lines = (moved / "train.jsonl").read_text().splitlines(keepends=True)
    (moved / "train.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(NemoExtError, match=r"other settings \(corpus="):
        toy(finished, f"corpus={moved}", "trainer.max_steps=10")


def test_the_rate_and_the_losses_may_change(toy, finished, capfd):
    """It is what the message about NaN asks for."""
    toy(finished, "model.optim.lr=1e-5", "model.optim.sched=null", "model.losses.stft=1.0", "trainer.max_steps=10")
    said = capfd.readouterr().err
    assert "from here on: " in said
    assert "model.optim.lr=0.001 there, 1e-05 now" in said
    steps, rates = read_metrics(finished / "metrics.jsonl")["train/lr"]
    assert rates[steps.index(9) :] == [1e-5, 1e-5]
    kept = plan.load(finished)
    assert kept is not None
    assert kept.settings["model.optim.lr"] == 1e-5


def test_two_trainings_in_one_folder_are_one_too_many(toy, finished):
    with (finished / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(NemoExtError, match="another training is writing to"):
            toy(finished, "trainer.max_steps=12")


def test_the_same_seed_gives_the_same_losses_and_another_does_not(toy, tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        toy(tmp_path / name, "trainer.max_steps=3", f"seed={seed}")
    a, b, c = (read_metrics(tmp_path / name / "metrics.jsonl")["train/loss"] for name in "abc")
    assert a == b != c


def test_workers_give_the_same_batches(toy, tmp_path):
    """Spawned processes load; their prefetching must not change what a step sees."""
    toy(tmp_path / "none", "trainer.max_steps=3")
    toy(tmp_path / "one", "trainer.max_steps=3", "trainer.workers=1")
    none, one = (read_metrics(tmp_path / name / "metrics.jsonl")["train/loss"] for name in ("none", "one"))
    assert none == one


@pytest.mark.slow
def test_two_processes_train_one_model_and_resume(options, tmp_path):
    out = tmp_path / "run"
    for steps, resumed in ((6, ""), (10, "resuming from step 6 of 10")):
        line = [sys.executable, "-m", "nemo_ext", "train", *options(out, "trainer.devices=2")]
        done = subprocess.run([*line, f"trainer.max_steps={steps}"], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert resumed in done.stderr
        assert done.stderr.count(f"trained for {steps} steps") == 1
    assert read_metrics(out / "metrics.jsonl")["train/loss"][0] == list(range(1, 11))
    assert _nemo.restore(out / "model.nemo").decode(torch.zeros(1, 80, 3)).shape == (1, 768)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("corpus=/nowhere", "no finished corpus at /nowhere: corpus.yaml is missing; make one with"),
        ("corpus=", "corpus= is missing: name the folder that"),
        ("out=", "out= is missing: name the folder to write"),
        ("out=/dev/null/run", "out=/dev/null/run cannot be made a folder: Not a directory"),
        ("model._target_=os.system", "model._target_=os.system is none of our models: choose model=fastpitch"),
        ("model._target_=nemo_ext.models.nothing.Nothing", "there is no such model"),
        ("trainer.max_steps=0", "trainer.max_steps=0 is outside 1 and above"),
        ("features.mel.sample_rate=16000", "has 22050 Hz and features.mel.sample_rate is 16000 Hz: make the corpus"),
    ],
)
def test_mistakes_are_one_line(toy, tmp_path, change, said):
    with pytest.raises(NemoExtError) as raised:
        toy(tmp_path / "run", change)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["model=fastpich"], "model=fastpich is not one of .*; did you mean 'fastpitch'"),
        (["size=huge"], "size=huge is not one of full, small, tiny"),
        (["trainer=tpu"], "trainer=tpu is not one of cpu, gpu"),
        (["trainer.max_step=4"], "unknown option 'trainer.max_step='; did you mean 'trainer.max_steps'"),
        (["model.widht=4"], "unknown option 'model.widht='; did you mean 'model.width'"),
    ],
)
def test_misspelt_choices_name_the_nearest(line, said):
    with pytest.raises(UsageError, match=said):
        compose("train", line)


def test_kernels_are_tried_where_all_segments_have_one_shape(tiny_vocoder, tiny_acoustic):
    vocoder, acoustic = _nemo.restore(tiny_vocoder), _nemo.restore(tiny_acoustic)
    assert run._tries_kernels("gpu", vocoder)
    assert run._tries_kernels("gpu", acoustic) is run._tries_kernels("cpu", vocoder) is None


def test_a_process_has_its_own_gpu_before_a_model_is_made(toy, tmp_path, monkeypatch):
    class MadeError(Exception):
        pass

    def build(config):
        raise MadeError

    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(run, "build", build)
    monkeypatch.setenv("LOCAL_RANK", "1")
    for trainer in ("gpu", "cpu"):
        with pytest.raises(MadeError):
            toy(tmp_path / trainer, f"trainer={trainer}")
    assert taken == ["cuda:1"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks what happens without a GPU")
def test_no_gpu_is_said(toy, tmp_path):
    with pytest.raises(NemoExtError, match="trainer=gpu, but torch sees no GPU here: use trainer=cpu"):
        toy(tmp_path / "run", "trainer=gpu")


def test_an_empty_corpus_is_said(toy, espeak_corpus, tmp_path):
    for name in ("train", "val"):
        corpus = tmp_path / name
        corpus.mkdir()
        for file in ("corpus.yaml", "train.jsonl", "val.jsonl"):
            shutil.copy(espeak_corpus / file, corpus / file)
        (corpus / f"{name}.jsonl").write_text("")
        part = {"train": "training", "val": "validation"}[name]
        with pytest.raises(NemoExtError, match=f"has no {part} utterances: make it again from more recordings"):
            toy(tmp_path / "run", f"corpus={corpus}")
    (corpus / "train.jsonl").unlink()
    with pytest.raises(NemoExtError, match=r"train\.jsonl is missing"):
        toy(tmp_path / "run", f"corpus={corpus}")


def test_the_plan_is_readable(finished):
    held = json.loads((finished / "plan.json").read_text())
    assert held["max_steps"] == 8
    assert held["settings"]["model.width"] == 16
    assert held["settings"]["model._target_"] == "nemo_ext.models.vocoder.vocos.Vocos"
