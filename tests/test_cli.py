"""The command line as a person meets it: exit codes, one-line errors, help, nothing heavy before it is needed."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nemo_ext import __version__, jobs
from nemo_ext.cli import main
from nemo_ext.config import option
from nemo_ext.errors import NemoExtError, UsageError

ROOT = Path(__file__).resolve().parent.parent
SENTENCE = 'Hello, world. Don\'t (stop) = "now"; Ärger 3.10 null'


@dataclass
class EchoConfig:
    text: str = option("", "what to say", verbatim=True)
    times: int = option(1, "how often", "times")
    fail: str = option("", "how to fail", choices=("", "mine", "bug", "interrupt", "full", "odd"))


def echo(cfg: EchoConfig) -> None:
    if cfg.fail == "mine":
        raise NemoExtError("the oven is cold:\n  heat it")
    if cfg.fail == "bug":
        raise ZeroDivisionError("a bug")
    if cfg.fail in ("full", "odd"):
        raise OSError(errno.ENOSPC if cfg.fail == "full" else errno.ENOTDIR, "No space left on device", "a/b.wav")
    if cfg.fail == "interrupt":
        raise KeyboardInterrupt
    print(json.dumps([cfg.text, cfg.times]))


@pytest.fixture(autouse=True)
def _echo_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(jobs.JOBS, "echo", jobs.Job("say it back", f"{__name__}:EchoConfig", f"{__name__}:echo"))  # type: ignore[arg-type]
    monkeypatch.delenv("NEMO_EXT_DEBUG", raising=False)


def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``python -m nemo_ext`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "nemo_ext", *arguments],
        capture_output=True,
        encoding="utf-8",
        cwd=ROOT,
        check=False,
        **options,
    )


def test_a_job_gets_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["echo", f"text={SENTENCE}", "times=3"]) == 0
    assert json.loads(capsys.readouterr().out) == [SENTENCE, 3]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["echo", "fail=mine"], 1, "nemo-ext: the oven is cold: heat it\n"),
        (
            ["echo", "fail=full"],
            1,
            "nemo-ext: a/b.wav: No space left on device: make room, and start the same command again\n",
        ),
        (["echo", "fail=interrupt"], 130, "nemo-ext: interrupted\n"),
        (["echo", "txet=a, b"], 2, "nemo-ext: unknown option 'txet='; did you mean 'text'?\n"),
        (["echo", "times=often"], 2, "nemo-ext: times= takes a whole number, got 'often'\n"),
        (["ecco"], 2, "nemo-ext: there is no job 'ecco'; did you mean 'echo'?\n"),
        (["--job"], 2, "nemo-ext: there is no job '--job'; jobs: " + ", ".join([*jobs.JOBS, "echo"]) + "\n"),
    ],
)
def test_mistakes_end_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, said: str
) -> None:
    assert main(arguments) == status
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", said)


def test_a_defect_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        main(["echo", "fail=bug"])
    with pytest.raises(NotADirectoryError):
        main(["echo", "fail=odd"])


def test_debugging_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEMO_EXT_DEBUG", "1")
    with pytest.raises(UsageError):
        main(["echo", "txet=a"])


def test_no_job_prints_the_jobs_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "nemo-ext JOB" in capsys.readouterr().out


def test_overview_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, job in jobs.JOBS.items():
        assert f"\n  {name} " in shown
        assert job.help.split()[0] in shown
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nemo-ext {__version__}\n"


def test_help_of_a_job_lists_units_defaults_choices(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["echo", "times=4", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "times=4 times " in shown
    assert "how often" in shown
    assert "what to say" in shown
    assert main(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "model=fastpitch" in shown
    # the terminal decides where it wraps
    assert "fastpitch | fastpitch_hifigan | hifigan | speaker | vocos" in " ".join(shown.split())
    assert "small | tiny" in shown
    assert "trainer.max_steps=" in shown


def test_cfg_prints_what_the_options_come_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["echo", "text=a: b", "--cfg"]) == 0
    assert capsys.readouterr().out == "text: 'a: b'\ntimes: 1\nfail: ''\n"


@pytest.mark.parametrize("job", [None, *jobs.JOBS])
def test_help_imports_nothing_heavy(job: str | None) -> None:
    """A question is answered at once: torch and NeMo cost seconds."""
    code = (
        "import sys; from nemo_ext.cli import main\n"
        f"status = main({[job, '--help'] if job else ['--help']!r})\n"
        "heavy = {'torch', 'nemo', 'lightning', 'librosa', 'numba', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        f"heavy |= {set() if job else {'hydra', 'omegaconf', 'numpy'}!r} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else status)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.returncode == 0, ran.stderr


def test_a_misspelt_option_is_told_before_anything_heavy_is_imported() -> None:
    code = (
        "import sys; from nemo_ext.cli import main\n"
        "assert main(['train', 'corpsu=x']) == 2\n"
        "sys.exit('heavy' if {'torch', 'nemo', 'hydra'} & set(sys.modules) else 0)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == "nemo-ext: unknown option 'corpsu='; did you mean 'corpus'?\n"


def test_as_a_module_and_through_the_shell() -> None:
    ran = command("say", "acoustic=/nowhere/model.nemo", f"text={SENTENCE}", "pitch=high")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "nemo-ext: pitch= takes a number, got 'high'\n"


@pytest.mark.parametrize("job", list(jobs.JOBS))
def test_scripts_are_the_same_entry(job: str) -> None:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / f"{job}.py"), "optoin=3"],
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("nemo-ext: unknown option 'optoin='")


def test_a_reader_that_leaves_is_no_error() -> None:
    """``nemo-ext doctor | true``: nobody reads what is printed."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "nemo_ext", "--help"], stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, check=False
        )
    finally:
        os.close(writer)
    assert (ran.returncode, ran.stderr) == (141, b"")


def test_control_c_ends_quietly(tmp_path: Path) -> None:
    """A real SIGINT in a job that waits for its text on standard input."""
    code = (
        "import signal, sys, time; from nemo_ext import jobs, cli\n"
        # a shell's background jobs, and so their children, are born deaf to it
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.modules['waiting'] = sys.modules['__main__']\n"
        "def wait(cfg): print('ready', flush=True); time.sleep(60)\n"
        "jobs.JOBS['wait'] = jobs.Job('', 'nemo_ext.doctor:DoctorConfig', 'waiting:wait')\n"
        "sys.exit(cli.main(['wait']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "nemo-ext: interrupted\n")
