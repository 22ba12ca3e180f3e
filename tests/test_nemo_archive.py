""".nemo files as a stranger writes them: read within limits, nothing followed out of them."""

import gzip
import io
import os
import subprocess
import sys
import tarfile
import tracemalloc

import pytest
import torch
import yaml

from nemo_ext import nemo_archive
from nemo_ext.errors import NemoExtError


def weights() -> bytes:
    file = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, file)
    return file.getvalue()


def pack(path, config, *more, packed=False, files=None):
    """A .nemo file of ``config`` (a mapping, or the text itself); ``more``: further members, (TarInfo, content)."""
    text = config if isinstance(config, bytes) else yaml.safe_dump(config).encode()
    held = {"model_config.yaml": text, "model_weights.ckpt": weights(), **(files or {})}
    with tarfile.open(path, "w:gz" if packed else "w") as archive:
        for name, content in held.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member, content in more:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def refused(path, why):
    for read in (nemo_archive.read, nemo_archive.read_config):
        with pytest.raises(NemoExtError, match=why) as raised:
            read(path)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("packed", [False, True])
def test_configuration_weights_and_artifacts_are_read(tmp_path, packed):
    config = {"target": "x.Y", "a": {"b": [1, 2.5]}, "c": "${a.b}", "d": "n=${e}", "e": 3, "nemo_version": "3.0.0"}
    path = pack(tmp_path / "m.nemo", config, packed=packed, files={"dict.txt": b"words"})
    found = nemo_archive.read(path)
    assert found.config == {**config, "c": [1, 2.5], "d": "n=3"}
    assert found.artifacts == {"dict.txt": b"words"}
    assert torch.equal(found.weights["a"], torch.zeros(3))
    assert (found.target, found.version) == ("x.Y", "3.0.0")
    assert nemo_archive.read_config(path) == found.config


def test_reading_the_configuration_needs_no_torch(tmp_path):
    path = pack(tmp_path / "m.nemo", {"target": "x.Y"})
    code = f"import sys, nemo_ext.nemo_archive as n; n.read_config({str(path)!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("${oc.env:HOME}", "asks for a function"),
        ("a${oc.decode:x}", "asks for a function"),
        ("${${a}}", "asks for a function"),
        ("${nowhere.at.all}", "refers to 'nowhere.at.all'"),
        ("${name}", "in a circle"),
        ("x${name}", "in a circle"),
        ("\\${oc.env:HOME}", "asks for a function|together"),
        ("${.a}", "asks for a function"),
        (2**31, "beyond any model's"),
        (-(10**30), "beyond any model's"),
        (float("nan"), "beyond any model's"),
        (float("inf"), "beyond any model's"),
        ({1: 2}, "a key that is no name"),
    ],
)
def test_what_a_configuration_may_not_say(tmp_path, value, why):
    refused(pack(tmp_path / "m.nemo", {"target": "x.Y", "name": value, "a": "name"}), why)


def test_two_texts_put_together_are_no_reference(tmp_path):
    refused(pack(tmp_path / "m.nemo", {"x": "$", "name": "${x}{oc.env:HOME}"}), "puts '\\${oc.env:HOME}' together")


def test_references_to_references_do_not_grow_without_end(tmp_path):
    config = {"a0": list(range(10)), **{f"a{i}": [f"${{a{i - 1}}}"] * 10 for i in range(1, 9)}}
    refused(pack(tmp_path / "m.nemo", config), "references followed")
    config = {"a0": "x" * 100, **{f"a{i}": f"${{a{i - 1}}}${{a{i - 1}}}" for i in range(1, 31)}}
    refused(pack(tmp_path / "m.nemo", config), "references followed")


@pytest.mark.parametrize(
    "text", [b"", b"5", b"- a", b"model: 3", b"\xff\xfe", b"a: [", b"x: !!python/name:os.system", b"[" * 5000]
)
def test_a_configuration_that_is_none_is_one_line(tmp_path, text):
    path = pack(tmp_path / "m.nemo", text)
    if text == b"model: 3":
        assert nemo_archive.read_config(path) == {"model": 3}
    else:
        refused(path, "model_config.yaml")


def link(name, kind, to=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member, b""


@pytest.mark.parametrize(
    "member",
    [
        link("/etc/x", tarfile.REGTYPE),
        link("../../x", tarfile.REGTYPE),
        link("x", tarfile.SYMTYPE, "/etc/passwd"),
        link("x", tarfile.LNKTYPE, "/etc/passwd"),
        link("x", tarfile.CHRTYPE),
        link("x", tarfile.FIFOTYPE),
    ],
)
def test_members_that_no_nemo_writes_are_refused(tmp_path, member):
    path = pack(tmp_path / "m.nemo", {"target": "x.Y"}, member)
    with pytest.raises(NemoExtError, match="which no NeMo writes"):
        nemo_archive.read(path)


def test_a_member_that_stands_twice_is_refused(tmp_path):
    path = pack(tmp_path / "m.nemo", {"target": "x.Y"}, (tarfile.TarInfo("model_weights.ckpt"), b"x"))
    with pytest.raises(NemoExtError, match="twice"):
        nemo_archive.read(path)


def test_fifty_thousand_members_are_refused(tmp_path):
    path = pack(tmp_path / "m.nemo", {"target": "x.Y"}, *((tarfile.TarInfo(f"f{i}"), b"") for i in range(50_000)))
    with pytest.raises(NemoExtError, match="more than 1000 files"):
        nemo_archive.read(path)


def test_a_packed_file_does_not_unpack_without_end(tmp_path):
    plain = pack(tmp_path / "m.nemo", {"target": "x.Y"}, files={"zeros": bytes(64 << 20)})
    bomb = tmp_path / "bomb.nemo"
    bomb.write_bytes(gzip.compress(plain.read_bytes()))
    with pytest.raises(NemoExtError, match="unpacks to over 20 times"):
        nemo_archive.read(bomb)


def test_only_a_regular_file_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.nemo")
    for path in (tmp_path / "pipe.nemo", tmp_path, "/dev/zero"):
        refused(path, "no regular file")
    refused(tmp_path / "none.nemo", "no model at")


@pytest.mark.parametrize("missing", ["model_config.yaml", "model_weights.ckpt"])
def test_what_is_missing_is_named(tmp_path, missing):
    path = tmp_path / "m.nemo"
    with tarfile.open(path, "w") as archive:
        for name, content in {"model_config.yaml": b"a: 1", "model_weights.ckpt": weights()}.items():
            if name != missing:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    with pytest.raises(NemoExtError, match=f"holds no {missing}"):
        nemo_archive.read(path)


def _claims(path, kind, size):
    """An archive whose first header tells that ``size`` bytes follow; they are a hole in the file."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = kind, size
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT))
    os.truncate(path, 512 + size + 1024)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_of_gigabytes_is_not_read(tmp_path, kind):
    path = tmp_path / "a.nemo"
    _claims(path, kind, 3 << 30)
    tracemalloc.start()
    try:
        with pytest.raises(NemoExtError, match=r"has a header of 3072 MiB, as no NeMo writes"):
            nemo_archive.read(path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [1000 << 20, 3 << 30])
def test_weights_that_are_a_hole_are_not_read(tmp_path, size):
    """What is no file of torch's is refused where it lies."""
    path = tmp_path / "a.nemo"
    with tarfile.open(path, "w") as archive:
        config = tarfile.TarInfo(nemo_archive.CONFIG)
        config.size = 2
        archive.addfile(config, io.BytesIO(b"{}"))
        weights = tarfile.TarInfo(nemo_archive.WEIGHTS)
        weights.size = size
        at = archive.offset + 512
        archive.addfile(weights, None)
    os.truncate(path, at + size + 1024)
    tracemalloc.start()
    try:
        with pytest.raises(NemoExtError, match=r"more than any model's|no file of torch\.save"):
            nemo_archive.read(path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
