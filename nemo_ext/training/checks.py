"""What can be wrong with the options of a training or an adaptation, found without torch and within a second."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from nemo_ext import model_files, nemo_archive
from nemo_ext._options import out_of_range
from nemo_ext.corpus.manifest import check_folder
from nemo_ext.data.augment import Augment
from nemo_ext.errors import NemoExtError
from nemo_ext.jobs import Command
from nemo_ext.machine import existing, may_have_gpu
from nemo_ext.text.languages import language as find_language
from nemo_ext.training.adapt_config import AdaptConfig
from nemo_ext.training.config import TrainConfig, TrainerOptions
from nemo_ext.training.launch import processes
from nemo_ext.untrusted import open_regular, read_yaml
from nemo_ext.voices import SUFFIX, Consent, Voice

# what a voice from one clip has no use for
_FOR_CORPUS = ("learn", "lr", "embedding_lr", "decay", "aligner_steps", "speaker", "vocoder")


def train(config: TrainConfig) -> Path:
    """The folder that ``config`` trains in, which is not made yet.

    Raises:
        NemoExtError: names the option that is missing, contradicts another, or names what is not there.
    """
    for name, what in (("corpus", "the folder that `nemo-ext corpus` made"), ("out", "the folder to write")):
        if not getattr(config, name):
            raise NemoExtError(f"{name}= is missing: name {what}")
    _trainer(config.trainer)
    _model(str(config.model.get("_target_", "")))
    out = Path(config.out).expanduser()
    _can_be_made(out)
    for code in config.text.languages:
        find_language(code)
    if config.logger.wandb and importlib.util.find_spec("wandb") is None:
        raise NemoExtError("logger=wandb needs Weights & Biases: pip install wandb")
    return out


def before_train(config: TrainConfig) -> None:
    """All that can be known before torch is imported: the options, and that what they name is there.

    Raises:
        NemoExtError: as `train`, something is not there, or the corpus has another sample rate.
    """
    train(config)
    _accelerator(config.trainer.accelerator)
    _corpus(config)
    if config.text.lexicon:
        _readable("text.lexicon", config.text.lexicon, "lexicon")
    if config.acoustic:
        model_files.check("acoustic", config.acoustic, "an acoustic model's .nemo file")
    if config.init:
        _init(config.init)
    for name in ("acoustic", "vocoder"):  # the parts of a joint model
        if isinstance(path := config.model.get(name), str) and path:
            model_files.check(f"model.{name}", path, "a .nemo file")


def adapt(config: AdaptConfig) -> Path:
    """The voice file that ``config`` writes.

    Raises:
        NemoExtError: names the option that is missing, contradicts another, or names what is not there.
    """
    if not config.base:
        raise NemoExtError("base= is missing: name the acoustic model to adapt, a .nemo file")
    if bool(config.corpus) == bool(config.reference):
        raise NemoExtError("give either corpus= (a folder that `nemo-ext corpus` made) or reference= (one clip)")
    if config.encoder and not config.reference:
        raise NemoExtError(f"encoder={config.encoder} is for reference=: leave it out")
    untouched = AdaptConfig()
    for name in _FOR_CORPUS if config.reference else ():
        if (given := getattr(config, name)) != getattr(untouched, name):
            raise NemoExtError(
                f"{name}={given} is for corpus=: from one clip nothing is learned or reported; leave it out"
            )
    out = _voice_file(config)
    if config.trainer.devices != 1:
        raise NemoExtError(f"trainer.devices={config.trainer.devices}: a voice is learned on one device")
    return out


def before_adapt(config: AdaptConfig) -> None:
    """All that can be known before torch is imported: the options, and that what they name is there.

    Raises:
        NemoExtError: as `adapt`, or something is not there.
    """
    adapt(config)
    if config.consent.strip() or not sys.stdin.isatty():  # on a terminal, `adapt` will ask
        consent(config.consent)
    _accelerator(config.trainer.accelerator)
    model_files.check("base", config.base, "an acoustic model's .nemo file")
    if config.vocoder:
        model_files.check("vocoder", config.vocoder, "a vocoder's .nemo file, or leave it out")
    if config.corpus:
        check_folder(config.corpus)
    else:
        _readable("reference", config.reference, "recording")


def _trainer(options: TrainerOptions) -> None:
    if why := out_of_range(options, "trainer."):
        raise NemoExtError(why)
    if options.max_minutes is None:
        return
    # how many processes "every GPU" are, only torch can tell
    several = bool(options.devices) and processes(options).world_size > 1
    if options.measure_seconds <= 0 or several:
        raise NemoExtError("trainer.max_minutes needs a measurement on one device: give trainer.max_steps instead")


def _accelerator(name: str) -> None:
    if name in ("gpu", "cuda") and not may_have_gpu():
        raise NemoExtError("trainer=gpu, but torch sees no GPU here: use trainer=cpu, or look at `nemo-ext doctor`")


def _model(target: str) -> None:
    module = target.rpartition(".")[0]
    if not module.startswith("nemo_ext.models."):
        raise NemoExtError(f"model._target_={target or 'nothing'} is none of our models: choose model=fastpitch, ...")


def _can_be_made(out: Path) -> None:
    there = existing(out)
    if not there.is_dir():
        raise NemoExtError(f"out={out} cannot be made a folder: Not a directory ({there}); give another")
    if not os.access(there, os.W_OK):
        raise NemoExtError(f"out={out} cannot be written: choose a folder of your own")


def _corpus(config: TrainConfig) -> None:
    folder = check_folder(config.corpus)
    if config.loader == "torch" and config.augment != Augment():
        raise NemoExtError("augment.* is done by DALI: add loader=dali, or leave it out")
    info = read_yaml(folder / "corpus.yaml", what="corpus.yaml")
    rate, wanted = info.get("sample_rate") if isinstance(info, dict) else None, config.features.mel.sample_rate
    if isinstance(rate, int) and rate != wanted and config.loader == "torch":
        raise NemoExtError(
            f"corpus {config.corpus} has {rate} Hz and features.mel.sample_rate is {wanted} Hz: make the corpus again "
            f"with sample_rate={wanted}, or set features.mel.sample_rate={rate}"
        )


def _init(path: str) -> None:
    if not path.endswith(".ckpt"):
        model_files.check("init", path, "a .nemo file or a checkpoint of nemo-ext train")
    elif not Path(path).expanduser().is_file():
        raise NemoExtError(f"init={path}: there is no such file; give a .nemo file or a checkpoint of nemo-ext train")


def _readable(option: str, path: str, what: str) -> None:
    try:
        open_regular(Path(path).expanduser(), what).close()
    except NemoExtError as error:
        raise NemoExtError(f"{option}={path}: {error}") from error


def _voice_file(config: AdaptConfig) -> Path:
    out = Path(config.out).expanduser()
    if out.suffix != SUFFIX:
        raise NemoExtError(f"out={config.out or 'nothing'} is no voice file: end it in {SUFFIX}, out=anna{SUFFIX}")
    there = existing(out.parent)
    if out.is_dir() or not there.is_dir() or not os.access(there, os.W_OK):
        raise NemoExtError(f"out={config.out} cannot be written: choose a file in a folder of your own")
    try:
        f"{config.name or out.stem} {config.consent}".encode()
    except UnicodeEncodeError as error:
        raise NemoExtError(
            "name= (or out=, which it is taken from) and consent= must be UTF-8: write them again"
        ) from error
    return out


def consent(given: str) -> Consent:
    """Who agreed, as ``consent=`` says it.

    Raises:
        NemoExtError: it is missing, or not to be read.
    """
    if not given.strip():
        raise NemoExtError(
            "consent= is missing: write who agreed, when, and to what use, consent='Anna Meier; 2026-05-01; "
            "audiobooks', or consent=unknown, which is then shown wherever the voice is"
        )
    return Consent.parse(given)


def after_train(config: TrainConfig, model: Path) -> Command | None:
    """The command to type next; of several processes, the first prints it."""
    from nemo_ext.training.launch import first_process

    if not first_process():
        return None
    spoken = {"text": "Hello.", "out": "hello.wav"}
    if (acoustic := model.with_name("acoustic.nemo")).is_file():  # both were trained as one
        return "say", {"acoustic": acoustic, "vocoder": model.with_name("vocoder.nemo"), **spoken}
    made = nemo_archive.read_config(model)
    if "voices" in made:
        return "say", {"acoustic": config.out, **spoken}
    if "segment_frames" in made:
        return "say", {"acoustic": config.acoustic or "ACOUSTIC.nemo", "vocoder": config.out, **spoken}
    return "train", {"model": "fastpitch", "model.voice_encoder": model, "corpus": "CORPUS", "out": "runs/zero-shot"}


def after_adapt(config: AdaptConfig, _voice: Voice) -> Command:
    """The command to type next."""
    spoken = {"text": "Hello.", "out": f"{Path(config.out).stem}.wav"}
    return "say", {"acoustic": config.base, "vocoder": config.vocoder, "voice": config.out, **spoken}
