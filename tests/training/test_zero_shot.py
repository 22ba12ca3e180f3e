"""A voice from one clip: through the training job, into a voice file, spoken with; and what is refused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from nemo_ext import _nemo, voices
from nemo_ext.audio import io
from nemo_ext.audio.pitch import mel_f0
from nemo_ext.config import compose
from nemo_ext.corpus.manifest import load_corpus
from nemo_ext.data.embeddings import embed_corpus
from nemo_ext.data.features import FeatureStore, hash_of_file
from nemo_ext.errors import NemoExtError
from nemo_ext.models.speaker.encoders import speaker_encoder
from nemo_ext.synthesis.casting import Cast, check_base
from nemo_ext.training.adapt import adapt
from nemo_ext.training.run import train
from nemo_ext.training.zero_shot import voice_from_clip

CONSENT = voices.Consent("Linda", "2026-05-01", "tests")


@pytest.fixture(scope="module")
def base(toy, tmp_path_factory):
    """A toy FastPitch after two steps whose voices are resemblyzer's embeddings."""
    out = tmp_path_factory.mktemp("base") / "run"
    return toy(out, "model.voice_encoder=resemblyzer", "trainer.max_steps=2", model="fastpitch")


@pytest.fixture(scope="module")
def model(base):
    return _nemo.restore(base)


@pytest.fixture
def clip(speech, tmp_path):
    """A clip at another rate than the model's, in two channels."""
    from nemo_ext.audio.resample import resample

    audio = resample(speech.numpy(), 22050, 44100)
    return io.write(tmp_path / "clip.wav", np.stack([0.9 * audio, 0.9 * audio]), 44100)


def test_base_voices_are_the_means_of_their_utterances(model, espeak_corpus):
    corpus = load_corpus(espeak_corpus)
    assert (model.encoder.name, model.encoder.size) == ("resemblyzer", 256)
    assert model.encoder.identity == speaker_encoder("resemblyzer").identity
    found = embed_corpus(corpus.utterances, FeatureStore(corpus.dir), speaker_encoder("resemblyzer"))
    for voice in model.voices:
        mean = found[[u.speaker == voice.name for u in corpus.utterances]].mean(axis=0)
        vector = model.base_voice(voice.name).vector
        np.testing.assert_allclose(vector[:256], mean / np.linalg.norm(mean), atol=1e-5)
        assert not vector[256:].any()


def test_the_voice_is_the_clips(model, clip, speech):
    voice = voice_from_clip(model, clip, "linda", CONSENT)
    audio, rate = io.read_mono(clip)
    np.testing.assert_array_equal(voice.vector[:256], speaker_encoder("resemblyzer").embed(audio, rate))
    assert not voice.vector[256:].any()
    check_base(voice, model, "the voice")
    pitch = mel_f0(speech.numpy(), model.mel_spec)
    assert voice.pitch_mean == pytest.approx(pitch[pitch > 0].mean(), rel=0.02)
    assert voice.mel_stats.shape == (2, 80)
    assert (voice.mel_stats[1] > 0).all()
    assert voice.language == "en"
    origin = voice.provenance
    assert (origin.made_by, origin.source, origin.recordings) == ("zero-shot", "clip.wav", 1)
    assert origin.seconds == pytest.approx(len(speech) / 22050, abs=0.01)
    assert origin.recordings_hash == hash_of_file(clip)
    assert origin.consent == CONSENT


def test_its_file_speaks(model, clip, tmp_path):
    path = voices.save(voice_from_clip(model, clip, "linda", CONSENT), tmp_path / "linda.voice")
    voice = Cast(model, tmp_path).find("linda")
    assert voice.name == "linda"
    assert path.stat().st_size < 1 << 20
    tokens = torch.from_numpy(model.frontend.encode("Hello there.", "en").ids)[None]
    spoken = model.predict_mel(tokens, torch.tensor([tokens.shape[1]]), torch.from_numpy(voice.vector)[None])
    assert torch.isfinite(spoken.mel).all()
    mixed = Cast(model, tmp_path).find("linda:0.5+ada:0.5")
    np.testing.assert_allclose(mixed.vector, (voice.vector + model.base_voice("ada").vector) / 2, atol=1e-6)


def test_a_resumed_training_knows_its_encoder(base, toy, tmp_path, capfd):
    out = tmp_path / "run"
    shutil.copytree(base.parent, out)
    toy(out, "model.voice_encoder=resemblyzer", "trainer.max_steps=3", model="fastpitch")
    said = capfd.readouterr().err
    assert "resuming from step 2 of 3" in said
    assert "embedding voices" not in said
    with pytest.raises(NemoExtError, match=r"other settings \(.*voice_encoder"):
        toy(out, "trainer.max_steps=4", model="fastpitch")


def test_a_table_model_is_refused_and_the_remedy_named(tiny_acoustic, clip):
    with pytest.raises(
        NemoExtError, match=r"takes none from a clip: train one with model\.voice_encoder=resemblyzer"
    ) as e:
        voice_from_clip(_nemo.restore(tiny_acoustic), clip, "linda", CONSENT)
    assert "corpus=" in str(e.value)
    assert "\n" not in str(e.value)


def test_another_encoder_than_the_models_is_refused(model, clip, tmp_path):
    class Other:
        name, size, identity = "other", 256, "ffff"

    with pytest.raises(
        NemoExtError, match=r"'other' \(ffff\) is not the one this model was trained with, 'resemblyzer'"
    ):
        voice_from_clip(model, clip, "linda", CONSENT, Other())
    with pytest.raises(NemoExtError, match="no speaker model at"):
        voice_from_clip(model, clip, "linda", CONSENT, str(tmp_path / "gone.nemo"))


def test_a_speaker_model_of_ones_own(options, clip, tmp_path, espeak_corpus):
    """From `train model=speaker` through a base conditioned on it to a voice; its file is given."""
    line = ["model=speaker", "size=tiny", "model.channels=16", f"corpus={espeak_corpus}", "trainer.measure_seconds=0"]
    trained = train(compose("train", [*line, f"out={tmp_path / 'speaker'}", "trainer.max_steps=1"]))
    chosen = f"model.voice_encoder={trained}"
    base = train(compose("train", options(tmp_path / "base", chosen, "trainer.max_steps=1", model="fastpitch")))
    model = _nemo.restore(base)
    assert (model.encoder.name, model.encoder.size) == ("model.nemo", 64)
    # A path in a model's file may be anybody's: it is not followed, even where a file is there.
    with pytest.raises(NemoExtError, match=r"embeddings of the encoder 'model.nemo' .* give that file as encoder="):
        voice_from_clip(model, clip, "linda", CONSENT)
    expected = voice_from_clip(model, clip, "linda", CONSENT, str(trained)).vector
    moved = trained.rename(tmp_path / "moved.nemo")
    np.testing.assert_array_equal(voice_from_clip(model, clip, "linda", CONSENT, str(moved)).vector, expected)
    line = [f"base={base}", f"reference={clip}", f"out={tmp_path / 'linda.voice'}", "consent=unknown"]
    np.testing.assert_array_equal(adapt(compose("adapt", [*line, f"encoder={moved}"])).vector, expected)


def write(path, audio, rate=22050):
    return io.write(path, np.asarray(audio, np.float32), rate)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path, speech: write(path, speech[:11025]), "is 0.50 s long, and a voice takes at least 1 s"),
        (lambda path, speech: write(path, np.zeros(44100)), "is silent (-inf dBFS)"),
        (
            lambda path, speech: write(path, np.concatenate([np.zeros(44100), speech[9000:11000]])),
            "s of speech between silences: record more",
        ),
        (
            lambda path, speech: write(path, np.random.default_rng(0).normal(0, 0.1, 44100).clip(-1, 1)),
            "has no voiced sound: is it a whisper, or noise?",
        ),
        (lambda path, speech: path.write_bytes(b"no audio"), "cannot be read as audio"),
        (lambda path, speech: None, "no audio file at"),
    ],
    ids=["short", "silent", "hardly any speech", "noise", "damaged", "missing"],
)
def test_clips_without_a_voice_in_them(model, speech, tmp_path, make, said):
    path = tmp_path / "clip.wav"
    make(path, speech.numpy())
    with pytest.raises(NemoExtError) as raised:
        voice_from_clip(model, path, "linda", CONSENT)
    assert said in str(raised.value)
    assert "clip.wav" in str(raised.value)
    assert "\n" not in str(raised.value)
