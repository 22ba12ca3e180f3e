from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nemo_ext.corpus.manifest import load_corpus, read_manifest, write_manifest, write_text
from nemo_ext.errors import NemoExtError
from nemo_ext.types import Utterance

FULL = Utterance(
    id="a/1",
    audio_filepath="audio/a.wav",
    text="Ärger – „quoted“ \u2028 line",
    duration=1.2345,
    normalized_text="ärger",
    speaker="anna",
    language="de",
    style="happy",
    notes=["resampled from 16000 Hz"],
)


def test_round_trip(tmp_path: Path) -> None:
    rows = [FULL, Utterance("b", "/abs/b.wav", "plain", 2.0)]
    path = write_manifest(tmp_path / "deep" / "m.jsonl", rows)
    assert read_manifest(path) == rows
    assert [p.name for p in path.parent.iterdir()] == ["m.jsonl"], "nothing is left beside it"


def test_several_with_one_process_id_write_the_same_file(tmp_path: Path) -> None:
    """As processes in containers do; here they are threads."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: write_text(tmp_path / "m.txt", f"{number}\n"), range(400)))
    assert [p.name for p in tmp_path.iterdir()] == ["m.txt"]


def test_as_nemo_reads_it(tmp_path: Path) -> None:
    text = write_manifest(tmp_path / "m.jsonl", [FULL, Utterance("b", "b.wav", "plain", 2.0)]).read_text("utf-8")
    assert "Ärger" in text, "letters are written as they are"
    first, second = (json.loads(line) for line in text.split("\n") if line)
    assert {"audio_filepath", "text", "duration", "speaker"} <= first.keys()
    assert second == {"audio_filepath": "b.wav", "text": "plain", "duration": 2.0, "id": "b"}


def test_a_manifest_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"audio_filepath": "x/y 1.wav", "text": "hi", "duration": 1, "speaker": 3, "offset": 0.5}\n\n')
    assert read_manifest(path) == [Utterance("y 1", "x/y 1.wav", "hi", 1.0, speaker="3")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{not json", "line 2 is not JSON"),
        ("[1]", "line 2 is not a JSON object"),
        ('{"text": "a"}', "line 2: no 'audio_filepath'"),
        ('{"audio_filepath": "a.wav"}', "line 2: no 'text'"),
        ('{"audio_filepath": "a.wav", "text": "a", "duration": "long"}', "duration 'long' is not a number"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"audio_filepath": "a.wav", "text": "a"}\n' + line + "\n")
    with pytest.raises(NemoExtError, match=words):
        read_manifest(path)


def test_what_is_no_corpus_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NemoExtError, match=r"no finished corpus at .*: corpus\.yaml is missing; make one with"):
        load_corpus(tmp_path)
    with pytest.raises(NemoExtError, match="no manifest at"):
        read_manifest(tmp_path / "none.jsonl")


def test_the_espeak_corpus_loads(espeak_corpus: Path) -> None:
    corpus = load_corpus(espeak_corpus)
    assert (len(corpus.train), len(corpus.val)) == (38, 2)
    assert corpus.info["recipe"] == "espeak"
    assert set(corpus.info["voices"]) == {"ada", "ben"}
    assert all(corpus.audio_path(row).is_file() for row in corpus.utterances)
    assert read_manifest(espeak_corpus / "manifest.jsonl") == sorted(
        corpus.utterances, key=lambda row: int(row.id[-4:])
    )
