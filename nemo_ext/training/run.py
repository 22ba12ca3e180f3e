"""``nemo-ext train``: a corpus -> ``model.nemo``. The same command again goes on where it stopped."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nemo_ext import _nemo  # before Lightning and NeMo: it keeps their imports quiet

from lightning.pytorch import LightningModule, Trainer, seed_everything  # isort: skip
from omegaconf import OmegaConf

from nemo_ext.config import conform
from nemo_ext.corpus.manifest import Corpus, load_corpus, write_text
from nemo_ext.data.features import FeatureConfig, FeatureStore
from nemo_ext.data.loaders import acoustic_loaders, vocoder_loaders
from nemo_ext.data.prepare import base_voices, prepare
from nemo_ext.errors import NemoExtError
from nemo_ext.text.frontend import TextFrontend
from nemo_ext.training import checkpoints
from nemo_ext.training.config import TrainConfig
from nemo_ext.training.preflight import assess, cores, seconds_per_step
from nemo_ext.training.watch import NanGuard, Watch


def train(config: TrainConfig) -> Path:
    """Train ``config.model`` on ``config.corpus`` and write ``config.out/model.nemo``.

    Raises:
        NemoExtError: the corpus is missing or empty, the options contradict a run that is already in ``out``, the disk
            is full, or the loss is no longer a number.
    """
    out = _folder(config)
    corpus = load_corpus(config.corpus)
    if not corpus.train or not corpus.val:
        part = "validation" if corpus.train else "training"
        raise NemoExtError(f"corpus {config.corpus} has no {part} utterances: make it again from more recordings")
    _nemo.quiet()
    torch.set_num_threads(config.trainer.threads or cores())
    _check_device(config)
    seed_everything(config.seed, verbose=False)
    with _without_third_party_warnings():
        return _train(config, out, corpus)


def _train(config: TrainConfig, out: Path, corpus: Corpus) -> Path:
    model, loaders = _model_and_loaders(config, corpus)
    resumed, notes = checkpoints.newest(out / "checkpoints")
    for note in notes:
        _say(note)
    done = checkpoints.step_of(resumed) if resumed else 0
    plan = _plan(config, out, model, loaders[0], done)
    if done >= plan["max_steps"]:
        if not (out / "model.nemo").is_file():
            model.load_state_dict(torch.load(resumed, map_location="cpu", weights_only=False)["state_dict"])
            _nemo.save(model, out / "model.nemo")
        _say(f"finished: {done} steps are done; to go on, give a larger trainer.max_steps than {plan['max_steps']}")
        return out / "model.nemo"
    if resumed:
        _say(f"resuming from step {done} of {plan['max_steps']} ({resumed})")
    _fit(config, out, model, loaders, plan["max_steps"], resumed)
    path = _nemo.save(model, out / "model.nemo")
    _say(f"{path}: trained for {plan['max_steps']} steps")
    return path


# ------------------------------------------------------------------ preparation


def _folder(config: TrainConfig) -> Path:
    for name, what in (("corpus", "the folder that `nemo-ext corpus` made"), ("out", "the folder to write")):
        if not getattr(config, name):
            raise NemoExtError(f"{name}= is missing: name {what}")
    out = Path(config.out).expanduser()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NemoExtError(f"out={out} cannot be made a folder: {error.strerror}") from error
    return out


def _check_device(config: TrainConfig) -> None:
    if config.trainer.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise NemoExtError("trainer=gpu, but torch sees no GPU here: use trainer=cpu, or look at `nemo-ext doctor`")


def _model_and_loaders(config: TrainConfig, corpus: Corpus) -> tuple[LightningModule, tuple[Any, Any]]:
    cls = _model_class(config.model)
    mel = config.features.mel
    features = FeatureStore(
        corpus.dir,
        FeatureConfig(mel, config.features.pitch_method, config.features.pitch_f_min, config.features.pitch_f_max),
    )
    prepare(corpus.utterances, features)
    settings: dict[str, Any] = OmegaConf.to_container(conform(config.model, cls.config_class, "model."), resolve=True)
    settings["mel"] = dataclasses.asdict(mel)
    world = {"workers": config.trainer.workers, "seed": config.seed}
    if hasattr(cls, "decode"):  # a vocoder reads no text
        loaders = vocoder_loaders(corpus, features, settings["segment_frames"], settings["batch_size"], **world)
        return cls(OmegaConf.create(settings)), loaders
    languages = sorted({u.language or "en" for u in corpus.utterances})
    frontend = TextFrontend(dataclasses.replace(config.text, languages=languages))
    voices = base_voices(corpus.utterances, features)
    settings["text"] = dataclasses.asdict(frontend.config)
    settings["voices"] = [dataclasses.asdict(voice) for voice in voices]
    model = cls(OmegaConf.create(settings))
    return model, acoustic_loaders(corpus, frontend, voices, features, config.frames_per_batch, **world)


def _model_class(model: dict[str, Any]) -> Any:
    target = str(model.get("_target_", ""))
    module, _, name = target.rpartition(".")
    if not module.startswith("nemo_ext.models."):
        raise NemoExtError(f"model._target_={target or 'nothing'} is none of our models: choose model=fastpitch, ...")
    return getattr(importlib.import_module(module), name)


def _plan(config: TrainConfig, out: Path, model: LightningModule, loader: Any, done: int) -> dict[str, Any]:
    """How many steps, and what they need; measured once and kept in ``plan.json``, so that a resumed run agrees."""
    path = out / "plan.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    identity = {"target": config.model["_target_"], "corpus": str(Path(config.corpus).resolve())}
    if done and any(kept.get(key, value) != value for key, value in identity.items()):
        raise NemoExtError(
            f"out={out} holds a training of another model or corpus ({kept['target'].rpartition('.')[2]} on "
            f"{kept['corpus']}): choose another folder, or delete that one"
        )
    if not (done and "seconds_per_step" in kept):
        kept = {**identity, "seconds_per_step": seconds_per_step(model, loader, partial(_trainer, config))}
        kept["minutes"] = None
    if config.trainer.max_minutes is None:
        kept["max_steps"] = config.trainer.max_steps
    elif kept["minutes"] != config.trainer.max_minutes:
        kept["max_steps"] = max(1, int(60 * config.trainer.max_minutes / kept["seconds_per_step"]))
    kept["minutes"] = config.trainer.max_minutes
    write_text(path, json.dumps(kept, indent=1) + "\n")
    left = kept["max_steps"] - done
    if left > 0:
        extra = _training_only_parameters(model)
        needs = assess(model, kept["seconds_per_step"], left, out, config.trainer.keep_checkpoints, extra)
        _say(f"this training needs: {needs}")
    return kept


def _training_only_parameters(model: LightningModule) -> int:
    """Parameters of discriminators, which are made only when a fit begins."""
    settings = getattr(model, "settings", None)
    if settings is None or settings.adversarial_from_step is None:
        return 0
    with torch.device("meta"):
        return sum(p.numel() for p in model.build_discriminators().parameters())


# ----------------------------------------------------------------------- fitting


def _trainer(config: TrainConfig, **changes: Any) -> Trainer:
    options = config.trainer
    return Trainer(
        **{
            "accelerator": options.accelerator,
            "devices": options.devices,
            "precision": options.precision,
            "max_epochs": -1,
            "use_distributed_sampler": False,  # ours shards, and knows the epoch
            "num_sanity_val_steps": 0,
            "inference_mode": False,
            **changes,
        }
    )


def _fit(
    config: TrainConfig,
    out: Path,
    model: LightningModule,
    loaders: tuple[Any, Any],
    max_steps: int,
    resumed: Path | None,
) -> None:
    from nemo.utils.exp_manager import exp_manager

    options = config.trainer
    saver = checkpoints.Checkpoints(out / "checkpoints", options.checkpoint_every, options.keep_checkpoints)
    manual = not model.automatic_optimization  # such a model clips its own gradients
    trainer = _trainer(
        config,
        max_steps=max_steps,
        # the saver comes last: what the others refuse is not saved
        callbacks=[NanGuard(), Watch(out, options.log_every), saver],
        logger=False,  # exp_manager's
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=options.log_every,
        gradient_clip_val=None if manual else options.gradient_clip,
        check_val_every_n_epoch=None,
        val_check_interval=min(options.val_every, max_steps),
    )
    exp_manager(
        trainer,
        {
            "explicit_log_dir": str(out / "logs"),
            "create_tensorboard_logger": config.logger.tensorboard,
            "create_wandb_logger": config.logger.wandb,
            "wandb_logger_kwargs": {"project": config.logger.project, "name": out.name, "save_dir": str(out / "logs")},
            "create_checkpoint_callback": False,  # ours are atomic
            "create_preemption_callback": False,
            "disable_validation_on_resume": False,
            "log_step_timing": False,
            "log_tflops_per_sec_per_gpu": False,
            "resume_if_exists": False,
        },
    )
    model.set_trainer(trainer)
    seed_everything(config.seed, verbose=False)  # measuring drew random numbers
    saver.listen()
    try:
        trainer.fit(model, *loaders, ckpt_path=resumed)
    except checkpoints.Stopped as stop:
        _say(f"stopped at step {stop.step}, which is saved: the same command goes on from there")
        raise SystemExit(128 + stop.number) from None
    finally:
        saver.unlisten()


@contextmanager
def _without_third_party_warnings() -> Iterator[None]:
    """Lightning, NeMo and torch warn about their own affairs on every start."""
    with warnings.catch_warnings():
        for module in ("lightning", "nemo", "torch"):
            warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")
        yield


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
