"""One test for each row of the table of imperfect recordings in docs/corpus.md."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from nemo_ext.corpus import found
from nemo_ext.corpus.build import build
from nemo_ext.corpus.checks import mend
from nemo_ext.corpus.config import CorpusConfig
from nemo_ext.corpus.manifest import Corpus, Dropped, read_dropped, read_manifest
from nemo_ext.errors import NemoExtError
from nemo_ext.types import Utterance

RATE = 22050
GOOD = 24
EMPTY_TEXTS = {"empty-0": "", "empty-1": "   ", "empty-2": "...", "empty-3": "-- ?!"}

Lj = Callable[..., Path]
Voice = Callable[..., np.ndarray]
Write = Callable[..., Path]


def make(source: Path, out: Path, **options: object) -> Corpus:
    return build(CorpusConfig(recipe="ljspeech", source=str(source), out=str(out), **options))


@dataclass
class Fate:
    """A corpus made of a source with everything wrong in it, and what became of each name."""

    out: Path
    info: dict[str, object]
    kept: dict[str, Utterance]
    dropped: dict[str, Dropped]

    def sound(self, name: str) -> np.ndarray:
        """The corpus's recording of ``name``, once it is certain that it is what every recording becomes."""
        row = self.kept[name]
        path = str(self.out / row.audio_filepath)
        info = soundfile.info(path)
        assert (info.channels, info.samplerate, info.subtype) == (1, RATE, "PCM_16")
        audio, _ = soundfile.read(path, dtype="float32")
        assert row.duration == pytest.approx(len(audio) / RATE, abs=1e-4)
        return audio

    def check_dropped(self, name: str, reason: str, detail: str = "") -> None:
        assert name not in self.kept
        assert self.dropped[name].reason == reason
        assert re.search(detail, self.dropped[name].detail)
        assert not (self.out / "audio" / f"{name}.wav").exists()


def cut(path: Path, part: float) -> None:
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])


@pytest.fixture(scope="module")
def fate(tmp_path_factory: pytest.TempPathFactory, voice: Voice, write: Write) -> Fate:
    folder = tmp_path_factory.mktemp("imperfect")
    wavs = folder / "source" / "wavs"
    texts = {f"good-{i}": f"Sentence number {i}." for i in range(GOOD)}
    for i, name in enumerate(texts):
        write(wavs / f"{name}.wav", voice(0.5, seed=i))
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    damaged = voice()
    damaged[1000:1003] = [np.nan, np.nan, np.inf]
    recordings = {
        "stereo": (np.stack([voice(seed=1), 0.5 * voice(seed=1)]), RATE, "PCM_16"),
        "crossed": (np.stack([voice(seed=1), -0.98 * voice(seed=1)]), RATE, "PCM_16"),
        "slow": (voice(rate=16000, seed=1), 16000, "PCM_16"),
        "fast": (voice(rate=44100, seed=1), 44100, "PCM_24"),
        "loud": (np.sign(voice(rate=16000)) * np.float32(0.9999), 16000, "PCM_16"),
        "nan": (damaged, RATE, "FLOAT"),
        "zeros": (np.zeros(RATE, dtype=np.float32), RATE, "PCM_16"),
        "hiss": (3e-4 * noise, RATE, "PCM_16"),
        "quiet": (voice(level=0.01), RATE, "PCM_16"),
        "short": (voice(0.29), RATE, "PCM_16"),
        "stream": (voice(), RATE, "PCM_16"),
        "wide": (voice(), RATE, "PCM_16"),
        "lonely": (voice(), RATE, "PCM_16"),
    } | {name: (voice(), RATE, "PCM_16") for name in EMPTY_TEXTS}
    for name, (audio, rate, subtype) in recordings.items():
        write(wavs / f"{name}.wav", audio, rate, subtype)
    for suffix in ("wav", "flac"):
        for part in (0.9, 0.3):
            name = f"cut-{suffix}-{part}"
            cut(write(wavs / f"{name}.{suffix}", voice(3.0)), part)
            texts[name] = "A piece of a sentence."
    (wavs / "garbage.wav").write_bytes(b"this is no sound" * 100)
    (wavs / "nothing.wav").write_bytes(b"")
    stream = bytearray((wavs / "stream.wav").read_bytes())
    at = stream.index(b"data") + 4
    stream[4:8] = stream[at : at + 4] = b"\xff\xff\xff\xff"  # as ffmpeg writes to a pipe
    (wavs / "stream.wav").write_bytes(stream)
    texts |= {name: "An odd one." for name in recordings if name not in ("lonely", "wide")}
    texts |= {"garbage": "Garbage.", "nothing": "Nothing.", "gone": "An absent one."} | EMPTY_TEXTS
    rows = [f"{name}|{text}|{text}" for name, text in texts.items()]
    rows += ["good-2|Another text for the same name.|Another text for the same name.", "wide|one|two|three"]
    (folder / "source" / "metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")

    out = folder / "out"
    corpus = make(folder / "source", out)
    kept, dropped = read_manifest(out / "manifest.jsonl"), read_dropped(out / "dropped.jsonl")
    assert corpus.info["found"] == len(kept) + len(dropped) == len(rows) + 1  # and the one without a text
    assert corpus.info["kept"] == len(kept)
    assert sorted(row.id for row in corpus.utterances) == sorted(row.id for row in kept)
    assert {f"good-{i}" for i in range(GOOD)} <= {row.id for row in kept}
    return Fate(out, corpus.info, {row.id: row for row in kept}, {row.id: row for row in dropped})


def test_stereo_is_mixed_down_and_noted(fate: Fate, voice: Voice) -> None:
    np.testing.assert_allclose(fate.sound("stereo"), 0.75 * voice(seed=1), atol=2e-4)
    assert fate.kept["stereo"].notes == ["mixed down from 2 channels"]


def test_stereo_that_cancels_itself_keeps_the_louder_channel(fate: Fate, voice: Voice) -> None:
    np.testing.assert_allclose(fate.sound("crossed"), voice(seed=1), atol=2e-4)
    assert fate.kept["crossed"].notes == ["the louder of 2 channels that cancel each other"]


@pytest.mark.parametrize(("name", "rate"), [("slow", 16000), ("fast", 44100)])
def test_another_rate_is_resampled_and_noted(fate: Fate, voice: Voice, name: str, rate: int) -> None:
    np.testing.assert_allclose(fate.sound(name)[500:-500], voice(seed=1)[500:-500], atol=1e-3)
    assert fate.kept[name].notes == [f"resampled from {rate} Hz"]


def test_full_scale_is_turned_down_and_noted_not_clipped(fate: Fate) -> None:
    audio = np.abs(fate.sound("loud"))
    assert audio.max() == pytest.approx(0.99, abs=1e-3)
    assert (audio == audio.max()).sum() <= 3, "no flat top: the overshoot of resampling was kept, not cut"
    notes = fate.kept["loud"].notes
    assert "clipped in the source" in notes
    assert any(re.fullmatch(r"turned down \d\.\d\d dB to stay below full scale", note) for note in notes)


@pytest.mark.parametrize("name", ["garbage", "nothing"])
def test_unreadable(fate: Fate, name: str) -> None:
    fate.check_dropped(name, found.UNREADABLE, "cannot be read as audio")


@pytest.mark.parametrize("name", ["cut-wav-0.9", "cut-wav-0.3", "cut-flac-0.9", "cut-flac-0.3"])
def test_truncated(fate: Fate, name: str) -> None:
    fate.check_dropped(name, found.TRUNCATED, "header says|lost sync")


def test_a_stream_of_unknown_length_is_not_truncated(fate: Fate) -> None:
    assert len(fate.sound("stream")) == RATE


def test_nan_and_infinity(fate: Fate) -> None:
    fate.check_dropped("nan", found.NOT_FINITE, "3 of 22050 samples")


@pytest.mark.parametrize("name", ["zeros", "hiss"])
def test_silent(fate: Fate, name: str) -> None:
    fate.check_dropped(name, found.SILENT, "dBFS")


def test_a_quiet_voice_is_not_silent(fate: Fate) -> None:
    assert np.abs(fate.sound("quiet")).max() == pytest.approx(0.01, abs=1e-3), "and its level is its own"


def test_shorter_than_a_third_of_a_second(fate: Fate) -> None:
    fate.check_dropped("short", found.TOO_SHORT, r"0\.29 s; 0\.3 s is the least")


@pytest.mark.parametrize("name", EMPTY_TEXTS)
def test_empty_text(fate: Fate, name: str) -> None:
    fate.check_dropped(name, found.EMPTY_TEXT)


def test_text_without_a_recording(fate: Fate) -> None:
    fate.check_dropped("gone", found.NO_RECORDING, r"wavs/gone\.wav")
    assert fate.dropped["gone"].text == "An absent one."


def test_recording_without_a_text(fate: Fate) -> None:
    fate.check_dropped("lonely", found.NO_TEXT)
    assert fate.dropped["lonely"].path == "wavs/lonely.wav"


def test_second_row_with_the_same_id(fate: Fate) -> None:
    row = fate.dropped["good-2"]
    assert row.reason == found.SAME_ID
    assert "wavs/good-2.wav" in row.detail
    assert row.text == "Another text for the same name."
    assert fate.kept["good-2"].text == "Sentence number 2."


def test_row_that_does_not_fit_its_table(fate: Fate) -> None:
    fate.check_dropped("wide", found.BAD_ROW, r"line \d+ has 4 columns")


def test_reasons_are_counted(fate: Fate) -> None:
    assert sum(fate.info["dropped_reasons"].values()) == len(fate.dropped)
    lines = (fate.out / "dropped.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(json.loads(line)["reason"] for line in lines)


def test_more_than_half_dropped_fails_and_says_why(lj: Lj, tmp_path: Path) -> None:
    source = lj(*(f"gone-{i}|Gone {i}.|Gone {i}." for i in range(5)))
    with pytest.raises(NemoExtError, match=r"5 of 9 were dropped, more than half; most often 'text without a") as error:
        make(source, tmp_path / "out")
    assert "dropped.jsonl" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(read_dropped(tmp_path / "out" / "dropped.jsonl")) == 5
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left & {"manifest.jsonl", "train.jsonl", "val.jsonl", "corpus.yaml", "report.html"} == set()


def test_exactly_half_dropped_is_allowed(lj: Lj, tmp_path: Path) -> None:
    source = lj(*(f"gone-{i}|Gone {i}.|Gone {i}." for i in range(4)))
    assert make(source, tmp_path / "out").info["kept"] == 4


def test_nothing_left_fails_and_says_why(lj: Lj, tmp_path: Path, write: Write, voice: Voice) -> None:
    source = lj("odd|An odd one.|An odd one.", count=0)
    write(source / "wavs" / "odd.wav", voice(0.1))
    with pytest.raises(NemoExtError, match=r"none of 1 recordings is usable; most often 'too short' \(1\)"):
        make(source, tmp_path / "out")
    with pytest.raises(NemoExtError, match=r"nothing was found"):
        make(lj(count=0, name="empty"), tmp_path / "out2")


def test_strict_lets_no_drop_pass(lj: Lj, tmp_path: Path) -> None:
    source = lj("odd|An odd one.|An odd one.")
    assert make(source, tmp_path / "out").info["dropped"] == 1
    with pytest.raises(NemoExtError, match=r"1 of 5 were dropped, and strict=true allows none"):
        make(source, tmp_path / "out", strict=True)
    assert not (tmp_path / "out" / "manifest.jsonl").exists(), "nothing is left that would train"
    assert make(lj(name="clean"), tmp_path / "clean-out", strict=True).info["dropped"] == 0


def test_every_reason_stands_in_the_docs() -> None:
    table = (Path(__file__).parents[2] / "docs" / "corpus.md").read_text(encoding="utf-8")
    reasons = [getattr(found, name) for name in dir(found) if name.isupper() and isinstance(getattr(found, name), str)]
    assert len(reasons) >= 10
    assert [reason for reason in reasons if f"`{reason}`" not in table] == []


@pytest.mark.parametrize(("samples", "clipped"), [(2, False), (3, True)])
def test_three_samples_in_a_row_at_full_scale_are_clipped(samples: int, clipped: bool) -> None:
    audio = 0.3 * np.sin(np.arange(22050) / 20).astype(np.float32)[None]
    audio[0, 1000 : 1000 + samples] = 1.0
    _, notes = mend(audio, 22050, 22050, 0.1)
    assert ("clipped in the source" in notes) is clipped
