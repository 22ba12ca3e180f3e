"""Resemblyzer's d-vector: its mel, its windows, its weights, without its package."""

from __future__ import annotations

import importlib.util
import pickle
import sys
import warnings

import numpy as np
import pytest
import torch

from nemo_ext.audio import io
from nemo_ext.corpus.manifest import load_corpus
from nemo_ext.errors import NemoExtError
from nemo_ext.evaluation.speakers import separation
from nemo_ext.models.speaker.encoders import speaker_encoder
from nemo_ext.models.speaker.resemblyzer import Resemblyzer, _window_starts


@pytest.fixture(scope="module")
def encoder():
    return speaker_encoder("resemblyzer")


def test_the_package_is_not_imported(encoder):
    assert encoder.name == "resemblyzer"
    assert encoder.size == 256
    assert not {"resemblyzer", "webrtcvad"} & set(sys.modules)


def test_two_voices_are_told_apart(encoder, espeak_corpus):
    corpus = load_corpus(espeak_corpus)
    chosen = corpus.utterances[:14]
    found = np.stack([encoder.embed(*io.read_mono(corpus.audio_path(u))) for u in chosen])
    assert found.shape == (14, 256)
    assert found.dtype == np.float32
    assert (found >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    told = separation(found, [u.speaker for u in chosen])
    assert told.same > told.different + 0.1
    assert told.equal_error_rate < 0.1


def test_its_mel_is_librosas(encoder, speech):
    """The package calls librosa with these settings and takes the default of everything else."""
    import librosa

    audio = speech[:16000].numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = librosa.feature.melspectrogram(y=audio, sr=16000, n_fft=400, hop_length=160, n_mels=40).T
    found = encoder.mel(torch.from_numpy(audio)).numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6 * expected.max())


# what the package's own function says of so many samples
@pytest.mark.parametrize(
    ("samples", "starts"),
    [
        (100, [0]),
        (16000, [0]),
        (25600, [0]),
        (33000, [0, 77]),
        (48000, [0, 77, 154]),
        (64000, [0, 77, 154, 231]),
    ],
)
def test_its_windows_are_the_packages(samples, starts):
    assert _window_starts(samples) == starts


def test_level_and_sample_rate_change_nothing(encoder, speech):
    from nemo_ext.audio.resample import resample

    audio = speech.numpy()
    plain = encoder.embed(audio, 22050)
    assert float(encoder.embed(0.3 * audio, 22050) @ plain) > 0.999
    assert float(encoder.embed(resample(audio, 22050, 44100), 44100) @ plain) > 0.999
    assert np.array_equal(encoder.embed(audio, 22050), plain)


def test_silence_around_it_changes_little(encoder, speech):
    """Of some seconds; a clip shorter than two windows is cut into other ones by a tenth of a second more."""
    audio, silence = np.tile(speech.numpy(), 4), np.zeros(22050, np.float32)
    around = np.concatenate([silence, audio, silence])
    assert float(encoder.embed(around, 22050) @ encoder.embed(audio, 22050)) > 0.97


def test_silence_is_refused(encoder):
    for audio in (np.zeros(32000, np.float32), np.zeros(0, np.float32)):
        with pytest.raises(NemoExtError, match="no speech in this recording"):
            encoder.embed(audio, 16000)


def test_without_the_package_the_remedy_is_named(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "resemblyzer" else real(name))
    with pytest.raises(NemoExtError, match="'resemblyzer' is not installed: pip install --no-deps resemblyzer"):
        Resemblyzer()


def test_weights_of_another_kind_are_refused_and_run_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "pretrained.pt"
    for content in (b"", b"no weights", pickle.dumps({"model_state": Evil()})):
        path.write_bytes(content)
        with pytest.raises(NemoExtError, match="holds no weights of resemblyzer's encoder"):
            Resemblyzer(path)
    torch.save({"model_state": {"lstm.weight_ih_l0": torch.zeros(3, 3)}}, path)
    with pytest.raises(NemoExtError, match="holds no weights"):
        Resemblyzer(path)
    with pytest.raises(NemoExtError, match="no weights at"):
        Resemblyzer(tmp_path / "nothing.pt")
    assert not (tmp_path / "ran").exists()


def test_training_chance_is_left_alone():
    from nemo_ext.models.speaker import encoders

    torch.manual_seed(3)
    expected = torch.rand(3)
    encoders._resemblyzer.cache_clear()
    torch.manual_seed(3)
    speaker_encoder("resemblyzer")
    assert torch.equal(torch.rand(3), expected)
