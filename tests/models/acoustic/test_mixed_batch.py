"""Eight utterances of eight voices and styles in one batch are what each is alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from nemo_ext import _nemo
from nemo_ext.corpus.manifest import load_corpus
from nemo_ext.models.acoustic.fastpitch import FastPitch

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
