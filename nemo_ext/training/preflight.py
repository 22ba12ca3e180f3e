"""What a training will need, said before it starts: disk, memory, and time by a short measurement."""

from __future__ import annotations

import copy
import os
import resource
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from nemo_ext.console import clock
from nemo_ext.errors import NemoExtError
from nemo_ext.machine import cores
from nemo_ext.training import pictures
from nemo_ext.training.average import averaged

_WARM_UP = 2  # steps that are not counted: caches fill, memory is allocated
_ENOUGH = 40  # steps
_LOGS = 50e6  # bytes: pictures, audio, metrics
_GIB = 2**30


@dataclass(frozen=True)
class Speed:
    """How fast a training is on this machine, measured on its own batches."""

    step: float  # seconds
    validation: float  # seconds, all of its batches and pictures
    late_step: float = 0.0  # seconds of a step from late_from on, when discriminators take part
    late_from: int | None = None

    def seconds(self, first: int, last: int, val_every: int) -> float:
        """Time for the steps from ``first`` to ``last``, with a validation every ``val_every``."""
        early = last - first
        late = 0
        if self.late_from is not None:
            late = max(0, last - max(first, self.late_from))
            early -= late
        return early * self.step + late * self.late_step + (last // val_every - first // val_every) * self.validation

    def steps_for(self, seconds: float, val_every: int) -> int:
        """How many steps, from the first on, are done within ``seconds``; at least one."""
        low, high = 1, 2
        while self.seconds(0, high, val_every) <= seconds:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.seconds(0, middle, val_every) <= seconds else (low, middle)
        return low


@dataclass(frozen=True)
class Measured:
    """What a few steps showed."""

    speed: Speed
    memory: int  # bytes, the most held at once


class _Stopwatch(Callback):
    """Seconds of each step, loading included; ends the run after ``budget`` seconds of measuring."""

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.at: list[float] = []
        self.validated: list[float] = []
        self.pictures = 0.0
        self._batch: Any = None
        self._seen_step = 0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self._seen_step:  # a part of a step: gradients are still added up
            return
        self._seen_step = trainer.global_step
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()
        self.at.append(time.perf_counter())
        if len(self.at) > _WARM_UP and self.at[-1] - self.at[_WARM_UP - 1] >= self.budget:
            trainer.should_stop = True

    def on_validation_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, *_: Any) -> None:  # noqa: ARG002
        self._batch = batch

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()
        self.validated.append(time.perf_counter())

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:  # noqa: ARG002
        for _ in range(2):  # the first time, matplotlib is imported
            began = time.perf_counter()
            preview = pl_module.preview(self._batch)
            pictures.images(preview)
            pictures.sounds(preview, pl_module.mel_spec)
            self.pictures = time.perf_counter() - began

    @property
    def step(self) -> float:
        """Mean of the steps that count."""
        counted = self.at[_WARM_UP - 1 :]
        return (counted[-1] - counted[0]) / (len(counted) - 1)

    @property
    def validation_batch(self) -> float:
        """The last one: the first pays for set-up."""
        return self.validated[-1] - self.validated[-2] if len(self.validated) > 1 else self.step


def measure(
    model: Any, loaders: tuple[Any, Any], new_trainer: Callable[..., Trainer], budget: float, max_steps: int
) -> Measured:
    """Train twins of ``model`` for ``budget`` seconds on its own batches; ``model`` itself is left as it was.

    A vocoder whose discriminators set in before ``max_steps`` is measured without and with them.

    Raises:
        NemoExtError: a batch does not fit into the GPU's memory.
    """
    _forget_peak()
    sets_in = late_from(model)
    late = sets_in is not None and sets_in < max_steps
    try:
        early_clock = None if sets_in == 0 else _run(_twin(model, None), loaders, new_trainer, budget)
        late_clock = _run(_twin(model, 0), loaders, new_trainer, budget) if late else None
    except torch.OutOfMemoryError as error:
        raise NemoExtError(
            "a batch does not fit into the GPU's memory: lower frames_per_batch (acoustic models) or model.batch_size "
            "(vocoders), or choose a smaller size"
        ) from error
    shown = early_clock or late_clock
    assert shown is not None
    speed = Speed(
        step=shown.step,
        validation=shown.validation_batch * len(loaders[1]) + shown.pictures,
        late_step=late_clock.step if late_clock else 0.0,
        late_from=sets_in if late else None,
    )
    return Measured(speed, _peak())


def late_from(model: Any) -> int | None:
    """Step at which discriminators set in; None for a model that has none."""
    settings = getattr(model, "settings", None)
    found: int | None = getattr(settings, "adversarial_from_step", None)
    return found


def _twin(model: Any, adversarial_from_step: int | None) -> Any:
    """Another model of the same configuration: NeMo's cannot be copied."""
    cfg = copy.deepcopy(model.cfg)
    if late_from(model) is not None:
        cfg.adversarial_from_step = adversarial_from_step
        cfg.discriminator_warmup = 0  # steps within it are cheaper than all that follow
    return type(model)(cfg)


def _run(twin: Any, loaders: tuple[Any, Any], new_trainer: Callable[..., Trainer], budget: float) -> _Stopwatch:
    stopwatch = _Stopwatch(budget)
    trainer = new_trainer(
        max_steps=_WARM_UP + _ENOUGH,
        callbacks=[stopwatch],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=2,
        val_check_interval=1.0,
        check_val_every_n_epoch=10**9,  # not within the fit, for there it would be timed as a step
    )
    twin.set_trainer(trainer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(twin, *loaders)
        trainer.validate(twin, loaders[1], verbose=False)
    return stopwatch


# -------------------------------------------------------------------- the verdict


@dataclass(frozen=True)
class Needs:
    """What a training will need."""

    seconds: float | None  # None: it was not measured
    steps: int  # still to do
    parameters: int
    memory: int  # bytes; 0: not measured
    disk: int  # bytes still to be written
    free: int  # bytes on that disk

    def __str__(self) -> str:
        if self.seconds is None:
            time_needed = f"time not measured, {self.steps} steps"
        else:
            time_needed = f"about {clock(self.seconds)} for {self.steps} steps"
            time_needed += f" ({self.steps / self.seconds:.2f} steps/s measured)" if self.seconds else ""
        memory = f"{self.memory / _GIB:.1f} GiB of memory, " if self.memory else ""
        return (
            f"{self.parameters / 1e6:.1f}M parameters; {time_needed}, {memory}{self.disk / _GIB:.2f} GiB of disk "
            f"({self.free / _GIB:.0f} GiB free)"
        )


def check_disk(out: Path, needed: int, what: str, remedy: str) -> int:
    """Bytes free on the disk of ``out``.

    Raises:
        NemoExtError: fewer than ``needed``; the message says how much to free, or the ``remedy``.
    """
    free = shutil.disk_usage(out).free
    if free < needed:
        raise NemoExtError(
            f"the disk of {out} has {free / _GIB:.2f} GiB free and {what} about {needed / _GIB:.2f} GiB: "
            f"free {(needed - free) / _GIB:.2f} GiB{remedy}"
        )
    return free


def disk_needed(model: Any, out: Path, keep: int, mean: bool = False) -> int:
    """Bytes that training ``model`` will still write below ``out``: checkpoints, logs, the model before and after.

    A checkpoint holds weights, buffers, and Adam's two moments of each weight, with ``mean`` the mean of those that are
    spoken with; one more than is kept is there while the newest is written.
    """
    trained = parameters(model)
    buffers = sum(b.numel() * b.element_size() for b in model.buffers())
    checkpoint = 3 * 4 * trained + buffers
    if mean:
        checkpoint += 4 * sum(w.numel() for w in averaged(model).values())
    written = sum(path.stat().st_size for path in out.glob("checkpoints/step=*.ckpt"))
    inference = 4 * sum(p.numel() for p in model.parameters()) + buffers
    return int(max((keep + 1) * checkpoint - written, checkpoint) + 3 * inference + _LOGS)


def parameters(model: Any) -> int:
    """Parameters that are trained, those of discriminators included, which are made only when a fit begins."""
    count = sum(int(p.numel()) for p in model.parameters())
    if late_from(model) is None or getattr(model, "discriminators", None) is not None:
        return count
    with torch.device("meta"):
        return count + sum(int(p.numel()) for p in model.build_discriminators().parameters())


def use_threads(wanted: int) -> None:
    """CPU threads of torch: ``wanted``, or for 0 one a core, unless OMP_NUM_THREADS says otherwise."""
    if wanted or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(wanted or cores())


def check_accelerator(name: str) -> None:
    """Refuse a GPU that is not there.

    Raises:
        NemoExtError: ``name`` is ``gpu`` or ``cuda``, and torch sees none.
    """
    if name in ("gpu", "cuda") and not torch.cuda.is_available():
        raise NemoExtError("trainer=gpu, but torch sees no GPU here: use trainer=cpu, or look at `nemo-ext doctor`")


def _forget_peak() -> None:
    """Let the highest memory use count from now, where the system can."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # another system, or not allowed: then it counts from the start of the process
        return


def _peak() -> int:
    """The most memory held at once, in bytes: the GPU's where one was used."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.is_file() else []:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
