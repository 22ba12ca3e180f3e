"""Eight utterances of eight voices and styles in one batch are what each is alone; and the same function as a graph."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from nemo_ext import _nemo
from nemo_ext.corpus.manifest import load_corpus
from nemo_ext.models.acoustic.fastpitch import FastPitch
from nemo_ext.modules.alignment import gather_tokens
from tests.models.acoustic.test_fastpitch import make

PAIRS, TOGETHER, STYLE = 1000, 8, 16


@pytest.fixture(scope="module")
def model(tiny_acoustic: Path) -> Any:
    """The trained weights, with a style's projection drawn at random: as large as what a training makes of it."""
    trained = _nemo.restore(tiny_acoustic)
    style = {"style": {"tokens": 5, "size": STYLE, "width": 16}, "style_names": ["lively", "neutral"]}
    styled = FastPitch(OmegaConf.merge(OmegaConf.to_container(trained.cfg), style))
    left_out = styled.load_state_dict(trained.state_dict(), strict=False)
    assert all(name.startswith("style.") for name in left_out.missing_keys)
    assert not left_out.unexpected_keys
    return styled.eval()


@pytest.fixture(scope="module")
def texts(model: Any, espeak_corpus: Path) -> list[Tensor]:
    return [torch.from_numpy(model.frontend.encode(u.text).ids) for u in load_corpus(espeak_corpus).utterances]


def pairs(model: Any, texts: list[Tensor], count: int, seed: int) -> tuple[list[Tensor], Tensor, Tensor]:
    """``count`` texts of different lengths, each with a voice and a style that nobody else has."""
    generator = torch.Generator().manual_seed(seed)
    chosen = [texts[int(i)] for i in torch.randint(len(texts), (count,), generator=generator)]
    voice = 0.2 * torch.randn(count, model.voice_layout.size, generator=generator)
    voice[:, :128] += torch.stack([model.voice_vector(("ada", "ben")[i % 2])[:128] for i in range(count)])
    return chosen, voice, 0.5 * torch.randn(count, STYLE, generator=generator)


def padded(model: Any, texts: list[Tensor]) -> tuple[Tensor, Tensor]:
    lens = torch.tensor([len(text) for text in texts])
    return nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=model.vocab.pad), lens


def test_eight_voices_in_a_batch_say_what_each_says_alone(model: Any, texts: list[Tensor]) -> None:
    worst = 0.0
    for seed in range(4):
        chosen, voice, style = pairs(model, texts, TOGETHER, seed)
        tokens, lens = padded(model, chosen)
        assert len(set(lens.tolist())) > 4
        durations = model.predict_mel(tokens, lens, voice, style=style).durations
        together = model.predict_mel(tokens, lens, voice, style=style, durations=durations)
        plain = model.predict_mel(tokens, lens, voice, durations=durations)
        assert float((plain.mel - together.mel).abs().max()) > 0.01
        for b, text in enumerate(chosen):
            own = durations[b : b + 1, : len(text)]
            one = slice(b, b + 1)
            alone = model.predict_mel(text[None], lens[one], voice[one], style=style[one], durations=own)
            frames = int(alone.mel_lens[0])
            assert frames == int(together.mel_lens[b])
            worst = max(worst, float((alone.mel[0] - together.mel[b, :, :frames]).abs().max()))
    assert 0.0 < worst <= 1e-5


def test_no_duration_flips_over_a_thousand_pairs(
    model: Any, texts: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    # only durations are looked at, which are made before the decoder
    monkeypatch.setattr(model, "_decode", lambda expanded, mel_lens, given: expanded[:, :1, :80].transpose(1, 2))
    chosen, voice, style = pairs(model, texts, PAIRS, 99)
    flipped, heard = 0, set()
    for first in range(0, PAIRS, TOGETHER):
        here = slice(first, first + TOGETHER)
        tokens, lens = padded(model, chosen[here])
        together = model.predict_mel(tokens, lens, voice[here], style=style[here]).durations
        for b, text in enumerate(chosen[here]):
            one = slice(first + b, first + b + 1)
            alone = model.predict_mel(text[None], lens[b : b + 1], voice[one], style=style[one]).durations[0]
            flipped += int((alone != together[b, : len(text)]).sum())
            heard |= set(alone.tolist())
    assert len(heard) > 5  # they are no constant
    assert flipped == 0


class Graph(nn.Module):
    """tokens, voice, durations -> mel, in operations that a graph has: no search, no number read from a tensor."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, voice: Tensor, durations: Tensor) -> Tensor:
        given = self.model._conditions(voice)
        encoded, _ = self.model._encode(tokens, given)
        ends = durations.cumsum(1)
        frames = torch.arange(ends[:, -1].max())
        token = (frames[None, :, None] >= ends[:, None, :]).sum(-1)
        inside = token < ends.shape[1]
        expanded = gather_tokens(encoded, token.clamp(max=ends.shape[1] - 1)) * inside[..., None]
        mel: Tensor = self.model._decode(expanded, ends[:, -1], given)
        return mel


def test_the_voice_is_an_input_of_an_onnx_graph(tmp_path: Path) -> None:
    """Two layers; exported with a batch of two, run with one and with eight voices."""
    import onnxruntime

    graph = Graph(make(encoder_layers=2, decoder_layers=2)).eval()
    generator = torch.Generator().manual_seed(4)

    def inputs(batch: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
        tokens = torch.randint(1, 20, (batch, length), generator=generator)
        voice = 0.3 * torch.randn(batch, graph.model.voice_layout.size, generator=generator)
        return tokens, voice, torch.randint(1, 6, (batch, length), generator=generator)

    names = ["tokens", "voice", "durations"]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of tracing, and of the exporter's age
        torch.onnx.export(
            graph,
            inputs(2, 11),
            str(tmp_path / "graph.onnx"),
            dynamo=False,
            opset_version=18,
            input_names=names,
            output_names=["mel"],
            dynamic_axes={"tokens": {0: "B", 1: "T_text"}, "voice": {0: "B"}, "durations": {0: "B", 1: "T_text"}},
        )
    session = onnxruntime.InferenceSession(tmp_path / "graph.onnx", providers=["CPUExecutionProvider"])
    for batch, length in ((1, 7), (8, 19)):
        given = inputs(batch, length)
        with torch.no_grad():
            expected = graph(*given).numpy()
        got = session.run(None, dict(zip(names, (x.numpy() for x in given), strict=True)))[0]
        np.testing.assert_allclose(got, expected, atol=1e-5)
        other = session.run(
            None, {"tokens": given[0].numpy(), "voice": 2 * given[1].numpy(), "durations": given[2].numpy()}
        )
        assert np.abs(other[0] - expected).max() > 0.01
