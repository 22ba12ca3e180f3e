"""The demo itself, small: every phase for real, with a few training steps."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nemo_ext import _nemo, voices
from nemo_ext.demo import newcomer, report
from nemo_ext.demo.config import DemoConfig
from nemo_ext.demo.measure import Results
from nemo_ext.demo.run import PLANNED, demo, settings
from nemo_ext.demo.state import State
from nemo_ext.demo.trainings import Training, train_side_by_side
from nemo_ext.errors import NemoExtError


@pytest.fixture(scope="module")
def cfg(
    tiny_acoustic: Path, tiny_vocoder: Path, espeak_corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> DemoConfig:
    """A demo that was stopped after its trainings: the next run speaks, measures and draws."""
    out = tmp_path_factory.mktemp("demo") / "demo"
    cfg = DemoConfig(out=str(out), sentences=40, unseen=2, shown=1)
    state = State(out, settings(cfg), PLANNED)
    for name in ("corpus", "features", "training", "newcomer"):
        with state.phase(name, name):
            pass
    shutil.copytree(espeak_corpus, out / "corpus")
    shutil.copytree(tiny_acoustic.parent, out / "acoustic")
    shutil.copytree(tiny_vocoder.parent, out / "vocoder")
    voice = _nemo.restore(tiny_acoustic).base_voice("ada")
    voices.save(dataclasses.replace(voice, name=newcomer.NAME), out / newcomer.FILE)
    return cfg


@pytest.fixture(scope="module")
def page(cfg: DemoConfig) -> Path:
    return demo(cfg)


def test_it_makes_a_page_on_which_nothing_is_missing(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    links = re.findall(r'(?:src|href|data-src)="((?:audio|pictures)/[^"]+)"', html)
    assert len([link for link in links if link.endswith(".wav")]) >= 2 * 3 + 3 + 4 + 4 * 3
    assert all((page.parent / link).is_file() for link in links)
    assert "nothing was recorded" not in html
    assert html.count('class="path"') == 2
    assert "http://" not in html
    assert "https://" not in html


def test_its_figures_are_measured(page: Path) -> None:
    results = Results.load(page.parent / "results.json")
    assert len(results.sentences) == 4
    assert [one.text for one in results.newcomer] == [one.text for one in results.sentences[:2]]
    assert all(one.mcd_before is not None and one.semitones is not None for one in results.newcomer)
    assert all(one.failed == [] for one in [*results.sentences, *results.newcomer])
    assert 0 < results.mean_mcd(copy=True) < 40
    assert results.aligned.utterances == 40
    assert results.aligned.boundaries / results.aligned.phonemes > 0.97
    assert 0 < results.aligned.focus <= 1
    asked = ["pace 0.75", "pace 1.4", "pitch -4", "pitch +4"]
    assert [one.text.split(",")[0] for one in results.otherwise] == asked
    text = "".join(report.markdown(results, []))
    assert "median boundary error" in text
    assert "pymcd 0.2.1" in text


def test_a_finished_demo_is_only_drawn_again(cfg: DemoConfig, page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = {path: path.stat().st_mtime_ns for path in page.parent.rglob("*") if path.is_file()}
    demo(cfg)
    changed = {path.name for path, time in made.items() if path.stat().st_mtime_ns != time}
    assert changed == {"index.html", "demo.json"}
    said = capsys.readouterr().err
    assert "[7/7]" in said
    assert "[5/7]" not in said


def test_a_model_that_was_trained_on_is_measured_anew(
    cfg: DemoConfig, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = page.parent / "vocoder" / "model.nemo"
    model.write_bytes(model.read_bytes() + b"\0" * 512)  # tar takes it as the same archive
    demo(cfg)
    assert "[5/7]" in capsys.readouterr().err


@pytest.mark.slow
def test_everything_from_nothing(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    options = {"sentences": 60, "acoustic_steps": 25, "vocoder_steps": 15, "frames_per_batch": 2000}
    options |= {"newcomer_sentences": 12, "adapt_steps": 4}
    page = demo(DemoConfig(out=str(out), unseen=1, shown=1, **options))
    assert page.is_file()
    state = json.loads((out / "demo.json").read_text(encoding="utf-8"))
    assert all(phase["done"] for phase in state["phases"].values())
    assert len((out / "corpus" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()) == 60
    assert voices.load(out / newcomer.FILE).name == newcomer.NAME
    results = Results.load(out / "results.json")
    assert {one.voice for one in results.styles} == {"ada", "ben"}
    assert [one.text.split(":")[0] for one in results.styles] == ["neutral", "lively"] * 2


def test_other_settings_in_the_same_folder_are_refused(cfg: DemoConfig, page: Path) -> None:
    with pytest.raises(NemoExtError, match="sentences=40 there, 41 now"):
        demo(DemoConfig(**{**vars(cfg), "sentences": 41}))


def test_a_training_that_fails_is_named_with_its_reason_and_log(tmp_path: Path) -> None:
    broken = Training("FastPitch", tmp_path / "acoustic", ["model=fastpitch", "pase=2"])
    with pytest.raises(NemoExtError, match=r"training FastPitch failed: .*pase.*acoustic\.log"):
        train_side_by_side([broken], lambda *_: None)


@pytest.mark.slow
def test_an_interrupted_training_leaves_a_checkpoint_and_no_process(espeak_corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "vocoder"
    options = ["model=vocos", "size=tiny", f"corpus={espeak_corpus}", "trainer.max_steps=100000", "trainer.log_every=1"]
    training = Training("Vocos", out, [*options, "model.width=32", "model.hidden_width=32"])

    def progress(share: float, about: str, left: float | None) -> None:
        if training.steps()[0] >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_side_by_side([training], progress)
    assert len(list((out / "checkpoints").glob("step=*.ckpt"))) == 1
    if sys.platform == "linux":
        running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert str(out) not in running
