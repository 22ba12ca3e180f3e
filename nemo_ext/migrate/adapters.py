"""NeMo's LinearAdapters as voices: the same numbers, put where the voice vector has a place for them.

A LinearAdapter (nemo.collections.common.parts.adapter_modules) is layer norm, down, activation, up, or, with
``norm_position: post``, down, activation, up, layer norm; what comes out is added to what went in. A voice of kind
``linear`` computes the same (modules/adapters.py). One model takes adapters of one activation and norm position; a
narrower bottleneck than the widest is filled with zeros, which add nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nemo_ext.errors import NemoExtError
from nemo_ext.modules.adapters import ACTIVATIONS, AdapterConfig, pack
from nemo_ext.voices import VoiceLayout

PARTS = ("encoder", "decoder", "duration_predictor", "pitch_predictor")
_USUAL = ("decoder", "duration_predictor", "pitch_predictor", "aligner")  # where NeMo adds one without parts named
_IN_MODEL = re.compile(r"(?P<module>.+)\.adapter_layer\.(?P<name>[^.]+)\.(?P<rest>.+)")
_PLACE = re.compile(r"fastpitch\.(?P<part>encoder|decoder|duration_predictor|pitch_predictor)\.layers\.(?P<i>\d+)")
_ALIGNER = re.compile(r"(fastpitch\.)?aligner\.(key|query)_proj\.\d*[02468]")  # NeMo adds them to every second module


@dataclass
class Adapter:
    """One adapter of NeMo's, at all the places where it acts."""

    name: str
    activation: str = "swish"  # NeMo's default
    after: bool = False  # whether its layer norm comes last
    places: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # site of ours -> down, up, weight, bias
    in_aligner: bool = False
    refused: str = ""  # why it cannot be carried

    def rank(self, predictors: bool) -> int:
        """Width of its widest bottleneck in predictors, or else in encoder and decoder."""
        found = [p["down"].shape[0] for s, p in self.places.items() if ("_predictor" in s) == predictors]
        return max(found, default=0)

    @property
    def parts(self) -> list[str]:
        """The parts of the model in which it acts."""
        there = {site.partition(".")[0] for site in self.places}
        return [part for part in PARTS if part in there]


def split(weights: Mapping[str, Tensor], settings: Any) -> tuple[dict[str, Tensor], list[Adapter]]:
    """``weights`` of a checkpoint without its adapters, and the adapters; ``settings`` are its ``adapters:``."""
    base: dict[str, Tensor] = {}
    states: dict[str, dict[str, dict[str, Tensor]]] = {}  # name -> module -> key -> weight
    for key, tensor in weights.items():
        found = _IN_MODEL.fullmatch(key)
        if found is None:
            base[key] = tensor
        else:
            states.setdefault(found["name"], {}).setdefault(found["module"], {})[found["rest"]] = tensor
    return base, [_adapter(name, modules, settings) for name, modules in states.items()]


def from_file(
    states: Mapping[str, Sequence[Mapping[str, Tensor]]], settings: Any, model: nn.Module, path: str
) -> list[Adapter]:
    """The adapters of a ``save_adapters`` file, whose weights stand in the order of ``model``'s modules.

    Raises:
        NemoExtError: the file was written by a model with other places for adapters.
    """
    found = []
    for key, given in states.items():
        parts, _, name = key.rpartition(":")
        modules = _places(model, parts.split("+") if parts else _USUAL)
        if len(modules) != len(given):
            raise NemoExtError(
                f"{path}: adapter '{name}' has weights for {len(given)} places and this model has {len(modules)}: "
                "it belongs to another model"
            )
        # NeMo picks what contains the name, so another adapter's weights may stand beside
        own = [{k[len(name) + 1 :]: v for k, v in state.items() if k.startswith(f"{name}.")} for state in given]
        found.append(_adapter(name, dict(zip(modules, own, strict=True)), settings))
    return found


def _places(model: nn.Module, parts: Iterable[str]) -> list[str]:
    """Names of the modules that take an adapter of ``parts``, in the model's order, which is the file's."""
    wanted = set(parts)
    names = [name for name, _ in model.named_modules()]
    return [
        name
        for name in names
        if ((match := _PLACE.fullmatch(name)) and match["part"] in wanted)
        or ("aligner" in wanted and _ALIGNER.fullmatch(name))
    ]


def _adapter(name: str, modules: Mapping[str, Mapping[str, Tensor]], settings: Any) -> Adapter:
    told = settings.get(name) if isinstance(settings, Mapping) else None
    told = told if isinstance(told, Mapping) else {}
    adapter = Adapter(name, activation=str(told.get("activation") or "swish"))
    kind = str(told.get("_target_") or "LinearAdapter").rpartition(".")[2]
    if kind != "LinearAdapter":
        adapter.refused = f"it is a {kind}, and voices carry LinearAdapters"
        return adapter
    if adapter.activation not in ACTIVATIONS:
        adapter.refused = f"its activation '{adapter.activation}' is not one of {', '.join(ACTIVATIONS)}"
        return adapter
    orders = set()
    for module, state in modules.items():
        place = _PLACE.fullmatch(module)
        if place is None:
            adapter.in_aligner |= _ALIGNER.fullmatch(module) is not None
            adapter.refused = adapter.refused or ("" if "aligner." in module else f"it acts at {module}")
            continue
        site = f"{place['part']}.{place['i']}" + ("" if place["part"].endswith("predictor") else ".ff")
        after = "module.0.bias" not in state
        orders.add(after)
        names = ("module.3", "module.0", "module.2") if after else ("module.0", "module.1", "module.3")
        try:
            norm, down, up = names
            found = {"weight": state[f"{norm}.weight"], "bias": state[f"{norm}.bias"]}
            found |= {"down": state[f"{down}.weight"], "up": state[f"{up}.weight"]}
        except KeyError as error:
            adapter.refused = f"its weights at {module} are not a LinearAdapter's ({error} is missing)"
            continue
        rank, width = found["down"].shape if found["down"].dim() == 2 else (0, 0)
        shapes = {"weight": (width,), "bias": (width,), "up": (width, rank)}
        if not rank or rank > width or any(tuple(found[k].shape) != shape for k, shape in shapes.items()):
            adapter.refused = f"its weights at {module} do not fit each other"
        adapter.places[site] = {k: v.float() for k, v in found.items()}
    if len(orders) > 1:
        adapter.refused = "it normalises first in some places and last in others"
    adapter.after = orders == {True}
    if not adapter.places and not adapter.refused:
        adapter.refused = "it acts in the aligner only, which speech does not use"
    return adapter


def choose(adapters: Sequence[Adapter]) -> tuple[list[Adapter], list[str]]:
    """The adapters that one model can carry together, and a line for each of the others."""
    dropped = [f"adapter '{a.name}': {a.refused}" for a in adapters if a.refused]
    left = [a for a in adapters if not a.refused]
    if not left:
        return [], dropped
    kinds = Counter((a.activation, a.after) for a in left)
    (activation, after), _ = kinds.most_common(1)[0]
    chosen = [a for a in left if (a.activation, a.after) == (activation, after)]
    where = {True: "last", False: "first"}
    dropped += [
        f"adapter '{a.name}': its activation is {a.activation} and its norm comes {where[a.after]}, those of "
        f"{', '.join(c.name for c in chosen)} are {activation} and {where[after]}, and a model has one kind"
        for a in left
        if a not in chosen
    ]
    dropped += [
        f"adapter '{a.name}' in the aligner: speech does not use it (its other parts are carried)"
        for a in chosen
        if a.in_aligner
    ]
    return chosen, dropped


def config_for(adapters: Sequence[Adapter]) -> AdapterConfig:
    """The model's side for these adapters, all of one activation and norm position."""
    acting = {part for adapter in adapters for part in adapter.parts}
    return AdapterConfig(
        kind="linear",
        film=False,
        rank=max(a.rank(predictors=False) for a in adapters),
        predictor_rank=max(a.rank(predictors=True) for a in adapters),
        activation=adapters[0].activation,
        norm_position="post" if adapters[0].after else "pre",
        parts=[part for part in PARTS if part in acting],
    )


def vector(adapter: Adapter, layout: VoiceLayout, embedding: Tensor) -> Tensor:
    """The voice vector ``(P,)`` of ``adapter`` spoken with the speaker ``embedding (E,)``.

    Raises:
        NemoExtError: the adapter was made for a model with parts of another width or number.
    """
    slots = {slot.name: slot for slot in layout.slots}
    parts = {"embedding": embedding}
    for site, place in adapter.places.items():
        if f"{site}/down" not in slots:
            raise NemoExtError(f"adapter '{adapter.name}' acts at {site}, which this model does not have")
        rank = slots[f"{site}/down"].shape[0]
        missing = rank - place["down"].shape[0]
        parts[f"{site}/norm"] = torch.stack([place["weight"] - 1.0, place["bias"]])
        parts[f"{site}/down"] = F.pad(place["down"], (0, 0, 0, missing))
        parts[f"{site}/up"] = F.pad(place["up"], (0, missing))
    return pack(layout, parts)
