"""Speaking from a bundle: the same speech as the models it was made of, and no torch."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nemo_ext
from nemo_ext import _nemo, voices
from nemo_ext.audio.io import write
from nemo_ext.cli import main
from nemo_ext.errors import NemoExtError
from nemo_ext.export import bundle as bundles
from nemo_ext.export.bundle import Engine
from nemo_ext.export.tensorrt import ProfileConfig, shapes
from nemo_ext.runtime import choose, cuda, openvino
from nemo_ext.synthesis import bundled as module
from nemo_ext.synthesis.pipeline import Pipeline
from nemo_ext.types import Speech
from tests import bindings
from tests.conftest import make_bundle, toy_vocoder
from tests.models.acoustic.test_styled import labelled, styled
from tests.runtime import fake_gpu

TEXT = "Seven boats never came home at 3:10. Nobody waited!"
BACKENDS = ("onnxruntime", "openvino")


@pytest.fixture(scope="module")
def models(tiny_acoustic: Path) -> Pipeline:
    return nemo_ext.load(_nemo.restore(tiny_acoustic), toy_vocoder(), device="cpu")


@pytest.fixture(scope="module", params=BACKENDS)
def bundled(tiny_bundle: Path, request: pytest.FixtureRequest) -> Pipeline:
    return nemo_ext.load(bundle=tiny_bundle, backend=request.param, threads=1, precision="fp32")


@pytest.fixture(scope="module")
def styled_model() -> Any:
    model = styled()
    model.style.name_styles([labelled(model, seed) for seed in range(3)])
    torch.nn.init.constant_(model.fastpitch.duration_predictor.fc.bias, 1.5)
    return model


@pytest.fixture(scope="module")
def styled_bundle(styled_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(styled_model, tmp_path_factory.mktemp("bundles") / "styled")


def same(one: Speech, other: Speech) -> None:
    assert one.token_frames == other.token_frames
    assert one.words == other.words
    assert one.notes == other.notes
    np.testing.assert_allclose(one.mel, other.mel, atol=2e-4)
    np.testing.assert_allclose(one.audio, other.audio, atol=2e-4)
    np.testing.assert_allclose(one.token_pitch, other.token_pitch, atol=0.02)


def decibels(audio: np.ndarray, right: np.ndarray) -> float:
    """Of ``right`` over the difference."""
    return float(10 * np.log10(np.sum(right**2) / max(np.sum((audio - right) ** 2), 1e-12)))


def differ(one: Speech, other: Speech) -> bool:
    return one.mel.shape != other.mel.shape or bool(np.abs(one.mel - other.mel).max() > 1e-3)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"voice": "ben", "pace": 0.8, "pitch": 3.0, "pitch_range": 1.5, "energy": 4.0, "volume": -3.0},
        {"voice": "ada:0.5+ben:0.5", "prosody": "never: pitch=-4, pace=0.6, volume=3; #2: energy=4, pitch_range=0"},
    ],
)
def test_it_says_what_the_models_say(models: Pipeline, bundled: Pipeline, asked: dict[str, Any]) -> None:
    same(bundled.say(TEXT, **asked), models.say(TEXT, **asked))


def test_what_is_asked_for_changes_what_is_said(bundled: Pipeline) -> None:
    plain = bundled.say(TEXT, "ada")
    assert len(bundled.say(TEXT, "ada", pace=0.5).audio) > 1.5 * len(plain.audio)
    higher = bundled.say(TEXT, "ada", pitch=12.0)
    np.testing.assert_allclose(higher.token_pitch, 2 * np.array(plain.token_pitch), rtol=1e-3)
    for asked in ({"pitch_range": 0.2}, {"energy": 9.0}, {"voice": "ben"}):
        assert differ(bundled.say(TEXT, **{"voice": "ada", **asked}), plain), asked


def test_a_recording_is_copied(models: Pipeline, bundled: Pipeline, speech: torch.Tensor) -> None:
    recording = speech.numpy()[:22050]
    np.testing.assert_allclose(bundled.copy(recording), models.copy(recording), atol=2e-3)


def test_a_voice_file_that_is_copied_there_is_a_voice(tiny_bundle: Path, models: Pipeline, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "b")
    pipeline = nemo_ext.load(bundle=tmp_path / "b", backend="onnxruntime", threads=1)
    ada = pipeline.cast.find("ada")
    vector = ada.vector + np.float32(0.01)
    voices.save(dataclasses.replace(ada, name="anna", vector=vector), tmp_path / "b/voices/anna.voice")
    assert pipeline.voices == [*models.voices, "anna"]
    assert differ(pipeline.say("Seven boats.", "anna"), pipeline.say("Seven boats.", "ada"))
    voices.save(dataclasses.replace(ada, base_hash="f" * 16), tmp_path / "b/voices/other.voice")
    with pytest.raises(NemoExtError, match=r"other\.voice was made for the base model"):
        pipeline.say("Seven boats.", "other")
    voices.save(dataclasses.replace(ada, base_hash="f" * 16), tmp_path / "b/voices/ada.voice")
    with pytest.raises(NemoExtError, match=r"ada\.voice was made for the base model .*: export the bundle again"):
        nemo_ext.load(bundle=tmp_path / "b", backend="onnxruntime", threads=1).say("Seven boats.", "ada")


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_a_voice_whose_styles_do_not_fit_is_refused(
    styled_model: Any, styled_bundle: Path, backend: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(styled_bundle, tmp_path / "b")
    pipeline = (
        nemo_ext.load(styled_model, toy_vocoder(), "cpu", folder / "voices")
        if backend == "torch"
        else nemo_ext.load(bundle=folder, backend=backend, threads=1)
    )
    ada = pipeline.cast.find("ada")
    wrong = dataclasses.replace(ada, styles={"anger": np.zeros(styled_model.style_size + 1, np.float32)})
    voices.save(wrong, folder / "voices/anna.voice")
    with pytest.raises(NemoExtError, match=r"anna\.voice: its styles have \d+ values, and those of the base model"):
        pipeline.say("Seven boats.", "anna", style="anger")
    if backend != "torch":  # whose base voices are no files
        voices.save(wrong, folder / "voices/ada.voice")
        with pytest.raises(NemoExtError, match=r"ada\.voice: its styles have"):
            nemo_ext.load(bundle=folder, backend=backend, threads=1).say("Seven boats.", "ada")


@pytest.mark.parametrize("wanted", [None, "anger", "anger:0.6+sadness:0.4", "clip", "clip@ada", "tokens"])
def test_styles_are_those_of_the_model(
    styled_model: Any, styled_bundle: Path, wanted: str | None, speech: torch.Tensor, tmp_path: Path
) -> None:
    clip = write(tmp_path / "clip.wav", speech.numpy()[: 2 * 22050], 22050)
    if wanted == "tokens":
        wanted = "tokens:" + ",".join(["0.3"] * styled_model.style_tokens)
    elif wanted and wanted.startswith("clip"):
        wanted = wanted.replace("clip", str(clip))
    own = nemo_ext.load(styled_model, toy_vocoder(), device="cpu").say("Seven boats.", "ada", style=wanted)
    pipeline = nemo_ext.load(bundle=styled_bundle, backend="onnxruntime", threads=1)
    same(pipeline.say("Seven boats.", "ada", style=wanted), own)
    if wanted:
        assert differ(pipeline.say("Seven boats.", "ada"), own)


def test_voices_with_styles_of_their_own_and_without_any_are_those_of_the_model(
    styled_model: Any, styled_bundle: Path, tmp_path: Path
) -> None:
    ada, size = styled_model.base_voice("ada"), styled_model.style_size
    vector = ada.vector + np.float32(0.02)
    anna = dataclasses.replace(ada, name="anna", vector=vector, styles={"whisper": np.full(size, 2.0, np.float32)})
    voices.save(anna, tmp_path / "anna.voice")
    voices.save(dataclasses.replace(anna, name="zoe", styles={}), tmp_path / "zoe.voice")  # as from one clip
    own = nemo_ext.load(styled_model, toy_vocoder(), device="cpu", voices=tmp_path)
    pipeline = nemo_ext.load(bundle=styled_bundle, backend="onnxruntime", threads=1, voices=tmp_path)
    for voice, style in (("anna", "whisper:0.7"), ("zoe", "anger"), ("anna:0.5+ben:0.5", "anger"), ("zoe+ada", None)):
        said = own.say("Seven boats.", voice, style=style)
        same(pipeline.say("Seven boats.", voice, style=style), said)
        assert differ(own.say("Seven boats.", voice, style="sadness:2"), said)
    for one in (own, pipeline):
        with pytest.raises(NemoExtError, match="the voice 'zoe' has no style 'whisper'"):
            one.say("Seven boats.", "zoe", style="whisper")


def test_a_text_that_lasts_no_frame_is_one_line(
    styled_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        styled_model.fastpitch.duration_predictor.fc._parameters, "bias", torch.nn.Parameter(torch.tensor([-9.0]))
    )
    bundle = nemo_ext.load(bundle=make_bundle(styled_model, tmp_path / "b"), backend="onnxruntime", threads=1)
    for pipeline in (nemo_ext.load(styled_model, toy_vocoder(), device="cpu"), bundle):
        with pytest.raises(NemoExtError, match="no sound of this text lasts even one frame: ask for a lower pace"):
            pipeline.say("Seven boats.", "ada", pace=4.0)


def test_the_command_needs_no_torch_and_names_the_backend(tiny_bundle: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from nemo_ext.cli import main\n"
        f"status = main(['say', 'bundle={tiny_bundle}', 'text=Seven boats.', 'voice=ben', 'out={tmp_path}/a.wav'])\n"
        "heavy = [name for name in ('torch', 'nemo', 'lightning') if name in sys.modules]\n"
        "sys.exit(f'imported: {heavy}' if heavy else status)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "voice 'ben', made in" in done.stdout
    assert "by OpenVINO 2" in done.stdout or "by ONNX Runtime 1" in done.stdout
    assert (tmp_path / "a.wav").stat().st_size > 10_000


def test_a_style_from_a_recording_needs_no_torch(styled_bundle: Path, speech: torch.Tensor, tmp_path: Path) -> None:
    clip = write(tmp_path / "clip.wav", speech.numpy()[: 2 * 22050], 22050)
    code = (
        "import sys, nemo_ext\n"
        f"nemo_ext.load(bundle='{styled_bundle}').say('Seven boats.', style='{clip}')\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'nemo', 'lightning')))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_vocoder_in_bf16_is_switched_off(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "has_bf16", lambda: True)
    monkeypatch.setattr(module, "BF16_DB", 30.0)  # as near as this untrained one is
    opened = {p: nemo_ext.load(bundle=tiny_bundle, backend="openvino", precision=p) for p in ("auto", "fp32")}
    assert opened["auto"].backend.endswith("CPU, bf16")
    assert opened["fp32"].backend.endswith("CPU, fp32")
    said, right = (opened[p].say(TEXT, "ada") for p in ("auto", "fp32"))
    assert said.token_frames == right.token_frames
    np.testing.assert_array_equal(said.mel, right.mel)
    assert decibels(said.audio, right.audio) > 30
    near = bundles.read(tiny_bundle).vocoder_bf16_db
    assert near == pytest.approx(decibels(said.audio, right.audio), abs=6)
    monkeypatch.setattr(module, "BF16_DB", near + 1)
    assert nemo_ext.load(bundle=tiny_bundle, backend="openvino").backend.endswith("CPU, fp32")
    with pytest.raises(NemoExtError, match="precision=bf32 is not one of auto, fp32; did you mean 'fp32'"):
        nemo_ext.load(bundle=tiny_bundle, precision="bf32")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["bundle={bundle}", "acoustic=a.nemo"], "acoustic= and bundle= are both given: leave one out"),
        (["bundle={bundle}", "vocoder=a.nemo"], "vocoder= and bundle= are both given: leave one out"),
        (["bundle={bundle}", "backend=openvine"], "backend=openvine"),
        (["bundle={bundle}", "backend=tensorrt"], "there is no engine for acoustic.onnx here"),
        (["bundle={bundle}", "backend=cuda"], "this ONNX Runtime has no CUDA"),
        (["bundle={bundle}", "device=cuda"], "device=cuda is for models"),
        (["bundle={bundle}", "voice=ad"], "no voice 'ad' in this model; did you mean 'ada'?"),
        (["bundle={bundle}", "style=anger"], "this model was trained without styles"),
        (["bundle=nowhere"], "nowhere is no bundle"),
        ([], "acoustic= is missing: give the path of an acoustic model's .nemo file, or a bundle="),
        (["acoustic=a.nemo", "backend=openvino"], "backend=openvino is for bundle="),
        (["acoustic=a.nemo", "precision=fp32"], "precision=fp32 is for bundle="),
    ],
)
def test_what_cannot_be_is_one_line(
    tiny_bundle: Path, options: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [option.format(bundle=tiny_bundle) for option in options]
    assert main(["say", "text=Seven boats.", "out=x.wav", *given]) in (1, 2)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert said in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("text.json", None, "there is no text.json"),
        ("text.json", b"{", "text.json cannot be read"),
        ("text.json", b'{"alphabet": 3}', "text.json cannot be read"),
        ("lexicon.tsv", b"one two three\n", "cannot be read, or lexicon.tsv beside it"),
        ("acoustic.onnx", b"nonsense", "acoustic.onnx cannot be read by ONNX Runtime"),
        ("vocoder.onnx", None, "no graph at"),
        ("voices/ada.voice", None, "the base voice 'ada' has no file"),
    ],
)
def test_a_damaged_bundle_is_one_line(
    tiny_bundle: Path, file: str, content: bytes | None, said: str, tmp_path: Path
) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "b")
    (tmp_path / "b" / file).unlink(missing_ok=True)
    if content is not None:
        (tmp_path / "b" / file).write_bytes(content)
    with pytest.raises(NemoExtError, match=said):
        nemo_ext.load(bundle=tmp_path / "b", backend="onnxruntime").say("Seven boats.")


def test_rivas_layout_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "b")
    index = tmp_path / "b/bundle.json"
    told = json.loads(index.read_text())
    for port in told["graphs"]["acoustic"]["inputs"]:
        port["name"] = "speaker" if port["name"] == "voice" else port["name"]
    index.write_text(json.dumps(told))
    with pytest.raises(NemoExtError, match="holds Riva's layout"):
        nemo_ext.load(bundle=tmp_path / "b")


@pytest.fixture
def engines(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[ProfileConfig], Path]]:
    """``engines(profiles)``: the bundle with pretended engines of them (tests/runtime/fake_gpu.py), which can run."""
    names, api = bindings.Names(next(iter(bindings.RECORDED))), fake_gpu.FakeRuntime()
    monkeypatch.setitem(sys.modules, "tensorrt", fake_gpu.library(names, api))
    monkeypatch.setattr(cuda, "bindings", lambda: api)
    monkeypatch.setattr(choose, "gpu_present", lambda: True)

    def built(profiles: ProfileConfig) -> Path:
        bundle = bundles.read(shutil.copytree(tiny_bundle, tmp_path / "b"))
        (bundle.dir / "engines").mkdir()
        for name, graph in bundle.graphs.items():
            file, profile = (
                f"engines/{name}-tensorrt-{names.version}-sm89.engine",
                shapes(profiles, graph.inputs, graph.file),
            )
            fake_gpu.engine(bundle.path(name), profile, bundle.dir / file)
            made_of = bundle.files[graph.file]
            bundle.engines.append(Engine(file, name, made_of, "tensorrt", names.version, "sm89", profile))
        bundle.write()
        return bundle.dir

    cuda.shared.cache_clear()
    yield built
    cuda.shared.cache_clear()


def test_engines_speak_what_their_profiles_do_not_hold(
    engines: Callable[[ProfileConfig], Path], models: Pipeline, speech: torch.Tensor
) -> None:
    """A slow or long sentence, a short word, a long recording: in chunks, or by ONNX Runtime, which is noted."""
    folder = engines(ProfileConfig(frames=[20, 40, 64], text=[2, 20, 30]))
    pipeline = nemo_ext.load(bundle=folder, threads=1, precision="fp32")
    assert pipeline.backend.startswith("TensorRT ")
    assert "vocoder" not in pipeline.backend
    slow = pipeline.say("Seven boats.", "ada", pace=0.4)
    assert slow.mel.shape[1] > 64  # in chunks, by the engine
    same(slow, models.say("Seven boats.", "ada", pace=0.4))
    assert slow.notes == []
    for text, asked, where in (
        (TEXT, {}, r"acoustic: the input 'text' has shape \(1, \d+\), and the engine takes \(1, 2\) to \(8, 30\): "),
        (
            "A",
            {"pace": 4.0},
            r"vocoder: the input 'spec' has shape \(1, 80, \d+\), and the engine takes ",
        ),
    ):
        said, own = pipeline.say(text, "ada", **asked), models.say(text, "ada", **asked)
        (note,) = said.notes
        assert re.match(where, note)
        assert note.endswith(("CPU ran it", "CPU, fp32 ran it"))
        same(dataclasses.replace(said, notes=[]), own)
    recording = speech.numpy()[:44100]
    np.testing.assert_allclose(pipeline.copy(recording), models.copy(recording), atol=2e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_fp16_graphs_speak_on_a_processor(tiny_acoustic: Path, models: Pipeline, backend: str, tmp_path: Path) -> None:
    """The durations of float32, and its sound to within float16's rounding."""
    folder = make_bundle(_nemo.restore(tiny_acoustic), tmp_path / "b", "fp16")
    said = nemo_ext.load(bundle=folder, backend=backend, threads=1).say(TEXT, "ada")
    own = models.say(TEXT, "ada")
    assert said.token_frames == own.token_frames
    assert 0.0 < np.abs(said.mel - own.mel).max() < 0.05
    assert decibels(said.audio, own.audio) > 30
