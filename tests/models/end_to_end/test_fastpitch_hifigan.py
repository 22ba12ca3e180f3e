"""FastPitch and HiFi-GAN as one: shapes, gradients across the mel, learning, files, parts that speak."""

import dataclasses

import pytest
import torch
from omegaconf import OmegaConf

from nemo_ext import _nemo
from nemo_ext.audio.mel import mel_and_energy
from nemo_ext.config import compose
from nemo_ext.data.prior import beta_binomial_prior
from nemo_ext.errors import NemoExtError
from nemo_ext.models.end_to_end.fastpitch_hifigan import FastPitchHifiGan, audio_segments, joined_config, mel_segments
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.types import BaseVoice, Batch, MelSpec

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec:FutureWarning"),  # Lightning 2.4 on torch 2.13
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # the batches are in memory
    pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero"),  # there is no validation
]
SPEC = MelSpec()


@pytest.fixture
def make():
    """``make(**changes)``: a toy."""

    def made(**changes):
        options = ["model=fastpitch_hifigan", "size=tiny", "text=chars"]
        cfg = compose("train", options)
        small = {
            "fastpitch": {
                **{"width": 16, "encoder_layers": 1, "decoder_layers": 1, "head_width": 8, "feedforward_width": 16},
                "predictor_width": 8,
            },
            "hifigan": {"upsample_initial_channel": 16},
            "segment_frames": 16,
            "adversarial_from_step": None,
            "mel": dataclasses.asdict(SPEC),
            "text": dataclasses.asdict(TextFrontend(dataclasses.replace(cfg.text, languages=["en"])).config),
            "voices": [dataclasses.asdict(BaseVoice("ada"))],
        }
        torch.manual_seed(0)
        return FastPitchHifiGan(OmegaConf.merge(cfg.model, small, changes))

    return made


@pytest.fixture(scope="session")
def batch(speech):
    """Two utterances of speech; the second is shorter than a segment."""
    frames, texts = [60, 10], [12, 5]
    tokens = torch.zeros(2, 12, dtype=torch.long)
    mel, energy, audio = torch.zeros(2, 80, 60), torch.zeros(2, 60), torch.zeros(2, 60 * 256)
    prior = torch.zeros(2, 60, 12)
    for row, (n, t) in enumerate(zip(frames, texts, strict=True)):
        wave = speech[20 * 256 : (20 + n) * 256]
        heard = mel_and_energy(wave.numpy(), SPEC)
        mel[row, :, :n], energy[row, :n] = (torch.from_numpy(part[..., :n]) for part in heard)
        audio[row, : n * 256] = wave
        tokens[row, :t] = 5 + torch.arange(t)
        prior[row, :n, :t] = torch.from_numpy(beta_binomial_prior(t, n))
    return Batch(
        ids=["long", "short"],
        tokens=tokens,
        token_lens=torch.tensor(texts),
        mel=mel,
        mel_lens=torch.tensor(frames),
        pitch_normalized=torch.zeros(2, 60),
        energy=energy,
        attn_prior=prior,
        voice_ids=torch.zeros(2, dtype=torch.long),
        audio=audio,
        drawn=torch.tensor([0.5, 0.5], dtype=torch.float64),
    )


def test_segments_of_mel_and_audio_are_the_same_frames():
    numbers = torch.arange(20.0)
    mel = numbers.expand(2, 3, 20)
    audio = numbers.repeat_interleave(4).expand(2, 80)
    lens, starts = torch.tensor([20, 6]), torch.tensor([7, 0])
    cut = mel_segments(mel, lens, starts, 8, -11.0)
    heard = audio_segments(audio, lens, starts, 8, 4)
    assert cut.shape == (2, 3, 8)
    assert cut[0, 1].tolist() == [7, 8, 9, 10, 11, 12, 13, 14]
    assert cut[1, 2].tolist() == [0, 1, 2, 3, 4, 5, -11, -11]
    assert torch.equal(heard[0], cut[0, 0].repeat_interleave(4))
    assert heard[1].tolist() == [*torch.arange(6.0).repeat_interleave(4).tolist(), *[0] * 8]


def test_shapes_and_segments_in_every_place(make, batch):
    model = make()
    starts = set()
    model.generator.register_forward_pre_hook(lambda _, args: starts.add(tuple(args[1].tolist())))
    for drawn in (0.0, 0.3, 0.999999):
        here = dataclasses.replace(batch, drawn=torch.full((2,), drawn, dtype=torch.float64))
        made, real, losses = model.attempt(here)
        assert made.shape == real.shape == (2, 16 * 256)
        assert {"mel_predicted", "align", "bin", "duration", "pitch", "energy"} <= set(losses)
    assert {second for _, second in starts} == {0}  # shorter than a segment
    assert {first for first, _ in starts} == {0, 13, 60 - 16}
    assert torch.equal(real, model.attempt(here)[1])  # the batch says where they lie, not chance


def test_the_audios_loss_reaches_the_acoustic_encoder(make, batch):
    model = make(losses={"acoustic": 0.0})  # nothing but the audio teaches
    model.discriminators = model.build_discriminators()
    made, real, own = model.attempt(batch)
    assert all(value == 0 for value in own.values())
    for losses in (model.spectral_losses(made, real), model._ask_discriminators(real, made)):
        model.zero_grad()
        sum(losses).backward(retain_graph=True)
        for name, parameter in model.acoustic.fastpitch.encoder.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
        assert sum(p.grad.abs().sum() for p in model.acoustic.fastpitch.encoder.parameters()) > 0
        assert sum(p.grad.abs().sum() for p in model.vocoder.generator.parameters()) > 0
    assert all(parameter.grad is None for parameter in model.discriminators.parameters())


def test_every_parameter_gets_a_finite_gradient(make, batch):
    model = make()
    made, real, own = model.attempt(batch)
    (sum(model.spectral_losses(made, real)) + sum(own.values())).backward()
    for name, parameter in model.generator.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def fit(model, batch, steps, folder):
    import lightning.pytorch as pl

    _nemo.quiet()
    off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(accelerator="cpu", max_steps=steps, default_root_dir=folder, num_sanity_val_steps=0, **off)
    model.set_trainer(trainer)
    trainer.fit(model, torch.utils.data.DataLoader([batch] * steps, batch_size=None))
    return trainer


def test_one_batch_overfits(make, batch, tmp_path):
    model = make(optim={"lr": 5e-3, "sched": None})

    def judged():
        losses, made, real, _ = model.eval()._segments(batch, model._places(batch) // 2)
        return model.spectral_losses(made, real)[0].item(), losses["mel_predicted"].item()

    before = judged()
    fit(model.train(), batch, 120, tmp_path)
    after = judged()
    assert after[0] < 0.6 * before[0]
    assert after[1] < 0.5 * before[1]


def test_a_step_with_discriminators_teaches_all_three(make, batch, tmp_path):
    model = make(adversarial_from_step=0, discriminator_warmup=1)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    trainer = fit(model, batch, 1, tmp_path)
    assert "train/disc" in trainer.callback_metrics
    assert "train/gen" not in trainer.callback_metrics  # the generator does not listen yet
    untaught = {k: v.clone() for k, v in model.discriminators.state_dict().items()}
    model = make(adversarial_from_step=0)
    trainer = fit(model, batch, 2, tmp_path)
    assert {"train/gen", "train/fm", "train/mel", "train/mel_predicted"} <= set(trainer.callback_metrics)
    after = model.state_dict()
    for part in ("generator.acoustic.fastpitch.encoder", "generator.vocoder.generator"):
        assert any(not torch.equal(after[k], v) for k, v in before.items() if k.startswith(part)), part
    assert any(not torch.equal(v, untaught[k]) for k, v in model.discriminators.state_dict().items())


def test_the_file_and_its_parts_say_the_same(make, tmp_path, batch):
    model = make().eval()
    tokens = batch.tokens[:1]
    voice = torch.from_numpy(model.acoustic.base_voice("ada").vector)[None]

    def said(acoustic, vocoder):
        predicted = acoustic.predict_mel(tokens, batch.token_lens[:1], voice)
        return vocoder.decode(predicted.mel)

    expected = said(model, model)
    assert expected.shape[1] % 256 == 0
    again = _nemo.restore(_nemo.save(model, tmp_path / "model.nemo"))
    assert type(again) is FastPitchHifiGan
    assert torch.equal(said(again, again), expected)
    parts = {name: _nemo.restore(_nemo.save(p, tmp_path / f"{name}.nemo")) for name, p in again.parts().items()}
    assert torch.equal(said(parts["acoustic"], parts["vocoder"]), expected)
    joined = FastPitchHifiGan(joined_config(OmegaConf.create({"mel": dataclasses.asdict(SPEC)}), **parts))
    for name, part in joined.parts().items():
        part.load_state_dict(parts[name].state_dict())
    assert torch.equal(said(joined.eval(), joined), expected)
    assert joined.acoustic.losses.bin_warmup_steps == 0  # its alignment is trained


def test_what_cannot_be_joined_is_told(make):
    with pytest.raises(NemoExtError, match=r"train it first, then give model\.acoustic="):
        make(fastpitch={"style": {"tokens": 4}})


def test_sizes_are_those_of_the_parts():
    fast = "width encoder_layers decoder_layers feedforward_width predictor_width attention_dropout losses"
    high = "resblock upsample_rates upsample_initial_channel resblock_kernel_sizes"
    for size in ("tiny", "small", "full"):
        joint = compose("train", ["model=fastpitch_hifigan", f"size={size}"]).model
        made = OmegaConf.merge(OmegaConf.structured(FastPitchHifiGan.config_class), joint)
        for name, keys in (("fastpitch", fast), ("hifigan", high)):
            alone = compose("train", [f"model={name}", f"size={size}"]).model
            for key in keys.split():
                assert made[name][key] == alone[key], (size, name, key)
