"""Options of trainings and adaptations are refused in one line, before torch is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nemo_ext import console
from nemo_ext.config import compose
from nemo_ext.errors import NemoExtError
from nemo_ext.training import checks

# Runs a command line, and prints what heavy packages it has imported by then.
PROBE = """
import sys
from nemo_ext.cli import main
status = main(sys.argv[1:])
print(status, sorted({"torch", "nemo", "lightning", "scipy", "librosa"} & set(sys.modules)))
"""


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A folder with something of the look of a corpus, and a file that is in the way."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "corpus.yaml").write_text("sample_rate: 22050\n", encoding="utf-8")
    for name in ("train.jsonl", "val.jsonl"):
        (tmp_path / "corpus" / name).write_text("", encoding="utf-8")
    (tmp_path / "taken").write_text("taken\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("train", "corpus= is missing"),
        ("train model=fastpitch corpus=corpus", "out= is missing"),
        ("train model=fastpitch corpus=nowhere out=run", "no finished corpus at nowhere"),
        ("train model=fastpitch corpus=corpus out=taken/run", "out=taken/run cannot be made a folder"),
        ("train model=fastpitch corpus=corpus out=run init=no.nemo", "init=no.nemo: no model at no.nemo"),
        ("train model=fastpitch corpus=corpus out=run init=no.ckpt", "init=no.ckpt: there is no such file"),
        ("train model=vocos corpus=corpus out=run acoustic=no.nemo", "acoustic=no.nemo: no model at no.nemo"),
        ("train model=vocos corpus=corpus out=run acoustic=taken", "acoustic=taken is damaged or no .nemo file"),
        ("train model=vocos corpus=corpus out=run features.mel.sample_rate=16000", "has 22050 Hz and features.mel"),
        ("train model=fastpitch corpus=corpus out=run text.lexicon=no.tsv", "text.lexicon=no.tsv: no lexicon at"),
        (
            "train model=fastpitch_hifigan corpus=corpus out=run model.vocoder=no.nemo",
            "model.vocoder=no.nemo: no model",
        ),
        ("train model=fastpitch corpus=nowhere out=run model.optim.lr=1e-4 model.style.tokens=4", "no finished corpus"),
        ("adapt", "base= is missing"),
        ("adapt base=no.nemo corpus=corpus out=a.voice consent=unknown", "base=no.nemo: no model at no.nemo"),
        ("adapt base=no.nemo corpus=corpus out=a.voice", "consent= is missing"),
        ("adapt base=no.nemo corpus=corpus out=taken/a.voice consent=unknown", "out=taken/a.voice cannot be written"),
        ("say acoustic=no.nemo text=Hello.", "acoustic=no.nemo: no model at no.nemo"),
        ("say acoustic=taken text=Hello.", "acoustic=taken is damaged or no .nemo file"),
        ("say acoustic=corpus text=Hello.", "holds no model.nemo and no checkpoint yet"),
        ("say acoustic=taken pace=9 text=Hello.", "pace=9.0 cannot be spoken"),
        ("voice show=ada acoustic=no.nemo", "acoustic=no.nemo: no model at no.nemo"),
        ("export acoustic=no.nemo vocoder=no.nemo out=bundle", "acoustic=no.nemo: no model at no.nemo"),
        ("migrate no.nemo out=new.nemo", "source=no.nemo: no model at no.nemo"),
    ],
)
def test_a_wrong_option_costs_no_heavy_import(there: Path, line: str, told: str) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *line.split()],
        cwd=there,
        env={"PYTHONPATH": str(root), "PATH": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout.splitlines()[-1] == "1 []"
    assert sorted(p.name for p in there.iterdir()) == ["corpus", "taken"]


def test_files_of_an_adaptation(there: Path, tiny_acoustic: Path) -> None:
    given = [f"base={tiny_acoustic}", f"out={there / 'a.voice'}", "consent=unknown"]
    for options, told in (
        ([f"corpus={there / 'nowhere'}"], "no finished corpus at"),
        ([f"reference={there / 'no.wav'}"], "reference=.*no.wav: no recording at"),
        ([f"corpus={there / 'corpus'}", f"vocoder={there / 'no.nemo'}"], "vocoder=.*no.nemo: no model at"),
    ):
        with pytest.raises(NemoExtError, match=told):
            checks.before_adapt(compose("adapt", [*given, *options]))


def test_what_is_loaded_is_said_once_and_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "nemo", object())
    console.loading()
    assert capsys.readouterr().err == ""
    monkeypatch.delitem(sys.modules, "nemo")
    console.loading()
    assert capsys.readouterr().err == "loading PyTorch and NeMo ...\n"
