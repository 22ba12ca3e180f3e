"""What HiFi-GAN and Vocos share: lengths, gradients, learning, checkpoints, .nemo files."""

import dataclasses
import math
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nemo_ext import _nemo
from nemo_ext.errors import NemoExtError
from nemo_ext.types import MelSpec, Portion, SegmentBatch

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec:FutureWarning"),  # Lightning 2.4 on torch 2.13
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # the batches are in memory
    pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero"),  # there is no validation
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
]
CONF = Path(__file__).parents[3] / "conf"
both = pytest.mark.parametrize("name", ["vocos", "hifigan"])


def fit(model, batch, steps, folder, ckpt_path=None, **options):
    """Train ``model`` on ``batch`` until ``steps`` batches were seen; the trainer."""
    import lightning.pytorch as pl

    _nemo.quiet()
    options = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
        "num_sanity_val_steps": 0,
        **options,
    }
    trainer = pl.Trainer(max_steps=steps, **options)
    model.set_trainer(trainer)
    loader = torch.utils.data.DataLoader([batch] * 1000, batch_size=None)
    validation = torch.utils.data.DataLoader([batch], batch_size=None)
    trainer.fit(model, loader, validation if "val_check_interval" in options else None, ckpt_path=ckpt_path)
    return trainer


@both
@pytest.mark.parametrize("frames", [1, 2, 31])
def test_every_length_makes_that_many_hops_within_full_scale(make_vocoder, name, frames):
    model = make_vocoder(name)
    audio = model.decode(5.0 * torch.randn(3, 80, frames))
    assert audio.shape == (3, frames * 256)
    assert audio.dtype == torch.float32
    assert audio.abs().max() <= 1.0


@both
def test_silence_in_is_quiet_out(make_vocoder, name, batch, tmp_path):
    model = make_vocoder(name, optim={"lr": 3e-3, "sched": None})
    if name == "hifigan":  # an untrained one knows no silence; its last convolution has no level to take from the mel
        silence = torch.zeros_like(batch.audio)
        quiet = type(batch)(batch.ids, silence, torch.full_like(batch.mel, torch.log(torch.tensor(1e-5))))
        fit(model, quiet, 60, tmp_path)
    audio = model.decode(torch.full((1, 80, 20), float(torch.log(torch.tensor(1e-5)))))
    assert audio.abs().max() < 1e-2


@both
def test_the_same_mel_gives_the_same_audio_alone_and_in_a_batch(make_vocoder, name, batch):
    model = make_vocoder(name)
    together = model.decode(batch.mel)
    assert torch.equal(together, model.decode(batch.mel))
    assert torch.allclose(together[2:3], model.decode(batch.mel[2:3]), atol=1e-5)


@both
def test_every_parameter_gets_a_finite_gradient(make_vocoder, name, batch):
    model = make_vocoder(name)
    model.discriminators = model.build_discriminators()
    made = model(batch.mel)
    mel, stft = model.spectral_losses(made, batch.audio)
    adversarial, features = model._ask_discriminators(batch.audio, made)
    (mel + stft + adversarial + features + sum(model.own_losses(batch).values())).backward()
    for parameter_name, parameter in model.generator.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
    assert all(parameter.grad is None for parameter in model.discriminators.parameters())


def test_the_pitch_of_a_vocos_is_learned_in_semitones(make_vocoder):
    model = make_vocoder("vocos")
    torch.nn.init.zeros_(model.generator.harmonics.layers[-1].weight)
    torch.nn.init.constant_(model.generator.harmonics.layers[-1].bias, math.log(400.0 / 150.0))  # it says 400 Hz
    times = torch.arange(32 * 256) / 22050
    tone = sum(0.2 / n * torch.sin(2 * math.pi * 200.0 * n * times) for n in range(1, 6))[None]
    batch = SegmentBatch(["a"], tone, torch.zeros(1, 80, 32))
    assert model.own_losses(batch)["pitch"].item() == pytest.approx(12.0, abs=0.1)  # an octave


@both
def test_one_batch_overfits(make_vocoder, name, batch, tmp_path):
    model = make_vocoder(name, adversarial_from_step=None, optim={"lr": 3e-3})
    before = model.spectral_losses(model(batch.mel), batch.audio)[0].item()
    fit(model, batch, 100, tmp_path)
    after = model.spectral_losses(model(batch.mel), batch.audio)[0].item()
    assert after < 0.5 * before
    assert model.discriminators is None


@both
def test_a_step_with_discriminators_teaches_both_and_counts_once(make_vocoder, name, batch, tmp_path):
    model = make_vocoder(name, adversarial_from_step=2)
    before = {k: v.clone() for k, v in model.generator.state_dict().items()}
    trainer = fit(model, batch, 2, tmp_path)
    untaught = {k: v.clone() for k, v in model.discriminators.state_dict().items()}
    assert "train/disc" not in trainer.logged_metrics
    assert trainer.global_step == 2
    trainer = fit(model, batch, 5, tmp_path, ckpt_path=checkpoint(trainer, tmp_path))
    assert trainer.global_step == 5
    for logged in ("loss", "mel", "stft", "gen", "disc", "fm"):
        assert torch.isfinite(trainer.logged_metrics[f"train/{logged}"]), logged
    assert any(not torch.equal(v, before[k]) for k, v in model.generator.state_dict().items())
    assert any(not torch.equal(v, untaught[k]) for k, v in model.discriminators.state_dict().items())
    assert all(p.requires_grad for p in model.discriminators.parameters())


def test_the_generator_listens_to_discriminators_that_have_learned_for_a_while(make_vocoder, batch, tmp_path):
    model = make_vocoder("hifigan", adversarial_from_step=1, discriminator_warmup=2)
    trainer = fit(model, batch, 3, tmp_path)
    assert "train/disc" in trainer.logged_metrics
    assert "train/gen" not in trainer.logged_metrics
    trainer = fit(model, batch, 4, tmp_path, ckpt_path=checkpoint(trainer, tmp_path))
    assert "train/gen" in trainer.logged_metrics


def checkpoint(trainer, folder):
    path = Path(folder) / "last.ckpt"
    trainer.save_checkpoint(path)
    return path


@both
def test_a_checkpoint_resumes_as_if_never_stopped(make_vocoder, name, batch, tmp_path):
    straight = make_vocoder(name, adversarial_from_step=0, optim={"sched": None})
    fit(straight, batch, 4, tmp_path)
    first = make_vocoder(name, adversarial_from_step=0, optim={"sched": None})
    path = checkpoint(fit(first, batch, 2, tmp_path), tmp_path)
    resumed = make_vocoder(name, adversarial_from_step=0, optim={"sched": None})
    fit(resumed, batch, 4, tmp_path, ckpt_path=path)
    for key, value in straight.state_dict().items():
        assert torch.allclose(value, resumed.state_dict()[key], atol=1e-6), key
    betas = {tuple(optimizer.param_groups[0]["betas"]) for optimizer in resumed.trainer.optimizers}
    assert betas == {tuple(resumed.cfg.optim.betas)}
    for optimizer in resumed.trainer.optimizers:  # the generator's and the discriminators'
        assert {int(entry["step"]) for entry in optimizer.state_dict()["state"].values()} == {4}


@both
def test_discriminators_that_set_in_later_are_made_for_an_old_checkpoint(make_vocoder, name, batch, tmp_path):
    path = checkpoint(fit(make_vocoder(name, adversarial_from_step=None), batch, 1, tmp_path), tmp_path)
    model = make_vocoder(name, adversarial_from_step=0)
    trainer = fit(model, batch, 2, tmp_path, ckpt_path=path)
    assert torch.isfinite(trainer.logged_metrics["train/disc"])


@both
def test_a_nemo_file_holds_no_discriminators_and_comes_back_exactly(make_vocoder, name, batch, tmp_path):
    from nemo.core.classes import ModelPT

    model = make_vocoder(name, adversarial_from_step=0)
    fit(model, batch, 1, tmp_path)
    discriminators = model.discriminators
    path = _nemo.save(model, tmp_path / "model.nemo")
    assert model.discriminators is discriminators, "training goes on after a save"
    with tarfile.open(path) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    weights = torch.load(next((tmp_path / "unpacked").rglob("*.ckpt")), weights_only=True)
    assert weights
    assert all(key.startswith("generator.") for key in weights)
    for restored in (_nemo.restore(path), ModelPT.restore_from(str(path), map_location="cpu")):
        assert type(restored) is type(model)
        assert restored.mel_spec == MelSpec()
        assert restored.discriminators is None
        assert torch.equal(restored.decode(batch.mel), model.decode(batch.mel))


@both
def test_validation_logs_and_shows_a_preview(make_vocoder, name, batch, tmp_path):
    model = make_vocoder(name, adversarial_from_step=None)
    trainer = fit(model, batch, 2, tmp_path, val_check_interval=2)
    assert float(trainer.callback_metrics["val/mel"]) > 0
    assert float(trainer.callback_metrics["val/loss"]) > 0
    preview = model.preview(batch)
    assert preview.audio["predicted"].shape == preview.audio["target"].shape == (16 * 256,)
    assert preview.mels["predicted"].shape == preview.mels["target"].shape == (80, 17)


def test_half_precision_with_loss_scaling_is_refused(make_vocoder):
    model = make_vocoder("vocos", adversarial_from_step=0)
    # Lightning turns fp16 into bf16 on a CPU, so only a stand-in for the trainer shows it here
    model._trainer = SimpleNamespace(state=SimpleNamespace(fn="fit"), precision="16-mixed")
    with pytest.raises(NemoExtError, match="bf16-mixed"):
        model.configure_model()


@both
def test_bf16_trains(make_vocoder, name, batch, tmp_path):
    model = make_vocoder(name, adversarial_from_step=0)
    trainer = fit(model, batch, 2, tmp_path, precision="bf16-mixed")
    assert torch.isfinite(trainer.logged_metrics["train/loss"])
    assert all(torch.isfinite(p).all() for p in model.parameters())


@both
def test_the_yaml_fits_its_dataclass(name, shipped):
    from nemo_ext.models.vocoder.hifigan import HifiGan
    from nemo_ext.models.vocoder.vocos import Vocos

    cls = {"vocos": Vocos, "hifigan": HifiGan}[name]
    sizes = sorted(path.stem.removeprefix(f"{name}_") for path in (CONF / "model/size").glob(f"{name}_*.yaml"))
    assert {"tiny", "small", "full"} <= set(sizes)
    for size in sizes:
        known = {f.name for f in dataclasses.fields(cls.config_class)} | {"mel"}
        assert set(shipped(name, size)) <= known
        model = cls(shipped(name, size))
        assert model.decode(torch.zeros(1, 80, 2)).shape == (1, 512)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_generators_loss_is_the_papers_sum(make_vocoder, batch, monkeypatch, share):
    """Kong et al., equations 7 and 9: mel up to half the rate, adversarial and feature-matching loss, weighed.

    Of a part of a batch all of it counts for the part's ``share``.
    """
    from nemo_ext.losses import adversarial, spectral
    from nemo_ext.models.vocoder import gan

    torch.manual_seed(0)
    model = make_vocoder("hifigan")
    model.settings.adversarial_from_step, model.settings.discriminator_warmup = 0, 0
    weigh = model.settings.losses
    assert (weigh.mel, weigh.generator, weigh.feature_matching) == (45.0, 1.0, 2.0)  # the paper's
    weigh.stft, weigh.mel, weigh.generator, weigh.feature_matching = (
        0.0,
        0.5,
        3.0,
        7.0,
    )  # so that each is seen in the sum
    model.discriminators = model.build_discriminators()
    with torch.no_grad():
        for _ in range(10):  # spectral norms find their vectors, and are then held
            model._judge(batch.audio, batch.audio)
    model.discriminators.eval()
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.0) for part in (model.generator, model.discriminators)]
    model._optimizer = optimizers[0]
    logged = {}
    monkeypatch.setattr(gan, "log_training", lambda _, losses, __: logged.update(losses))
    monkeypatch.setattr(model, "_stepped", lambda: [optimizers[0], SimpleNamespace(optimizer=optimizers[1])])
    monkeypatch.setattr(model, "lr_schedulers", lambda: None)
    monkeypatch.setattr(model, "manual_backward", lambda loss: loss.backward())
    loss = model.training_step(dataclasses.replace(batch, portion=Portion(utterances=share)), 0)
    with torch.no_grad():
        made, real = model(batch.mel), batch.audio
        verdicts = [[d(audio) for d in model.discriminators.values()] for audio in (real, made)]
        maps = [[layers for verdict in side for layers in verdict.maps] for side in verdicts]
        scores = [score for verdict in verdicts[1] for score in verdict.scores]
        wide = MelSpec(**{**vars(model.mel_spec), "f_max": model.mel_spec.sample_rate / 2})
        expected = {
            "mel": spectral.mel_l1(made, real, wide),
            "gen": sum((1 - score).square().mean() for score in scores),
            "fm": sum((a - b).abs().mean() for x, y in zip(*maps, strict=True) for a, b in zip(x, y, strict=True)),
        }
        assert float(expected["fm"]) == pytest.approx(float(adversarial.feature_matching(*maps)), rel=1e-5)
    for name, value in expected.items():
        assert logged[name].item() == pytest.approx(share * value.item(), rel=1e-4), name
    total = 0.5 * expected["mel"] + 3.0 * expected["gen"] + 7.0 * expected["fm"]
    assert loss.item() == pytest.approx(share * total.item(), rel=1e-4)
