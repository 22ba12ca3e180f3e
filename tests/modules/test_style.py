"""The style encoder on its own: padding, gradients, tokens, export."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch

from nemo_ext.errors import NemoExtError
from nemo_ext.modules.style import StyleConfig, StyleEncoder, StyleHeads, own_means
from nemo_ext.modules.style_bank import StyleBank

CONFIG = StyleConfig(tokens=6, size=16, heads=4, width=24)


def encoder(config: StyleConfig = CONFIG) -> StyleEncoder:
    torch.manual_seed(0)
    return StyleEncoder(config, 80).eval()


def references(lens: tuple[int, ...] = (90, 41, 64), seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    size, longest = len(lens), max(lens)
    mel = torch.randn(size, 80, longest, generator=generator) - 5
    pitch = torch.randn(size, longest, generator=generator)
    pitch = pitch * (torch.rand(size, longest, generator=generator) > 0.4)
    statistics = torch.stack([torch.full((size, 80), -5.0), torch.full((size, 80), 2.0)], 1)
    return mel, pitch, torch.tensor(lens), statistics, torch.tensor([0.0, 1.0, 0.0][:size])


def test_a_style_a_reference_and_none_is_like_another() -> None:
    style = encoder()(*references())
    assert style.shape == (3, 16)
    assert torch.isfinite(style).all()
    assert (style[0] - style[1]).abs().max() > 1e-3


@pytest.mark.parametrize("layers", [1, 3, 4])
def test_utterances_of_a_batch_do_not_touch_each_other(layers: int) -> None:
    model = encoder(StyleConfig(tokens=6, size=16, width=24, layers=layers))
    mel, pitch, lens, statistics, alone = references((90, 41, 1))
    together = model(mel, pitch, lens, statistics, alone)
    for b, n in enumerate(lens.tolist()):
        own = (x[b : b + 1] for x in (lens, statistics, alone))
        single = model(mel[b : b + 1, :, :n], pitch[b : b + 1, :n], *own)
        torch.testing.assert_close(single[0], together[b], atol=1e-6, rtol=0)
    for b, n in enumerate(lens.tolist()):
        mel[b, :, n:], pitch[b, n:] = 1e4, -77.0
    assert torch.equal(model(mel, pitch, lens, statistics, alone), together)


def test_every_parameter_gets_a_finite_gradient() -> None:
    model, heads = encoder().train(), StyleHeads(CONFIG, 3, 2)
    losses = heads(model(*references()), torch.tensor([0, 2, -1]), torch.tensor([0, 1, 1]), torch.ones(3))
    assert set(losses) == {"style", "speaker"}
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in [*model.named_parameters(), *heads.named_parameters()]:
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_the_speaker_loss_comes_back_reversed() -> None:
    """What the classifier wants, its own weights get; the style vector gets the opposite, by the factor."""
    heads = StyleHeads(StyleConfig(tokens=2, size=8, adversary=0.5, labels=0.0), 0, 3)
    assert heads.speaker is not None
    style = torch.randn(4, 8, requires_grad=True)
    voices = torch.tensor([0, 1, 2, 1])
    heads(style, None, voices, torch.ones(0))["speaker"].backward()
    plain = style.detach().clone().requires_grad_()
    torch.nn.functional.cross_entropy(heads.speaker(plain), voices).backward()
    assert style.grad is not None
    assert plain.grad is not None
    torch.testing.assert_close(style.grad, -0.5 * plain.grad)


def test_unlabelled_utterances_change_no_style_loss() -> None:
    heads = StyleHeads(CONFIG, 3, 1)
    style = torch.randn(4, 16)
    some = heads(style, torch.tensor([0, 2, -1, -1]), torch.zeros(4).long(), torch.ones(3))
    first = heads(style[:2], torch.tensor([0, 2]), torch.zeros(2).long(), torch.ones(3))
    torch.testing.assert_close(some["style"], first["style"])
    assert "speaker" not in some  # one voice: nothing to confuse
    none = heads(style, torch.full((4,), -1), torch.zeros(4).long(), torch.ones(3))
    assert float(none["style"].detach()) == 0.0


def test_a_strangers_level_and_register_are_not_heard() -> None:
    """Centred on itself, a reference in another room and another register is the same reference."""
    model = encoder()
    mel, pitch, lens, statistics, _ = references()
    found = []
    for channel, register in ((torch.zeros(1, 80, 1), 0.0), (torch.randn(1, 80, 1), 2.5)):
        mean, contour = own_means(mel + channel, torch.where(pitch != 0, pitch + register, pitch), lens)
        centred = torch.stack([mean, statistics[:, 1]], dim=1)
        found.append(model(mel + channel, contour, lens, centred, torch.ones(3)))
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=0)


def test_token_weights_are_what_the_attention_takes() -> None:
    model = encoder()
    equal = model.attend(torch.zeros(1, 16))  # a query of zeros weighs all tokens the same
    torch.testing.assert_close(model.from_weights(torch.full((1, 6), 1 / 6)), equal)
    first, second = torch.eye(6)[:1], torch.eye(6)[1:2]
    mean = (model.from_weights(first) + model.from_weights(second)) / 2
    torch.testing.assert_close(model.from_weights((first + second) / 2), mean)
    with pytest.raises(NemoExtError, match="5 token weights, and this model has 6 style tokens"):
        model.from_weights(torch.ones(1, 5))


@pytest.mark.parametrize("wrong", [{"size": 15}, {"layers": 0}, {"kernel_size": 4}])
def test_impossible_sizes_are_one_line(wrong: dict[str, int]) -> None:
    with pytest.raises(NemoExtError, match=r"model\.style: size"):
        StyleEncoder(StyleConfig(tokens=4, **wrong), 80)


def test_onnx_gives_the_same_style_for_any_batch_and_length() -> None:
    import onnxruntime  # a part of `make setup`

    model, names = encoder(), ["mel", "pitch_normalized", "lens", "statistics", "alone"]
    dynamic = {"mel": {0: "B", 2: "T"}, "pitch_normalized": {0: "B", 1: "T"}}
    dynamic |= {name: {0: "B"} for name in names[2:]} | {"style": {0: "B"}}
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces its next exporter, and that the trace is one
        torch.onnx.export(
            model, references(), file, input_names=names, output_names=["style"], dynamic_axes=dynamic, dynamo=False
        )
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for lens in ((90, 41, 64), (57,), (200, 17)):
        given = references(lens, seed=1)
        (ran,) = session.run(None, {k: v.numpy() for k, v in zip(names, given, strict=True)})
        np.testing.assert_allclose(ran, model(*given).detach().numpy(), atol=1e-5)


def test_a_reference_is_summed_up_by_mean_and_standard_deviation() -> None:
    model, seen = encoder(), {}
    model.drop.register_forward_hook(lambda _, inputs, output: seen.update(hidden=output))  # the last layer's stays
    model.query.register_forward_hook(lambda _, inputs, output: seen.update(given=inputs[0]))
    model(*references((80, 80)))
    mean, deviation = seen["hidden"].mean(1), torch.sqrt(seen["hidden"].var(1, unbiased=False) + 1e-5)
    torch.testing.assert_close(seen["given"], torch.cat([mean, deviation], dim=1), atol=1e-5, rtol=0)


def test_the_bank_means_each_voice_and_lends_what_a_voice_never_spoke() -> None:
    bank = StyleBank(voices=2, n_mels=80, styles=2, size=3)
    sums = torch.tensor([[[2.0, 0, 0], [0, 6, 0]], [[0, 0, 4], [0, 0, 0]]], dtype=torch.float64)
    bank.fill(sums, torch.tensor([[2, 3], [1, 0]]))
    assert bank.filled
    assert torch.equal(bank.named[0], torch.tensor([[1.0, 0, 0], [0, 2, 0]]))
    assert torch.equal(bank.named[1], torch.tensor([[0.0, 0, 4], [0, 2, 0]]))  # the second is the first voice's
    assert torch.equal(bank.named[2], torch.tensor([[0.5, 0, 2], [0, 2, 0]]))  # a mean over voices, not utterances
    weights = bank.class_weights()
    assert float(weights.mean()) == pytest.approx(1.0)
    torch.testing.assert_close(weights, torch.ones(2))  # three of each
    with pytest.raises(NemoExtError, match="do not belong to a model"):
        bank.describe(torch.zeros(1, 2, 80), torch.zeros(2, 2))
    with pytest.raises(NemoExtError, match="no numbers"):
        bank.describe(torch.full((2, 2, 80), torch.nan), torch.zeros(2, 2))


def test_the_attention_is_the_papers() -> None:
    """softmax(Q K^T / sqrt(d)) V over tanh of the tokens, head by head, computed another way."""
    model = encoder()
    with torch.no_grad():
        model.tokens.mul_(3.0)  # far enough from 0 that tanh is no identity
    query = 4.0 * torch.randn(3, CONFIG.size, generator=torch.Generator().manual_seed(1))
    width = CONFIG.size // CONFIG.heads
    tokens = np.tanh(model.tokens.detach().numpy())
    key, value = (
        tokens @ layer.weight.detach().numpy().T + layer.bias.detach().numpy() for layer in (model.key, model.value)
    )
    expected = []
    for row in query.numpy():
        for head in range(CONFIG.heads):
            cut = slice(head * width, (head + 1) * width)
            scores = np.exp(key[:, cut] @ row[cut] / np.sqrt(width))
            expected.append(scores / scores.sum() @ value[:, cut])
    with torch.no_grad():
        got = model.attend(query).numpy()
    np.testing.assert_allclose(got, np.concatenate(expected).reshape(got.shape), atol=1e-5)


def test_a_rare_style_weighs_more_in_the_loss() -> None:
    bank = StyleBank(2, 80, 3, CONFIG.size)
    counts = torch.tensor([[6, 1, 2], [2, 1, 2]])
    bank.fill(torch.zeros(2, 3, CONFIG.size, dtype=torch.float64), counts)
    weights = bank.class_weights()
    torch.testing.assert_close(weights, torch.tensor([1 / 8, 1 / 2, 1 / 4]) / ((1 / 8 + 1 / 2 + 1 / 4) / 3))
    heads = StyleHeads(CONFIG, styles=3, voices=1)
    style, voice = torch.randn(2, CONFIG.size), torch.zeros(2, dtype=torch.long)
    plain = heads(style, torch.tensor([0, 1]), voice, torch.ones(3))["style"]
    one, other = (heads(style[i : i + 1], torch.tensor([i]), voice[:1], torch.ones(3))["style"] for i in range(2))
    torch.testing.assert_close(plain, (one + other) / 2)
    # smoothing spreads a tenth of each target over all classes, each with its own weight
    probabilities = torch.log_softmax(heads.style(style), 1)
    targets = torch.full((2, 3), 0.1 / 3) + 0.9 * torch.eye(3)[:2]
    expected = -(targets * weights * probabilities).sum(1).mean()
    torch.testing.assert_close(heads(style, torch.tensor([0, 1]), voice, weights)["style"], CONFIG.labels * expected)
