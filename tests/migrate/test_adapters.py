"""Adapters of stock NeMo and the voice files they become sound the same."""

import numpy as np
import pytest
import torch

from nemo_ext import _nemo, voices
from nemo_ext.errors import NemoExtError
from nemo_ext.migrate.adapter_file import read_adapters
from nemo_ext.synthesis.casting import Cast
from tests.migrate.conftest import aged, open_nemo, pack_nemo
from tests.migrate.test_migrate import run

TEXT = "Hello world, hello."


@pytest.fixture
def adapted(release, tmp_path):
    """``adapted(speakers, *adapters)``: a stock FastPitch with adapters, its checkpoint, and theirs in a file."""

    def make(speakers, *adapters):
        config = release.fastpitch_config(tmp_path, speakers=speakers)
        base = release.make_fastpitch(config)
        base.save_to(str(tmp_path / "base.nemo"))
        model = release.make_fastpitch(release.with_adapter_support(config))
        for adapter in adapters:
            release.add_adapter(model, *adapter)
        model.save_to(str(tmp_path / "old.nemo"))
        model.save_adapters(str(tmp_path / "adapters.pt"))
        return model, aged(tmp_path / "old.nemo", "1.23.0")

    return make


def worst(stock, ours, cast, names, speaker=None):
    """Largest difference between a stock model with one adapter on and ours with its voice, over ``names``."""
    tokens = stock.parse(TEXT, normalize=False)
    lens = torch.tensor([tokens.shape[1]])
    found, apart_from_base = 0.0, []
    base = ours.predict_mel(tokens, lens, ours.voice_vector(f"speaker_{speaker or 0}")[None]).mel
    for name in names:
        stock.set_enabled_adapters(enabled=False)
        stock.set_enabled_adapters(name=name, enabled=True)
        with torch.no_grad():
            given = None if speaker is None else torch.tensor([speaker])
            theirs = stock.generate_spectrogram(tokens=tokens, speaker=given)
        mel = ours.predict_mel(tokens, lens, torch.from_numpy(cast.find(name).vector)[None]).mel
        assert mel.shape == theirs.shape
        found = max(found, float((mel - theirs).abs().max()))
        apart_from_base.append(mel.shape != base.shape or float((mel - base).abs().max()) > 0.01)
    assert all(apart_from_base)
    return found


def test_adapters_in_the_checkpoint_become_voices_that_sound_the_same(adapted, release):
    """Two of them, in different parts and of different width; the aligner's is named."""
    stock, path = adapted(3, (f"{release.EVERYWHERE}:anna", 12), ("encoder+pitch_predictor:ben", 7))
    made = run(path, "speaker=speaker_2", "consent=Anna; 2026-05-01; tests")
    assert sorted(p.name for p in made.voices) == ["anna.voice", "ben.voice"]
    ours = _nemo.restore(made.out)
    cast = Cast(ours, made.voices[0].parent)
    assert worst(stock, ours, cast, ["anna", "ben"], speaker=2) <= 1e-5
    assert any("'anna' in the aligner" in line for line in made.dropped)
    assert not any("'ben'" in line for line in made.dropped)
    anna = voices.load(made.voices[0])
    assert (anna.pitch_mean, anna.provenance.made_by, anna.provenance.consent.who) == (212.35, "migrated", "Anna")
    assert "speaker_2" in anna.provenance.source


def test_the_base_voice_is_the_checkpoint_with_its_adapters_off(adapted):
    stock, path = adapted(1, ("decoder:anna", 12))
    ours = _nemo.restore(run(path).out)
    stock.set_enabled_adapters(enabled=False)
    tokens = stock.parse(TEXT, normalize=False)
    with torch.no_grad():
        theirs = stock.generate_spectrogram(tokens=tokens)
    voice = ours.voice_vector("speaker_0")[None]
    assert float((ours.predict_mel(tokens, torch.tensor([tokens.shape[1]]), voice).mel - theirs).abs().max()) <= 1e-5


@pytest.mark.parametrize("norm_position", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "hardtanh"])
def test_a_file_of_save_adapters_sounds_the_same(adapted, norm_position, activation):
    """In NeMo's default parts, given beside a checkpoint that has none."""
    stock, path = adapted(1, ("anna", 16, activation, norm_position))
    file = path.with_name("adapters.pt")
    made = run(path.with_name("base.nemo"), f"adapters={file}", f"voices={path.parent / 'spoken'}")
    ours = _nemo.restore(made.out)
    assert made.voices == [path.parent / "spoken/anna.voice"]
    assert ours.voice_adapters.config.parts == ["decoder", "duration_predictor", "pitch_predictor"]
    assert worst(stock, ours, Cast(ours, path.parent / "spoken"), ["anna"]) <= 1e-5


def test_adapters_of_another_kind_than_the_most_are_named(adapted):
    kinds = [("decoder:anna", 4), ("decoder:ben", 4), ("decoder:cleo", 4, "gelu", "post"), ("aligner:dora", 4)]
    _, path = adapted(1, *kinds)
    made = run(path)
    assert sorted(p.stem for p in made.voices) == ["anna", "ben"]
    assert any("'cleo'" in line and "gelu" in line for line in made.dropped)
    assert any("'dora'" in line and "aligner only" in line for line in made.dropped)


def test_an_adapter_that_is_no_linear_adapter_is_named(adapted):
    _, path = adapted(1, ("decoder:anna", 4))
    told, files = open_nemo(path)
    told["adapters"]["anna"]["_target_"] = "nemo.collections.asr.parts.submodules.adapters.Other"
    made = run(pack_nemo(path, told, files))
    assert made.voices == []
    assert any("'anna': it is a Other" in line for line in made.dropped)
    assert _nemo.restore(made.out).voice_adapters.config.kind == "shared"


def test_values_that_no_voice_file_holds_are_named(adapted):
    stock, path = adapted(1, ("decoder:anna", 4))
    with torch.no_grad():
        stock.fastpitch.decoder.layers[0].adapter_layer["anna"].module[1].weight.fill_(1000.0)
    stock.save_to(str(path))
    made = run(path)
    assert made.voices == []
    assert any("'anna'" in line and "beyond" in line for line in made.dropped)


def test_adapters_of_another_model_are_refused(adapted, release, tmp_path):
    _, path = adapted(1, ("decoder:anna", 4))
    config = release.fastpitch_config(tmp_path)
    config["output_fft"]["n_layer"] = 3
    release.make_fastpitch(config).save_to(str(tmp_path / "deep.nemo"))
    with pytest.raises(NemoExtError, match="weights for 2 places and this model has 3"):
        run(tmp_path / "deep.nemo", f"adapters={path.with_name('adapters.pt')}")
    assert not (tmp_path / "new.nemo").exists()


def test_what_is_read_of_an_adapter_file(adapted):
    _, path = adapted(1, ("encoder+decoder:anna", 5, "gelu"))
    states, settings = read_adapters(path.with_name("adapters.pt"))
    assert list(states) == ["encoder+decoder:anna"]
    assert len(states["encoder+decoder:anna"]) == 4
    assert settings["anna"]["activation"] == "gelu"
    assert settings["anna"]["dim"] == 5
    assert np.isfinite(states["encoder+decoder:anna"][0]["anna.module.1.weight"].numpy()).all()


def test_names_of_adapters_lead_to_no_other_folder(adapted):
    """A name is a stranger's text; NeMo takes slashes in it."""
    _, path = adapted(1, ("decoder:/up/anna", 4))
    made = run(path)
    assert [p.name for p in made.voices] == ["_up_anna.voice"]
    assert made.voices[0].parent == path.with_name("new-voices")
    with pytest.raises(NemoExtError, match="is there already"):
        run(
            path.rename(path.with_name("again.nemo")),
            f"out={path.with_name('second.nemo')}",
            f"voices={made.voices[0].parent}",
        )
    assert not path.with_name("second.nemo").exists()


def test_a_file_in_the_place_of_the_voices_is_refused_before_anything_is_written(adapted, tmp_path):
    _, path = adapted(1, ("decoder:anna", 4))
    (tmp_path / "voices").write_text("")
    with pytest.raises(NemoExtError, match="is no folder"):
        run(path, f"voices={tmp_path / 'voices'}")
    assert not (tmp_path / "new.nemo").exists()
