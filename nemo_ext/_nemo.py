"""The only file that reaches into NeMo's internals. Every reach says what it is for.

Importing it costs seconds (NeMo imports Lightning, lhotse, numba): do so only where a model is made or restored.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nemo_ext.errors import NemoExtError

# Telemetry: NeMo starts NVIDIA's OneLogger at import, which announces itself on two lines in every process.
# It sends nothing without an exporter; its loggers are silenced before NeMo is imported.
for _name in (
    "nv_one_logger.api.config",
    "nv_one_logger.training_telemetry.api.training_telemetry_provider",
):
    logging.getLogger(_name).setLevel(logging.ERROR)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # third-party deprecations at import are not our users' business
    import torch
    from nemo.core.classes import ModelPT
    from nemo.core.classes import common as _common
    from nemo.utils import logging as nemo_logging

# The logger itself: NeMo's own setLevel changes handlers too, also those that belong to somebody else.
_nemo_logger = logging.getLogger("nemo_logger")

# Every class that a .nemo may name beside NeMo's own, and the stock class whose checkpoints it restores. NeMo 3 builds
# only targets whose path starts with an allowed prefix and whose class is a Module: the prefixes added here are whole
# paths of single classes, so that a stranger's file gains nothing else.
MODELS: dict[str, str | None] = {
    "nemo_ext.models.acoustic.fastpitch.FastPitch": "nemo.collections.tts.models.fastpitch.FastPitchModel",
    "nemo_ext.models.vocoder.hifigan.HifiGan": "nemo.collections.tts.models.hifigan.HifiGanModel",
    "nemo_ext.models.vocoder.vocos.Vocos": None,
    "nemo_ext.models.end_to_end.fastpitch_hifigan.FastPitchHifiGan": None,
    # TitaNet, ECAPA and SpeakerNet are all of this stock class
    "nemo_ext.models.speaker.model.SpeakerModel": ("nemo.collections.asr.models.label_models.EncDecSpeakerLabelModel"),
}
_common.ALLOWED_TARGET_PREFIXES.extend(path for path in MODELS if path not in _common.ALLOWED_TARGET_PREFIXES)


def _class_for(target: str) -> type[Any] | None:
    """Our class for a checkpoint's ``target``: itself, or the one that restores this stock class."""
    for ours, stock in MODELS.items():
        if target in (ours, stock):
            module, _, name = ours.rpartition(".")
            found: type[Any] = getattr(importlib.import_module(module), name)
            return found
    return None


def quiet(level: int = logging.ERROR) -> None:
    """Keep NeMo's and Lightning's own chatter (set-up reports, tips) off the screen."""
    _nemo_logger.setLevel(level)
    # pytorch_lightning: parts of NeMo import it, and it takes over the logger that Lightning reports through.
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    before = _nemo_logger.level
    _nemo_logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        _nemo_logger.setLevel(before)


def experiment(trainer: Any, settings: Mapping[str, Any]) -> None:
    """Hand ``trainer`` to NeMo's exp_manager, which makes its loggers.

    Without what it does beside: it writes the diff of whatever git repository the current folder belongs to into the
    logs, and ties log files to the process that outlive the training.
    """
    from nemo.utils import exp_manager as module

    replaced: dict[str, Any] = {
        "get_git_hash": lambda: (False, None),
        "add_filehandlers_to_pl_logger": lambda *_: None,
        "add_handlers_to_mcore_logger": lambda: None,
    }
    before = {name: getattr(module, name) for name in replaced}
    add_file = type(nemo_logging).add_err_file_handler
    for name, function in replaced.items():
        setattr(module, name, function)
    type(nemo_logging).add_err_file_handler = lambda *_: None
    try:
        with _quietly():
            module.exp_manager(trainer, dict(settings))
    finally:
        type(nemo_logging).add_err_file_handler = add_file
        for name, function in before.items():
            setattr(module, name, function)


def restore(path: str | Path, device: str | torch.device = "cpu") -> Any:
    """The model in the ``.nemo`` file at ``path``, in evaluation mode on ``device``.

    A checkpoint of stock NeMo's FastPitch, HiFi-GAN or speaker model comes back as our class for it.

    Raises:
        NemoExtError: the file is missing, damaged, of a class that is not ours, or names a ``_target_`` outside
            the allow-list.
    """
    path = Path(path).expanduser().resolve()
    if not path.is_file():
        raise NemoExtError(f"no model at {path}: give the path of a .nemo file")
    try:
        with _quietly():
            config = ModelPT.restore_from(str(path), return_config=True)
            _refuse_foreign_targets(config, path)
            target = str(config["target"]) if "target" in config else "nameless"
            cls = _class_for(target)
            if cls is None:
                raise NemoExtError(
                    f"{path} holds a '{target}' model, which is none of ours; known: {', '.join(sorted(MODELS))}"
                )
            model = cls.restore_from(str(path), map_location=torch.device(device))
    except NemoExtError:
        raise
    except Exception as error:
        # A restore that fails half-way leaves NeMo's global flag up, and the next model made in this process
        # would silently get no training data.
        ModelPT._set_model_restore_state(is_being_restored=False)
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NemoExtError(f"{path} cannot be restored: {first_line[:300]}; make it again or copy it again") from error
    model.origin = f"{path.parent.name}/{path.name}"
    return model.eval()


def build(cls: Any, config: Any, path: Path) -> Any:
    """A model of ``cls`` from a configuration that a file at ``path`` gave, refused where it names foreign code."""
    with _quietly():
        _refuse_foreign_targets(config, path)
        return cls(config)


def with_old_tokenizer(config: dict[str, Any], version: Any) -> dict[str, Any]:
    """``config`` with the tokenizer's settings pinned that had other defaults in the NeMo ``version`` that wrote it.

    NeMo 3 does so for some of its models; FastPitch is not among them, and its symbols would be other ones.
    """
    from nemo.collections.common.tokenizers.text_to_speech import tts_tokenizers
    from omegaconf import OmegaConf

    if "text_tokenizer" not in config:
        return config
    tokenizer = OmegaConf.create(config["text_tokenizer"])
    with _quietly():
        tts_tokenizers.resolve_versioned_tokenizer_defaults(tokenizer, None if version is None else str(version))
    return {**config, "text_tokenizer": OmegaConf.to_container(tokenizer)}


def _refuse_foreign_targets(config: Any, path: Path) -> None:
    """Refuse a checkpoint that names code outside the allow-list, before anything of it is built."""
    for where, target in _targets(config):
        if not _common._is_target_allowed(target):
            raise NemoExtError(
                f"{path} names '{target}' ({where}), which is outside the allow-list: "
                "it may run foreign code, so it is not loaded; get the model from a source you trust"
            )


def _targets(node: Any, where: str = "model_config.yaml") -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        for key in node:
            value = node[key]
            if key in ("_target_", "target", "cls") and isinstance(value, str) and ("." in value or key == "_target_"):
                yield f"{where}: {key}", value
            else:
                yield from _targets(value, f"{where}: {key}")
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for i, item in enumerate(node):
            yield from _targets(item, f"{where}[{i}]")


def save(model: Any, path: str | Path) -> Path:
    """Write ``model`` as a ``.nemo`` file at ``path``: beside it first, then renamed, so never half-written."""
    path = Path(path).expanduser().resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
        beside = Path(folder) / path.name
        usual, tempfile.tempdir = tempfile.tempdir, folder  # NeMo packs in the system's own, which is often small
        try:
            with _quietly():
                model.save_to(str(beside))
            os.replace(beside, path)
        except (OSError, RuntimeError) as error:
            # torch's writer answers a failed write with a complaint about its own file format
            if isinstance(error, RuntimeError) and "inline_container" not in str(error):
                raise
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "the disk may be full"
            raise NemoExtError(f"{path} could not be written: {reason}; free some space") from error
        finally:
            tempfile.tempdir = usual
    return path
