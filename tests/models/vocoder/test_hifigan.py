"""HiFi-GAN: stock checkpoints sound the same, an export leaves the model as it was."""

import warnings

import pytest
import torch
from omegaconf import OmegaConf

from nemo_ext import _nemo
from nemo_ext.errors import NemoExtError
from nemo_ext.models.vocoder.hifigan import HifiGan
from nemo_ext.types import MelSpec
from tests.models.vocoder.test_vocoders import fit


def stock_model(resblock=1):
    """A HiFi-GAN of stock NeMo 3, made with stock classes only."""
    from nemo.collections.tts.models import HifiGanModel

    preprocessor = {
        "_target_": "nemo.collections.asr.parts.preprocessing.features.FilterbankFeatures",
        "nfilt": 80,
        "n_fft": 1024,
        "n_window_size": 1024,
        "n_window_stride": 256,
        "sample_rate": 22050,
        "lowfreq": 0,
        "highfreq": 8000,
        "mag_power": 1.0,
        "pad_to": 0,
        "normalize": None,
        "preemph": None,
        "dither": 0.0,
        "log": True,
        "log_zero_guard_type": "add",
        "log_zero_guard_value": 1e-5,
        "use_grads": False,
        "exact_pad": False,
    }
    generator = {
        "_target_": "nemo.collections.tts.modules.hifigan_modules.Generator",
        "resblock": resblock,
        "upsample_rates": [8, 8, 2, 2],
        "upsample_kernel_sizes": [16, 16, 4, 4],
        "upsample_initial_channel": 32,
        "resblock_kernel_sizes": [3, 7],
        "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5]],
    }
    torch.manual_seed(1)
    cfg = {
        "train_ds": {
            "dataset": {"_target_": "nemo.collections.tts.data.vocoder_dataset.VocoderDataset"},
            "defer_setup": True,
        },
        "preprocessor": preprocessor,
        "generator": generator,
        "debug": True,
        "max_steps": 10,
        "optim": {"_target_": "torch.optim.AdamW", "lr": 2e-4},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return HifiGanModel(OmegaConf.create(cfg)).eval()


@pytest.mark.parametrize("resblock", [1, 2])
def test_a_stock_checkpoint_sounds_the_same(tmp_path, batch, resblock):
    stock = stock_model(resblock)
    stock.save_to(str(tmp_path / "stock.nemo"))
    ours = _nemo.restore(tmp_path / "stock.nemo")
    assert type(ours) is HifiGan
    assert ours.mel_spec == MelSpec()
    assert ours.settings.resblock == resblock
    with torch.inference_mode():
        expected = stock.convert_spectrogram_to_audio(spec=batch.mel)
    assert torch.equal(ours.decode(batch.mel), expected)
    assert torch.equal(ours.convert_spectrogram_to_audio(spec=batch.mel), expected)
    again = _nemo.restore(_nemo.save(ours, tmp_path / "ours.nemo"))
    assert torch.equal(again.decode(batch.mel), expected)


def test_a_copy_for_an_export_leaves_the_model_savable(make_vocoder, tmp_path, batch):
    model = make_vocoder("hifigan")
    sum(model.spectral_losses(model(batch.mel), batch.audio)).backward()  # a deep copy would fail from here on
    expected = model.decode(batch.mel)
    generator = model.deployable_generator()
    assert not any("weight_g" in key for key in generator.state_dict())
    with torch.inference_mode():
        assert torch.allclose(generator(batch.mel).squeeze(1), expected, atol=1e-6)
    restored = _nemo.restore(_nemo.save(model, tmp_path / "model.nemo"))
    assert torch.equal(restored.decode(batch.mel), expected)


def test_factors_that_do_not_make_the_hop_are_named(make_vocoder):
    with pytest.raises(NemoExtError, match=r"upsample_rates=\[8, 8, 2\] make 128 .* hop_length is 256"):
        make_vocoder("hifigan", upsample_rates=[8, 8, 2], upsample_kernel_sizes=[16, 16, 4])


def test_the_papers_versions_have_the_papers_sizes(shipped):
    millions = {}
    for size in ("full", "small", "v3"):
        generator = HifiGan(shipped("hifigan", size)).deployable_generator()
        millions[size] = sum(p.numel() for p in generator.parameters()) / 1e6
    assert millions == pytest.approx({"full": 13.92, "small": 0.92, "v3": 1.46}, abs=0.01)  # table 1 of the paper


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
def test_the_papers_schedule_decays_at_every_step(make_vocoder, batch, tmp_path):
    schedule = {"name": "ExponentialLR", "gamma": 0.9, "warmup_ratio": None, "min_lr": None}
    model = make_vocoder("hifigan", adversarial_from_step=0, optim={"lr": 1e-3, "sched": schedule})
    trainer = fit(model, batch, 3, tmp_path)
    assert [o.param_groups[0]["lr"] for o in trainer.optimizers] == pytest.approx([1e-3 * 0.9**3, 1e-3 * 0.9**2])


def test_the_papers_losses_and_batches_are_the_defaults(shipped):
    cfg = shipped("hifigan", "full")
    assert (cfg.losses.mel, cfg.losses.feature_matching, cfg.losses.generator, cfg.losses.stft) == (45, 2, 1, 0)
    assert (cfg.batch_size, cfg.segment_frames * cfg.mel.hop_length, cfg.adversarial_from_step) == (16, 8192, 0)
    assert not cfg.small_discriminators
    assert set(HifiGan(shipped("hifigan", "small")).build_discriminators()) == {"mpd", "msd"}
