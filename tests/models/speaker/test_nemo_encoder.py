"""Speaker models of stock NeMo as encoders: small ones, made with NeMo's own classes."""

from __future__ import annotations

import inspect
import tarfile

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from nemo_ext import _nemo
from nemo_ext.errors import NemoExtError
from nemo_ext.models.speaker.encoders import speaker_encoder
from nemo_ext.models.speaker.model import SpeakerModel
from nemo_ext.models.stock import stock_mel_spec

MODULES = "nemo.collections.asr.modules"


def block(filters, kernel, repeat=1, residual=False):
    """One block of a TitaNet."""
    return {
        "filters": filters,
        "repeat": repeat,
        "kernel": [kernel],
        "stride": [1],
        "dilation": [1],
        "dropout": 0.1,
        "residual": residual,
        "separable": True,
        "se": True,
        "se_context_size": -1,
    }


ENCODERS = {
    "titanet": {
        "_target_": f"{MODULES}.ConvASREncoder",
        "feat_in": 80,
        "activation": "relu",
        "conv_mask": True,
        "jasper": [block(16, 3), block(16, 7, 2, True), block(48, 1)],
    },
    "ecapa": {
        "_target_": f"{MODULES}.ECAPAEncoder",
        "feat_in": 80,
        "filters": [16, 16, 16, 16, 48],
        "kernel_sizes": [5, 3, 3, 3, 1],
        "dilations": [1, 1, 1, 1, 1],
        "scale": 8,
    },
}


def stock_model(encoder: str, pool_mode: str = "attention"):
    """A speaker model of stock NeMo 3, configured as its published ones are."""
    from nemo.collections.asr.models.label_models import EncDecSpeakerLabelModel

    torch.manual_seed(1)
    cfg = {
        "sample_rate": 16000,
        "preprocessor": {
            "_target_": f"{MODULES}.AudioToMelSpectrogramPreprocessor",
            "normalize": "per_feature",
            "window_size": 0.025,
            "sample_rate": 16000,
            "window_stride": 0.01,
            "window": "hann",
            "features": 80,
            "n_fft": 512,
            "frame_splicing": 1,
            "dither": 1e-5,
        },
        "encoder": ENCODERS[encoder],
        "decoder": {
            "_target_": f"{MODULES}.SpeakerDecoder",
            "feat_in": 48,
            "num_classes": 5,
            "pool_mode": pool_mode,
            "emb_sizes": 24,
            "angular": True,
        },
        "loss": {
            "_target_": "nemo.collections.asr.losses.angularloss.AngularSoftmaxLoss",
            "scale": 30,
            "margin": 0.2,
        },
        "optim": {"name": "sgd", "lr": 0.08},
        # as published checkpoints have it; nothing of it is opened
        "train_ds": {
            "manifest_filepath": "/nowhere/train.json",
            "sample_rate": 16000,
            "labels": None,
            "batch_size": 64,
            "shuffle": True,
            "defer_setup": True,
        },
    }
    return EncDecSpeakerLabelModel(cfg=OmegaConf.create(cfg)).eval()


@pytest.mark.parametrize(
    ("kind", "pool_mode"), [("titanet", "attention"), ("ecapa", "attention"), ("ecapa", "xvector")]
)
def test_a_stock_checkpoint_embeds_as_stock_does(tmp_path, speech, kind, pool_mode):
    stock = stock_model(kind, pool_mode)
    stock.save_to(str(tmp_path / f"{kind}.nemo"))
    encoder = speaker_encoder(str(tmp_path / f"{kind}.nemo"))
    assert (encoder.name, encoder.size) == (f"{kind}.nemo", 24)
    assert type(encoder.model) is SpeakerModel
    audio = speech.numpy()[:16000]
    found = encoder.embed(audio, 16000)
    assert found.shape == (24,)
    with torch.inference_mode():
        _, expected = stock(input_signal=torch.from_numpy(audio)[None], input_signal_length=torch.tensor([16000]))
    expected = expected[0].numpy()
    assert np.abs(found - expected / np.linalg.norm(expected)).max() <= 1e-6
    assert np.array_equal(encoder.embed(audio, 16000), found)
    with pytest.raises(NemoExtError, match="no speech"):
        encoder.embed(np.zeros(16000, np.float32), 16000)


def test_the_identity_is_the_weights_and_not_the_files(tmp_path):
    model = stock_model("ecapa")
    for name in ("a", "b"):
        model.save_to(str(tmp_path / f"{name}.nemo"))
    with torch.no_grad():
        next(model.encoder.parameters()).add_(1e-3)
    model.save_to(str(tmp_path / "c.nemo"))
    a, b, c = (speaker_encoder(str(tmp_path / f"{name}.nemo")).identity for name in "abc")
    assert a == b != c


def test_a_file_that_has_changed_is_read_again(tmp_path):
    path = tmp_path / "model.nemo"
    model = stock_model("ecapa")
    model.save_to(str(path))
    before = speaker_encoder(str(path))
    assert speaker_encoder(str(path)) is before
    with torch.no_grad():
        next(model.encoder.parameters()).add_(1e-3)
    model.save_to(str(path))
    assert speaker_encoder(str(path)).identity != before.identity


@pytest.mark.parametrize(
    ("where", "named"),
    [
        (f"{MODULES}.ECAPAEncoder", "os.system"),
        (f"{MODULES}.AudioToMelSpectrogramPreprocessor", "nemo_ext.text.frontend.TextFrontend"),
        ("nemo.collections.asr.losses.angularloss.AngularSoftmaxLoss", "subprocess.Popen"),
        ("nemo.collections.asr.models.label_models.EncDecSpeakerLabelModel", "os.system"),
    ],
)
def test_foreign_code_in_a_checkpoint_is_refused_before_anything_is_built(tmp_path, where, named):
    stock_model("ecapa").save_to(str(tmp_path / "model.nemo"))
    folder = tmp_path / "unpacked"
    with tarfile.open(tmp_path / "model.nemo") as tar:
        tar.extractall(folder, filter="data")
    config = (folder / "model_config.yaml").read_text()
    assert where in config
    (folder / "model_config.yaml").write_text(config.replace(where, named))
    with tarfile.open(tmp_path / "evil.nemo", "w:") as tar:
        tar.add(folder, arcname=".")
    with pytest.raises(NemoExtError, match=f"names '{named}'") as raised:
        speaker_encoder(str(tmp_path / "evil.nemo"))
    assert "allow-list" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_only_this_class_was_added_to_what_a_file_may_name():
    from nemo.core.classes import common

    ours = {path for path in common.ALLOWED_TARGET_PREFIXES if path.startswith("nemo_ext")}
    assert ours == set(_nemo.MODELS)
    assert not common._is_target_allowed("nemo_ext.models.speaker.encoders.speaker_encoder")
    assert not common._is_target_allowed("nemo_ext.models.speaker.resemblyzer.Resemblyzer")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("titanet", "'titanet' is no speaker encoder: write resemblyzer, or the path of a speaker model"),
        ("/nowhere/titanet.nemo", "no speaker model at /nowhere/titanet.nemo: give the path of a .nemo file, or"),
    ],
)
def test_what_names_no_encoder_is_said(spec, said):
    with pytest.raises(NemoExtError, match=said):
        speaker_encoder(spec)


def test_a_model_of_another_kind_is_said(tiny_vocoder):
    with pytest.raises(NemoExtError, match="holds a Vocos, which is no speaker encoder: give a TitaNet"):
        speaker_encoder(str(tiny_vocoder))


def test_what_a_preprocessor_leaves_out_is_nemos_default():
    from nemo.collections.asr.modules import AudioToMelSpectrogramPreprocessor

    given = inspect.signature(AudioToMelSpectrogramPreprocessor.__init__).parameters
    told = stock_mel_spec({"sample_rate": 16000, "window_size": 0.025, "window_stride": 0.01, "n_fft": 512})
    assert told.mag_power == given["mag_power"].default
    assert told.log_guard == given["log_zero_guard_value"].default
    assert (told.f_min, told.f_max) == (given["lowfreq"].default, 8000.0)
