"""What a training starts from: the weights of a trained model, and the mels of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nemo_ext import _nemo, torch_file
from nemo_ext.console import tell
from nemo_ext.corpus.manifest import Corpus
from nemo_ext.data.features import FeatureStore
from nemo_ext.data.predicted import PredictedMels, predict_mels
from nemo_ext.errors import NemoExtError
from nemo_ext.modules.weights import weights_identity
from nemo_ext.training import checkpoints, launch

_VOICES = "fastpitch.speaker_emb.weight"  # (voices, E): a row belongs to a name
_OF_THE_CORPUS = "style.bank."  # what a style knows of the voices: counted anew for each corpus
_DISCRIMINATORS = "discriminators."


def start_from(model: Any, path: str) -> str:
    """Give ``model`` the weights in the file at ``path``; their identity is returned.

    A ``.nemo`` must be of the same kind, mel and symbols. A base voice takes the row of the voice of its name, and one
    that the file does not know the mean of all rows. A ``.ckpt`` of ``nemo-ext train`` has no configuration to compare,
    so its shapes have to do; a vocoder's brings the discriminators, which no ``.nemo`` has.

    Raises:
        NemoExtError: there is no such file, it is damaged, or something in it does not fit ``model``.
    """
    given = _checkpoint(path) if path.endswith(".ckpt") else _of_the_same_kind(model, path)
    discriminators = {k.removeprefix(_DISCRIMINATORS): v for k, v in given.items() if k.startswith(_DISCRIMINATORS)}
    wanted = model.state_dict()
    kept = {k: v for k, v in given.items() if not k.startswith((_DISCRIMINATORS, _OF_THE_CORPUS))}
    kept |= {k: v for k, v in wanted.items() if k.startswith(_OF_THE_CORPUS)}
    _compare(wanted, kept, path)
    model.load_state_dict(kept)
    if discriminators and hasattr(model, "build_discriminators"):
        with torch.device("meta"):
            _compare(model.build_discriminators().state_dict(), discriminators, path)
        model.first_discriminators = discriminators
    return weights_identity(given)


def predicted_by(path: str, corpus: Corpus, features: FeatureStore, accelerator: str) -> PredictedMels:
    """The mels of the acoustic model at ``path`` for every utterance of ``corpus``; see data/predicted.py.

    Raises:
        NemoExtError: the file is no such model, or it does not fit the corpus.
    """
    made = predict_mels(corpus, _nemo.restore(path), features, launch.own_device(accelerator))
    left_out = [utterance.id for utterance in corpus.utterances if utterance.id not in made.paths]
    if left_out:
        tell(f"left out, for their text is too long for them: {', '.join(left_out[:5])}", error=True)
    return made


def _checkpoint(path: str) -> dict[str, Tensor]:
    if not Path(path).is_file():
        raise NemoExtError(f"init={path}: there is no such file; give a .nemo file or a checkpoint of nemo-ext train")
    try:
        state: Any = checkpoints.read(Path(path)).get("state_dict")
    except NemoExtError as error:
        raise NemoExtError(f"init= is no whole checkpoint of nemo-ext train: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise NemoExtError(f"init={path} is no whole checkpoint of nemo-ext train: it has no weights by name")
    torch_file.check_finite(state, f"init={path}: its weights")
    return state


def _of_the_same_kind(model: Any, path: str) -> dict[str, Tensor]:
    other = _nemo.restore(path)
    if type(other) is not type(model):
        raise NemoExtError(f"init={path} is a {type(other).__name__}, and model= is a {type(model).__name__}")
    if (ours := model.mel_spec).differences(other.mel_spec):
        differing = ", ".join(other.mel_spec.differences(ours))
        raise NemoExtError(f"init={path} was made for another mel ({differing}): train with its settings")
    state: dict[str, Tensor] = other.state_dict()
    if not hasattr(model, "frontend"):
        return state
    theirs, symbols = (list(m.frontend.table.symbols) for m in (other, model))
    if theirs != symbols:
        odd = sorted(set(theirs) ^ set(symbols))[:5] or ["their order"]
        raise NemoExtError(f"init={path} reads other symbols (they differ in {', '.join(odd)}): choose the same text=")
    table = next((name for name in state if name.endswith(_VOICES)), None)  # of a joint model below its acoustic part
    if table is None:
        return state
    if getattr(getattr(model, "acoustic", model), "encoder", None) is not None:
        state[table] = model.state_dict()[table]  # a speaker encoder's embeddings, of this corpus
        return state
    rows = {voice.name: row for voice, row in zip(other.voices, state[table], strict=True)}
    mean = state[table].mean(0)
    state[table] = torch.stack([rows.get(voice.name, mean) for voice in model.voices])
    return state


def _compare(wanted: dict[str, Tensor], given: dict[str, Tensor], path: str) -> None:
    odd = [k for k in {**wanted, **given} if k not in wanted or k not in given or wanted[k].shape != given[k].shape]
    if not odd:
        return

    def told(state: dict[str, Tensor]) -> str:
        return "x".join(map(str, state[odd[0]].shape)) if odd[0] in state else "not there"

    more = f"; and {len(odd) - 1} more" if len(odd) > 1 else ""
    raise NemoExtError(
        f"init={path} does not fit the model that is asked for ({odd[0]} is {told(given)} in it and {told(wanted)} "
        f"here{more}): choose its size= and model options"
    )
