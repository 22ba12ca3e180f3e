"""What a launcher's environment says, and what of the options has to agree with it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import distributed

from nemo_ext.config import compose
from nemo_ext.errors import NemoExtError
from nemo_ext.training import checkpoints, launch
from nemo_ext.training.config import TrainerOptions
from nemo_ext.training.launch import Processes, processes

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "LOCAL_RANK": "1"}
SRUN = {"SLURM_NTASKS": "64", "SLURM_PROCID": "9", "SLURM_NNODES": "8", "SLURM_JOB_ID": "12345"}


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SLURM_") or name in (*TORCHRUN, "NODE_RANK"):
            monkeypatch.delenv(name)


def set_all(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_started_by_itself() -> None:
    assert launch.first_process()
    assert launch.environment() == []
    assert processes(TrainerOptions(devices=0, num_nodes=0)) == Processes(1, 1)
    assert processes(TrainerOptions(devices=3)) == Processes(3, 1)


@pytest.mark.parametrize("left", [0, 1])
def test_torchrun(monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    set_all(monkeypatch, TORCHRUN)
    assert processes(TrainerOptions(devices=left, num_nodes=left)) == Processes(4, 2)
    assert not launch.first_process()


@pytest.mark.parametrize("told", [{}, {"SLURM_NTASKS_PER_NODE": "8"}])
@pytest.mark.parametrize("installed", [True, False])
def test_srun(monkeypatch: pytest.MonkeyPatch, told: dict[str, str], installed: bool) -> None:
    """Lightning warns where it finds an srun: the one of a real cluster, here the stand-in."""
    path = "" if not installed else f"{ROOT / 'tests/training/slurm'}:{os.environ['PATH']}"
    set_all(monkeypatch, {**SRUN, **told, "PATH": path})
    assert processes(TrainerOptions()) == Processes(8, 8)
    assert not launch.first_process()
    (plugin,) = launch.environment()
    assert plugin.auto_requeue is False
    assert plugin.global_rank() == 9
    set_all(monkeypatch, TORCHRUN)  # torchrun inside a job
    assert processes(TrainerOptions()) == Processes(4, 2)
    assert launch.environment() == []


def test_a_shell_in_a_job_is_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {**SRUN, "SLURM_JOB_NAME": "interactive"})
    assert processes(TrainerOptions()) == Processes(1, 1)
    assert launch.environment() == []


@pytest.mark.parametrize(
    ("told", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, True),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "interactive", None])
def test_what_lightning_starts_in_a_shell_of_a_job_has_one_first(
    monkeypatch: pytest.MonkeyPatch, shell: str | None, told: dict[str, str], first: bool
) -> None:
    """srun --pty bash and salloc make the shell a task, whose SLURM_PROCID the children of its programs inherit."""
    if shell:
        set_all(monkeypatch, {"SLURM_JOB_NAME": shell, "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"})
    set_all(monkeypatch, told)
    assert launch.first_process() is first
    assert launch.local_rank() == int(told.get("LOCAL_RANK", 0))


@pytest.mark.parametrize(
    ("accelerator", "there", "seen", "own"),
    [("gpu", True, 8, "cuda:3"), ("gpu", True, 1, "cuda:0"), ("gpu", False, 0, "cpu"), ("cpu", True, 8, "cpu")],
)
def test_each_process_has_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, accelerator: str, there: bool, seen: int, own: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
    for told in ({"LOCAL_RANK": "3"}, {**SRUN, "SLURM_LOCALID": "3", "LOCAL_RANK": "0"}):
        set_all(monkeypatch, told)
        assert launch.own_device(accelerator) == own


def alone(rank: int, folder: Path, fails: bool) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    with launch.first_alone():
        if rank == 0:
            time.sleep(1.0)
            if fails:
                sys.exit(3)
            (folder / "written").touch()
    sys.exit(0 if (folder / "written").exists() else 4)


@pytest.mark.parametrize("fails", [False, True])
def test_no_process_ends_before_the_first_has_done_its_part(tmp_path: Path, fails: bool) -> None:
    context = torch.multiprocessing.get_context("spawn")
    processes = [context.Process(target=alone, args=(rank, tmp_path, fails)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == ([3, 1] if fails else [0, 0])


def test_what_contradicts_the_launcher_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, TORCHRUN)
    with pytest.raises(NemoExtError, match="but 4 processes on each of 2 nodes were started: leave both out") as raised:
        processes(TrainerOptions(devices=2, num_nodes=2))
    assert "\n" not in str(raised.value)


def test_a_config_for_64_gpus_composes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight nodes with eight GPUs each, as scripts/slurm/train.sbatch starts them, and without SLURM by name."""
    set_all(monkeypatch, SRUN)
    config = compose("train", ["experiment=libritts", "trainer=slurm"])
    assert processes(config.trainer).world_size == 64
    assert config.trainer.accelerator == "gpu"
    assert config.frames_per_batch == 48000  # of all together
    for name in SRUN:
        monkeypatch.delenv(name)
    named = compose("train", ["trainer=multi_gpu", "trainer.devices=8", "trainer.num_nodes=8", "strategy=fsdp"])
    assert processes(named.trainer).world_size == 64


@pytest.mark.slow
def test_torchrun_trains_and_resumes(options, tmp_path: Path) -> None:
    out = tmp_path / "run"
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "scripts/train.py"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    for steps, resumed in ((4, ""), (7, "resuming from step 4 of 7")):
        more = ["trainer=multi_gpu", "trainer.accelerator=cpu", "trainer.precision=32", "trainer.workers=0"]
        call = [*line, *options(out, *more, f"trainer.max_steps={steps}", "trainer.objective_every=0")]
        run = subprocess.run(call, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
        assert run.returncode == 0, run.stderr
        assert resumed in run.stderr
        assert run.stderr.count(f"trained for {steps} steps") == 1
    assert checkpoints.newest(out / "checkpoints")[0] == out / "checkpoints" / "step=7.ckpt"
