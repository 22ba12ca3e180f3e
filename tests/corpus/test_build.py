from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from nemo_ext.corpus import prepare
from nemo_ext.corpus.build import build
from nemo_ext.corpus.config import CorpusConfig
from nemo_ext.corpus.manifest import Corpus, load_corpus, read_manifest
from nemo_ext.errors import NemoExtError

Lj = Callable[..., Path]
Voice = Callable[..., np.ndarray]
Write = Callable[..., Path]


def make(source: Path, out: Path, **options: object) -> Corpus:
    return build(CorpusConfig(source=str(source), out=str(out), **{"recipe": "ljspeech", **options}))


def snapshot(out: Path) -> dict[str, tuple[int, int]]:
    return {str(p.relative_to(out)): (p.stat().st_mtime_ns, p.stat().st_size) for p in out.rglob("*") if p.is_file()}


def test_the_folder_is_as_promised(lj: Lj, tmp_path: Path) -> None:
    corpus = make(lj("gone|Gone.|Gone.", count=12), tmp_path / "out", language="de")
    out = tmp_path / "out"
    assert {"manifest.jsonl", "train.jsonl", "val.jsonl", "dropped.jsonl", "corpus.yaml", "report.html"} <= {
        path.name for path in out.iterdir()
    }
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 12
    for row in rows:
        assert {"audio_filepath", "text", "duration", "id", "speaker", "language"} <= row.keys()
        assert row["audio_filepath"] == f"audio/{row['id']}.wav"
        assert row["language"] == "de"
    info = yaml.safe_load((out / "corpus.yaml").read_text("utf-8"))
    assert info == corpus.info == load_corpus(out).info
    assert (info["found"], info["kept"], info["dropped"], info["train"], info["val"]) == (13, 12, 1, 11, 1)
    assert info["seconds"] == pytest.approx(12.0)


def test_a_corpus_has_its_own_name_and_provenance(lj: Lj, tmp_path: Path) -> None:
    source = lj(count=12)
    info = make(source, tmp_path / "my voice", provenance="Anna Meier, 2026; CC0").info
    assert (info["title"], info["provenance"]) == ("my voice", "Anna Meier, 2026; CC0")
    info = make(source, tmp_path / "other", title="Anna <b>reads").info
    page = (tmp_path / "other" / "report.html").read_text(encoding="utf-8")
    assert info["title"] == "Anna <b>reads"
    assert "<h1>Anna &lt;b&gt;reads</h1>" in page
    joined = make(tmp_path, tmp_path / "all", recipe="joined").info
    assert joined["title"] == "all"
    assert {note for note in joined["notes"] if "CC0" in note} == {"my voice: Anna Meier, 2026; CC0"}
    assert any(note.startswith("Anna <b>reads: ") for note in joined["notes"])


def test_a_corpus_of_an_earlier_release_is_finished_all_the_same(lj: Lj, tmp_path: Path) -> None:
    """Which had no title in its corpus.yaml, nor in its options."""
    source, out = lj(count=12), tmp_path / "out"
    make(source, out)
    info = yaml.safe_load((out / "corpus.yaml").read_text(encoding="utf-8"))
    assert not {"title", "provenance"} & set(info["options"])
    del info["title"]
    (out / "corpus.yaml").write_text(yaml.safe_dump(info), encoding="utf-8")
    assert "title" not in make(source, out).info


def test_a_second_run_changes_nothing_and_says_so(lj: Lj, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = lj("gone|Gone.|Gone."), tmp_path / "out"
    first = make(source, out)
    before = snapshot(out)
    capsys.readouterr()
    second = make(source, out)
    assert "is finished already" in capsys.readouterr().out
    assert snapshot(out) == before
    assert (second.train, second.val, second.info) == (first.train, first.val, first.info)


def test_a_second_run_redoes_only_what_changed_or_is_missing(
    lj: Lj, tmp_path: Path, write: Write, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = lj(count=5), tmp_path / "out"
    make(source, out)
    done: list[str] = []
    real = prepare.prepare

    def watched(job: prepare.Job, settings: prepare.Settings) -> prepare.Outcome:
        done.append(job.id)
        return real(job, settings)

    monkeypatch.setattr(prepare, "prepare", watched)
    write(source / "wavs" / "good-1.wav", voice(0.7))  # another recording
    (out / "audio" / "good-3.wav").unlink()  # lost
    (out / "audio" / "good-4.wav").write_bytes(b"cut off")  # damaged
    corpus = make(source, out)
    assert sorted(done) == ["good-1", "good-3", "good-4"]
    assert {row.id: row.duration for row in corpus.utterances}["good-1"] == pytest.approx(0.7, abs=1e-3)
    assert len(soundfile.read(str(out / "audio" / "good-4.wav"))[0]) == 22050
    done.clear()
    make(source, out, sample_rate=16000)
    assert len(done) == 5, "another rate is another recording"
    assert soundfile.info(str(out / "audio" / "good-0.wav")).samplerate == 16000


def test_a_mended_text_needs_no_new_recording(lj: Lj, tmp_path: Path) -> None:
    source, out = lj(), tmp_path / "out"
    make(source, out)
    before = {name: what for name, what in snapshot(out).items() if name.endswith(".wav")}
    table = source / "metadata.csv"
    table.write_text(table.read_text("utf-8").replace("number 2", "number two"), encoding="utf-8")
    corpus = make(source, out)
    assert any(row.text == "Sentence number two." for row in corpus.utterances)
    assert {name: what for name, what in snapshot(out).items() if name.endswith(".wav")} == before


def test_what_leaves_the_source_leaves_the_corpus_and_nothing_else_does(lj: Lj, tmp_path: Path) -> None:
    source, out = lj(count=5), tmp_path / "out"
    make(source, out)
    (out / "audio" / "mine.wav").write_bytes(b"not made by the corpus")
    (source / "wavs" / "good-4.wav").unlink()
    table = source / "metadata.csv"
    table.write_text("".join(table.read_text("utf-8").splitlines(keepends=True)[:4]), encoding="utf-8")
    corpus = make(source, out)
    assert len(corpus.utterances) == 4
    assert sorted(path.name for path in (out / "audio").iterdir()) == [*(f"good-{i}.wav" for i in range(4)), "mine.wav"]


def test_an_interrupted_run_is_taken_up(lj: Lj, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = lj(count=6), tmp_path / "out"
    real, done = prepare.prepare, []

    def dies(job: prepare.Job, settings: prepare.Settings) -> prepare.Outcome:
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(job.id)
        return real(job, settings)

    monkeypatch.setattr(prepare, "prepare", dies)
    with pytest.raises(KeyboardInterrupt):
        make(source, out)
    with pytest.raises(NemoExtError, match="no finished corpus"):
        load_corpus(out)
    with (out / ".journal.jsonl").open("a") as journal:
        journal.write('{"id": "good-5", "fi')  # a kill in the middle of a line
    done.clear()
    monkeypatch.setattr(prepare, "prepare", lambda job, settings: (done.append(job.id), real(job, settings))[1])
    assert len(make(source, out).utterances) == 6
    assert done == ["good-4", "good-5"]


def test_processes_give_the_same_as_one(lj: Lj, tmp_path: Path) -> None:
    source = lj(count=30)
    alone, together = make(source, tmp_path / "1", processes=1), make(source, tmp_path / "2", processes=2)
    assert read_manifest(tmp_path / "1" / "manifest.jsonl") == read_manifest(tmp_path / "2" / "manifest.jsonl")
    assert (alone.train, alone.val) == (together.train, together.val)
    for row in alone.utterances:
        assert alone.audio_path(row).read_bytes() == together.audio_path(row).read_bytes()


def test_a_full_disk_is_one_line_and_can_be_taken_up(lj: Lj, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = lj(), tmp_path / "out"
    real = soundfile.write

    def full(path: str, *args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(soundfile, "write", full)
    with pytest.raises(NemoExtError, match=r"could not be written: .*No space left on device"):
        make(source, out)
    assert list((out / "audio").iterdir()) == []
    monkeypatch.setattr(soundfile, "write", real)
    assert len(make(source, out).utterances) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": ""}, "source is missing"),
        ({"source": "/nowhere/at/all"}, "no folder at /nowhere/at/all"),
        ({"recipe": "ljspech"}, "did you mean 'ljspeech'"),
        ({"sample_rate": 100}, "sample_rate=100 is outside 8000 to 96000 Hz"),
        ({"val_fraction": 0.9}, "val_fraction=0.9 is outside"),
        ({"language": "fr"}, "no language 'fr'"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(
    lj: Lj, tmp_path: Path, options: dict[str, object], words: str
) -> None:
    given = {"recipe": "ljspeech", "source": str(lj()), "out": str(tmp_path / "out")} | options
    with pytest.raises(NemoExtError, match=re.escape(words)):
        build(CorpusConfig(**given))
    assert not (tmp_path / "out").exists()


def test_a_language_that_nobody_reads_is_refused_before_anything_is_written(
    tmp_path: Path, write: Write, voice: Voice
) -> None:
    for name in ("a", "b"):
        write(tmp_path / "source" / f"{name}.wav", voice())
    table = "path,text,language\na.wav,Hello there.,en-GB\nb.wav,Bonjour.,fr\n"
    (tmp_path / "source" / "metadata.csv").write_text(table, encoding="utf-8")
    with pytest.raises(NemoExtError, match="utterance 'b': no language 'fr'"):
        build(CorpusConfig(recipe="csv", source=str(tmp_path / "source"), out=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_a_corpus_is_never_written_over_something_else(lj: Lj, tmp_path: Path) -> None:
    source, other = lj(), lj(name="other")
    with pytest.raises(NemoExtError, match="is the source itself"):
        make(source, source)
    make(source, tmp_path / "out")
    with pytest.raises(NemoExtError, match=r"is the corpus of 'ljspeech .*source', not of 'ljspeech .*other'"):
        make(other, tmp_path / "out")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "manifest.jsonl").write_text("precious")
    with pytest.raises(NemoExtError, match="did not make"):
        make(source, foreign)
    assert (foreign / "manifest.jsonl").read_text() == "precious"


@pytest.mark.parametrize("name", ["a b", "../x", "ümlaut", "a/b", "", "." * 5, "x" * 300, "con:aux"])
def test_file_names_are_harmless_and_distinct(name: str) -> None:
    file = prepare.file_name(name)
    assert re.fullmatch(r"[^./\\:\s][^/\\:\s]*\.wav", file)
    assert len(file.encode()) < 255
    assert os.path.basename(file) == file
    assert file != prepare.file_name(name + "_")
    assert prepare.file_name("plain-id_01.2") == "plain-id_01.2.wav"
