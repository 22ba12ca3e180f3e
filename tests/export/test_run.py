"""The job: models in, a whole bundle out, or nothing."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from omegaconf import OmegaConf

from nemo_ext import _nemo, voices
from nemo_ext.cli import main
from nemo_ext.config import compose
from nemo_ext.errors import NemoExtError
from nemo_ext.export import bundle, cases, parity, run
from tests.conftest import toy_vocoder


@pytest.fixture(scope="module")
def models(toy_export: Any, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [f"acoustic={toy_export.acoustic}", f"vocoder={toy_export.vocoder}", "threads=1"]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cases of the comparison; all of them: test_onnx.py."""
    monkeypatch.setattr(cases, "CASES", cases.CASES[:2])
    monkeypatch.setattr(cases, "RIVA_CASES", cases.CASES[1:2])


def test_models_become_a_bundle_with_everything(models, tmp_path, toy_export, few, capsys):
    """ONNX, engines, Triton, Riva; a voice that somebody made, one that is copied in, and a second export over it."""
    base = _nemo.restore(toy_export.acoustic)
    mine = dataclasses.replace(base.base_voice("ada"), name="mine", vector=base.base_voice("ada").vector * 0.9)
    voices.save(mine, tmp_path / "voices" / "mine.voice")
    profile = ["profile.text=[1,20,60]", "profile.frames=[20,40,400]", "profile.batch=[1,1,2]"]
    out = tmp_path / "out" / "bundle"
    options = [*models, f"out={out}", *profile, "targets=[onnx,tensorrt_rtx,triton,riva]", "licence=CC-BY-4.0"]
    assert main(["export", *options, f"voices={tmp_path / 'voices'}", "precision=fp16"]) == 0
    said, beside = capsys.readouterr()
    assert beside.splitlines()[-1] == f"next: nemo-ext say bundle={out} voice=ada text=Hello. out=hello.wav"
    assert "acoustic, ONNX Runtime" in said
    assert "engines/vocoder-tensorrt_rtx" in said
    assert "Triton: models acoustic" in said
    assert "Riva: " in said
    assert ".writing" not in said
    made, wrong = bundle.verify(out)
    assert wrong == []
    assert set(made.graphs) == {"acoustic", "vocoder", "style_encoder", "acoustic_riva"}
    assert {engine.graph for engine in made.engines} == set(made.graphs)
    assert made.graphs["acoustic"].precision == "fp16"
    assert made.licences["models"] == "CC-BY-4.0"
    assert {p.stem for p in (out / "voices").iterdir()} == {"ada", "ben", "mine"}
    told = json.loads((out / "parity.json").read_text())
    ragged = {"triton/acoustic/1/model.onnx", "triton/acoustic_speaker/1/model.onnx", "riva/fastpitch/model_graph.onnx"}
    assert {row["graph"] for row in told["rows"]} == {*made.graphs, *ragged}
    assert not any(row["faults"] for row in told["rows"])
    assert main(["export", f"verify={out}"]) == 0
    assert "whole" in capsys.readouterr().out

    voices.save(dataclasses.replace(mine, name="later"), out / "voices" / "later.voice")
    before = {name: made.files[name] for name in made.files if name.endswith(".onnx")}
    for graph in ("vocoder", "acoustic_riva"):  # built on another GPU, by what is not here
        file = f"engines/{graph}-tensorrt-11.4.0-sm90.engine"
        (out / file).write_bytes(b"sm90")
        hashed = made.files[made.graphs[graph].file]
        made.engines.append(bundle.Engine(file, graph, hashed, "tensorrt", "11.4.0.106", "sm90", {}))
    made.write()
    again = run.export(compose("export", [*options, "precision=fp16"]))
    assert {p.stem for p in (again / "voices").iterdir()} == {"ada", "ben", "mine", "later"}
    made, wrong = bundle.verify(again)
    assert wrong == []
    # Riva's has another voice in it; the others are the same to the bit, and so their engines were taken over
    changed = {name for name in before if made.files[name] != before[name]}
    assert changed <= {n for n in before if "riva" in n or "speaker" in n}
    assert [engine.graph for engine in made.engines if engine.gpu == "sm90"] == ["vocoder"]
    assert made.engines[-1].gpu == "sm90"  # behind those that were built here
    assert "kept, of the same graphs: engines/vocoder-tensorrt-11.4.0-sm90.engine" in capsys.readouterr().out
    assert [p.name for p in out.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("index", ["{", '{"format": 0}'], ids=["damaged", "of another format"])
def test_voices_of_a_bundle_that_cannot_be_read_are_kept(models, tmp_path, toy_export, few, index):
    """They may have been copied there and deleted elsewhere."""
    out = tmp_path / "bundle"
    voices.save(dataclasses.replace(toy_export.voices[0], name="mine"), out / "voices" / "mine.voice")
    (out / "bundle.json").write_text(index)
    run.export(compose("export", [*models, f"out={out}"]))
    assert {p.stem for p in (out / "voices").iterdir()} == {"ada", "ben", "mine"}
    (out / "bundle.json").write_text(index)
    theirs = dataclasses.replace(toy_export.voices[0], base="other/model.nemo", base_hash="0" * 16)
    voices.save(theirs, out / "voices" / "theirs.voice")
    with pytest.raises(NemoExtError, match=r"theirs\.voice was made for the base model 'other/model\.nemo'"):
        run.export(compose("export", [*models, f"out={out}"]))
    assert (out / "voices" / "theirs.voice").is_file()


def test_a_graph_that_is_not_the_model_leaves_nothing(models, tmp_path, few, monkeypatch, capsys):
    monkeypatch.setitem(parity.LARGEST, "fp32", 1e-12)
    assert main(["export", *models, f"out={tmp_path / 'bundle'}"]) == 1
    assert "the export is not the model: acoustic on ONNX Runtime" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_voices_of_another_model_are_refused(models, tmp_path, toy_export):
    theirs = dataclasses.replace(toy_export.voices[0], base="other/model.nemo", base_hash="0" * 16)
    voices.save(theirs, tmp_path / "theirs.voice")
    with pytest.raises(NemoExtError, match=r"theirs\.voice was made for the base model 'other/model\.nemo' \(0{16}\)"):
        run.export(compose("export", [*models, f"out={tmp_path / 'b'}", f"voices={tmp_path}"]))
    assert not (tmp_path / "b").exists()


def test_wrong_options_are_named(models, tmp_path, toy_export):
    def refused(*options: str) -> str:
        with pytest.raises(NemoExtError) as error:
            run.export(compose("export", list(options)))
        return str(error.value)

    # the files need not be there: nothing was read before
    def at_once(*options: str) -> str:
        return refused("acoustic=none.nemo", "vocoder=none.nemo", f"out={tmp_path / 'b'}", *options)

    (tmp_path / "mine.txt").write_text("mine")
    out = f"out={tmp_path / 'b'}"
    assert "vocoder= is missing" in refused(models[0], out)
    assert "out= is missing" in refused(*models)
    assert "'tensort' is not one of onnx, tensorrt" in refused(*models, out, "targets=[tensort]")
    assert "holds something else than a bundle" in refused(*models, f"out={tmp_path}")
    assert "give an acoustic model" in refused(f"acoustic={toy_export.vocoder}", models[1], out)
    assert "give a vocoder" in refused(models[0], f"vocoder={toy_export.acoustic}", out)
    triton, riva, rtx = ("targets=[triton]", "targets=[riva]", "targets=[tensorrt_rtx]")
    assert "an engine runs on a GPU only" in at_once(triton, "triton.backend=tensorrt", "triton.device=cpu")
    assert "max_batch and instances are 1 at least" in at_once(triton, "triton.instances=0")
    assert "words.txt cannot be read" in at_once(riva, f"riva.words={tmp_path / 'words.txt'}")
    assert "no language 'engl'" in at_once(riva, "riva.language=engl")
    assert "profile.text=[9,8,7] is no profile" in at_once(rtx, "profile.text=[9,8,7]")
    assert "profile.workspace=-1 (MiB) is no limit" in at_once(rtx, "profile.workspace=-1")
    assert not (tmp_path / "b").exists()


def test_a_vocoder_that_riva_does_not_know_has_to_be_asked_for(models, tmp_path):
    from nemo_ext.models.vocoder.vocos import Vocos
    from nemo_ext.types import MelSpec

    toy = {"mel": dataclasses.asdict(MelSpec()), "width": 16, "hidden_width": 16, "layers": 1}
    vocos = _nemo.save(Vocos(OmegaConf.create(toy)), tmp_path / "vocos.nemo")
    chosen = [models[0], f"vocoder={vocos}", f"out={tmp_path / 'b'}", "targets=[riva]"]
    with pytest.raises(
        NemoExtError, match=r"is a Vocos, and Riva's tools know HiFi-GAN only: .*riva\.any_vocoder=true"
    ):
        run.export(compose("export", chosen))
    run._checked(compose("export", [*chosen, "riva.any_vocoder=true"]))
    run._checked(compose("export", [*models, f"out={tmp_path / 'b'}", "targets=[riva]"]))


def test_a_voice_that_would_be_lost_or_confused_is_refused(models, tmp_path, toy_export):
    """A base voice's name on another voice; two files of one voice, where sub-voices are named by it."""

    def refused(voice, file, *options):
        voices.save(voice, tmp_path / file / f"{file}.voice")
        with pytest.raises(NemoExtError) as error:
            run.export(compose("export", [*models, f"out={tmp_path / 'b'}", f"voices={tmp_path / file}", *options]))
        return str(error.value)

    mine = dataclasses.replace(toy_export.voices[0], provenance=voices.Provenance("adapted"))
    theirs = dataclasses.replace(mine, base="other/model.nemo", base_hash="0" * 16)
    assert "ada.voice was made for the base model 'other/model.nemo'" in refused(theirs, "ada")
    assert "ada.voice has the name of a base voice" in refused(mine, "ada")
    assert "ada.voice and copy.voice are both called 'ada' inside" in refused(mine, "copy", "targets=[riva]")
    assert not (tmp_path / "b").exists()


def test_models_of_different_mels_are_refused(models, tmp_path):
    from omegaconf import OmegaConf

    from nemo_ext.models.vocoder.hifigan import HifiGan

    vocoder = toy_vocoder()
    settings = OmegaConf.merge(vocoder.cfg, {"mel": {"f_max": 11025.0}})
    path = _nemo.save(HifiGan(settings), tmp_path / "other.nemo")
    with pytest.raises(NemoExtError, match=r"different mels.*f_max: 8000\.0 != 11025\.0"):
        run.export(compose("export", [models[0], f"vocoder={path}", f"out={tmp_path / 'b'}"]))


def test_verify_tells_faults_and_fails(tiny_bundle, tmp_path, capsys):
    import shutil

    broken = shutil.copytree(tiny_bundle, tmp_path / "broken")
    (broken / "text.json").write_text("{}")
    assert main(["export", f"verify={broken}"]) == 1
    assert "text.json is not the file that was exported" in capsys.readouterr().err
