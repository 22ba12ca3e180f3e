"""Corpus folders and sources that somebody else made: nothing outside is touched, nothing is believed."""

from __future__ import annotations

import dataclasses
import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nemo_ext.audio import loudness
from nemo_ext.corpus.build import build
from nemo_ext.corpus.checks import mend
from nemo_ext.corpus.config import CorpusConfig
from nemo_ext.corpus.found import audio_files, find_audio
from nemo_ext.corpus.manifest import load_corpus, read_dropped, read_manifest
from nemo_ext.corpus.prepare import Journal, Outcome, file_name
from nemo_ext.errors import NemoExtError

Lj = Callable[..., Path]
Voice = Callable[..., np.ndarray]
Write = Callable[..., Path]


def outcome(name: str, **values: object) -> str:
    told = {"fingerprint": "f", "bytes": 1, "seconds": 1.0, "lufs": -20.0} | values
    return json.dumps(dataclasses.asdict(Outcome(name, file_name(name))) | told) + "\n"


def test_a_foreign_journal_deletes_nothing_outside(lj: Lj, tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim.wav"
    victim.write_text("precious")
    (out / "audio").mkdir(parents=True)
    inside = out / "audio" / "mine.txt"
    inside.write_text("mine")
    lines = [outcome("a", file="../../victim.wav"), outcome("b", file=str(victim)), outcome("c", file="mine.txt")]
    (out / ".journal.jsonl").write_text("".join(lines))
    build(CorpusConfig(recipe="ljspeech", source=str(lj()), out=str(out)))
    assert victim.read_text() == "precious"
    assert inside.read_text() == "mine"


@pytest.mark.parametrize("name", [".journal.jsonl", "audio"])
def test_a_corpus_folder_whose_parts_lie_elsewhere_is_refused(lj: Lj, tmp_path: Path, name: str) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / ".journal.jsonl").write_text("") if name == "audio" else None
    (out / name).symlink_to(elsewhere if name == "audio" else elsewhere / "notes.txt")
    with pytest.raises(NemoExtError, match="symbolic link"):
        build(CorpusConfig(recipe="ljspeech", source=str(lj()), out=str(out)))
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [{"seconds": "1"}, {"seconds": -1.0}, {"lufs": []}, {"bytes": 1.5}, {"notes": [1]}, {"events": [["a"]]}, {"id": 3}],
)
def test_a_line_of_a_journal_that_no_run_writes_is_passed_over(tmp_path: Path, wrong: dict[str, object]) -> None:
    (tmp_path / ".journal.jsonl").write_text(outcome("good") + outcome("bad", **wrong) + "[1]\n{broken\n" + '{"id"')
    assert list(Journal(tmp_path).outcomes) == ["good"]
    assert (tmp_path / ".journal.jsonl").read_bytes().endswith(b"{broken\n")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"duration": float("inf")}, "not JSON"),
        ({"duration": -1}, "outside 0 to 86400"),
        ({"duration": 1e9}, "outside 0 to 86400"),
        ({"duration": []}, None),
        ({"speaker": "a\x1b[31m"}, "speaker=.*no name"),
        ({"id": "a\nb"}, "id=.*no name"),
        ({"audio_filepath": "a\0.wav"}, "audio_filepath=.*no name"),
        ({"language": 5}, "language is 5, not a text"),
        ({"style": ["x"]}, "style is .*not a text"),
        ({"notes": "mixed"}, "not a list"),
        ({"text": "x" * 100_001}, "100001 characters"),
        ({"text": "half \ud800"}, "half a letter"),
    ],
)
def test_values_of_a_manifest_are_checked_where_they_come_in(
    tmp_path: Path, row: dict[str, object], words: str | None
) -> None:
    good = {"id": "a", "audio_filepath": "/elsewhere/a.wav", "text": "hello", "duration": 1.0, "speaker": 7}
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(good) + "\n" + json.dumps(good | row) + "\n")
    if words is None:
        assert [r.duration for r in read_manifest(path)] == [1.0, 0.0]
        return
    with pytest.raises(NemoExtError, match=f"m.jsonl line 2.*{words}"):
        read_manifest(path)


def test_a_manifest_is_a_regular_file(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").symlink_to("/dev/zero")
    with pytest.raises(NemoExtError, match="no regular file"):
        read_manifest(tmp_path / "m.jsonl")


@pytest.mark.parametrize(
    "info", ["- a list", "sample_rate: fast", "voices: [a]", "language: {a: b}", "x: !!python/name:os.system"]
)
def test_a_corpus_yaml_that_no_run_writes_is_refused(tmp_path: Path, info: str) -> None:
    (tmp_path / "corpus.yaml").write_text(info)
    for name in ("train.jsonl", "val.jsonl"):
        (tmp_path / name).write_text("")
    with pytest.raises(NemoExtError, match=r"corpus\.yaml"):
        load_corpus(tmp_path)


def test_a_bar_in_a_text_is_a_row_that_does_not_fit(lj: Lj, tmp_path: Path) -> None:
    source = lj(count=0)
    extra = lj(count=4, name="more")
    (extra / "wavs").rename(source / "all")
    (source / "wavs").rmdir()
    (source / "all").rename(source / "wavs")
    lines = ["good-0|Number nought.", "good-1|Yes | no.", "good-2|Number two.", "good-3|Number three."]
    (source / "metadata.csv").write_text("\n".join(lines))
    build(CorpusConfig(recipe="ljspeech", source=str(source), out=str(tmp_path / "out")))
    (row,) = read_dropped(tmp_path / "out" / "dropped.jsonl")
    assert (row.id, row.reason) == ("good-1", "row that does not fit its table")
    assert "line 2" in row.detail


def test_names_that_look_the_same_are_the_same(lj: Lj, tmp_path: Path, voice: Voice, write: Write) -> None:
    typed = unicodedata.normalize("NFC", "grüße")
    source = lj(f"{typed}|A greeting.|", "\ufeffmarked|With a mark.|", "plain|Without one.|", "../../out-of-it|Evil.|")
    write(source / "wavs" / (unicodedata.normalize("NFD", typed) + ".wav"), voice())
    write(source / "wavs" / "marked.wav", voice())
    write(source / "wavs" / "\ufeffplain.wav", voice())
    write(tmp_path / "out-of-it.wav", voice())
    corpus = build(CorpusConfig(recipe="ljspeech", source=str(source), out=str(tmp_path / "out")))
    assert {row.id for row in corpus.utterances} >= {typed, "marked", "plain"}
    assert [row.reason for row in read_dropped(tmp_path / "out" / "dropped.jsonl")] == [
        "row that does not fit its table"
    ]


def test_links_in_a_circle_and_names_too_long_lead_nowhere(tmp_path: Path, voice: Voice, write: Write) -> None:
    recording = write(tmp_path / "a" / "one.wav", voice())
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "again").symlink_to("../a")
    assert audio_files(tmp_path) == [recording]
    assert find_audio(tmp_path / ("n" * 300)) is None
    assert find_audio(tmp_path / "nul\0byte") is None
    os.mkfifo(tmp_path / "pipe.wav")
    assert find_audio(tmp_path / "pipe") is None


def test_a_file_name_fits_a_disk(tmp_path: Path) -> None:
    for name in ("\U00020000" * 90, "ä" * 500, "a" * 5000, "../up", ""):
        assert len(file_name(name).encode()) < 255
        (tmp_path / file_name(name)).write_text("")
    assert file_name("plain-1") == "plain-1.wav"


def test_floats_above_full_scale_are_not_clipped_in_the_source(voice: Voice) -> None:
    slow = voice()[None] / loudness.peak(voice()) * 1.5
    _, notes = mend(slow, 22050, 22050, 0.3)
    assert not any("clipped" in note for note in notes)
    _, notes = mend(np.clip(slow, -1.2, 1.2), 22050, 22050, 0.3)
    assert any("clipped" in note for note in notes)
    _, notes = mend(np.clip(slow, -1.0, 1.0), 22050, 22050, 0.3)
    assert any("clipped" in note for note in notes)
