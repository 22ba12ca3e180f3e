"""What a training starts from: init=, acoustic=, and the parts of a joint model."""

import json
import re

import pytest
import torch

from nemo_ext import _nemo
from nemo_ext.config import compose
from nemo_ext.corpus.manifest import load_corpus, write_manifest
from nemo_ext.data.features import FeatureStore
from nemo_ext.errors import NemoExtError
from nemo_ext.training import checkpoints, launch
from nemo_ext.training.build import build
from nemo_ext.training.run import train
from nemo_ext.training.start import predicted_by


def settings_of(out):
    return json.loads((out / "plan.json").read_text())["settings"]


def test_a_vocoder_is_taught_an_acoustic_models_mels_and_resumes(
    toy, finished, tiny_acoustic, options, tmp_path, capfd
):
    out, source = tmp_path / "tuned", finished / "model.nemo"
    line = [f"init={source}", f"acoustic={tiny_acoustic}", "model.adversarial_from_step=0"]
    line += ["model.discriminator_warmup=1", "model.small_discriminators=true"]
    built = build(compose("train", options(tmp_path / "other", *line)))
    assert re.search(r"predicting mels: (\d+)/\1, 100 %", capfd.readouterr().err)
    before = _nemo.restore(source).state_dict()
    assert all(torch.equal(v, before[k]) for k, v in built.model.state_dict().items())
    batch = next(iter(built.train))
    predicted = built.train.dataset.predicted
    corpus = {u.id: u for u in load_corpus(built.train.dataset.store.corpus_dir).utterances}
    whole = predicted.load(corpus[batch.ids[0]])
    width = batch.mel.shape[2]
    assert any(torch.equal(batch.mel[0], torch.from_numpy(whole[:, s : s + width])) for s in range(whole.shape[1]))

    toy(out, *line, "trainer.max_steps=3")
    assert "predicting mels" not in capfd.readouterr().err  # once
    known = settings_of(out)
    assert re.fullmatch(r"[0-9a-f]{16}", known["init"])
    assert known["acoustic"] == predicted.identity
    toy(out, *line, "trainer.max_steps=5")
    assert "resuming from step 3 of 5" in capfd.readouterr().err
    straight = tmp_path / "straight"
    toy(straight, *line, "trainer.max_steps=5")
    one, other = (checkpoints.read(folder / "checkpoints/step=5.ckpt")["state_dict"] for folder in (out, straight))
    assert set(one) == set(other)
    # the schedule's shape was another until step 3, so the weights are near, and the way is the same
    assert all(torch.isfinite(one[k]).all() for k in one)
    for without, name in ((line[1:], "init"), ([line[0], *line[2:]], "acoustic")):
        with pytest.raises(NemoExtError, match=rf"other settings \({name}=[0-9a-f]{{16}} there,  now"):
            toy(out, *without, "trainer.max_steps=7")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without a GPU tells that none is opened")
def test_mels_that_are_there_open_no_gpu(espeak_corpus, tiny_acoustic, monkeypatch):
    corpus = load_corpus(espeak_corpus)
    made = predicted_by(str(tiny_acoustic), corpus, FeatureStore(corpus.dir), "gpu")
    monkeypatch.setattr(launch, "own_device", lambda accelerator: "cuda:1")
    assert predicted_by(str(tiny_acoustic), corpus, FeatureStore(corpus.dir), "gpu") == made
    made.paths[corpus.train[0].id].unlink()
    with pytest.raises(AssertionError, match="CUDA"):  # what torch says there, when it is to open one
        predicted_by(str(tiny_acoustic), corpus, FeatureStore(corpus.dir), "gpu")


def test_a_run_of_before_these_options_goes_on(toy, finished, capfd):
    plan = json.loads((finished / "plan.json").read_text())
    for name in ("init", "acoustic"):
        assert plan["settings"].pop(name) == ""
    (finished / "plan.json").write_text(json.dumps(plan))
    toy(finished, "trainer.max_steps=9")
    assert "resuming from step 8 of 9" in capfd.readouterr().err


def test_a_checkpoint_brings_the_discriminators(toy, options, tmp_path):
    with_them = ["model.adversarial_from_step=0", "model.small_discriminators=true"]
    toy(tmp_path / "run", *with_them, "trainer.max_steps=2")
    path = tmp_path / "run/checkpoints/step=2.ckpt"
    built = build(compose("train", options(tmp_path / "other", *with_them, f"init={path}")))
    built.model._trainer = type("T", (), {"precision": "32", "state": type("S", (), {"fn": "fit"})})()
    built.model.configure_model()
    kept = checkpoints.read(path)["state_dict"]
    ours = {f"discriminators.{k}": v for k, v in built.model.discriminators.state_dict().items()}
    assert ours
    assert all(torch.equal(v, kept[k]) for k, v in ours.items())
    with pytest.raises(NemoExtError, match=r"does not fit the model.*is \S+ in it and \S+ here"):
        build(compose("train", options(tmp_path / "other", "model.adversarial_from_step=0", f"init={path}")))
    path.write_bytes(b"nothing")
    with pytest.raises(NemoExtError, match=r"no whole checkpoint of nemo-ext train: .*step=2\.ckpt"):
        build(compose("train", options(tmp_path / "other", f"init={path}")))


def test_voices_keep_their_rows_and_a_new_one_gets_the_mean(toy, options, tmp_path, espeak_corpus):
    path = toy(tmp_path / "run", "trainer.max_steps=1", model="fastpitch")
    old = _nemo.restore(path)
    corpus = load_corpus(espeak_corpus)
    for utterance in corpus.utterances:
        utterance.audio_filepath = str(corpus.audio_path(utterance))
        utterance.speaker = {"ada": "zoe", "ben": "ben"}[utterance.speaker]
    other = tmp_path / "corpus"
    other.mkdir()
    write_manifest(other / "train.jsonl", corpus.train)
    write_manifest(other / "val.jsonl", corpus.val)
    (other / "corpus.yaml").write_bytes((espeak_corpus / "corpus.yaml").read_bytes())
    line = options(tmp_path / "next", f"init={path}", f"corpus={other}", model="fastpitch")
    model = build(compose("train", line)).model
    assert [voice.name for voice in model.voices] == ["ben", "zoe"]
    rows, before = model.fastpitch.speaker_emb.weight, old.fastpitch.speaker_emb.weight
    assert torch.equal(rows[0], before[1])
    assert torch.allclose(rows[1], before.mean(0))
    assert torch.equal(model.fastpitch.proj.weight, old.fastpitch.proj.weight)


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("fastpitch", ["model.width=24"], r"does not fit the model .* is \S+ in it and \S+ here; and \d+ more\)"),
        ("fastpitch", ["text=ipa"], r"reads other symbols \(they differ in .*choose the same text="),
        ("fastpitch", ["features.mel.f_max=7600"], r"made for another mel \(f_max: 8000\.0 != 7600\.0\)"),
        ("vocos", [], r"is a FastPitch, and model= is a Vocos"),
    ],
)
def test_what_does_not_fit_is_told(toy, options, tmp_path_factory, tmp_path, kind, more, said, fastpitch_toy):
    with pytest.raises(NemoExtError, match=said) as raised:
        build(compose("train", options(tmp_path, f"init={fastpitch_toy}", *more, model=kind)))
    assert "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def fastpitch_toy(toy, tmp_path_factory):
    return toy(tmp_path_factory.mktemp("toy") / "run", "trainer.max_steps=1", model="fastpitch")


def test_only_a_vocoder_learns_mels(options, tmp_path, tiny_acoustic):
    with pytest.raises(NemoExtError, match="acoustic= is for vocoders"):
        train(compose("train", options(tmp_path, f"acoustic={tiny_acoustic}", model="fastpitch")))
    with pytest.raises(NemoExtError, match="no model at"):
        train(compose("train", options(tmp_path, "acoustic=nowhere.nemo")))


def test_a_joint_model_trains_from_two_files_and_leaves_parts_that_speak(
    toy, espeak_corpus, fastpitch_toy, options, tmp_path, capfd
):
    from nemo_ext.cli import main

    (tmp_path / "v").mkdir()
    from tests.conftest import toy_vocoder

    toy_vocoder().save_to(str(tmp_path / "v/vocoder.nemo"))
    out = tmp_path / "joint"
    line = ["model=fastpitch_hifigan", "size=tiny", f"model.acoustic={fastpitch_toy}", "trainer.log_every=1"]
    line += [f"model.vocoder={tmp_path}/v/vocoder.nemo", "model.segment_frames=16", "frames_per_batch=1500"]
    line += [f"corpus={espeak_corpus}", "trainer.measure_seconds=0", "logger.tensorboard=false", "trainer.val_every=2"]
    path = train(compose("train", [*line, f"out={out}", "trainer.max_steps=2"]))
    known = settings_of(out)
    assert all(re.fullmatch(r"[0-9a-f]{16}", known[f"model.{name}"]) for name in ("acoustic", "vocoder"))
    joint, parts = _nemo.restore(path), {n: _nemo.restore(out / f"{n}.nemo") for n in ("acoustic", "vocoder")}
    for name, part in joint.parts().items():
        assert all(torch.equal(v, parts[name].state_dict()[k]) for k, v in part.state_dict().items())
    old = _nemo.restore(fastpitch_toy).state_dict()
    assert any(not torch.equal(v, old[k]) for k, v in parts["acoustic"].state_dict().items())
    said = ["say", "text=Hello.", f"acoustic={out}/acoustic.nemo", f"vocoder={out}/vocoder.nemo", f"out={out}/a.wav"]
    assert main(said) == 0
    assert (out / "a.wav").stat().st_size > 1000
    train(compose("train", [*line, f"out={out}", "trainer.max_steps=3"]))
    assert "resuming from step 2 of 3" in capfd.readouterr().err
    with pytest.raises(NemoExtError, match=r"model\.vocoder=.* is a FastPitch: give a HifiGan"):
        train(compose("train", [*line, f"out={tmp_path}/x", f"model.vocoder={fastpitch_toy}"]))
