"""A file from a stranger runs nothing, writes nothing, and gets one clear line."""

import copy
import io
import os
import re
import tarfile

import pytest
import torch

from nemo_ext import nemo_archive
from nemo_ext.errors import NemoExtError
from nemo_ext.migrate import translate
from nemo_ext.migrate.adapter_file import read_adapters
from tests.migrate.conftest import aged, as_bytes, open_nemo, pack_nemo
from tests.migrate.test_migrate import run


class Bomb:
    """Unpickled, it would make a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture(scope="module")
def stock(release, tmp_path_factory):
    """The configuration and the other files of an old checkpoint."""
    folder = tmp_path_factory.mktemp("stock")
    release.make_fastpitch(release.fastpitch_config(folder)).save_to(str(folder / "old.nemo"))
    return open_nemo(aged(folder / "old.nemo"))


def refused(path, *options):
    """What is said of the checkpoint at ``path``; nothing may be written beside it."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(NemoExtError) as error:
        run(path, *options)
    assert sorted(path.parent.rglob("*")) == before
    return str(error.value)


def link(name, kind, target="/etc/passwd"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("vocabulary", link("vocabulary", tarfile.SYMTYPE)),
        ("vocabulary", link("vocabulary", tarfile.LNKTYPE)),
        ("pipe", link("pipe", tarfile.FIFOTYPE)),
        ("../../outside", b"x"),
    ],
    ids=["symbolic link", "hard link", "pipe", "outside"],
)
def test_members_that_no_nemo_writes_are_refused(stock, tmp_path, name, member):
    config, files = stock
    said = refused(pack_nemo(tmp_path / "old.nemo", config, {**files, name: member}))
    assert "which no NeMo writes" in said


def test_a_member_too_large_for_any_model_is_not_read(stock, tmp_path):
    config, files = stock
    path = pack_nemo(tmp_path / "old.nemo", config, files)
    header = tarfile.TarInfo("dictionary")
    header.size = 1 << 40
    with open(path, "r+b") as file:  # a header that claims a terabyte, before the end of the archive
        content = file.read().rstrip(b"\0")
        end = -(-len(content) // 512) * 512
        file.seek(end)
        file.truncate()
        file.write(header.tobuf(tarfile.GNU_FORMAT))
    assert "more than any model's" in refused(path)


@pytest.mark.parametrize(
    ("where", "target"),
    [
        (("text_tokenizer",), "os.system"),
        (("text_tokenizer", "g2p"), "subprocess.Popen"),
        (("input_fft",), "torch.hub.load"),
        (("text_normalizer",), "nemo.utils.model_utils.import_class_by_path"),
        (("preprocessor",), "nemo.collections.asr.modules.Other"),
    ],
)
def test_classes_that_a_fastpitch_does_not_have_are_refused(stock, tmp_path, where, target):
    config, files = copy.deepcopy(stock[0]), stock[1]
    owner = config
    for key in where:
        owner = owner.setdefault(key, {})
    owner["_target_"] = target
    assert f"names '{target}'" in refused(pack_nemo(tmp_path / "old.nemo", config, files))


def test_a_class_hidden_in_a_setting_is_refused(stock, tmp_path):
    g2p = {**stock[0]["text_tokenizer"]["g2p"], "apply_to_oov_word": {"_target_": "os.system", "command": "true"}}
    config = {**stock[0], "text_tokenizer": {**stock[0]["text_tokenizer"], "g2p": g2p}}
    assert "names a class at g2p.apply_to_oov_word" in refused(pack_nemo(tmp_path / "old.nemo", config, stock[1]))


@pytest.mark.parametrize(
    ("labels", "more"),
    [
        ("${oc.env:A_SECRET}", {}),
        ("${oc.${x}:A_SECRET}", {"x": "env"}),
        ("${${x}:A_SECRET}", {"x": "oc.env"}),
        ("${x}{oc.env:A_SECRET}", {"x": "$"}),
        ("${x}", {"x": "\\${oc.env:A_SECRET}"}),
    ],
    ids=["plain", "part of the name", "the whole name", "in two pieces", "escaped"],
)
def test_the_environment_is_not_read_into_a_configuration(stock, tmp_path, monkeypatch, labels, more):
    monkeypatch.setenv("A_SECRET", "nobody's business")
    config = {**stock[0], "labels": labels, **more}
    said = refused(pack_nemo(tmp_path / "old.nemo", config, stock[1]))
    assert "asks for a function" in said or "would be followed again" in said
    assert "nobody's business" not in said


def test_a_name_of_a_speaker_is_no_way_to_the_environment(stock, tmp_path):
    dataset = {**stock[0]["train_ds"]["dataset"], "speaker_map": {"${x}{oc.env:A_SECRET}": 0}}
    config = {**stock[0], "x": "$", "train_ds": {**stock[0]["train_ds"], "dataset": dataset}}
    said = refused(pack_nemo(tmp_path / "old.nemo", config, stock[1]))
    assert "'${x}{oc.env:A_SECRET}' together" in said


def test_references_within_the_configuration_are_followed(stock, tmp_path):
    config = {**stock[0], "symbols_embedding_dim": "${input_fft.d_model}"}
    found = translate.fastpitch(nemo_archive.read(pack_nemo(tmp_path / "old.nemo", config, stock[1])))
    assert found.config["symbols_embedding_dim"] == 48
    config = {**stock[0], "symbols_embedding_dim": "${nowhere}"}
    assert "refers to 'nowhere', which it does not have" in refused(pack_nemo(tmp_path / "old.nemo", config, stock[1]))


def test_a_small_text_that_is_a_huge_configuration_is_refused(stock, tmp_path):
    path = pack_nemo(tmp_path / "old.nemo", stock[0], stock[1])
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    with tarfile.open(path, "w:") as archive:
        for name, content in {"model_config.yaml": text.encode(), **stock[1]}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    assert "more than 100000 values, aliases written out" in refused(path)


def test_weights_that_would_run_code_run_none(stock, tmp_path):
    made = tmp_path / "made"
    files = {**stock[1], "model_weights.ckpt": as_bytes({"fastpitch.proj.bias": Bomb(made)})}
    told = refused(pack_nemo(tmp_path / "old.nemo", stock[0], files))
    assert "not loaded" in told
    assert "torch" not in told.lower()  # whose advice is to load it with what it may run
    assert not made.exists()


def test_adapters_that_would_run_code_run_none(stock, tmp_path):
    made, file = tmp_path / "made", tmp_path / "adapters.pt"
    torch.save({"decoder:anna": [{"anna.module.0.weight": torch.zeros(2)}], "__cfg__": Bomb(made)}, file)
    path = pack_nemo(tmp_path / "old.nemo", stock[0], stock[1])
    assert "mkdir', which no adapter file of NeMo's does" in refused(path, f"adapters={file}")
    assert not made.exists()


def test_other_files_given_as_adapters_get_one_line(tmp_path):
    file = tmp_path / "adapters.pt"
    with pytest.raises(NemoExtError, match="no adapter file at"):
        read_adapters(file)
    file.write_bytes(b"something")
    with pytest.raises(NemoExtError, match=r"no file of torch\.save"):
        read_adapters(file)
    torch.save({"weight": torch.zeros(2)}, file)
    with pytest.raises(NemoExtError, match="no file of save_adapters"):
        read_adapters(file)


@pytest.mark.parametrize("share", [0.0, 0.4, 0.95])
def test_a_file_cut_short_gets_one_line(stock, tmp_path, share):
    path = pack_nemo(tmp_path / "old.nemo", stock[0], stock[1])
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "copy it again" in refused(path) or "holds no model" in refused(path)


def test_models_of_another_kind_are_named(stock, tmp_path):
    config = {**stock[0], "target": "nemo.collections.asr.models.EncDecCTCModel"}
    assert "'EncDecCTCModel' model" in refused(pack_nemo(tmp_path / "old.nemo", config, stock[1]))


def test_speakers_known_by_reference_audio_only_are_refused(release, tmp_path):
    encoder = {"gst_module": release.style_tokens()}
    config = release.fastpitch_config(tmp_path, conditions=["add"], encoder=encoder)
    release.make_fastpitch(config).save_to(str(tmp_path / "old.nemo"))
    assert "only from reference audio" in refused(tmp_path / "old.nemo")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["out=model.pt"], "does not end in .nemo"),
        ([f"out={__file__}/deep/new.nemo"], r"out=.*/deep/new\.nemo cannot be made: .*test_archive\.py is no folder"),
        ([f"voices={__file__}"], "voices=.* cannot be made: .*test_archive.py is no folder"),
        (["speaker=nobody"], "no voice of this model"),
        (["adapters=none.pt"], "adapters=none.pt: there is no such file"),
        (["consent=Anna"], "cannot be read"),
        (["pitch_mean=200"], "go together"),
        (["phoneme_dict=none.txt"], "there is no such file"),
        (["speakers=none.json"], "speakers=none.json: there is no such file"),
    ],
)
def test_options_that_cannot_be_meant_get_one_line(stock, tmp_path, options, message):
    assert re.search(message, refused(pack_nemo(tmp_path / "old.nemo", stock[0], stock[1]), *options))


def test_a_map_of_speakers_or_a_dictionary_without_an_end_is_refused(stock, tmp_path):
    path = pack_nemo(tmp_path / "old.nemo", stock[0], stock[1])
    assert "speakers=/dev/zero cannot be read" in refused(path, "speakers=/dev/zero")
