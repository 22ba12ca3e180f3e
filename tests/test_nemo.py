"""Models restored from files that anybody may have written: _nemo, allowed."""

import dataclasses
import io
import tarfile

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from nemo_ext import _nemo, nemo_archive
from nemo_ext.errors import NemoExtError
from nemo_ext.models.vocoder.hifigan import HifiGan
from nemo_ext.models.vocoder.vocos import Vocos
from nemo_ext.types import BaseVoice, MelSpec
from tests.models.acoustic.test_fastpitch import make

WRITES = "nemo.collections.asr.parts.utils.manifest_utils.write_manifest"  # a function that NeMo's own list admits
MEL = dataclasses.asdict(MelSpec())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """One tiny model of each kind, as files, by name."""
    folder = tmp_path_factory.mktemp("saved")
    models = {
        "fastpitch": make(voice_adapters={"kind": "shared"}, style={"tokens": 4, "size": 8, "heads": 2, "width": 8}),
        "hifigan": HifiGan(OmegaConf.create({"mel": MEL, "upsample_initial_channel": 32})),
        "vocos": Vocos(OmegaConf.create({"mel": MEL, "width": 16, "hidden_width": 16, "layers": 1})),
    }
    return {name: _nemo.save(model, folder / f"{name}.nemo") for name, model in models.items()}


def changed(path, out, change, files=None):
    """The file at ``path`` with its configuration put through ``change``, written to ``out``."""
    with tarfile.open(path) as archive:
        held = {m.name.removeprefix("./"): archive.extractfile(m).read() for m in archive if m.isfile()}
    config = yaml.safe_load(held["model_config.yaml"])
    change(config)
    held["model_config.yaml"] = yaml.safe_dump(config).encode()
    with tarfile.open(out, "w") as archive:
        for name, content in {**held, **(files or {})}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out


def put(config, key, value):
    *parents, last = key.split(".")
    for name in parents:
        config = config.setdefault(name, {})
    config[last] = value


def refused(path, key, value, out, why):
    changed(path, out, lambda config: put(config, key, value))
    with pytest.raises(NemoExtError, match=why) as raised:
        _nemo.restore(out)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["fastpitch", "hifigan", "vocos"])
def test_a_model_comes_back_bit_by_bit(saved, kind, tmp_path):
    first = _nemo.restore(saved[kind])
    again = _nemo.restore(_nemo.save(first, tmp_path / "again.nemo"))
    assert type(again) is type(first)
    assert not again.training
    assert first.state_dict().keys() == again.state_dict().keys()
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in first.state_dict().items())
    assert again.origin == f"{tmp_path.name}/again.nemo"


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("fastpitch", part)
        for part in ("preprocessor", "input_fft", "alignment_module", "pitch_predictor", "text_tokenizer", "optim",
                     "text_normalizer", "speaker_encoder", "train_ds", "losses.x", "text.lexicon", "style.x")
    ]
    + [(kind, part) for kind in ("hifigan", "vocos") for part in ("preprocessor", "generator", "optim", "x")],
)  # fmt: skip
def test_no_function_is_called_wherever_it_is_named(saved, tmp_path, kind, part):
    wrote = tmp_path / "wrote"
    call = {"_target_": WRITES, "output_path": str(wrote), "target_manifest": [{"a": 1}], "_convert_": "all"}
    for value in (call, {**call, "_partial_": True}, {"x": [call]}):
        refused(saved[kind], part, value, tmp_path / "evil.nemo", "outside the allow-list|steers what is called")
    assert not wrote.exists()


def test_a_class_of_another_part_is_refused(saved, tmp_path):
    other = "nemo.collections.tts.modules.transformer.FFTransformerDecoder"
    refused(
        saved["fastpitch"], "input_fft._target_", other, tmp_path / "evil.nemo", r"FFTransformerDecoder' \(input_fft"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("text.lexicon", "FILE"),
        ("text_normalizer", {"_target_": "nemo_text_processing.text_normalization.normalize.Normalizer",
                             "whitelist": "FILE", "lang": "en", "input_case": "cased"}),
        ("text_tokenizer", {"_target_": "nemo.collections.common.tokenizers.text_to_speech.tts_tokenizers.IPATokenizer",
                            "g2p": {"_target_": "nemo.collections.tts.g2p.models.i18n_ipa.IpaG2p",
                                    "phoneme_dict": "FILE"}}),
    ],
)  # fmt: skip
def test_no_file_outside_the_archive_is_read(saved, tmp_path, key, value):
    secret = tmp_path / "secret.txt"
    secret.write_text("HELLO  S EH1 K R IH0 T\n")
    value = yaml.safe_load(yaml.safe_dump(value).replace("FILE", str(secret)))
    refused(saved["fastpitch"], key, value, tmp_path / "evil.nemo", "not in the archive|which is not read")


def test_paths_of_the_machine_that_wrote_it_are_left_out():
    from nemo_ext import allowed

    named = {"_target_": "nemo_text_processing.text_normalization.normalize.Normalizer", "lang": "en"}
    there = {"cache_dir": "/anywhere", "overwrite_cache": True, "lm": "/anywhere/else"}
    kept, files = allowed.checked({"text_normalizer": {**named, **there}}, allowed.FASTPITCH, "it")
    assert kept == {"text_normalizer": named}
    assert files == {}


@pytest.mark.slow  # the normalizer makes its grammars
def test_a_cache_folder_of_another_machine_is_not_made(saved, tmp_path):
    def ask(config):
        config.pop("voices")  # a stock checkpoint: ours has no normalizer of NeMo's
        config["text_normalizer"] = {
            "_target_": "nemo_text_processing.text_normalization.normalize.Normalizer",
            "lang": "en", "input_case": "cased", "cache_dir": str(tmp_path / "cache"), "overwrite_cache": True,
        }  # fmt: skip

    changed(saved["fastpitch"], tmp_path / "evil.nemo", ask)
    assert _nemo.restore(tmp_path / "evil.nemo").normalizer is not None
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("fastpitch", "input_fft.n_layer", 10**9),
        ("fastpitch", "output_fft.d_inner", 2**30),
        ("fastpitch", "n_speakers", 2**30),
        ("fastpitch", "pitch_predictor.n_layers", 10**8),
        ("fastpitch", "alignment_module.n_att_channels", 2**30),
        ("fastpitch", "symbols_embedding_dim", 2**30),
        ("fastpitch", "voice_adapters.rank", 10**9),
        ("fastpitch", "mel.n_mels", 10**9),
        ("fastpitch", "preprocessor.n_fft", 2**30),
        ("hifigan", "upsample_initial_channel", 2**30),
        ("hifigan", "upsample_rates", [8] * 1000),
        ("vocos", "layers", 10**9),
        ("vocos", "mel.n_fft", 2**30),
        ("vocos", "mel.hop_length", 0),
    ],
)
def test_sizes_are_not_believed(saved, tmp_path, kind, key, value):
    refused(saved[kind], key, value, tmp_path / "evil.nemo", "evil.nemo")


@pytest.mark.parametrize("key", ["x", "optim.x", "input_fft.x", "voices", "text.lexicon_entries", "voice_adapters.x"])
def test_more_values_than_a_model_has_are_refused_before_any_is_made(saved, tmp_path, key, monkeypatch):
    """OmegaConf takes a second for a few thousand values, and NeMo hands them to it several times."""
    monkeypatch.setattr(_nemo, "build", None)
    refused(saved["fastpitch"], key, list(range(45_000)), tmp_path / "evil.nemo", r"more than the \d+ that a model has")


def test_all_voices_and_the_lexicon_come_back(tmp_path):
    """Of which the model that is made to see its size has one, and none."""
    model = make(voices=[BaseVoice(f"v{i}", "en", 200.0, 30.0) for i in range(20)])
    model.cfg.text.lexicon_entries = {"qux": "kwux"}
    restored = _nemo.restore(_nemo.save(model, tmp_path / "many.nemo"))
    assert [voice.name for voice in restored.voices] == [f"v{i}" for i in range(20)]
    assert restored.cfg.text.lexicon_entries == {"qux": "kwux"}


def test_weights_of_another_model_are_refused(saved, tmp_path):
    with tarfile.open(saved["vocos"]) as archive:
        other = next(archive.extractfile(m).read() for m in archive if m.name.endswith(nemo_archive.WEIGHTS))
    path = changed(saved["hifigan"], tmp_path / "mixed.nemo", lambda _: None, {nemo_archive.WEIGHTS: other})
    with pytest.raises(NemoExtError, match=r"do not fit its configuration|larger model than its weights"):
        _nemo.restore(path)


@pytest.mark.parametrize("target", ["os.system", "nemo.collections.asr.models.EncDecCTCModel", "${oc.env:H}", 5, None])
def test_a_model_that_is_none_of_ours_is_refused(saved, tmp_path, target):
    refused(saved["vocos"], "target", target, tmp_path / "evil.nemo", "allow-list|function to be called")


@pytest.mark.parametrize("tag", ["pairs", "omap"])
@pytest.mark.parametrize("part", ["input_fft", "preprocessor", "optim"])
def test_pairs_are_not_looked_into_by_others(saved, tmp_path, tag, part):
    """OmegaConf takes tuples for lists, and NeMo would call what is named in them."""
    wrote = tmp_path / "wrote"
    with tarfile.open(saved["fastpitch"]) as archive:
        text = next(archive.extractfile(m).read() for m in archive if m.name.endswith("model_config.yaml")).decode()
    config = yaml.safe_load(text)
    config[part] = {**(config.get(part) or {}), "zz": "HERE"}
    call = f"{{_target_: {WRITES}, output_path: {wrote}, target_manifest: [{{a: 1}}]}}"
    evil = yaml.safe_dump(config).replace("zz: HERE", f"zz: !!{tag} [a: {call}]").encode()
    path = changed(saved["fastpitch"], tmp_path / "evil.nemo", lambda _: None, {"model_config.yaml": evil})
    with pytest.raises(NemoExtError, match="holds a tuple"):
        _nemo.restore(path)
    assert not wrote.exists()


def test_tuples_in_a_configuration_are_searched_for_classes():
    from nemo_ext import allowed

    with pytest.raises(NemoExtError, match="outside the allow-list"):
        allowed.checked({"x": (("a", {"_target_": WRITES}),)}, allowed.VOCOS, "it")
