"""recipe=joined: several finished corpora as one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from nemo_ext.corpus.build import build
from nemo_ext.corpus.config import CorpusConfig
from nemo_ext.corpus.manifest import Corpus, load_corpus
from nemo_ext.errors import NemoExtError


def joined(source: Path, out: Path, **options: object) -> Corpus:
    return build(CorpusConfig(recipe="joined", source=str(source), out=str(out), processes=1, **options))


@pytest.fixture
def shelf(lj: Callable[..., Path], tmp_path: Path) -> Path:
    """Two corpora whose ids clash, in folders of different depth; ben's has seconds that were mended."""
    shelf = tmp_path / "shelf"
    options = {"recipe": "ljspeech", "val_fraction": 0.25, "processes": 1}
    for name, speaker, count in (("anna", "anna", 4), ("more/ben", "ben", 3)):
        source = lj(name=speaker, count=count)
        build(CorpusConfig(source=str(source), out=str(shelf / name), speaker=speaker, seed=3, **options))
    return shelf


def test_utterances_splits_and_bytes_are_kept(shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = {name: load_corpus(shelf / name) for name in ("anna", "more/ben")}
    whole = joined(shelf, tmp_path / "whole")
    both = range(3)
    ids = {"good-3", *(f"anna-good-{i}" for i in both), *(f"more-ben-good-{i}" for i in both)}
    assert {u.id for u in whole.utterances} == ids  # only what clashes is renamed
    assert {u.speaker for u in whole.utterances} == {"anna", "ben"}
    there = {f"anna-{u.id}" for u in parts["anna"].val} | {f"more-ben-{u.id}" for u in parts["more/ben"].val}
    assert {u.id for u in whole.val} == {name.replace("anna-good-3", "good-3") for name in there}
    for u in whole.utterances:
        part = parts["anna" if u.speaker == "anna" else "more/ben"]
        before = part.audio_path(next(v for v in part.utterances if u.id.endswith(v.id)))
        assert whole.audio_path(u).samefile(before)  # linked: no room is taken
    assert "3 ids were in more than one corpus" in " ".join(whole.info["notes"])
    joined(shelf, tmp_path / "whole")
    assert "finished already" in capsys.readouterr().out


def test_one_that_lies_among_them_does_not_eat_itself(shelf: Path) -> None:
    assert len(joined(shelf, shelf / "whole").utterances) == 7
    assert len(joined(shelf, shelf / "whole").utterances) == 7
    assert len(joined(shelf, shelf / "again").utterances) == 7


def test_another_rate_is_resampled_and_clean_ids_stay(shelf: Path, lj: Callable[..., Path], tmp_path: Path) -> None:
    (shelf / "anna").rename(tmp_path / "gone")
    whole = joined(shelf, tmp_path / "whole", sample_rate=16000)
    assert {u.id for u in whole.utterances} == {"good-0", "good-1", "good-2"}
    for u in whole.utterances:
        audio, rate = soundfile.read(whole.audio_path(u))
        assert rate == 16000
        assert "resampled from 22050 Hz" in u.notes
        assert np.abs(audio).max() > 0.1


def test_one_voice_in_two_corpora_is_told(lj: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        build(
            CorpusConfig(
                recipe="ljspeech",
                source=str(lj(name=f"s{name}")),
                out=str(tmp_path / "x" / name),
                speaker="zoe",
                processes=1,
            )
        )
    assert "voice 'zoe' is in a and b: taken as one person" in joined(tmp_path / "x", tmp_path / "whole").info["notes"]


def test_what_is_no_folder_of_corpora(shelf: Path, lj: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(NemoExtError, match=r"is one corpus by itself: give the folder above it"):
        joined(shelf / "anna", tmp_path / "whole")
    with pytest.raises(NemoExtError, match=r"is not what recipe=joined reads: it wants folders that `nemo-ext corpus`"):
        joined(lj(name="plain"), tmp_path / "whole")
