"""FastPitch: stock checkpoints load unchanged, ours round-trip, and the voice is a vector."""

import dataclasses
import tarfile
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from nemo_ext import _nemo
from nemo_ext.config import conf_dir
from nemo_ext.errors import NemoExtError
from nemo_ext.models.acoustic import fastpitch_parts
from nemo_ext.models.acoustic.fastpitch import FastPitch
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.types import BaseVoice, Batch, MelSpec

VOICES = [
    BaseVoice("ada", pitch_mean=200.0, pitch_std=30.0),
    BaseVoice("ben", pitch_mean=110.0, pitch_std=20.0),
]
TINY = {"width": 32, "encoder_layers": 1, "decoder_layers": 1, "feedforward_width": 48, "predictor_width": 32}


def make(voices=VOICES, **changes):
    """A toy FastPitch from the shipped YAML."""
    torch.manual_seed(0)
    cfg = OmegaConf.merge(
        OmegaConf.load(conf_dir() / "model/fastpitch.yaml"),
        OmegaConf.load(conf_dir() / "model/size/fastpitch_tiny.yaml"),
        TINY,
    )
    cfg.mel = dataclasses.asdict(MelSpec())
    cfg.text = dataclasses.asdict(TextFrontend(TextConfig(alphabet="chars", g2p="graphemes", normalize=False)).config)
    cfg.voices = [dataclasses.asdict(v) for v in voices]
    return FastPitch(OmegaConf.merge(cfg, changes))


def make_batch(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    token_lens, mel_lens = torch.tensor([12, 7, 9]), torch.tensor([80, 40, 61])
    inside = torch.arange(12)[None] < token_lens[:, None]
    frames = (torch.arange(80)[None] < mel_lens[:, None]).float()
    size = len(model.vocab.tokens)
    return Batch(
        ids=["a", "b", "c"],
        tokens=torch.randint(0, size - 1, (3, 12), generator=generator)
        .add(1)
        .where(torch.randint(0, size - 1, (3, 12), generator=generator).add(1) != model.vocab.pad, torch.tensor(0))
        * inside
        + model.vocab.pad * ~inside,
        token_lens=token_lens,
        mel=(torch.randn(3, 80, 80, generator=generator) - 4) * frames[:, None],
        mel_lens=mel_lens,
        pitch_normalized=torch.randn(3, 80, generator=generator) * frames,
        energy=torch.rand(3, 80, generator=generator) * frames,
        attn_prior=torch.rand(3, 80, 12, generator=generator),
        voice_ids=torch.tensor([0, 1, 0]) % len(model.voices),
    )


def test_predicted_mel_has_the_durations_frames_and_finite_values():
    model = make().eval()
    batch = make_batch(model)
    voice = torch.stack([model.voice_vector("ada")] * 3)
    out = model.predict_mel(batch.tokens, batch.token_lens, voice)
    assert out.mel.shape == (3, 80, int(out.mel_lens.max()))
    assert torch.equal(out.durations.sum(1), out.mel_lens)
    assert torch.isfinite(out.mel).all()
    padding = torch.arange(12)[None] >= batch.token_lens[:, None]
    assert (out.durations[padding] == 0).all()


def test_the_loss_of_a_validation_is_the_sum_of_what_does_not_grow_with_training(monkeypatch):
    """Binarisation sets in late, styles are told beside it, and the L1 of the mel is for people."""
    model, told = make().eval(), {}
    batch = make_batch(model)
    monkeypatch.setattr("nemo_ext.models.acoustic.fastpitch.log_validation", lambda _, losses, __: told.update(losses))
    model.validation_step(batch, 0)
    losses, _, _ = model.learn(batch)
    losses = fastpitch_parts.in_proportion(losses, batch)
    assert losses["bin"].item() > 0.01
    counted = sum(losses[name] for name in ("mel", "duration", "pitch", "energy", "align") if name in losses)
    assert torch.allclose(told["loss"], counted, rtol=1e-4)


def test_voices_mixed_in_a_batch_do_not_touch_each_other():
    """Texts of one length: NeMo's convolutions see beyond the end of a shorter one by two tokens."""
    model = make().eval()
    tokens = make_batch(model).tokens[:1].repeat(3, 1)
    lens = torch.tensor([12, 12, 12])
    voice = torch.stack([model.voice_vector(name) for name in ("ada", "ben", "ada")])
    together = model.predict_mel(tokens, lens, voice)
    for b in range(3):
        alone = model.predict_mel(tokens[:1], lens[:1], voice[b : b + 1])
        assert torch.equal(alone.durations[0], together.durations[b])
        frames = alone.mel.shape[2]
        if frames == together.mel.shape[2]:
            assert torch.allclose(alone.mel[0], together.mel[b], atol=1e-5)


def test_every_parameter_gets_a_finite_gradient():
    model = make()
    losses, _, _ = model.learn(make_batch(model))
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_what_stands_in_the_padding_changes_no_loss():
    model = make().eval()
    batch = make_batch(model)
    inside = torch.arange(80)[None] < batch.mel_lens[:, None]
    with torch.no_grad():
        before, _, _ = model.learn(batch)
    batch.mel = torch.where(inside[:, None], batch.mel, torch.tensor(-11.5))
    batch.energy = torch.where(inside, batch.energy, torch.tensor(5.0))
    batch.pitch_normalized = torch.where(inside, batch.pitch_normalized, torch.tensor(3.0))
    with torch.no_grad():
        after, _, _ = model.learn(batch)
    for name in ("mel", "duration", "pitch", "energy"):
        assert float(after[name]) == pytest.approx(float(before[name]), rel=1e-3), name


def test_one_utterance_overfits_with_its_own_durations_and_pitch(espeak_corpus):
    """The whole path from a recording to the loss: mel L1 (natural log) below 0.15."""
    from nemo_ext.corpus.manifest import load_corpus
    from nemo_ext.data.features import FeatureStore
    from nemo_ext.data.loaders import acoustic_loaders
    from nemo_ext.data.prepare import base_voices, prepare

    corpus = load_corpus(espeak_corpus)
    corpus.train = sorted(corpus.train, key=lambda u: u.duration)[:1]
    store = FeatureStore(corpus.dir)
    prepare(corpus.utterances, store, 1)
    frontend = TextFrontend(TextConfig())
    voices = base_voices(corpus.utterances, store)
    loader, _ = acoustic_loaders(corpus, frontend, voices, store, frames_per_batch=1)
    batch = next(iter(loader))
    model = make(voices, text=dataclasses.asdict(frontend.config), width=96, feedforward_width=192)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=400)
    for _ in range(400):
        losses, mel, _ = model.learn(batch)
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    error = float((mel.detach() - batch.mel).abs().mean())
    assert error < 0.15, error


def test_the_voice_vector_changes_the_speech():
    model = make().eval()
    batch = make_batch(model)
    ada, ben = (
        model.predict_mel(batch.tokens, batch.token_lens, torch.stack([model.voice_vector(name)] * 3))
        for name in ("ada", "ben")
    )
    assert ada.mel.shape != ben.mel.shape or not torch.allclose(ada.mel, ben.mel, atol=1e-3)


def test_pitch_shift_is_a_factor_in_hz_and_pace_a_factor_in_frames():
    model = make().eval()
    batch = make_batch(model)
    voice = torch.stack([model.voice_vector("ada")] * 3)
    stats = torch.tensor([[200.0, 30.0]] * 3)
    plain = model.predict_mel(batch.tokens, batch.token_lens, voice, pitch_stats=stats)
    octave = model.predict_mel(batch.tokens, batch.token_lens, voice, pitch_stats=stats, pitch_shift=12.0)
    assert torch.allclose(octave.pitch, 2 * plain.pitch, rtol=1e-4)
    slow = model.predict_mel(batch.tokens, batch.token_lens, voice, pace=0.5)
    assert torch.allclose(slow.mel_lens.float(), 2.0 * plain.mel_lens, rtol=0.2)
    with pytest.raises(NemoExtError, match="pitch in Hz"):
        model.predict_mel(batch.tokens, batch.token_lens, voice, pitch_shift=1.0)


def test_a_shift_and_a_range_of_the_pitch_are_kept_together():
    model = make().eval()
    batch = make_batch(model)
    voice, stats = torch.stack([model.voice_vector("ada")] * 3), torch.tensor([[200.0, 30.0]] * 3)
    asked = {"pitch_stats": stats, "pitch_shift": 12.0, "pitch_range": 0.25}
    plain, both = (
        model.predict_mel(batch.tokens, batch.token_lens, voice, **x) for x in ({"pitch_stats": stats}, asked)
    )
    spoken = plain.pitch > 0
    expected = 2 * (200.0 + 0.25 * (plain.pitch - 200.0))
    torch.testing.assert_close(both.pitch[spoken], expected[spoken], rtol=1e-4, atol=1e-2)


def test_energy_is_asked_for_in_decibels_of_the_energy_itself():
    model = make().eval()
    batch, heard = make_batch(model), []
    voice = torch.stack([model.voice_vector("ada")] * 3)
    model.fastpitch.energy_emb.register_forward_pre_hook(lambda _, inputs: heard.append(torch.expm1(inputs[0])))
    for asked in (0.0, 20.0):
        model.predict_mel(batch.tokens, batch.token_lens, voice, energy=asked)
    torch.testing.assert_close(heard[1], 10 * heard[0].clamp(min=0.0), rtol=1e-3, atol=1e-5)
    assert (heard[0] > 1e-3).any()


def test_an_alignment_does_not_see_the_condition_of_the_padding():
    model = make().eval()
    batch = make_batch(model)
    mask = torch.arange(12)[None] < batch.token_lens[:, None]
    condition = torch.randn(3, 1, model.cfg.symbols_embedding_dim)
    together = model.align(batch, mask, condition).attention
    for row, (tokens, frames) in enumerate(zip(batch.token_lens.tolist(), batch.mel_lens.tolist(), strict=True)):
        one = slice(row, row + 1)
        alone = dataclasses.replace(
            batch,
            tokens=batch.tokens[one, :tokens],
            token_lens=batch.token_lens[one],
            mel=batch.mel[one, :, :frames],
            mel_lens=batch.mel_lens[one],
            attn_prior=batch.attn_prior[one, :frames, :tokens],
        )
        own = model.align(alone, mask[one, :tokens], condition[one]).attention
        torch.testing.assert_close(together[one, :frames, :tokens], own, atol=1e-5, rtol=1e-4)


def test_the_sharpening_of_the_alignment_sets_in_late_and_slowly():
    model = make(losses={"bin": 0.8, "bin_from_step": 100, "bin_warmup_steps": 50})
    assert [model._bin_weight(step) for step in (0, 100, 125, 150, 9000)] == pytest.approx([0.0, 0.0, 0.4, 0.8, 0.8])


def test_unknown_voice_names_the_nearest():
    with pytest.raises(NemoExtError, match="unknown voice 'Ada'; did you mean 'ada'"):
        make().voice_vector("Ada")


def test_one_voice_is_a_vector_too():
    model = make(VOICES[:1])
    assert model.voice_vector("ada").shape == (32,)


def test_nemo_round_trip_is_exact_through_ours_and_through_modelpt(tmp_path):
    from nemo.core.classes import ModelPT

    model = make().eval()
    batch = make_batch(model)
    path = _nemo.save(model, tmp_path / "model.nemo")
    assert [p.name for p in tmp_path.iterdir()] == ["model.nemo"]
    for restored in (_nemo.restore(path), ModelPT.restore_from(str(path), map_location="cpu").eval()):
        assert type(restored) is FastPitch
        assert restored.voices == model.voices
        assert restored.mel_spec == model.mel_spec
        assert restored.frontend.fingerprint() == model.frontend.fingerprint()
        voice = torch.stack([model.voice_vector("ben")] * 3)
        before = model.predict_mel(batch.tokens, batch.token_lens, voice).mel
        assert torch.equal(before, restored.predict_mel(batch.tokens, batch.token_lens, voice).mel)


def stock_model(n_speakers=1, **changes):
    """A FastPitch of stock NeMo 3, made with stock classes only."""
    from nemo.collections.tts.models import FastPitchModel

    transformer = "nemo.collections.tts.modules.transformer.FFTransformer"
    sizes = {
        "n_layer": 1,
        "n_head": 1,
        "d_model": 32,
        "d_head": 16,
        "d_inner": 48,
        "kernel_size": 3,
        "dropout": 0.1,
        "dropatt": 0.1,
    }
    predictor = {
        "_target_": "nemo.collections.tts.modules.fastpitch.TemporalPredictor",
        "input_size": 32,
        "filter_size": 32,
        "kernel_size": 3,
        "dropout": 0.1,
    }
    torch.manual_seed(1)
    cfg = {
        "learn_alignment": True,
        "n_speakers": n_speakers,
        "symbols_embedding_dim": 32,
        "n_mel_channels": 80,
        "max_token_duration": 75,
        "pitch_embedding_kernel_size": 3,
        "energy_embedding_kernel_size": 3,
        "speaker_emb_condition_prosody": n_speakers > 1,
        "speaker_emb_condition_decoder": n_speakers > 1,
        "speaker_emb_condition_aligner": n_speakers > 1,
        "train_ds": {
            "dataset": {
                "_target_": "nemo.collections.tts.data.dataset.TTSDataset",
                "pitch_mean": 212.0,
                "pitch_std": 68.0,
            },
            "defer_setup": True,
        },
        "text_tokenizer": {
            "_target_": "nemo.collections.common.tokenizers.text_to_speech.tts_tokenizers.EnglishCharsTokenizer"
        },
        "preprocessor": {
            "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
            "sample_rate": 22050,
            "features": 80,
            "n_fft": 1024,
            "n_window_size": 1024,
            "window_size": None,
            "n_window_stride": 256,
            "window_stride": None,
            "lowfreq": 0,
            "highfreq": 8000,
            "mag_power": 1.0,
            "normalize": None,
            "log_zero_guard_value": 1e-5,
        },
        "alignment_module": {
            "_target_": "nemo.collections.tts.modules.aligner.AlignmentEncoder",
            "n_text_channels": 32,
        },
        "input_fft": {"_target_": f"{transformer}Encoder", "d_embed": 32, **sizes},
        "output_fft": {"_target_": f"{transformer}Decoder", **sizes},
        "duration_predictor": predictor,
        "pitch_predictor": predictor,
        "energy_predictor": predictor,
    }
    return FastPitchModel(OmegaConf.create({**cfg, **changes})).eval()


@pytest.mark.parametrize("n_speakers", [1, 3])
@pytest.mark.parametrize("energy", [True, False])
def test_a_stock_checkpoint_speaks_the_same_mel(tmp_path, n_speakers, energy):
    stock = stock_model(n_speakers, **({} if energy else {"energy_predictor": None}))
    # an untrained duration predictor says about 0 frames a token: make every token last
    torch.nn.init.constant_(stock.fastpitch.duration_predictor.fc.bias, 1.5)
    stock.save_to(str(tmp_path / "stock.nemo"))
    ours = _nemo.restore(tmp_path / "stock.nemo")
    assert type(ours) is FastPitch
    assert ours.mel_spec == MelSpec()
    assert len(ours.voices) == n_speakers
    assert ours.voices[0].pitch_mean == 212.0
    tokens = ours.frontend.encode("the same mel as before").ids
    tokens = torch.from_numpy(tokens)[None]
    for speaker, voice in enumerate(ours.voices):
        with torch.inference_mode():
            expected = stock.generate_spectrogram(tokens=tokens, speaker=speaker if n_speakers > 1 else None)
            through_stock_api = ours.generate_spectrogram(tokens=tokens, speaker=speaker if n_speakers > 1 else None)
        out = ours.predict_mel(tokens, torch.tensor([tokens.shape[1]]), ours.voice_vector(voice.name)[None])
        assert out.mel.shape == expected.shape
        assert (out.mel - expected).abs().max() <= 1e-5
        assert (through_stock_api - expected).abs().max() <= 1e-5


def test_a_checkpoint_that_names_foreign_code_is_refused_before_anything_is_built(tmp_path):
    path = _nemo.save(make(), tmp_path / "model.nemo")
    folder = tmp_path / "unpacked"
    with tarfile.open(path) as tar:
        tar.extractall(folder, filter="data")
    config = (folder / "model_config.yaml").read_text()
    marker = tmp_path / "ran"
    for changed, named in (
        (config.replace("nemo.collections.tts.modules.aligner.AlignmentEncoder", "os.system"), "os.system"),
        (config.replace("nemo_ext.models.acoustic.fastpitch.FastPitch", "subprocess.Popen"), "subprocess.Popen"),
        (
            config.replace("nemo_ext.models.acoustic.fastpitch.FastPitch", "nemo_ext.text.frontend.TextFrontend"),
            "Front",
        ),
    ):
        assert changed != config
        (folder / "model_config.yaml").write_text(changed)
        with tarfile.open(tmp_path / "evil.nemo", "w:") as tar:
            tar.add(folder, arcname=".")
        with pytest.raises(NemoExtError, match=named) as raised:
            _nemo.restore(tmp_path / "evil.nemo")
        assert "allow-list" in str(raised.value)
        assert "\n" not in str(raised.value)
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"not an archive at all", b"\x1f\x8b\x08broken"])
def test_a_damaged_file_is_one_clear_line(tmp_path, content):
    path = tmp_path / "model.nemo"
    path.write_bytes(content)
    with pytest.raises(NemoExtError, match="cannot be restored") as raised:
        _nemo.restore(path)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named():
    with pytest.raises(NemoExtError, match=r"no model at .*/nowhere\.nemo"):
        _nemo.restore(Path("nowhere.nemo"))


def test_the_hash_of_a_voices_base_is_over_every_weight_that_speaks():
    """One changed value anywhere in what inference uses is another base; the aligner and the voices' table are not."""
    model = make(voice_adapters={"kind": "shared"}).eval()
    own = model.weights_hash()
    for name, parameter in model.named_parameters():
        at = (0,) * parameter.dim()
        kept = parameter[at].item()
        with torch.no_grad():
            parameter[at] += 0.25
            changed = model.weights_hash() != own
            parameter[at] = kept
        of_training = name.startswith(("aligner.", "fastpitch.aligner.", "fastpitch.speaker_emb."))
        assert changed != of_training, name
    assert model.weights_hash() == own


def test_every_loss_is_what_stock_computes_on_the_same_batch_and_weights():
    """Stock's own forward and losses, on one utterance without padding."""
    from nemo.core.classes.common import typecheck

    model = make(losses={"mel": 1.0, "duration": 0.1, "pitch": 0.1, "energy": 0.1, "align": 1.0, "bin": 1.0}).eval()
    whole = make_batch(model)
    batch = dataclasses.replace(
        whole,
        **{f: getattr(whole, f)[:1] for f in ("tokens", "token_lens", "mel", "mel_lens", "pitch_normalized", "energy")},
        **{f: getattr(whole, f)[:1] for f in ("attn_prior", "voice_ids")},
        ids=whole.ids[:1],
    )
    with torch.no_grad(), typecheck.disable_checks():
        ours, _, _ = model.learn(batch)
        (mel, _, _, log_durations, pitch_predicted, _, attention, _, hard, pitch, energy_predicted, energy) = (
            model.fastpitch(
                text=batch.tokens,
                pitch=batch.pitch_normalized,
                energy=batch.energy,
                speaker=batch.voice_ids,
                spec=batch.mel,
                attn_prior=batch.attn_prior,
                mel_lens=batch.mel_lens,
                input_lens=batch.token_lens,
            )[:12]
        )
        lens = batch.token_lens
        theirs = {
            "mel": model.mel_loss_fn(spect_predicted=mel, spect_tgt=batch.mel),
            "duration": model.duration_loss_fn(log_durs_predicted=log_durations, durs_tgt=hard, len=lens),
            "pitch": model.pitch_loss_fn(pitch_predicted=pitch_predicted, pitch_tgt=pitch, len=lens),
            "energy": model.energy_loss_fn(energy_predicted=energy_predicted, energy_tgt=energy, length=lens),
            "align": model.forward_sum_loss_fn(attn_logprob=attention, in_lens=lens, out_lens=batch.mel_lens),
        }
    for name, value in theirs.items():
        assert float(ours[name]) == pytest.approx(float(value), rel=1e-4), name
