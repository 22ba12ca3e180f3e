"""A bundle says what is in it, and every fault has a line."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nemo_ext import voices
from nemo_ext.errors import NemoExtError
from nemo_ext.export import bundle
from nemo_ext.export.bundle import INDEX
from nemo_ext.runtime.session import Port


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def change(folder: Path, **told: object) -> None:
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(index | told))


def faults(folder: Path) -> list[str]:
    return bundle.verify(folder)[1]


def test_what_is_written_is_read(tiny_bundle: Path) -> None:
    made, wrong = bundle.verify(tiny_bundle)
    assert wrong == []
    assert set(made.graphs) == {"acoustic", "vocoder"}
    assert [voice.name for voice in made.base_voices] == ["ada", "ben"]
    assert made.graphs["vocoder"].inputs == (Port("spec", "float32", ("B", 80, "T_mel")),)
    assert made.graphs["acoustic"].inputs[0] == Port("text", "int64", ("B", "T_text"))
    assert made.layout.size == voices.load(tiny_bundle / "voices/ada.voice").layout.size
    assert made.licences == {"nemo_ext": "Apache-2.0", "models": "unknown"}
    before = (tiny_bundle / INDEX).read_bytes()
    made.write()  # the same content is the same file
    assert (tiny_bundle / INDEX).read_bytes() == before


def test_reading_one_needs_no_torch(tiny_bundle: Path) -> None:
    code = (
        "import sys; from nemo_ext.export import bundle; _, wrong = bundle.verify(sys.argv[1]); assert not wrong;"
        "print(sorted({'torch', 'nemo', 'lightning', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, tiny_bundle], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_voice_that_is_copied_in_belongs_to_it(folder: Path) -> None:
    anna = dataclasses.replace(voices.load(folder / "voices/ada.voice"), name="anna")
    voices.save(anna, folder / "voices/anna.voice")
    assert faults(folder) == []


def test_each_fault_is_told(folder: Path) -> None:
    (folder / "vocoder.onnx").write_bytes((folder / "acoustic.onnx").read_bytes())
    (folder / "text.json").unlink()
    (folder / "notes.txt").write_text("mine")
    ada = voices.load(folder / "voices/ada.voice")
    voices.save(
        dataclasses.replace(ada, name="eve", base="other/model.nemo", base_hash="0" * 16), folder / "voices/eve.voice"
    )
    voices.save(dataclasses.replace(ada, vector=ada.vector + np.float32(0.1)), folder / "voices/ada.voice")
    voices.save(
        dataclasses.replace(ada, name="fat", styles={"calm": np.zeros(3, np.float32)}), folder / "voices/fat.voice"
    )
    (folder / "voices/bad.voice").write_bytes(b"no voice")
    told = "\n".join(faults(folder))
    assert "vocoder.onnx is not the file that was exported" in told
    assert "vocoder.onnx: its inputs are text int64[B, T_text]" in told
    assert "text.json is missing" in told
    assert "notes.txt does not belong to it" in told
    assert "voices/eve.voice was made for 'other/model.nemo' (0000000000000000), not for this model" in told
    assert "voices/ada.voice is not the file that was exported" in told
    assert "bad.voice is no voice file, or a damaged one" in told


def test_a_bundle_without_graphs_is_not_whole(folder: Path) -> None:
    change(folder, graphs={})
    told = faults(folder)
    assert "it has no graph of an acoustic model" in told
    assert "it has no graph of a vocoder" in told


def test_a_link_is_not_a_bundles_own_file(folder: Path, tmp_path: Path) -> None:
    (folder / "text.json").rename(tmp_path / "text.json")
    (folder / "text.json").symlink_to(tmp_path / "text.json")
    with pytest.raises(NemoExtError, match="names files outside the bundle"):
        bundle.read(folder)
    (folder / "text.json").unlink()
    (folder / "text.json").symlink_to(folder / "parity.json")
    assert "text.json is a link, and a bundle's files are all its own" in faults(folder)


def test_weights_elsewhere_are_a_fault(folder: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(folder / "vocoder.onnx")
    onnx.external_data_helper.convert_model_to_external_data(model, location="away.data", size_threshold=0)
    onnx.save(model, folder / "vocoder.onnx")
    (folder / "away.data").rename(tmp_path / "away.data")
    told = "\n".join(faults(folder))
    assert "vocoder.onnx: its weights are in away.data, which bundle.json does not list" in told


@pytest.mark.parametrize(
    "wrong",
    [
        {"style_size": -1},
        {"style_size": 1.5},
        {"mel": {"n_mels": 10**9}},
        {"mel": {"hop": 1}},
        {"base_voices": [{"name": "a", "pitch_mean": -1}]},
        {"base_voices": [{"name": 5}]},
        {"vocoder_bf16_db": "much"},
        {"files": 3},
    ],
)
def test_values_that_no_bundle_has_are_a_damaged_index(folder: Path, wrong: dict[str, object]) -> None:
    change(folder, **wrong)
    with pytest.raises(NemoExtError, match=r"bundle\.json is damaged"):
        bundle.read(folder)


def test_an_engine_of_another_graph_is_stale(folder: Path) -> None:
    engine = bundle.Engine("engines/a.engine", "acoustic", "0" * 64, "tensorrt", "10.13", "sm90", {})
    (folder / "engines").mkdir()
    (folder / "engines/a.engine").write_bytes(b"")
    change(folder, engines=[dataclasses.asdict(engine)])
    assert "engines/a.engine was built from another acoustic than the bundle's: export it again" in faults(folder)


def test_what_is_no_bundle_is_refused_in_a_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NemoExtError, match=r"is no bundle: there is no bundle\.json in it"):
        bundle.read(tmp_path)
    change(folder, format=99)
    with pytest.raises(NemoExtError, match="is a bundle of format 99, and this version reads format 1"):
        bundle.read(folder)
    change(folder, format=1, layout_hash="other")
    with pytest.raises(NemoExtError, match=r"bundle\.json is damaged"):
        bundle.read(folder)
    (folder / INDEX).write_text("{")
    with pytest.raises(NemoExtError, match=r"bundle\.json cannot be read"):
        bundle.read(folder)


ENGINE = dataclasses.asdict(bundle.Engine("engines/a.engine", "acoustic", "0" * 64, "tensorrt", "10.13", "sm90", {}))


@pytest.mark.parametrize("outside", ["../../etc/passwd", "/etc/passwd"])
@pytest.mark.parametrize("where", ["file", "external", "name", "engine", "gpu"])
def test_files_outside_the_bundle_are_never_named(folder: Path, where: str, outside: str) -> None:
    graphs, engine = json.loads((folder / INDEX).read_text())["graphs"], dict(ENGINE)
    if where == "external":  # Triton's repository would get the file under this name
        graphs["acoustic"]["external"] = [outside]
    elif where == "name":
        graphs[outside] = graphs["acoustic"]
    elif where == "file":
        graphs["acoustic"]["file"] = outside
    else:
        engine["gpu" if where == "gpu" else "file"] = outside
    change(folder, graphs=graphs, engines=[engine])
    with pytest.raises(NemoExtError, match="names files outside the bundle"):
        bundle.read(folder)


@pytest.mark.parametrize("wrong", [{"profile": 3}, {"profile": {"text": 5}}, {"profile": {"text": [["x"]]}}])
def test_an_engine_that_is_told_wrongly_is_a_damaged_index(folder: Path, wrong: dict[str, object]) -> None:
    change(folder, engines=[ENGINE | wrong])
    with pytest.raises(NemoExtError, match=r"bundle\.json is damaged"):
        bundle.read(folder)


def test_a_file_that_is_a_number_is_a_missing_file(folder: Path) -> None:
    hashed = json.loads((folder / INDEX).read_text())["files"]
    change(folder, engines=[ENGINE | {"file": 5}], files=hashed | {"5": "0" * 64})
    assert "5 is missing" in faults(folder)


def test_an_unknown_graph_is_named(tiny_bundle: Path) -> None:
    with pytest.raises(NemoExtError, match="has no graph 'style_encoder': it holds acoustic, vocoder"):
        bundle.read(tiny_bundle).path("style_encoder")
