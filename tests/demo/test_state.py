from __future__ import annotations

import json
from pathlib import Path

import pytest

from nemo_ext.demo.state import State
from nemo_ext.demo.trainings import Training
from nemo_ext.errors import NemoExtError

PLANNED = {"corpus": 10.0, "training": 100.0, "page": 1.0}


def test_phases_are_numbered_and_the_time_left_is_that_of_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = State(tmp_path / "demo", {"steps": 5}, PLANNED)
    with state.phase("corpus", "a corpus") as noted:
        noted["what"] = "3 utterances"
    with state.phase("training", "training"):
        state.progress(0.5, "step 1/2", 30.0)
    said = capsys.readouterr().err
    assert "[1/3] a corpus; about 1 min 51 s left in all" in said
    assert "[2/3] training; about 1 min 41 s left in all" in said
    assert "[2/3] step 1/2, 50%; about 31 s left in all" in said
    assert state.done("corpus")
    assert state.what("corpus") == "3 utterances"
    assert not state.done("page")


def test_the_next_run_knows_what_is_done_and_what_it_took(tmp_path: Path) -> None:
    first = State(tmp_path, {"steps": 5}, PLANNED)
    with first.phase("corpus", "a corpus"):
        pass
    with pytest.raises(KeyboardInterrupt), first.phase("training", "training"):
        raise KeyboardInterrupt
    again = State(tmp_path, {"steps": 5}, PLANNED)
    assert again.done("corpus")
    assert not again.done("training")
    before = again.seconds("training")
    assert before > 0
    with again.phase("training", "training"):
        sum(range(5_000_000))
    assert again.seconds("training") > before
    assert again.processor_seconds("training") > 0


@pytest.mark.parametrize("done", [True, False])
def test_an_interrupted_phase_goes_on_and_a_finished_one_begins_anew(tmp_path: Path, done: bool) -> None:
    with State(tmp_path, {}, PLANNED).phase("corpus", "a corpus"):
        pass
    kept = json.loads((tmp_path / "demo.json").read_text())
    kept["phases"]["corpus"] |= {"done": done, "seconds": 1000.0, "processor_seconds": 2000.0}
    (tmp_path / "demo.json").write_text(json.dumps(kept))
    again = State(tmp_path, {}, PLANNED)
    with again.phase("corpus", "a corpus"):
        pass
    assert (again.seconds("corpus") < 1000.0) == (again.processor_seconds("corpus") < 2000.0) == done


def test_another_demo_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with State(tmp_path, {"steps": 5, "size": "tiny"}, PLANNED).phase("page", "the page"):
        pass
    with pytest.raises(NemoExtError, match="steps=5 there, 6 now"):
        State(tmp_path, {"steps": 6, "size": "tiny"}, PLANNED)


def test_a_folder_that_cannot_be_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NemoExtError, match="cannot hold the demo"):
        State(tmp_path / "file" / "demo", {}, PLANNED)
    (tmp_path / "demo.json").write_text("{broken")
    with pytest.raises(NemoExtError, match="cannot hold the demo"):
        State(tmp_path, {}, PLANNED)


def test_curves_of_a_resumed_training_are_one_curve(tmp_path: Path) -> None:
    rows = [{"step": s, "train/mel": float(s)} for s in (10, 20, 30)]
    rows += [{"step": s, "train/mel": s + 0.5} for s in (20, 30)] + [{"step": 30, "val/mel": 9.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "plan.json").write_text('{"max_steps": 60}')
    training = Training("FastPitch", tmp_path, [])
    assert training.curves() == {"train/mel": [(10.0, 10.0), (20.0, 20.5), (30.0, 30.5)], "val/mel": [(30.0, 9.0)]}
    assert training.steps() == (30, 60)
    assert Training("FastPitch", tmp_path / "nothing", []).steps() == (0, 0)
