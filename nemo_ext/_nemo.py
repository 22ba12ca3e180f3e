"""The only file that reaches into NeMo's internals. Every reach says what it is for.

Importing it costs seconds (NeMo imports Lightning, lhotse, numba): do so only where a model is made or restored.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemo_ext import allowed, deferred, files, model_files, nemo_archive
from nemo_ext.errors import NemoExtError
from nemo_ext.untrusted import shown

# Telemetry: NeMo starts NVIDIA's OneLogger at import, which announces itself on two lines in every process.
# It sends nothing without an exporter; its loggers are silenced before NeMo is imported.
for _name in (
    "nv_one_logger.api.config",
    "nv_one_logger.training_telemetry.api.training_telemetry_provider",
):
    logging.getLogger(_name).setLevel(logging.ERROR)

deferred.before_nemo()  # before NeMo is imported, whose packages import every model they have
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # third-party deprecations at import are not our users' business
    import torch
    from nemo.core.classes import common as _common
    from nemo.utils import logging as nemo_logging
    from nemo.utils import model_utils
    from omegaconf import OmegaConf

# The logger itself: NeMo's own setLevel changes handlers too, also those that belong to somebody else.
_nemo_logger = logging.getLogger("nemo_logger")


@dataclass(frozen=True)
class _Model:
    """A class that a ``.nemo`` may be a model of."""

    stock: str | None  # the stock class whose checkpoints it restores
    may_have: allowed.Part


MODELS: dict[str, _Model] = {
    "nemo_ext.models.acoustic.fastpitch.FastPitch": _Model(
        "nemo.collections.tts.models.fastpitch.FastPitchModel", allowed.FASTPITCH
    ),
    "nemo_ext.models.vocoder.hifigan.HifiGan": _Model(
        "nemo.collections.tts.models.hifigan.HifiGanModel", allowed.HIFIGAN
    ),
    "nemo_ext.models.vocoder.vocos.Vocos": _Model(None, allowed.VOCOS),
    "nemo_ext.models.end_to_end.fastpitch_hifigan.FastPitchHifiGan": _Model(None, allowed.END_TO_END),
    # TitaNet, ECAPA and SpeakerNet are all of this stock class
    "nemo_ext.models.speaker.model.SpeakerModel": _Model(
        "nemo.collections.asr.models.label_models.EncDecSpeakerLabelModel", allowed.SPEAKER
    ),
}
# So that NeMo's own ``restore_from`` takes our files too; ours goes by `allowed`, which is narrower.
_common.ALLOWED_TARGET_PREFIXES.extend(path for path in MODELS if path not in _common.ALLOWED_TARGET_PREFIXES)


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
    """The model in the ``.nemo`` file, the checkpoint or the training's folder at ``path``, in evaluation mode.

    It is on ``device``. A checkpoint gives the weights that training validates, their mean where it keeps one.
    A checkpoint of stock NeMo's FastPitch, HiFi-GAN or speaker model comes back as our class for it. The file is
    anybody's: nothing in it is run, and nothing outside it is read.

    Raises:
        NemoExtError: the file is missing, damaged, of a class that is not ours, names a class that a part of such a
            model may not be, or its weights do not fit.
    """
    found = model_files.find(path)
    archive = nemo_archive.read(found.nemo)
    path = found.path.expanduser().resolve()
    weights = archive.weights if found.checkpoint is None else _of_checkpoint(path)
    ours = next((ours for ours, model in MODELS.items() if archive.target in (ours, model.stock)), None)
    if ours is None:
        raise NemoExtError(
            f"{archive.path} names {shown(archive.target)} (target), which is outside the allow-list: no model of "
            f"ours; known: {', '.join(sorted(MODELS))}"
        )
    where = f"{archive.path}: its {nemo_archive.CONFIG}"
    config, files = allowed.checked(archive.config, MODELS[ours].may_have, where)
    module, _, name = ours.rpartition(".")
    cls: Any = getattr(importlib.import_module(module), name)
    artifacts = _Artifacts.of(files, archive)
    with artifacts.there(config):
        model = build(cls, {**config, "target": ours}, archive.path, weights)
    artifacts.forget(model)
    load(model, weights, path)
    folder = path.parent if found.checkpoint is None else path.parent.parent
    model.origin = f"{folder.name}/{path.name}"
    return model.to(torch.device(device)).eval()


def _of_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """The weights to speak with in the checkpoint at ``path``.

    Raises:
        NemoExtError: it is missing or damaged, holds no weights by name, or weights that are not finite.
    """
    from nemo_ext import torch_file

    content = torch_file.read(path)
    content = content if isinstance(content, dict) else {}
    states = content.get("callbacks", {})
    means = (
        [s["means"] for s in states.values() if isinstance(s, dict) and "means" in s]
        if isinstance(states, dict)
        else []
    )
    for tensors in (content.get("state_dict"), *means):
        if not isinstance(tensors, dict) or not all(isinstance(t, torch.Tensor) for t in tensors.values()):
            raise NemoExtError(f"{path} is no checkpoint of nemo-ext train: it has no weights by name")
    found = {str(name): weight for name, weight in model_files.spoken_with(content).items()}
    torch_file.check_finite(found, f"{path}: its weights")
    return found


def build(cls: Any, config: Mapping[str, Any], path: Path, weights: Mapping[str, torch.Tensor]) -> Any:
    """A model of ``cls`` with a configuration that the file at ``path`` gave, and which ``weights`` are to fit.

    It is made without memory for its weights first: a configuration may ask for more of them than the machine has.

    Raises:
        NemoExtError: the configuration makes no such model, or one that is larger than its weights.
    """
    where = f"{path}: its {nemo_archive.CONFIG}"
    settings: dict[str, Any] = cls.check_config(dict(config), where)
    try:
        with _quietly(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about initialising what has no elements
            with torch.random.fork_rng(devices=[]), _at_most(weights), torch.device("meta"):
                cls(OmegaConf.create(_without_long_lists(settings)))
        with _quietly():
            return cls(OmegaConf.create(settings))
    except NemoExtError as error:
        raise NemoExtError(f"{where} makes no model: {str(error)[:300]}") from error
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise NemoExtError(f"{where} makes no model: {type(error).__name__} {reason[:240]}") from error


def _without_long_lists(settings: dict[str, Any]) -> dict[str, Any]:
    """``settings`` with one voice and no lexicon, which are bounded and take OmegaConf seconds."""
    short = dict(settings)
    if isinstance(voices := settings.get("voices"), list):
        short["voices"] = voices[:1]
    if isinstance(text := settings.get("text"), dict) and "lexicon_entries" in text:
        short["text"] = {**text, "lexicon_entries": {}}
    return short


def load(model: Any, weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Give ``model`` the ``weights`` of the file at ``path``.

    Raises:
        NemoExtError: some are missing, too many, or of another shape.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise NemoExtError(f"{path}: its weights do not fit its configuration: {reason[:240]}") from error


@contextlib.contextmanager
def _at_most(weights: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Refuse a model that grows beyond what ``weights`` can fill, while it is being made."""
    most = 2 * sum(weight.numel() for weight in weights.values()) + 10_000_000
    parts, elements = itertools.count(), 0
    refusal = NemoExtError("it describes a larger model than its weights; it is not loaded")

    def count(_module: Any, _name: str, found: Any) -> None:
        nonlocal elements
        elements += found.numel() if isinstance(found, torch.Tensor) else 0
        if elements > most or next(parts) > 40 * len(weights) + 4000:
            raise refusal

    hooks = torch.nn.modules.module
    handles = [
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_buffer_registration_hook(count),
        hooks.register_module_module_registration_hook(count),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class _Artifacts:
    """The files of a model, which are on a disk only while it is made and while it is saved."""

    contents: dict[str, tuple[str, bytes]]  # dotted key -> name and content

    @classmethod
    def of(cls, files: Mapping[str, str], archive: nemo_archive.NemoArchive) -> _Artifacts:
        """Those that ``files`` (dotted key -> name) names, from ``archive``.

        Raises:
            NemoExtError: one is not in the archive.
        """
        by_name = {name.rpartition("/")[2]: content for name, content in archive.artifacts.items()}
        for key, name in files.items():
            if name not in by_name:
                raise NemoExtError(
                    f"{archive.path}: its '{key}' is {shown(name)}, which is not in the archive: files elsewhere are "
                    "not read; get the whole model"
                )
        return cls({key: (name, by_name[name]) for key, name in files.items()})

    @contextlib.contextmanager
    def there(self, config: dict[str, Any]) -> Iterator[None]:
        """Put them on a disk, and their paths into ``config``."""
        with self.on_disk() as paths:
            for key, path in paths.items():
                *parents, last = key.split(".")
                owner = config
                for name in parents:
                    owner = owner[name]
                owner[last] = path
            yield

    @contextlib.contextmanager
    def on_disk(self) -> Iterator[dict[str, str]]:
        """Their paths by dotted key, for as long as this lasts."""
        if not self.contents:
            yield {}
            return
        with tempfile.TemporaryDirectory(prefix="nemo-ext-") as folder:
            paths = {}
            for number, (key, (name, content)) in enumerate(self.contents.items()):
                # NeMo puts a hash before the name of each artifact, and will again
                path = Path(folder) / str(number) / re.sub(r"^[0-9a-f]{32}_|[^\w.-]", "", name)
                path.parent.mkdir()
                path.write_bytes(content)
                paths[key] = str(path)
            yield paths

    def forget(self, model: Any) -> None:
        """Take the paths out of ``model``, which keeps the contents for when it is saved."""
        for key, (name, _) in self.contents.items():
            OmegaConf.update(model._cfg, key, f"nemo:{name}", force_add=True)
        model.artifacts = {}
        model.kept_artifacts = self


@contextlib.contextmanager
def _with_artifacts(model: Any) -> Iterator[None]:
    """Let NeMo find the files of a restored ``model`` while it saves it."""
    kept: _Artifacts | None = getattr(model, "kept_artifacts", None)
    if kept is None:
        yield
        return
    with kept.on_disk() as paths:
        for key, path in paths.items():
            item = model_utils.ArtifactItem()
            item.path, item.path_type = path, model_utils.ArtifactPathType.LOCAL_PATH
            model.artifacts[key] = item
        try:
            yield
        finally:
            model.artifacts = {}


def with_old_tokenizer(config: dict[str, Any], version: Any) -> dict[str, Any]:
    """``config`` with the tokenizer's settings pinned that had other defaults in the NeMo ``version`` that wrote it.

    NeMo 3 does so for some of its models; FastPitch is not among them, and its symbols would be other ones.
    """
    from nemo.collections.common.tokenizers.text_to_speech import tts_tokenizers

    if "text_tokenizer" not in config:
        return config
    tokenizer = OmegaConf.create(config["text_tokenizer"])
    with _quietly():
        tts_tokenizers.resolve_versioned_tokenizer_defaults(tokenizer, None if version is None else str(version))
    return {**config, "text_tokenizer": OmegaConf.to_container(tokenizer)}


def save(model: Any, path: str | Path) -> Path:
    """Write ``model`` as a ``.nemo`` file at ``path``: beside it first, then renamed, so never half-written."""
    path = Path(path).expanduser().resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    files.sweep(path.parent)
    with files.workspace(path) as folder:
        beside = folder / path.name
        usual, tempfile.tempdir = tempfile.tempdir, str(folder)  # NeMo packs in the system's own, which is often small
        try:
            with _quietly(), _with_artifacts(model):
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
