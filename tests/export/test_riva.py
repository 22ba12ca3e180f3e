"""What Riva gets: files as nemo2riva packs them, tables in the order of their names, riva-build filled in."""

from __future__ import annotations

import dataclasses
import io
import shlex
import shutil
import subprocess
import sys
import tarfile
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nemo_ext.errors import NemoExtError
from nemo_ext.export import riva, riva_archive
from nemo_ext.export.ragged import LENGTHS
from nemo_ext.export.riva_text import dictionary, mapping, read_words
from nemo_ext.export.subvoices import tables
from nemo_ext.text.config import TextConfig
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.types import MelSpec
from tests.export.test_ragged import run, utterances
from tests.export.toys import Toys


def write(toys: Toys, out: Path, **changes: Any) -> list[str]:
    given: dict[str, Any] = {
        "voices": toys.voices,
        "acoustic": toys.acoustic,
        "vocoder": toys.vocoder,
        "voice_name": "toy",
        **changes,
    }
    return riva.write_riva(given.pop("bundle", toys.bundle), out, given.pop("voices"), **given)


@pytest.fixture(scope="module")
def written(toy_export: Toys, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    out = tmp_path_factory.mktemp("riva") / "riva"
    return out, write(toy_export, out)


def test_the_folder_is_what_nemo2riva_packs(written: tuple[Path, list[str]]) -> None:
    out, lines = written
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert files == [
        "fastpitch/mapping.txt",
        "fastpitch/model_config.yaml",
        "fastpitch/model_graph.onnx",
        "hifigan/model_config.yaml",
        "hifigan/model_graph.onnx",
        "pack.py",
        "riva-build.sh",
    ]
    assert lines[0] == "Riva: 6 sub-voices: ada, ada.happy, ada.sad, ben, ben.happy, ben.sad"
    assert "nvidia-eff is optional and not installed here" in lines[-1]
    assert not list(out.parent.glob(".*"))


def test_the_configuration_is_told_in_nemos_words(toy_export: Toys, written: tuple[Path, list[str]]) -> None:
    told = yaml.safe_load((written[0] / "fastpitch" / "model_config.yaml").read_text(encoding="utf-8"))
    assert told["export_config"] == {"enable_volume": True, "enable_ragged_batches": True}
    assert told["target"] == "nemo.collections.tts.models.fastpitch.FastPitchModel"
    assert (told["n_speakers"], told["n_mel_channels"]) == (6, 80)
    assert (told["pitch_mean"], told["pitch_std"]) == (200.0, 30.0)
    vocoder = yaml.safe_load((written[0] / "hifigan" / "model_config.yaml").read_text(encoding="utf-8"))
    assert vocoder["target"] == "nemo.collections.tts.models.hifigan.HifiGanModel"
    for config in (told, vocoder):
        assert config["preprocessor"]["n_window_stride"] == 256
        assert config["sample_rate"] == 22050


def test_the_graph_speaks_as_the_sub_voice_that_was_named(toy_export: Toys, written: tuple[Path, list[str]]) -> None:
    script = (written[0] / "riva-build.sh").read_text(encoding="utf-8")
    subvoices = dict(pair.split(":") for pair in script.split("--subvoices=")[1].split()[0].split(","))
    feeds = utterances(toy_export, "acoustic_riva", [8])
    feeds["speaker"] = np.array([int(subvoices["ben.happy"])])
    said = run(written[0] / "fastpitch" / "model_graph.onnx", feeds)["spect"]
    ben = toy_export.voices[1]
    del feeds["speaker"], feeds[LENGTHS]
    one = np.ones_like(feeds["pitch"])
    dense = {**feeds, "pitch_scale": one, "energy_scale": one, "voice": ben.vector, "style": ben.styles["happy"]}
    expected = run(toy_export.bundle.path("acoustic"), {name: value[None] for name, value in dense.items()})["spect"]
    assert np.abs(said - expected).max() < 1e-5
    assert run(written[0] / "hifigan" / "model_graph.onnx", {"spec": said})["audio"].shape[1:] == (
        1,
        said.shape[2] * 256,
    )


def test_the_script_calls_riva_build_for_every_language(toy_export: Toys, tmp_path: Path) -> None:
    """Run by a shell, with a riva-build that says what it was given."""
    german = [toy_export.voices[0], dataclasses.replace(toy_export.voices[1], language="de")]
    lexicon = {"Feedback": "ˈfiːtbɛk"}
    bundle = with_lexicon(toy_export, tmp_path / "bundle", lexicon)
    out = tmp_path / "a voice"
    lines = write(toy_export, out, voices=german, bundle=bundle, voice_name="Anna & Co", max_batch=4)
    assert "dictionary.de.txt: 1 words; Riva spells out every other word" in lines
    for name in ("fastpitch.riva", "hifigan.riva"):
        (out / name).write_bytes(b"")
    told = tmp_path / "bin" / "riva-build"
    told.parent.mkdir()
    python = told.with_name("python3")  # NVIDIA's package, which packs, is not here
    for program in (told, python):
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" "" >> "$TOLD.{program.name}"\n')
        program.chmod(0o755)
    environment = {
        "PATH": f"{told.parent}:/usr/bin:/bin",
        "TOLD": str(tmp_path / "told"),
        "KEY": "k e y",
        "TOKENIZER": "/t o.far",
    }
    subprocess.run(["sh", str(out / "riva-build.sh")], check=True, env=environment)
    # the archives that are there may be open, or of another key
    assert (tmp_path / "told.python3").read_text() == "pack.py\nk e y\n\n"
    told_to_build = (tmp_path / "told.riva-build").read_text()
    english, deutsch = [part.split("\n") for part in told_to_build.strip().split("\n\n")]
    assert english == [
        "speech_synthesis",
        "Anna & Co-en-US.rmir:k e y",
        "fastpitch.riva:k e y",
        "hifigan.riva:k e y",
        "--voice_name=Anna & Co",
        "--language_code=en-US",
        "--sample_rate=22050",
        "--num_mels=80",
        "--num_samples_per_frame=256",
        "--max_batch_size=4",
        "--num_speakers=6",
        "--subvoices=ada:0,ada.happy:1,ada.sad:2",
        "--phone_set=ipa",
        "--upper_case_chars=True",
        "--phone_dictionary_file=dictionary.en.txt",
        "--wfst_tokenizer_model=/t o.far",
    ]
    assert "--language_code=de-DE" in deutsch
    assert "--subvoices=ben:3,ben.happy:4,ben.sad:5" in deutsch
    del environment["KEY"]
    subprocess.run(["sh", str(out / "riva-build.sh")], check=True, env=environment)
    assert (tmp_path / "told.python3").read_text() == "pack.py\nk e y\n\n"  # they are taken as they are
    assert "\nfastpitch.riva\n" in (tmp_path / "told.riva-build").read_text()


def test_without_a_name_the_voice_is_called_as_the_models_folder(toy_export: Toys, tmp_path: Path) -> None:
    """A path in the name would be a folder that riva-build does not find."""
    bundle = dataclasses.replace(toy_export.bundle, name="anna/model.nemo")
    write(toy_export, tmp_path / "riva", bundle=bundle, voice_name="")
    script = (tmp_path / "riva" / "riva-build.sh").read_text()
    assert "--voice_name=anna " in script
    assert "  anna-en-US.rmir" in script


def test_the_same_export_gives_the_same_files(toy_export: Toys, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(toy_export, tmp_path / name)
    for path in (tmp_path / "one").rglob("*"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.is_dir() or path.read_bytes() == other.read_bytes(), path


def test_one_voice_has_neither_speakers_nor_sub_voices() -> None:
    command = riva.build_command(
        name="lj", language="en-US", mel=MelSpec(), alphabet="arpabet", subvoices={"lj": 0}, speakers=1
    )
    assert not [word for word in command if "speakers" in word or "subvoices" in word or "dictionary" in word]
    assert "--phone_set=arpabet" in command
    assert not [word for word in command if word.startswith("--upper_case_chars")]
    assert "riva-build speech_synthesis \\\n" in riva.script([command])
    assert shlex.split(riva.script([command]).split("pack.py")[-1])  # a shell can read it


def with_lexicon(toys: Toys, folder: Path, entries: dict[str, str]) -> Any:
    from nemo_ext.export.text_assets import read_text, write_text

    shutil.copytree(toys.bundle.dir, folder)
    frontend = TextFrontend(dataclasses.replace(read_text(folder).config, lexicon_entries=entries))
    write_text(frontend, folder)
    return dataclasses.replace(toys.bundle, dir=folder)


def test_ipa_phones_have_an_at_and_letters_have_none() -> None:
    table = TextFrontend(TextConfig(alphabet="ipa", g2p="graphemes", languages=["en", "de"])).table
    rows = mapping(table.symbols, "ipa").split("\n")
    assert len(rows) == len(table)
    for symbol, told in (
        ("ɹ", "@ɹ"),
        ("ˈ", "@ˈ"),
        ("ː", "@ː"),
        ("ʔ", "@ʔ"),
        ("A", "A"),
        ("ẞ", "ẞ"),
        (",", ","),
        ("-", "-"),
    ):
        assert f"{table.index(symbol)} {told}" in rows
    assert rows[table.pad] == "0 <pad>"
    assert rows[table.space] == "1  "


def test_arpabet_has_its_letters_in_both_cases() -> None:
    table = TextFrontend(TextConfig(alphabet="arpabet", g2p="graphemes")).table
    rows = mapping(table.symbols, "arpabet").split("\n")
    a, ah = table.index("a"), table.index("AH0")
    assert [row for row in rows if row.startswith(f"{a} ")] == [f"{a} a", f"{a} A"]
    assert [row for row in rows if row.startswith(f"{ah} ")] == [f"{ah} @AH0"]
    assert f"{table.index('B')} @B" in rows  # a phone, and not the letter
    assert len(rows) == len(table) + 26


def test_letters_have_no_phones() -> None:
    table = TextFrontend(TextConfig(alphabet="chars", languages=["en", "de"])).table
    rows = mapping(table.symbols, "chars").split("\n")
    assert not [row for row in rows if "@" in row]
    assert {f"{table.index('ß')} ß", f"{table.index('ß')} ẞ"} <= set(rows)


def test_a_dictionary_is_in_upper_case_and_holds_what_is_pronounced() -> None:
    entries = {"Straße": "ˈʃtʁaːsə", "nemo": "ˈniːmoʊ"}
    ipa = TextFrontend(
        TextConfig(alphabet="ipa", g2p="graphemes", languages=["en", "de"], lexicon_entries=entries, normalize=False)
    )
    told = dictionary(ipa, ["unheard", "two words", "!", "Nemo"], "en")
    assert told == "NEMO  ˈniːmoʊ\nSTRASSE  ˈʃtʁaːsə\nSTRAẞE  ˈʃtʁaːsə\n"
    arpabet = TextFrontend(
        TextConfig(alphabet="arpabet", g2p="graphemes", lexicon_entries={"nemo": "N IY1 M OW0"}, normalize=False)
    )
    assert dictionary(arpabet, ["plain"], "en") == "NEMO  N IY1 M OW0\n"
    assert dictionary(TextFrontend(TextConfig(alphabet="chars")), ["word"], "en") == ""


def test_words_of_a_file_are_pronounced(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("hello\n\n  world \n", encoding="utf-8")
    assert read_words(tmp_path / "words.txt") == ["hello", "world"]
    with pytest.raises(NemoExtError, match=r"none\.txt cannot be read: give a text file"):
        read_words(tmp_path / "none.txt")


def test_rows_are_a_voice_and_its_styles(toy_export: Toys) -> None:
    found = tables(toy_export.voices, toy_export.bundle.style_size)
    assert found.names == ("ada", "ada.happy", "ada.sad", "ben", "ben.happy", "ben.sad")
    assert found.rows.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 3], [1, 4]]
    assert found.styles is not None
    assert not found.styles[0].any()
    assert np.array_equal(found.styles[4], toy_export.voices[1].styles["sad"])
    happy = {"happy": toy_export.voices[0].styles["happy"]}
    alone = tables([dataclasses.replace(toy_export.voices[0], styles=happy)], toy_export.bundle.style_size)
    assert alone.names == ("ada", "ada.happy")  # there is a row without a style, whatever styles a voice has
    assert alone.rows.tolist() == [[0, 0], [0, 1]]
    with pytest.raises(NemoExtError, match=r"style 'happy' of voice 'ada' has 3 values, and the model's have \d+"):
        tables(
            [dataclasses.replace(toy_export.voices[0], styles={"happy": np.zeros(3, np.float32)})], len(found.styles[0])
        )
    plain = tables(toy_export.voices)  # a model without style
    assert (plain.names, plain.styles) == (("ada", "ben"), None)


def test_names_that_riva_would_take_apart_are_refused(toy_export: Toys) -> None:
    ada, ben = toy_export.voices
    for name in ("Anna Meier", "a:1", "a,b", 'a"b', "$HOME"):
        with pytest.raises(NemoExtError, match="cannot be the name of a sub-voice"):
            tables([dataclasses.replace(ada, name=name)])
    with pytest.raises(NemoExtError, match=r"two sub-voices would be called 'ada\.sad'"):
        tables([ada, dataclasses.replace(ben, name="ada.sad")], toy_export.bundle.style_size)
    with pytest.raises(NemoExtError, match="needs a voice at least"):
        tables([])


def test_voices_that_are_not_those_of_the_tables_are_refused(toy_export: Toys, tmp_path: Path) -> None:
    with pytest.raises(NemoExtError, match="holds 6 sub-voices, and the voices given make 3"):
        write(toy_export, tmp_path / "riva", voices=toy_export.voices[:1])
    with pytest.raises(NemoExtError, match="is not of Riva's layout: it takes text, pitch, pitch_scale"):
        write(toy_export, tmp_path / "riva", graph="acoustic")
    assert not list(tmp_path.iterdir())


def test_what_is_no_nemo_file_is_refused_and_nothing_left(toy_export: Toys, tmp_path: Path) -> None:
    bad = tmp_path / "bad.nemo"
    bad.write_bytes(b"no archive")
    with pytest.raises(NemoExtError, match=r"bad\.nemo cannot be read as a \.nemo file"):
        write(toy_export, tmp_path / "riva", vocoder=bad)
    with tarfile.open(bad, "w") as tar:
        tar.addfile(tarfile.TarInfo("weights.ckpt"))
    with pytest.raises(NemoExtError, match=r"has no model_config\.yaml"):
        write(toy_export, tmp_path / "riva", acoustic=bad)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.nemo"]


def test_files_of_a_nemo_stay_in_the_folder(tmp_path: Path) -> None:
    """nemo2riva packs everything but weights; a name that leads elsewhere leads nowhere."""
    with tarfile.open(tmp_path / "model.nemo", "w:gz") as tar:
        for name in ("./model_config.yaml", "./a1b2_cmudict", "model_weights.ckpt", "../../outside.txt", "old~"):
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"a: 1"))
    found = riva.nemo_files(tmp_path / "model.nemo")
    assert sorted(found) == ["a1b2_cmudict", "model_config.yaml", "outside.txt"]


def test_pack_says_where_it_can_run(written: tuple[Path, list[str]]) -> None:
    ran = subprocess.run([sys.executable, str(written[0] / "pack.py")], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "run this where NVIDIA's nemo2riva is installed" in ran.stderr
    assert not list(written[0].glob("*.riva"))


def test_where_nvidias_package_is_archives_are_made(
    toy_export: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package is in no public index: this stands in for what nemo2riva calls of it, and keeps what it gets."""
    kept: dict[str, dict[str, Any]] = {}

    class Registry:
        def __init__(self, passphrase: str | None) -> None:
            self.files: dict[str, Any] = {}

        def create(self, name: str, encryption: Any, **about: Any) -> Any:
            self.files[name] = about.get("content") or Path(about["filepath"]).read_bytes()
            return types.SimpleNamespace(encrypt=lambda: None)

    class Archive:
        @staticmethod
        def save_registry(save_path: str, registry_name: str, registry: Registry, **about: Any) -> None:
            Path(save_path).write_bytes(b"archive")
            kept[about["obj_cls"]] = registry.files

    parts = {
        "eff": {},
        "eff.callbacks": {"BinaryContentCallback": object()},
        "eff.codec": {"get_random_encryption": object},
        "eff.core": {"Archive": Archive, "ArtifactRegistry": Registry},
    }
    for name, members in parts.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    lines = write(toy_export, tmp_path / "riva")
    assert lines[-1] == "packed fastpitch.riva, hifigan.riva"
    fastpitch, hifigan = kept[riva_archive.CLASSES["fastpitch"]], kept[riva_archive.CLASSES["hifigan"]]
    assert sorted(fastpitch) == ["mapping.txt", "model_config.yaml", "model_graph.onnx"]
    assert sorted(hifigan) == ["model_config.yaml", "model_graph.onnx"]
    assert fastpitch["model_graph.onnx"] == (tmp_path / "riva" / "fastpitch" / "model_graph.onnx").read_bytes()
    # weights beside the graph go into an archive with it, as nemo2riva does
    (tmp_path / "riva" / "fastpitch" / "model_graph.onnx.data").write_bytes(b"weights")
    riva_archive.pack(tmp_path / "riva", "key")
    with tarfile.open(fileobj=io.BytesIO(kept[riva_archive.CLASSES["fastpitch"]]["model_graph.onnx"])) as tar:
        assert tar.getnames() == ["model_graph.onnx", "model_graph.onnx.data"]
    assert not list((tmp_path / "riva").glob(".*"))
