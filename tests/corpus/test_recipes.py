"""Every recipe on the publisher's own layout, in miniature; and on real speech where NEMO_EXT_CORPORA names it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nemo_ext.corpus import found, recipes
from nemo_ext.corpus.build import build
from nemo_ext.corpus.config import CorpusConfig, CsvOptions, VctkOptions
from nemo_ext.corpus.manifest import Corpus
from nemo_ext.errors import NemoExtError
from nemo_ext.types import Utterance

Voice = Callable[..., np.ndarray]
Write = Callable[..., Path]


def texts(files: dict[Path, str]) -> None:
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def read(recipe: str, source: Path, **options: object) -> found.Found:
    return recipes.load(recipe).read(source, CorpusConfig(recipe=recipe, source=str(source), **options))


def reasons(result: found.Found) -> dict[str, str]:
    return {row.id: row.reason for row in result.dropped}


@pytest.mark.parametrize("name", recipes.NAMES)
def test_each_begins_with_its_provenance(name: str) -> None:
    module = recipes.load(name)
    assert module.PROVENANCE
    for word in ("What:", "icence", "ayout"):
        assert word in str(module.__doc__), f"recipe {name} does not say {word}"


@pytest.mark.parametrize(
    ("recipe", "theirs", "others"),
    [
        ("ljspeech", "LJ001-0001", "de_rhasspy-1667"),
        ("vctk", "p225_001", "anna_001"),
        ("librispeech", "103-1240-0000", "anna-1-0000"),
        ("hifitts", "92_book_name_0001", "93_book_name_0001"),
        ("emodb", "03a01Fa", "03c01Fa"),
    ],
)
def test_a_publisher_s_name_is_not_claimed_for_what_has_its_layout(recipe: str, theirs: str, others: str) -> None:
    module = recipes.load(recipe)

    def told(name: str, language: str = module.LANGUAGE) -> str:
        return recipes.provenance(module, [Utterance(id=name, audio_filepath="a.wav", text="", language=language)])

    assert told(theirs) == module.PROVENANCE
    for odd in (told(others), told(theirs, "fr")):
        assert odd.startswith(f"in {module.LAYOUT}'s layout; whose recordings they are")


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(NemoExtError, match="did you mean 'librispeech'"):
        recipes.load("librispech")


@pytest.mark.parametrize("name", ["ljspeech", "vctk", "librispeech", "hifitts", "emodb", "csv"])
def test_a_folder_that_is_something_else_says_what_was_expected(name: str, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(NemoExtError, match=rf"is not what recipe={name} reads: it wants .* and found holiday\.jpg"):
        read(name, tmp_path)


def test_ljspeech(tmp_path: Path, write: Write, voice: Voice) -> None:
    for name in ("LJ001-0001", "LJ001-0002", "LJ001-0003"):
        write(tmp_path / "lj" / "wavs" / f"{name}.wav", voice())
    texts(
        {
            tmp_path / "lj" / "metadata.csv": 'LJ001-0001|He said "no" in 1890.|He said "no" in eighteen ninety.\n'
            'LJ001-0002|An "open quotation|An "open quotation\r\n'
            "LJ001-0003|Two columns only\n"
        }
    )
    result = read("ljspeech", tmp_path / "lj")
    assert [row.text for row in result.utterances] == [
        'He said "no" in 1890.',
        'An "open quotation',
        "Two columns only",
    ]
    assert result.utterances[0].normalized_text == 'He said "no" in eighteen ninety.'
    assert result.utterances[2].normalized_text is None
    assert {row.speaker for row in result.utterances} == {"lj"}
    assert {row.language for row in result.utterances} == {"en"}
    assert result.dropped == []
    named = read("ljspeech", tmp_path / "lj", speaker="linda", language="de").utterances[0]
    assert (named.speaker, named.language) == ("linda", "de")


def vctk_092(folder: Path, write: Write, voice: Voice) -> Path:
    for speaker in ("p225", "p226"):
        for number in ("001", "002"):
            for microphone in (1, 2):
                name = f"{speaker}_{number}_mic{microphone}.flac"
                write(folder / "wav48_silence_trimmed" / speaker / name, voice(rate=48000), 48000)
            texts({folder / "txt" / speaker / f"{speaker}_{number}.txt": f"Please call number {number}.\n"})
    # p315 has no texts in the real one either
    write(folder / "wav48_silence_trimmed" / "p315" / "p315_001_mic1.flac", voice(rate=48000), 48000)
    texts({folder / "txt" / "p226" / "p226_003.txt": "Never recorded.", folder / "speaker-info.txt": "ID AGE GENDER"})
    return folder


def test_vctk_092(tmp_path: Path, write: Write, voice: Voice) -> None:
    result = read("vctk", vctk_092(tmp_path, write, voice))
    assert [row.id for row in result.utterances] == ["p225_001", "p225_002", "p226_001", "p226_002"]
    assert all(row.audio_filepath.endswith("_mic1.flac") for row in result.utterances)
    assert [row.speaker for row in result.utterances] == ["p225", "p225", "p226", "p226"]
    assert result.utterances[1].text == "Please call number 002."
    assert reasons(result) == {"p226_003": found.NO_RECORDING, "p315_001": found.NO_TEXT}
    assert result.notes == ["4 recordings of microphone 2 were set aside (vctk.microphone=2)"]
    second = read("vctk", tmp_path, vctk=VctkOptions(microphone=2))
    assert all(row.audio_filepath.endswith("_mic2.flac") for row in second.utterances)


def test_vctk_080(tmp_path: Path, write: Write, voice: Voice) -> None:
    write(tmp_path / "wav48" / "p225" / "p225_001.wav", voice(rate=48000), 48000)
    texts({tmp_path / "txt" / "p225" / "p225_001.txt": "Please call Stella."})
    result = read("vctk", tmp_path)
    assert [(row.id, row.speaker, row.text) for row in result.utterances] == [
        ("p225_001", "p225", "Please call Stella.")
    ]
    assert result.dropped == []


def test_librispeech(tmp_path: Path, write: Write, voice: Voice) -> None:
    chapter = tmp_path / "test-clean" / "1089" / "134686"
    for number in range(3):
        write(chapter / f"1089-134686-000{number}.flac", voice(rate=16000), 16000)
    texts(
        {
            chapter
            / "1089-134686.trans.txt": "1089-134686-0000 HE HOPED\n1089-134686-0001 STUFF IT\n1089-134686-0009 X Y\n"
        }
    )
    result = read("librispeech", tmp_path)
    assert [(row.id, row.text) for row in result.utterances] == [
        ("1089-134686-0000", "he hoped"),
        ("1089-134686-0001", "stuff it"),
    ]
    assert {row.speaker for row in result.utterances} == {"1089"}
    assert reasons(result) == {"1089-134686-0002": found.NO_TEXT, "1089-134686-0009": found.NO_RECORDING}
    assert result.notes == ["2 transcripts were in capitals and have been lowered"]


def test_libritts(tmp_path: Path, write: Write, voice: Voice) -> None:
    chapter = tmp_path / "dev-clean" / "84" / "121123"
    name = "84_121123_000007_000001"
    write(chapter / f"{name}.wav", voice(rate=24000), 24000)
    texts({chapter / f"{name}.original.txt": "Mr. Noirtier!", chapter / f"{name}.normalized.txt": "Mister Noirtier!"})
    result = read("librispeech", tmp_path)
    assert [(row.id, row.speaker, row.text, row.normalized_text) for row in result.utterances] == [
        (name, "84", "Mr. Noirtier!", "Mister Noirtier!")
    ]
    assert result.dropped == []


def test_hifitts(tmp_path: Path, write: Write, voice: Voice) -> None:
    rows: dict[str, list[str]] = {}
    for part, name in (("train", "book/a_0001"), ("dev", "book/a_0002"), ("test", "book/a_0003")):
        place = f"audio/92_clean/{name}.flac"
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / place, voice(rate=44100), 44100)
        row = {"audio_filepath": place, "text": "Mr. Noirtier!", "text_normalized": "Mister Noirtier!", "duration": 1.0}
        rows.setdefault(part, []).append(json.dumps(row))
    rows["train"] += [
        "not JSON",
        json.dumps({"audio_filepath": "audio/92_clean/book/gone.flac", "text": "x"}),
        json.dumps({"audio_filepath": "../outside.flac", "text": "x"}),
    ]
    texts({tmp_path / f"92_manifest_clean_{part}.json": "\n".join(lines) for part, lines in rows.items()})
    result = read("hifitts", tmp_path)
    assert [(row.id, row.speaker, row.normalized_text) for row in result.utterances] == [
        ("92_book_a_0002", "92", "Mister Noirtier!"),
        ("92_book_a_0003", "92", "Mister Noirtier!"),
        ("92_book_a_0001", "92", "Mister Noirtier!"),
    ]
    assert result.val == {"92_book_a_0002"}
    assert reasons(result) == {
        "92_manifest_clean_train-2": found.BAD_ROW,
        "92_book_gone": found.NO_RECORDING,
        "92_.._outside": found.NO_RECORDING,
    }


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Soft hy\u00adphen\u00adation in a word.", "Soft hyphenation in a word."),
        ("A Zusammen\u200barbeit of two.", "A Zusammenarbeit of two."),
        ("Zero wi\u200cd\u200dth \u2060joiner\ufeff.", "Zero width joiner."),
        ("Left \u200eand\u200f right \u202aarrows\u202c.", "Left and right arrows."),
        ("A\tvertical\x0btab\x07 and\u0085next", "A vertical tab and next"),
        ("scho\u00ad\u0308n", "schön"),
    ],
)
def test_what_nobody_sees_parts_no_word(given: str, kept: str) -> None:
    assert found.clean_text(given) == kept


def test_the_same_name_in_two_folders_is_not_lost(tmp_path: Path, write: Write, voice: Voice) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder / "1-2-0000.flac", voice())
    texts({tmp_path / "a" / "1-2.trans.txt": "1-2-0000 HELLO\n"})
    result = read("librispeech", tmp_path)
    assert len(result.utterances) == 1
    assert [(row.reason, row.path) for row in result.dropped] == [(found.SAME_ID, "b/1-2-0000.flac")]


def test_emodb(tmp_path: Path, write: Write, voice: Voice) -> None:
    for name in ("03a01Fa", "03a01Wa", "08b10Lb", "16a07Ec", "11b02Ad", "notes"):
        write(tmp_path / "wav" / f"{name}.wav", voice(rate=16000), 16000)
    result = read("emodb", tmp_path)
    rows = {row.id: row for row in result.utterances}
    assert {name: row.style for name, row in rows.items()} == {
        "03a01Fa": "happiness",
        "03a01Wa": "anger",
        "08b10Lb": "boredom",
        "16a07Ec": "disgust",
        "11b02Ad": "fear",
    }
    assert (rows["03a01Fa"].speaker, rows["03a01Fa"].language) == ("03", "de")
    assert rows["03a01Fa"].text == "Der Lappen liegt auf dem Eisschrank."
    assert reasons(result) == {"notes": found.NO_TEXT}


def test_csv_with_its_defaults(tmp_path: Path, write: Write, voice: Voice) -> None:
    for path in ("anna/1.wav", "ben/1.wav", "ben/2.wav"):
        write(tmp_path / path, voice())
    texts(
        {
            tmp_path / "metadata.csv": 'path,text,speaker,language,style\nanna/1.wav,"Hello, you",anna,en,happy\n'
            "ben/1,Guten Tag,ben,de,\nben/3.wav,Gone,ben,de,\n"
        }
    )
    result = read("csv", tmp_path)
    assert [(row.id, row.text, row.speaker, row.language, row.style) for row in result.utterances] == [
        ("anna_1", "Hello, you", "anna", "en", "happy"),
        ("ben_1", "Guten Tag", "ben", "de", None),
    ]
    assert reasons(result) == {"ben_3": found.NO_RECORDING, "2": found.NO_TEXT}
    assert "2" not in reasons(read("csv", tmp_path, csv=CsvOptions(unlisted=False)))


def test_recordings_that_are_not_there_are_not_looked_for_one_by_one(
    tmp_path: Path, write: Write, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifteen names a row were asked for before: 200,000 rows took a minute."""
    write(tmp_path / "clips" / "one.wav", voice())
    rows = [f"clips/missing-{i},Hello." for i in range(1000)]
    texts({tmp_path / "metadata.csv": "\n".join(["path,text", "clips/one.wav,One.", *rows])})
    asked, isfile = [], os.path.isfile
    monkeypatch.setattr(os.path, "isfile", lambda path: asked.append(path) or isfile(path))
    found = read("csv", tmp_path)
    assert (len(found.utterances), len(found.dropped)) == (1, 1000)
    assert sum("clips" in str(path) for path in asked) < 10


def test_csv_with_other_columns_and_no_header(tmp_path: Path, write: Write, voice: Voice) -> None:
    write(tmp_path / "clips" / "x.wav", voice())
    texts({tmp_path / "t.tsv": 'so "it" goes\tclips/x.wav\tzoe\n'})
    options = CsvOptions(table="t.tsv", delimiter="tab", quoting="none", header=False, path="2", text="1", speaker="3")
    row = read("csv", tmp_path, csv=options).utterances[0]
    assert (row.text, row.speaker) == ('so "it" goes', "zoe")
    texts({tmp_path / "t.txt": "file|transcript|who\nclips/x.wav|Hi there|zoe\n"})
    options = CsvOptions(table="t.txt", delimiter="|", path="file", text="transcript", speaker="who")
    assert read("csv", tmp_path, csv=options).utterances[0].text == "Hi there"


def test_csv_mistakes_name_the_remedy(tmp_path: Path, write: Write, voice: Voice) -> None:
    write(tmp_path / "x.wav", voice())
    texts({tmp_path / "metadata.csv": "path,transcript\nx.wav,Hello\n"})
    with pytest.raises(NemoExtError, match=r"no column 'text'; it has path, transcript: set csv\.text=COLUMN"):
        read("csv", tmp_path)
    with pytest.raises(NemoExtError, match="did you mean 'transcript'"):
        read("csv", tmp_path, csv=CsvOptions(text="transcrip"))
    with pytest.raises(NemoExtError, match="no column 'who'"):
        read("csv", tmp_path, csv=CsvOptions(text="transcript", speaker="who"))
    with pytest.raises(NemoExtError, match="one character"):
        read("csv", tmp_path, csv=CsvOptions(text="transcript", delimiter=", "))
    (tmp_path / "metadata.csv").write_bytes("path,text\nx.wav,Grüße\n".encode("latin-1"))
    with pytest.raises(NemoExtError, match="is not utf-8 text"):
        read("csv", tmp_path)
    assert read("csv", tmp_path, csv=CsvOptions(encoding="latin-1")).utterances[0].text == "Grüße"


def test_csv_paths_outside_the_source_and_hostile_ids(tmp_path: Path, write: Write, voice: Voice) -> None:
    outside = write(tmp_path / "elsewhere" / "o.wav", voice())
    source = tmp_path / "source"
    rows = [f"{outside},A sentence,../../evil", "../elsewhere/o.wav,Another,a/b", "/nowhere.wav,Gone,gone"]
    texts({source / "metadata.csv": "path,text,id\n" + "\n".join(rows) + "\n"})
    corpus = build(CorpusConfig(recipe="csv", source=str(source), out=str(tmp_path / "out")))
    assert {row.id for row in corpus.utterances} == {"../../evil", "a/b"}
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.wav"))
    assert [path.parts[:2] for path in written] == [("elsewhere", "o.wav"), ("out", "audio"), ("out", "audio")]
    assert all(corpus.audio_path(row).is_file() for row in corpus.utterances)


SETS = {
    "ljspeech_mini": ("ljspeech", "en", 36, 1, 236),
    "vctk_mini": ("vctk", "en", 40, 4, 286),
    "librispeech_multi": ("librispeech", "en", 100, 10, 767),
    "emodb_de": ("emodb", "de", 266, 8, 749),
}


@pytest.fixture(scope="module", params=SETS)
def real(
    request: pytest.FixtureRequest, corpora: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Corpus | None:
    if corpora is None:
        return None
    name = request.param
    out = tmp_path_factory.mktemp("real") / name
    corpus = build(CorpusConfig(recipe=SETS[name][0], source=str(corpora / name), out=str(out)))
    corpus.info["set"] = name
    return corpus


def test_real_speech(real: Corpus | None, espeak_corpus: Path) -> None:
    """All utterances, all voices, the whole length; without NEMO_EXT_CORPORA, the corpus made on the spot."""
    if real is None:
        assert len(list((espeak_corpus / "audio").glob("*.wav"))) == 40
        return
    _, language, utterances, voices, seconds = SETS[real.info["set"]]
    assert (real.info["kept"], real.info["dropped"], len(real.info["voices"])) == (utterances, 0, voices)
    assert {row.language for row in real.utterances} == {language}
    assert real.info["seconds"] == pytest.approx(seconds, abs=1)
    validated = {row.speaker for row in real.val}
    assert validated == set(real.info["voices"])
    assert {row.text for row in real.val}.isdisjoint({row.text for row in real.train})
    assert len(real.val) <= 0.12 * utterances


def test_german_in_ljspeechs_layout(corpora: Path | None, tmp_path: Path, lj: Callable[..., Path]) -> None:
    """The 600 German utterances of kerstin_de; without them, a folder in the same layout."""
    source = corpora / "kerstin_de" if corpora else lj("odd|Straße|Straße", count=11)
    count = 600 if corpora else 11
    result = read("ljspeech", source, language="de")
    assert len(result.utterances) == count
    assert {row.language for row in result.utterances} == {"de"}
    assert all(Path(row.audio_filepath).is_file() for row in result.utterances)
