"""A loss that is no mean over items has the whole batch's value and gradient on every rank."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from nemo_ext.losses.spectral import multi_resolution_stft
from nemo_ext.types import MelSpec

RANKS, N_FFTS = 2, [256, 512]


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Made and recorded audio ``(4, 4096)``; the second half is louder, so that no half is like the whole."""
    generator = torch.Generator().manual_seed(0)
    loud = torch.tensor([0.1, 0.2, 0.7, 1.0])[:, None]
    return loud * torch.randn(4, 4096, generator=generator), loud * torch.randn(4, 4096, generator=generator)


def learn(gain: torch.Tensor, made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    return multi_resolution_stft(gain * made, real, MelSpec(), N_FFTS)


def on_a_rank(rank: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1"}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=RANKS)
    made, real = (part.chunk(RANKS)[rank] for part in batch())
    gain = torch.tensor(0.8, requires_grad=True)
    loss = learn(gain, made, real)
    loss.backward()
    told = torch.stack([loss.detach(), gain.grad])
    distributed.all_reduce(told)  # as DDP does with gradients, and the log with losses
    if rank == 0:
        torch.save(told / RANKS, f"{folder}/told.pt")
    distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_stft_loss_of_two_ranks_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    gain = torch.tensor(0.8, requires_grad=True)
    whole = learn(gain, *batch())
    whole.backward()
    multiprocessing.spawn(on_a_rank, (str(tmp_path),), nprocs=RANKS)
    loss, gradient = torch.load(tmp_path / "told.pt", weights_only=True)
    torch.testing.assert_close(loss, whole.detach(), rtol=1e-5, atol=0.0)
    torch.testing.assert_close(gradient, gain.grad, rtol=1e-4, atol=0.0)
