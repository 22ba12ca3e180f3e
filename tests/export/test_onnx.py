"""Graphs that are the models: parity on every case, in both precisions, with every voice in one graph."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nemo_ext import _nemo
from nemo_ext.console import Progress
from nemo_ext.errors import NemoExtError
from nemo_ext.export import cases, onnx, parity
from nemo_ext.export.graphs import AcousticGraph, RivaGraph, StyleGraph, VocoderGraph, evaluating
from nemo_ext.runtime.choose import open_session
from nemo_ext.runtime.session import Session
from nemo_ext.synthesis.prosody import LIMITS
from tests.models.acoustic.test_fastpitch import make
from tests.models.vocoder.conftest import make_vocoder  # noqa: F401  a fixture

VOICES, STYLE = 50, 16


@pytest.fixture(scope="module")
def model() -> Any:
    """An untrained FastPitch with energy, styles and adapters; durations of some frames."""
    styled = make(style={"tokens": 5, "size": STYLE, "width": 16}, style_names=["lively", "neutral"])
    with torch.no_grad():
        styled.fastpitch.duration_predictor.fc.bias.fill_(1.6)
        styled.style.project.weight.normal_(0.0, 0.3)
    return styled.eval()


@pytest.fixture(scope="module")
def voices(model: Any) -> np.ndarray:
    random = np.random.default_rng(7)
    return (0.2 * random.standard_normal((VOICES, model.voice_layout.size))).astype(np.float32)


@pytest.fixture(scope="module")
def styles() -> np.ndarray:
    return (0.5 * np.random.default_rng(8).standard_normal((9, STYLE))).astype(np.float32)


@pytest.fixture(scope="module")
def graphs(model: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("graphs")
    for precision in ("fp32", "fp16"):
        graph = AcousticGraph(model, precision)
        onnx.export(graph, onnx.example(graph, model), folder / f"{precision}.onnx", precision)
    return {precision: folder / f"{precision}.onnx" for precision in ("fp32", "fp16")}


def run(graph: Path) -> Session:
    return open_session(graph, "onnxruntime", threads=1)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_graph_is_the_model_on_every_case(model, voices, styles, graphs, precision):
    with Progress(len(cases.CASES), "comparing") as progress:
        rows = parity.acoustic(model, run(graphs[precision]), precision, voices, styles, progress)
    assert [row.faults for row in rows] == [()] * len(cases.CASES)
    assert max(row.frames for row in rows) > 2048
    parity.refuse(rows)
    worst = max(row.worst for row in rows)
    assert 0.0 < worst <= parity.LARGEST[precision]
    assert precision == "fp32" or worst > 1e-4  # float16 was at work
    assert "differs from torch by" in parity.worst(rows)


@pytest.mark.parametrize("pace", [0.0, -1.0, 1e-30, 1e-3, -np.inf, np.nan])
def test_nobody_makes_a_batch_endless(model, voices, styles, graphs, pace):
    """One asks for what cannot be spoken: its tokens last as long as any may, and the others hear nothing of it."""
    asked = parity.ask(model, parity.Case("", (9, 30, 12)), 0, voices, styles)
    right = run(graphs["fp32"]).run(asked.feeds())
    asked.pace[2] = pace
    said = run(graphs["fp32"]).run(asked.feeds())
    longest = model.fastpitch.max_token_duration / LIMITS["pace"][0]
    assert set(said["durations"][2, :12]) <= {0, longest}
    assert said["num_frames"][2] >= longest
    for row, frames in enumerate(right["num_frames"][:2]):
        assert said["num_frames"][row] == frames > 0
        mels = (one["spect"][row, :, :frames] for one in (said, right))
        np.testing.assert_allclose(*mels, atol=1e-4)


def test_there_is_silence_behind_a_shorter_utterance(model, voices, styles, graphs):
    """A vocoder hears some frames beyond the last: zeros would be loud there, for the mel is a logarithm."""
    said = run(graphs["fp32"]).run(parity.ask(model, parity.Case("", (9, 30, 12)), 0, voices, styles).feeds())
    shortest = int(np.argmin(said["num_frames"]))
    behind = said["spect"][shortest, :, said["num_frames"][shortest] :]
    assert behind.size
    np.testing.assert_allclose(behind, np.log(model.mel_spec.log_guard), rtol=1e-6)


@pytest.mark.parametrize("tokens", [8, 5])
def test_model_and_graph_bound_a_token_alike(model, voices, styles, graphs, tokens):
    """So few tokens reach so many frames, or come as near as they may, only when some are as long as any."""
    case = parity.Case("", (tokens,), frames=2049)
    asked = parity.ask(model, case, 3, voices, styles)
    durations = asked.of_model(model).durations.numpy()
    assert durations.max() == model.fastpitch.max_token_duration / LIMITS["pace"][0]
    assert (durations.sum() > 2048) == (tokens == 8)
    assert parity.acoustic_row(model, run(graphs["fp32"]), "fp32", case, asked).faults == ()


def test_a_pace_beyond_all_measure_is_no_frame(model, voices, styles, graphs):
    asked = parity.ask(model, parity.Case("", (9, 12)), 0, voices, styles)
    asked.pace[1] = np.inf
    said = run(graphs["fp32"]).run(asked.feeds())
    assert said["num_frames"][1] == 0 < said["num_frames"][0]


def test_a_graph_of_another_model_is_refused(model, voices, styles, tmp_path):
    other = make(style={"tokens": 5, "size": STYLE, "width": 16}, style_names=["lively", "neutral"]).eval()
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(1.01)
        other.fastpitch.duration_predictor.fc.bias.fill_(1.6)
    graph = AcousticGraph(other)
    onnx.export(graph, onnx.example(graph, other), tmp_path / "other.onnx", "fp32")
    case = cases.CASES[1]
    asked = parity.ask(model, case, 0, voices, styles)
    row = parity.acoustic_row(model, run(tmp_path / "other.onnx"), "fp32", case, asked)
    with pytest.raises(NemoExtError, match=r"the export is not the model: acoustic on ONNX Runtime.*usual: .*differ"):
        parity.refuse([row])


def test_fifty_voices_in_one_graph_speak_in_a_batch_as_alone_and_the_next_needs_no_export(
    model, voices, styles, graphs
):
    session = run(graphs["fp32"])
    more = np.concatenate([voices, voices[:1] * 0.5])  # the 51st
    random = np.random.default_rng(3)
    for first in range(0, len(more), 8):
        batch = more[first : first + 8]
        lens = random.integers(5, 40, len(batch))
        case = cases.Case("", tuple(int(n) for n in lens))
        asked = parity.ask(model, case, first, batch, styles)
        feeds = asked.feeds() | {"voice": batch}
        together = session.run(feeds)
        assert len(np.unique(together["num_frames"])) > 1 or len(batch) == 1
        for b, n in enumerate(lens):
            alone = session.run({k: v[b : b + 1, :n] if k in PER_TOKEN else v[b : b + 1] for k, v in feeds.items()})
            frames = int(alone["num_frames"][0])
            assert frames == together["num_frames"][b]
            np.testing.assert_array_equal(alone["durations"][0], together["durations"][b, :n])
            np.testing.assert_allclose(alone["spect"][0], together["spect"][b, :, :frames], atol=2e-5)


PER_TOKEN = ("text", "pitch", "pitch_scale", "energy_scale", "pace", "volume")


def test_an_export_leaves_the_model_as_it_was_and_comes_out_the_same_twice(model, graphs, tmp_path):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    model.fastpitch.encoder.eval()
    graph = AcousticGraph(model, "fp16")
    onnx.export(graph, onnx.example(graph, model), tmp_path / "again.onnx", "fp16")
    assert model.training
    assert model.fastpitch.decoder.training
    assert not model.fastpitch.encoder.training
    model.eval()
    assert all(torch.equal(v, before[k]) and v.dtype == before[k].dtype for k, v in model.state_dict().items())
    assert digest(tmp_path / "again.onnx") == digest(graphs["fp16"])
    again = _nemo.restore(_nemo.save(model, tmp_path / "model.nemo"))
    assert again.weights_hash() == model.weights_hash()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_float16_counts_the_frames_of_float32_over_ten_thousand_tokens_and_frames(model, voices, styles, graphs):
    whole, half = run(graphs["fp32"]), run(graphs["fp16"])
    tokens = 0
    for seed in range(25):
        asked = parity.ask(model, cases.Case("", (100,) * 4), seed, voices, styles)
        asked.pace[:] = np.random.default_rng(seed).uniform(1.5, 4.0, asked.pace.shape)
        feeds = asked.feeds()
        durations = [one.run(feeds, ["durations", "num_frames"]) for one in (whole, half)]
        np.testing.assert_array_equal(durations[0]["durations"], durations[1]["durations"])
        tokens += asked.text.size
    assert tokens == 10_000
    asked = parity.ask(model, cases.Case("", (400,), frames=9_900), 0, voices, styles)
    frames = [one.run(asked.feeds(), ["num_frames", "spect"]) for one in (whole, half)]
    assert 9_900 <= frames[0]["num_frames"][0] == frames[1]["num_frames"][0]
    assert np.abs(frames[0]["spect"] - frames[1]["spect"]).max() < parity.LARGEST["fp16"]


@pytest.mark.parametrize("largest", [2**31, 1000], ids=["inside", "beside"])
def test_rivas_layout_speaks_as_speaker_numbers_say(model, voices, styles, tmp_path, monkeypatch, largest):
    """Rows of (voice, style); tables beyond protobuf's 2 GiB, here beyond 1,000 bytes, stand in a file beside."""
    monkeypatch.setattr(onnx, "_LARGEST_FILE", largest)
    rows = np.stack([np.arange(VOICES)[::-1], np.arange(VOICES) % len(styles)], 1).astype(np.int64)
    acoustic = AcousticGraph(model)
    graph = RivaGraph(
        acoustic, torch.zeros(2, 2, dtype=torch.long), *(torch.zeros(2, n.shape[1]) for n in (voices, styles))
    )
    tables = {"rows": rows, "voices": voices, "styles": styles}
    made = onnx.export(graph, onnx.example(graph, model), tmp_path / "riva.onnx", "fp32", tables)
    assert made.external == (() if largest > 1000 else ("riva.onnx.data",))
    assert [port.name for port in made.inputs] == ["text", "pitch", "pace", "volume", "speaker"]
    asked = parity.ask(model, cases.CASES[4], 1, voices, styles)
    one = torch.ones(asked.text.shape)
    speaker = np.array([0, 49, 3, 3, 17, 20, 41, 8])
    text, pitch = torch.from_numpy(asked.text), torch.full(asked.text.shape, 0.3)
    feeds = {"text": asked.text, "pitch": pitch.numpy(), "pace": one.numpy(), "volume": one.numpy(), "speaker": speaker}
    got = run(tmp_path / "riva.onnx").run(feeds)
    given = {"text": text, "pitch": pitch, "pitch_scale": one, "energy_scale": one, "pace": one, "volume": one}
    given |= {"voice": torch.from_numpy(voices[rows[speaker, 0]]), "style": torch.from_numpy(styles[rows[speaker, 1]])}
    with evaluating(acoustic):
        expected = acoustic(*(given[name] for name in acoustic.inputs))
    for name, tensor in zip(graph.outputs, expected, strict=False):
        np.testing.assert_allclose(got[name], tensor.numpy(), atol=1e-4, err_msg=name)
    assert tuple(got) == graph.outputs


@pytest.mark.parametrize("name", ["hifigan", "vocos"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_vocoders_are_their_graphs(make_vocoder, speech, name, precision, tmp_path, model):  # noqa: F811
    from nemo_ext.audio.mel import log_mel

    vocoder = make_vocoder(name).eval()
    graph = VocoderGraph(vocoder, precision)
    made = onnx.export(graph, onnx.example(graph, model), tmp_path / "vocoder.onnx", precision)
    assert [(p.name, p.shape) for p in made.inputs + made.outputs] == [
        ("spec", ("B", 80, "T_mel")),
        ("audio", ("B", 1, "T_audio")),
    ]
    mel = log_mel(speech.numpy(), vocoder.mel_spec)[None]
    with Progress(2, "comparing") as progress:
        mels = [mel, np.stack([mel[0, :, :60], mel[0, :, 60:120]])]
        rows = parity.vocoder(vocoder, run(tmp_path / "vocoder.onnx"), precision, mels, progress)
    assert [row.faults for row in rows] == [(), ()]
    if (name, precision) == ("hifigan", "fp32"):
        assert max(row.worst for row in rows) <= 1e-4
    assert vocoder.decode(torch.from_numpy(mel)).shape[1] == mel.shape[2] * 256


def test_the_style_encoder_is_its_graph(model, tmp_path):
    graph = StyleGraph(model)
    onnx.export(graph, onnx.example(graph, model), tmp_path / "style.onnx", "fp32")
    with Progress(2, "comparing") as progress:
        rows = parity.style_encoder(model, run(tmp_path / "style.onnx"), progress)
    assert [row.faults for row in rows] == [(), ()]


def test_an_operation_that_onnx_lacks_is_named_and_nothing_is_left(model, tmp_path):
    class Odd(torch.nn.Module):
        inputs, outputs = ("spec",), ("audio",)

        def forward(self, spec):
            return torch.special.expm1(spec)

    with pytest.raises(NemoExtError, match=r"odd\.onnx cannot be exported: .*expm1"):
        onnx.export(Odd(), [torch.zeros(1, 80, 4)], tmp_path / "odd.onnx", "fp32")
    assert list(tmp_path.iterdir()) == []


def test_no_graph_is_no_graph(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(NemoExtError, match=r"a\.onnx is no ONNX graph"):
        onnx.ports(tmp_path / "a.onnx")


def test_a_vocoder_without_a_graph_is_refused():
    from nemo_ext.models.vocoder.griffin_lim import GriffinLim
    from nemo_ext.types import MelSpec

    with pytest.raises(NemoExtError, match="GriffinLim, which has no graph"):
        VocoderGraph(GriffinLim(MelSpec()))
