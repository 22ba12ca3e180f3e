"""A migrated checkpoint sounds as it did: FastPitch and HiFi-GAN, and what is said of what stays behind."""

import json
import tempfile

import numpy as np
import pytest
import torch
from nemo.core.classes import ModelPT

from nemo_ext import _nemo, config, nemo_archive
from nemo_ext.cli import main
from nemo_ext.errors import NemoExtError
from nemo_ext.migrate import translate
from nemo_ext.migrate.run import migrate
from nemo_ext.models.acoustic.fastpitch import FastPitch
from nemo_ext.modules.generators import fold_weight_norm, hifigan_generator
from nemo_ext.types import Batch, MelSpec
from tests.migrate.conftest import as_bytes, open_nemo, pack_nemo, weights_of


def run(source, *options):
    """`nemo-ext migrate SOURCE out=new.nemo ...`, the new file beside the old one."""
    out = source.with_name("new.nemo")
    return migrate(config.compose("migrate", [str(source), f"out={out}", *options]))


def mels(stock, ours, text="Hello world, hello.", speakers=(None,)):
    """Largest difference of the mels that a stock model and ours speak ``text`` with."""
    tokens = stock.parse(text, normalize=False)
    assert np.array_equal(ours.frontend.encode(text, normalized=text).ids, tokens[0].numpy())
    largest = 0.0
    for speaker in speakers:
        with torch.no_grad():
            given = None if speaker is None else torch.tensor([speaker])
            theirs = stock.generate_spectrogram(tokens=tokens, speaker=given)
        voice = ours.voice_vector(ours.voices[speaker or 0].name)[None]
        mel = ours.predict_mel(tokens, torch.tensor([tokens.shape[1]]), voice).mel
        assert mel.shape == theirs.shape
        largest = max(largest, float((mel - theirs).abs().max()))
    return largest


def test_an_old_fastpitch_speaks_the_same_mel_and_can_be_adapted(old):
    stock, path = old(speakers=3)
    made = run(path)
    ours = _nemo.restore(made.out)
    assert type(ours) is FastPitch
    assert type(ModelPT.restore_from(str(made.out), map_location="cpu")) is FastPitch
    assert mels(stock, ours, speakers=(0, 1, 2)) <= 1e-5
    assert made.version == "1.10.0"
    assert [v.name for v in ours.voices] == made.base_voices == ["speaker_0", "speaker_1", "speaker_2"]
    assert {(v.pitch_mean, v.pitch_std, v.language) for v in ours.voices} == {(212.35, 38.75, "en")}
    assert made.difference <= 1e-5
    assert ours.voice_adapters.config.kind == "shared"
    assert ours.voice_layout.size > stock.fastpitch.speaker_emb.embedding_dim
    assert "nemo_text_processing.g2p" not in str(ours.cfg)


@pytest.mark.parametrize(
    "settings",
    [
        {"alphabet": "ipa", "energy": False},
        {"alphabet": "ipa", "speakers": 3, "conditions": ["add", "layernorm"], "encoder": "lookup"},
        {"conditions": ["concat"], "encoder": "lookup"},
        {"conditions": ["add"], "encoder": "precomputed"},
        {"speakers": 3, "conditions": ["add"], "encoder": "style tokens"},
    ],
    ids=["ipa", "lookup add layernorm", "lookup concat", "precomputed", "style tokens"],
)
def test_ways_in_which_stock_knows_its_speakers(old, release, settings):
    kind = settings.pop("encoder", None)
    encoder = {
        "lookup": {"lookup_module": release.lookup(3)},
        "precomputed": {"precomputed_embedding_dim": release.WIDTH},
        "style tokens": {"lookup_module": release.lookup(3), "gst_module": release.style_tokens()},
    }.get(kind)
    stock, path = old(encoder=encoder, **settings)
    made = run(path)
    ours = _nemo.restore(made.out)
    speakers = (0, 1, 2) if "lookup_module" in (encoder or {}) else (None,)
    assert len(ours.voices) == len(speakers)
    assert mels(stock, ours, speakers=speakers) <= 1e-5
    assert any("style tokens" in line for line in made.dropped) == (kind == "style tokens")


def test_durations_given_by_hand_speak_but_do_not_learn(release, tmp_path):
    stock = release.make_fastpitch(release.without_aligner(tmp_path))
    stock.save_to(str(tmp_path / "old.nemo"))
    made = run(tmp_path / "old.nemo")
    assert mels(stock, _nemo.restore(made.out)) <= 1e-5
    assert any("no learned alignment" in line for line in made.dropped)


def test_the_normalizer_is_carried_but_not_where_it_should_write(old):
    """The real one takes half a minute to start, so only its settings are looked at."""
    _, path = old()
    told, files = open_nemo(path)
    normalizer = "nemo_text_processing.text_normalization.normalize.Normalizer"
    kept = {"_target_": normalizer, "lang": "en", "input_case": "cased"}
    told["text_normalizer"] = {**kept, "cache_dir": "/tmp/anywhere"}
    told["text_normalizer_call_kwargs"] = {"verbose": False, "punct_post_process": True}
    found = translate.fastpitch(nemo_archive.read(pack_nemo(path, told, files)))
    assert found.config["text_normalizer"] == kept
    assert found.config["text_normalizer_call_kwargs"]["punct_post_process"] is True
    assert "text_normalizer.cache_dir" in found.dropped


def test_the_same_file_gives_the_same_model(old):
    _, path = old()
    first = _nemo.restore(run(path).out).weights_hash()
    assert _nemo.restore(run(path, "overwrite=true").out).weights_hash() == first


def test_a_migrated_model_learns_a_voice(old):
    """Gradients reach the voice vector through the migrated model's own aligner."""
    _, path = old(speakers=3)
    ours = _nemo.restore(run(path).out)
    ids = torch.from_numpy(ours.frontend.encode("Hello world", normalized="Hello world").ids)[None]
    frames = 60
    batch = Batch(
        ids=["a"],
        tokens=ids,
        token_lens=torch.tensor([ids.shape[1]]),
        mel=torch.randn(1, 80, frames) - 4,
        mel_lens=torch.tensor([frames]),
        pitch_normalized=torch.randn(1, frames),
        energy=torch.rand(1, frames),
        attn_prior=torch.rand(1, frames, ids.shape[1]) + 0.1,
        voice_ids=torch.tensor([1]),
    )
    voice = ours.voice_vector("speaker_1")[None].requires_grad_()
    losses, _, _ = ours.learn(batch, voice=voice)
    torch.stack(list(losses.values())).sum().backward()
    embedding = ours.voice_layout.slots[0].size
    assert float(voice.grad[:, :embedding].abs().max()) > 0
    assert float(voice.grad[:, embedding:].abs().max()) > 0


def test_what_is_not_carried_is_named(old, capsys):
    _, path = old()
    told, files = open_nemo(path)
    told["text_tokenizer"]["long_gone"] = 3
    told["something_else"] = True
    run(pack_nemo(path, told, files))
    said = capsys.readouterr().out
    assert "text_tokenizer.long_gone" in said
    assert "something_else" in said
    assert "optim" in said
    assert "sup_data_path" in said


def test_speakers_get_the_names_of_a_file_or_of_the_checkpoint(old, tmp_path):
    _, path = old(speakers=3)
    names = tmp_path / "speakers.json"
    names.write_text(json.dumps({"cleo": 2, "ada": 0, "ben": 1}))
    made = run(path, f"speakers={names}", "pitch_mean=180", "pitch_std=25")
    ours = _nemo.restore(made.out)
    assert [v.name for v in ours.voices] == ["ada", "ben", "cleo"]
    assert {(v.pitch_mean, v.pitch_std) for v in ours.voices} == {(180.0, 25.0)}
    told, files = open_nemo(path)
    told["speaker_map"] = {"x": 0, "y": 1, "z": 2}
    made = run(pack_nemo(path, told, files), "overwrite=true")
    assert made.base_voices == ["x", "y", "z"]
    names.write_text(json.dumps({"ada": 0, "ben": 1}))
    with pytest.raises(NemoExtError, match=r"names 2 speakers.*the model has 3"):
        run(path, f"speakers={names}", "overwrite=true")


def test_a_missing_dictionary_is_asked_for_and_taken(old):
    stock, path = old()
    told, files = open_nemo(path)
    dictionary = next(name for name in files if name.endswith("arpabet.dict"))
    kept = path.with_name("dictionary.txt")
    kept.write_bytes(files.pop(dictionary))
    pack_nemo(path, told, files)
    with pytest.raises(NemoExtError, match=r"does not bring its phoneme_dict.*phoneme_dict="):
        run(path)
    assert mels(stock, _nemo.restore(run(path, f"phoneme_dict={kept}").out)) <= 1e-5


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_an_artifact_without_a_name_of_its_own_stays_in_the_folder(old, tmp_path, monkeypatch, name):
    stock, path = old()
    told, files = open_nemo(path)
    dictionary = next(name for name in files if name.endswith("arpabet.dict"))
    files[f"{'0' * 32}_{name}"] = files.pop(dictionary)
    told["text_tokenizer"]["g2p"]["phoneme_dict"] = f"nemo:{'0' * 32}_{name}"
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    assert mels(stock, _nemo.restore(run(pack_nemo(path, told, files)).out)) <= 1e-5
    assert [p.name for p in (tmp_path / "temporary").iterdir()] == []


@pytest.mark.parametrize(
    "option",
    [
        "adapters=a.pt",
        "voices=v",
        "speaker=ada",
        "speakers=s.json",
        "phoneme_dict=d.txt",
        "heteronyms=h.txt",
        "pitch_mean=200",
        "pitch_std=20",
        "consent=Anna; 2026-05-01; books",
    ],
)
def test_what_is_said_of_voices_is_refused_for_a_vocoder(hifigan, option):
    _, path = hifigan(2, "old")
    with pytest.raises(NemoExtError, match=rf"{option.partition('=')[0]}=.*: a vocoder has no voices and no text"):
        run(path, option)
    assert not path.with_name("new.nemo").exists()


@pytest.mark.parametrize("resblock", [1, 2])
@pytest.mark.parametrize("norm", ["old", "new", "removed"])
def test_an_old_hifigan_makes_the_same_audio(hifigan, resblock, norm):
    """Also with torch's newer names of the weight norm, and after an export that removed it."""
    generator, path = hifigan(resblock, norm)
    made = run(path)
    ours = _nemo.restore(made.out)
    mel = torch.randn(1, 80, 40) - 4
    with torch.no_grad():
        theirs = generator(x=mel)[:, 0]
    assert float(theirs.abs().max()) > 1e-3
    assert float((ours.decode(mel) - theirs.clamp(-1, 1)).abs().max()) <= 1e-5
    assert any("discriminators" in line for line in made.dropped)
    assert made.out.stat().st_size < 1 << 20


@pytest.fixture
def hifigan(release, tmp_path):
    """``hifigan(resblock, norm)``: a stock generator and a checkpoint as HifiGanModel writes it, less discriminators.

    Those are always full size, 280 MB, and are left behind anyway.
    """

    def make(resblock, norm):
        torch.manual_seed(3)
        told = release.hifigan_config(resblock, [1, 3, 5] if resblock == 1 else [1, 3])
        generator = hifigan_generator(MelSpec(), **{k: v for k, v in told["generator"].items() if k != "_target_"})
        generator.eval()
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        state = {f"generator.{k}": v for k, v in generator.state_dict().items()}
        if norm == "new":
            renamed = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
            state = {
                next((k.replace(a, b) for a, b in renamed.items() if k.endswith(a)), k): v for k, v in state.items()
            }
        if norm == "removed":
            fold_weight_norm(generator)
            state = {f"generator.{k}": v for k, v in generator.state_dict().items()}
        told |= {"target": "nemo.collections.tts.models.hifigan.HifiGanModel", "nemo_version": "1.8.2"}
        files = {"model_weights.ckpt": as_bytes({**state, "mpd.discriminators.0.bias": torch.zeros(1)})}
        return generator, pack_nemo(tmp_path / "old.nemo", told, files)

    return make


def test_the_command_line_takes_the_path_first(old, capsys):
    _, path = old()
    out = path.with_name("new.nemo")
    assert main(["migrate", str(path), f"out={out}"]) == 0
    assert "now ours" in capsys.readouterr().out
    assert main(["migrate", str(path), f"out={out}"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["migrate", f"source={path}", f"out={out}", "overwrite=true"]) == 0
    assert main(["migrate", str(path), str(out)]) == 2
    assert main(["migrate", str(out), f"out={path.with_name('again.nemo')}"]) == 1
    assert "one of ours already" in capsys.readouterr().err


def test_weights_of_another_model_are_refused(old):
    _, path = old()
    told, files = open_nemo(path)
    weights = weights_of(files)
    out = path.with_name("new.nemo")
    table = weights["fastpitch.encoder.word_emb.weight"]
    changes = {
        "was trained with": {"fastpitch.encoder.word_emb.weight": torch.cat([table, table])},
        "lacks fastpitch.proj.bias": {"fastpitch.proj.bias": None},
        "has fastpitch.extra": {"fastpitch.extra": torch.zeros(2)},
        "do not fit its configuration": {"fastpitch.proj.bias": torch.zeros(81)},
        "are not finite": {"fastpitch.proj.bias": torch.full((80,), float("nan"))},
        "would not sound as before": {"fastpitch.proj.weight": torch.full_like(weights["fastpitch.proj.weight"], 3e38)},
    }
    for message, change in changes.items():
        changed = {k: v for k, v in {**weights, **change}.items() if v is not None}
        pack_nemo(path, told, {**files, "model_weights.ckpt": as_bytes(changed)})
        with pytest.raises(NemoExtError, match=message):
            run(path)
        assert sorted(p.name for p in path.parent.iterdir() if "new" in p.name or p.name.startswith(".")) == []
        assert not out.exists()
