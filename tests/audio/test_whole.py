from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from nemo_ext.audio.whole import missing_bytes, parts
from nemo_ext.corpus.checks import RejectedError, read_whole
from nemo_ext.errors import NemoExtError

RATE = 22050
NOISE = 0.05 * np.random.default_rng(0).standard_normal(RATE)


def encoded(container: str, subtype: str = "PCM_16") -> bytearray:
    """One second of noise, as a file of that format."""
    held = io.BytesIO()
    soundfile.write(held, NOISE, RATE, format=container, subtype=subtype)
    return bytearray(held.getvalue())


def put(folder: Path, content: bytes, suffix: str = ".wav") -> Path:
    path = folder / f"x{suffix}"
    path.write_bytes(content)
    return path


def test_a_cut_is_noticed_behind_a_chunk_of_odd_length(tmp_path: Path) -> None:
    content = encoded("WAV")
    at = content.index(b"data")
    odd = struct.pack("<4sI", b"LIST", 5) + b"odd!!\0"
    assert missing_bytes(put(tmp_path, content[:at] + odd + content[at:])) == 0
    assert missing_bytes(put(tmp_path, (content[:at] + odd + content[at:])[:-100])) == 100


FORMATS = [
    ("WAV", "PCM_16"),
    ("WAVEX", "PCM_24"),
    ("RF64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
]


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_a_whole_file_is_one_and_lacks_nothing(container: str, subtype: str, tmp_path: Path) -> None:
    path = put(tmp_path, encoded(container, subtype))
    assert (missing_bytes(path), parts(path)) == (0, 1)
    assert read_whole(path)[0].shape == (1, RATE)


@pytest.mark.parametrize("container", ["WAV", "RF64", "AIFF"])
def test_what_was_cut_off_is_counted(container: str, tmp_path: Path) -> None:
    path = put(tmp_path, encoded(container)[:-1000], ".aiff" if container == "AIFF" else ".wav")
    assert missing_bytes(path) == 1000
    with pytest.raises(RejectedError) as refused:
        read_whole(path)
    assert refused.value.reason == "truncated"


def test_an_ogg_that_ends_within_a_page_is_truncated(tmp_path: Path) -> None:
    path = put(tmp_path, encoded("OGG", "VORBIS")[:-100], ".ogg")
    assert missing_bytes(path) == 100


@pytest.mark.parametrize("told", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_an_aiff_to_a_pipe_lacks_nothing(told: int, tmp_path: Path) -> None:
    content = encoded("AIFF")
    struct.pack_into(">I", content, content.index(b"SSND") + 4, told)
    path = put(tmp_path, content, ".aiff")
    assert missing_bytes(path) == 0
    assert read_whole(path)[0].shape == (1, RATE)


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")])
def test_files_joined_end_to_end_are_not_taken_for_their_first(container: str, subtype: str, tmp_path: Path) -> None:
    path = put(tmp_path, encoded(container, subtype) * 3)
    assert parts(path) == 3
    with pytest.raises(RejectedError, match="3 recordings joined in one file") as refused:
        read_whole(path)
    assert refused.value.reason == "unreadable"


def test_chunks_behind_the_samples_are_no_recording(tmp_path: Path) -> None:
    path = put(tmp_path, encoded("WAV") + b"LIST" + struct.pack("<I", 12) + b"INFOabcdefgh")
    assert (missing_bytes(path), parts(path)) == (0, 1)


@pytest.mark.parametrize("look", [missing_bytes, parts])
def test_a_pipe_is_not_waited_for(look: object, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.wav")
    with pytest.raises(NemoExtError, match="no regular file"):
        look(tmp_path / "x.wav")  # type: ignore[operator]
