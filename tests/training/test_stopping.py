"""What a signal comes to, before, in and after the steps of a training."""

import multiprocessing
import os
import signal
import time

import pytest
import torch
from torch import distributed

from nemo_ext.training.stopping import REQUEUE, Stopped, StopSignals


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGUSR1, REQUEUE), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)],
)
def test_only_sigusr1_asks_to_be_started_again(number: int, status: int) -> None:
    assert Stopped(number, 3).exit_status == status
    assert status != 128 + signal.SIGUSR1  # which a process has that died of it unheard


@pytest.fixture
def signals():
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    heard = StopSignals()
    heard.listen()
    yield heard
    heard.unlisten()
    assert before == {n: signal.getsignal(n) for n in before}


def test_a_signal_is_heard_after_the_step_in_hand(signals) -> None:
    assert signals.agreed(last=False) is None
    os.kill(os.getpid(), signal.SIGUSR1)
    assert signals.agreed(last=False) == signal.SIGUSR1


@pytest.mark.parametrize("then", [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT])
def test_what_follows_sigusr1_does_not_break_the_checkpoint_that_it_asked_for(signals, then) -> None:
    """SLURM sends it to processes and to their parents, and SIGTERM when the time is up."""
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), then)
    assert signals.agreed(last=False) == signal.SIGUSR1


@pytest.mark.parametrize("then", [signal.SIGUSR1, signal.SIGTERM])
def test_sigterm_twice_does_not_break_it_either(signals, then) -> None:
    """SLURM sends it when it cancels, the batch script hands it on, and SLURM may send it once more in the end."""
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), then)
    assert signals.agreed(last=False) == signal.SIGTERM


def test_a_second_ctrl_c_ends_at_once(signals) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGUSR1)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_before_the_steps_it_ends_at_once_and_asks_to_be_started_again(toy, tmp_path, monkeypatch) -> None:
    from nemo_ext.training import run

    def in_the_middle(*_):
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(5)  # the signal is answered before it is over

    before = signal.getsignal(signal.SIGUSR1)
    monkeypatch.setattr(run, "build", in_the_middle)
    with pytest.raises(SystemExit) as end:
        toy(tmp_path / "run")
    assert end.value.code == REQUEUE
    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_training_that_is_asked_saves_and_says_so(toy, tmp_path, capfd) -> None:
    from tests.training.test_checkpoints import names, stopped_at

    with pytest.raises(SystemExit) as end, stopped_at(3, signal.SIGUSR1):
        toy(tmp_path / "run", "trainer.max_steps=9")
    assert end.value.code == REQUEUE
    assert names(tmp_path / "run") == ["step=3.ckpt"]
    assert "stopped at step 3, which is saved:" in capfd.readouterr().err
    assert not (tmp_path / "run" / "model.nemo").exists()  # a cluster gives it no time


@pytest.mark.parametrize(
    ("number", "status"),
    [
        pytest.param(signal.SIGUSR1, REQUEUE, marks=pytest.mark.slow),
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_loading_processes_do_not_die_of_a_signal_to_the_whole_group(
    toy, tmp_path, monkeypatch, capfd, number, status
) -> None:
    """`scancel` signals all processes of a job, and a terminal that closes all of its group, not only the first."""
    from tests.training.test_checkpoints import names, stopped_at

    children = []

    def everyone(pid: int, number: int) -> None:
        children.extend(multiprocessing.active_children())
        for child in children:
            kill(child.pid, number)
        time.sleep(0.5)  # who dies of it is dead before the trainer hears of it
        assert all(child.is_alive() for child in children)
        kill(pid, number)

    kill = os.kill
    monkeypatch.setattr(os, "kill", everyone)
    with pytest.raises(SystemExit) as end, stopped_at(3, number):
        toy(tmp_path / "run", "trainer.max_steps=9", "trainer.workers=1")
    assert end.value.code == status
    assert names(tmp_path / "run") == ["step=3.ckpt"]
    assert "stopped at step 3, which is saved" in capfd.readouterr().err
    assert children
    for child in children:  # and they end with it
        child.join(30)
        assert child.exitcode == 0


def test_nohup_stays_what_it_was() -> None:
    before, heard = signal.signal(signal.SIGHUP, signal.SIG_IGN), StopSignals()
    heard.listen()
    os.kill(os.getpid(), signal.SIGHUP)
    assert heard.agreed(last=False) is None
    heard.unlisten()
    assert signal.signal(signal.SIGHUP, before) is signal.SIG_IGN


def vote(rank: int, place: str, heard: int | None, results) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
    signals = StopSignals()
    signals.begin()
    found = []
    for step in range(5):
        if step == 2 and rank == 1 and heard is not None:
            signals._asked = heard
        found.append(signals.agreed(last=step == 4))
        if found[-1]:
            break
    distributed.barrier()
    distributed.destroy_process_group()
    results.put((rank, found))


@pytest.mark.parametrize("heard", [signal.SIGUSR1, None])
def test_what_one_process_hears_ends_all_after_the_same_step(tmp_path, heard) -> None:
    context = torch.multiprocessing.get_context("spawn")
    results = context.Queue()
    place = str(tmp_path / "rendezvous")
    processes = [context.Process(target=vote, args=(rank, place, heard, results)) for rank in (0, 1)]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert found[0] == found[1] == ([None] * 3 + [heard] if heard else [None] * 5)
