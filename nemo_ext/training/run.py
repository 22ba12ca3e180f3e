"""``nemo-ext train``: a corpus -> ``model.nemo``. The same command again goes on where it stopped."""

from __future__ import annotations

import copy
import platform
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from nemo_ext import (
    _nemo,  # before Lightning and NeMo: it keeps their imports quiet
    files,
)
from nemo_ext.console import tell

from lightning.pytorch import Trainer, seed_everything  # isort: skip

from nemo_ext.config import as_yaml
from nemo_ext.console import clock
from nemo_ext.corpus.manifest import write_text
from nemo_ext.data import cache
from nemo_ext.errors import NemoExtError
from nemo_ext.model_files import CHECKPOINTS, MODEL, UNTRAINED, spoken_with
from nemo_ext.training import checkpoints, checks, launch, plan, preflight, stopping
from nemo_ext.training.average import Average
from nemo_ext.training.build import Built, build
from nemo_ext.training.chance import Chance
from nemo_ext.training.compiled import Compiled
from nemo_ext.training.config import TrainConfig, TrainerOptions
from nemo_ext.training.feed import is_vocoder
from nemo_ext.training.fused import FusedOptimizers
from nemo_ext.training.health import AlignmentHealth
from nemo_ext.training.launch import first_process, processes
from nemo_ext.training.objective import ObjectiveMetrics
from nemo_ext.training.spikes import SpikeGuard
from nemo_ext.training.strategies import strategy_of
from nemo_ext.training.styles import name_styles
from nemo_ext.training.watch import NanGuard, Watch, cut_metrics


def train(config: TrainConfig) -> Path:
    """Train ``config.model`` on ``config.corpus`` and write ``config.out/model.nemo``, whose path is returned.

    Raises:
        NemoExtError: the corpus is missing or empty, the options contradict a run that is already in ``out``, the disk
            is full, or the loss is no longer a number.
        KeyboardInterrupt: Ctrl-C; a checkpoint is written first.
        SystemExit: SIGTERM (143), SIGHUP (129), SIGUSR1 (85: to be started again); a checkpoint is written first.
    """
    out = _made(checks.train(config))
    preflight.check_accelerator(config.trainer.accelerator)
    _nemo.quiet()
    launch.settle(config.trainer)
    preflight.use_threads(config.trainer.threads)
    files.sweep(out)
    with stopping.requeued_at_once(), _alone(out), without_third_party_warnings():
        seed_everything(config.seed, verbose=False)
        return _train(config, out, build(config))


def _train(config: TrainConfig, out: Path, built: Built) -> Path:
    resumed, notes = checkpoints.newest(out / CHECKPOINTS)
    for note in notes:
        _say(note)
    done = checkpoints.step_of(resumed) if resumed else 0
    planned = _plan(config, out, built, done)
    path = out / MODEL
    # Every process decides this by itself. If a disk shows one of them an older checkpoint, it waits for the others in
    # vain, and fails; nothing is written without them. Of those that meet, Checkpoints sees that they agree.
    if resumed and done >= planned.max_steps:
        if not _is_of(path, resumed) and first_process():
            _save(built, checkpoints.read(resumed), path)
        launch.wait_until(lambda: _is_of(path, resumed))
        _say(f"finished: {done} of {planned.max_steps} steps are done ({path}); for more, raise trainer.max_steps")
        return path
    _preflight(config, out, built, planned, done)
    if resumed:
        _say(f"resuming from step {done} of {planned.max_steps} ({resumed})")
    if first_process():
        write_text(out / "config.yaml", as_yaml(config))
        if not (out / CHECKPOINTS / UNTRAINED).is_file():  # with it, checkpoints can be listened to
            _nemo.save(_again(built, out.resolve().name), out / CHECKPOINTS / UNTRAINED)
    began = time.monotonic()
    _fit(config, out, built, planned, resumed)
    _save_newest(built, out)
    _say(f"{path}: trained for {planned.max_steps} steps, {planned.max_steps - done} of them in {_since(began)}")
    return path


def _save_newest(built: Built, out: Path) -> None:
    """Write the model of the newest checkpoint; every process calls this."""
    with launch.first_alone():
        if first_process():
            last = checkpoints.newest(out / CHECKPOINTS)[0]
            assert last is not None
            _save(built, checkpoints.read(last), out / MODEL)


def _end(stop: stopping.Stopped, model: Path) -> BaseException:
    """What ends a process that was asked to stop."""
    heard = "" if stop.number == signal.SIGUSR1 else f", {model} too"
    _say(f"stopped at step {stop.step}, which is saved{heard}: the same command goes on from there")
    return KeyboardInterrupt() if stop.number == signal.SIGINT else SystemExit(stop.exit_status)


def _is_of(model: Path, checkpoint: Path) -> bool:
    """Whether ``model`` is there and was written after ``checkpoint``: an earlier one is of a shorter training."""
    return model.is_file() and model.stat().st_mtime_ns >= checkpoint.stat().st_mtime_ns


def _save(built: Built, checkpoint: dict[str, Any], path: Path) -> None:
    """Write the model of ``checkpoint``, whole even where training had dealt its weights out to processes."""
    model = _again(built, path.resolve().parent.name)
    model.load_state_dict(spoken_with(checkpoint))
    for named in (model, *_parts(model).values()):
        name_styles(named, built.train)
    for name, part in _parts(model).items():
        _nemo.save(part, path.with_name(f"{name}.nemo"))  # what `nemo-ext say` and every other job takes
    _nemo.save(model, path)  # last: it tells that all is written


def _again(built: Built, title: str) -> Any:
    """The model as it was made, without what training adds to it; ``title`` is its name unless the options gave one."""
    model = type(built.model)(copy.deepcopy(built.model.cfg))
    for named in (model, *_parts(model).values()):
        if named.cfg.get("name") == type(named).config_class().name:
            OmegaConf.update(named.cfg, "name", title)
    return model


def _parts(model: Any) -> dict[str, Any]:
    """Those of a joint model by name, which are models themselves."""
    return model.parts() if hasattr(model, "parts") else {}


# ------------------------------------------------------------------ preparation


def _made(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NemoExtError(f"out={out} cannot be made a folder: {error.strerror}") from error
    return out


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep a second training out of the same folder, where its disk knows locks."""
    with ExitStack() as held:
        if first_process():
            try:
                held.enter_context(cache.alone(out / ".lock"))
            except BlockingIOError as error:
                raise NemoExtError(
                    f"another training is writing to {out}: wait for it, or give another out="
                ) from error
        yield


def _plan(config: TrainConfig, out: Path, built: Built, done: int) -> plan.Plan:
    """The plan that ``out`` holds, or a new one; with ``max_steps`` unless it has to be measured first."""
    kept = plan.load(out)
    planned = kept if kept and done else plan.Plan(built.settings)
    changes = plan.agree(out, planned, built.settings, built.defaults)
    if changes:
        _say(f"from here on: {changes}")
        planned.settings = built.settings
    if config.trainer.max_minutes is None:
        planned.max_steps = config.trainer.max_steps
    elif planned.max_minutes != config.trainer.max_minutes:
        planned.max_steps = sys.maxsize
    planned.max_minutes = config.trainer.max_minutes
    return planned


def _preflight(config: TrainConfig, out: Path, built: Built, planned: plan.Plan, done: int) -> None:
    """Say what the rest of the training needs, and refuse what cannot work; completes the plan and keeps it."""
    options, memory = config.trainer, 0
    in_parts = built.model.automatic_optimization and hasattr(built.train.batch_sampler, "accumulate")
    if options.accumulate > 1 and not in_parts:
        raise NemoExtError(
            "trainer.accumulate is for acoustic models alone: lower model.batch_size, or a joint model's "
            "frames_per_batch, instead"
        )
    room = preflight.disk_needed(built.model, out, options.keep_checkpoints, mean=options.ema > 0)
    free = preflight.check_disk(out, room, "this training writes", ", or lower trainer.keep_checkpoints")
    alone = processes(options).world_size == 1  # the others of several would have to measure along
    here = {k: getattr(options, k) for k in ("accelerator", "precision", "workers", "accumulate")}
    here |= {"threads": torch.get_num_threads(), "machine": platform.node(), "loader": config.loader}
    here |= {"compile": True} if options.compile else {}
    if planned.measured_on != here:
        planned.speed = None
    if planned.speed is None and options.measure_seconds > 0 and alone:
        loaders, trainer = (built.train, built.val), partial(_trainer, config, built.model)
        measured = preflight.measure(built.model, loaders, trainer, options.measure_seconds, planned.max_steps)
        planned.speed, memory, planned.measured_on = measured.speed, measured.memory, here
    if planned.max_steps == sys.maxsize:
        assert planned.speed is not None
        assert options.max_minutes is not None
        planned.max_steps = max(done, planned.speed.steps_for(60 * options.max_minutes, options.val_every))
    if not first_process():
        return
    planned.save(out)
    left = planned.speed.seconds(done, planned.max_steps, options.val_every) if planned.speed else None
    needs = preflight.Needs(left, planned.max_steps - done, preflight.parameters(built.model), memory, room, free)
    _say(f"this training needs: {needs}")


# ----------------------------------------------------------------------- fitting


def _trainer(config: TrainConfig, model: Any, **changes: Any) -> Trainer:
    options = config.trainer
    if options.compile:
        changes["callbacks"] = [Compiled(), *changes.get("callbacks", [])]
    if options.fused:
        changes["callbacks"] = [FusedOptimizers(), *changes.get("callbacks", [])]
    _nemo.quiet()  # once more: a package that a model imported may have raised its voice
    return Trainer(
        **{
            "accelerator": options.accelerator,
            "devices": 1,
            "precision": options.precision,
            "accumulate_grad_batches": options.accumulate,
            "max_epochs": -1,
            "use_distributed_sampler": False,  # ours shards, and knows the epoch
            "num_sanity_val_steps": 0,
            "inference_mode": False,
            "benchmark": _tries_kernels(options.accelerator, model),
            "plugins": [checkpoints.WholeFiles(), *launch.environment()],
            **changes,
        }
    )


def _tries_kernels(accelerator: str, model: Any) -> bool | None:
    """Whether cuDNN tries its kernels for a new shape: worth it where all segments have one. None: as torch has it."""
    return True if accelerator != "cpu" and is_vocoder(model) else None


def _fit(config: TrainConfig, out: Path, built: Built, planned: plan.Plan, resumed: Path | None) -> None:
    options, done = config.trainer, checkpoints.step_of(resumed) if resumed else 0
    if first_process():
        cut_metrics(out / "metrics.jsonl", done)
    order = built.train.batch_sampler
    saver = checkpoints.Checkpoints(out / CHECKPOINTS, options.checkpoint_every, options.keep_checkpoints, order)
    manual = not built.model.automatic_optimization  # such a model clips its own gradients
    together = processes(options)
    trainer = _trainer(
        config,
        built.model,
        devices=together.devices,
        num_nodes=together.nodes,
        strategy=strategy_of(config.strategy, together, built.model, options.accelerator, options.accumulate),
        max_steps=planned.max_steps,
        callbacks=_callbacks(config, out, saver),
        logger=False,  # exp_manager's
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=options.log_every,
        gradient_clip_val=None if manual else options.gradient_clip,
        check_val_every_n_epoch=None,
        val_check_interval=min(options.val_every, planned.max_steps) * options.accumulate,  # in batches
    )
    _nemo.experiment(trainer, _loggers(config, out, planned, done))
    built.model.set_trainer(trainer)
    seed_everything(config.seed, verbose=False)  # measuring drew random numbers
    saver.signals.listen()
    try:
        trainer.fit(built.model, built.train, built.val, ckpt_path=resumed)
    except stopping.Stopped as stop:
        if stop.number != signal.SIGUSR1:  # by which a cluster asks shortly before it kills, and starts again
            _save_newest(built, out)
        raise _end(stop, out / MODEL) from None
    except RuntimeError as error:
        if together.world_size > 1 and launch.lost_another(error):
            raise SystemExit(1) from None  # the one that failed has said why
        raise
    finally:
        saver.signals.unlisten()
        _close(trainer)


def _callbacks(config: TrainConfig, out: Path, saver: checkpoints.Checkpoints) -> list[Any]:
    """In order: what measures before what shows it, and the saver last, so that what others refuse is not saved.

    The mean of the weights goes when a validation ends, behind those who then still show what the model does.
    """
    options = config.trainer
    looks = NanGuard(at=_looks(options))
    found: list[Any] = [Chance(config.seed), looks, SpikeGuard(out, options.log_every), AlignmentHealth()]
    every = options.objective_every
    if every is None:  # speaking takes a processor's time, of which a training on GPUs has more to spare
        every = 0 if options.accelerator == "cpu" else 5
    if every:
        found.append(ObjectiveMetrics(every, min(options.val_every, options.max_steps)))
    found.append(Watch(out, options.log_every))
    if options.ema:
        found.append(Average(options.ema))
    return [*found, saver]


def _looks(options: TrainerOptions) -> tuple[int, ...]:
    """At which steps the losses are looked at: at each, but where that is to wait for a GPU."""
    return (1,) if options.accelerator == "cpu" else (options.log_every, options.checkpoint_every)


def _loggers(config: TrainConfig, out: Path, planned: plan.Plan, done: int) -> dict[str, Any]:
    """What exp_manager is to make: logs in ``out/logs``, and nothing of its own besides."""
    name = out.resolve().name
    return {
        "explicit_log_dir": str(out / "logs"),
        "create_tensorboard_logger": config.logger.tensorboard,
        # what an earlier run logged beyond the step it is resumed from is not shown
        "summary_writer_kwargs": {"purge_step": done + 1},
        "create_wandb_logger": config.logger.wandb,
        "wandb_logger_kwargs": {
            "project": config.logger.project,
            "name": name,
            "id": planned.run_id,
            "resume": "allow",
            "save_dir": str(out / "logs"),
        },
        "create_checkpoint_callback": False,  # ours are atomic
        "create_preemption_callback": False,
        "disable_validation_on_resume": False,
        "log_step_timing": False,
        "log_tflops_per_sec_per_gpu": False,
        "resume_if_exists": False,
    }


def _close(trainer: Trainer) -> None:
    """Write what loggers still hold. Lightning leaves a Weights & Biases run open until the process ends."""
    for logger in trainer.loggers:
        logger.finalize("success")
        finish = getattr(getattr(logger, "experiment", None), "finish", None)
        if finish is not None:
            finish()


@contextmanager
def without_third_party_warnings() -> Iterator[None]:
    """Lightning, NeMo and torch warn about their own affairs on every start."""
    with warnings.catch_warnings():
        for module in ("lightning", "nemo", "torch"):
            warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")
        yield


def _since(began: float) -> str:
    return clock(time.monotonic() - began)


def _say(line: str) -> None:
    if first_process():
        tell(line, error=True)
