"""Adapters whose weights are an input: where in the model a voice acts, and how.

Houlsby et al., "Parameter-Efficient Transfer Learning for NLP" (arXiv 1902.00751) for bottleneck adapters; Chen et al.,
"AdaSpeech" (arXiv 2103.00993), section 2.3, for a scale and a shift a speaker after each layer norm. What we changed:
an adapter owns no weights. They come from the voice vector ``(B, P)`` of each utterance of the batch, in training as in
inference, so that a batch may mix voices and an exported graph takes any of them.

At a *site*, a place behind a layer norm, ``y (B, T, D)`` becomes

    y + scale * y + shift + up @ relu(down @ y)

``scale``, ``shift`` ``(D,)`` and ``up (D, r)`` belong to the voice; ``down (r, D)`` has orthonormal rows, is drawn once
when the model is made and never changes. What a voice adds is therefore linear in its vector: the mean of two vectors
adds the mean of what each adds (at equal ``y``), zeros add exactly nothing. Adapters of stock NeMo, kind ``linear``,
bring a ``down`` of their own; they are there so that migrated voices sound the same, and mix less evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nemo_ext.config import number
from nemo_ext.errors import NemoExtError
from nemo_ext.voices import VoiceLayout

KINDS = ("none", "shared", "linear")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "swish": F.silu,
    "silu": F.silu,
    "gelu": F.gelu,
    "elu": F.elu,
    "selu": F.selu,
    "hardtanh": F.hardtanh,
    "identity": torch.nn.Identity(),
}


@dataclass
class AdapterConfig:
    """What a voice may change beside its embedding: conf/model/adapters/*.yaml."""

    kind: str = "none"  # none: embedding only; shared: down-projections in the model; linear: stock NeMo's
    film: bool = True  # shared: a scale and a shift behind every layer norm
    rank: int = number(32, 0, 4096)  # width of the bottleneck in encoder and decoder; 0: none
    predictor_rank: int = number(8, 0, 4096)  # in the predictors
    activation: str = "relu"
    norm_position: str = "pre"  # linear: where NeMo's adapter normalises, pre or post
    parts: list[str] = field(
        default_factory=lambda: ["encoder", "decoder", "duration_predictor", "pitch_predictor", "energy_predictor"]
    )


@dataclass(frozen=True)
class Site:
    """A place where adapters act."""

    part: str  # encoder, decoder, duration_predictor, ...
    name: str  # decoder.3.ff
    width: int  # D
    bottleneck: bool  # whether there is one, or only scale and shift


class VoiceWeights:
    """The voice vectors of a batch, cut into what each site takes."""

    def __init__(self, adapters: VoiceAdapters, voice: Tensor) -> None:
        """``voice (B, P)``, or ``(B, E)`` with E the embedding's length: the adapters are zero then, and are skipped.

        Raises:
            NemoExtError: vectors of another length.
        """
        self._adapters, self._voice = adapters, voice
        embedding = adapters.layout.slots[0]
        if voice.shape[-1] not in (adapters.layout.size, embedding.size):
            raise NemoExtError(
                f"a voice vector of {voice.shape[-1]} values does not fit this model, which takes "
                f"{adapters.layout.size}: the voice was made for another model"
            )
        self.embedding = voice[:, : embedding.size]  # (B, E)
        self._silent = voice.shape[-1] == embedding.size

    def to(self, dtype: torch.dtype) -> VoiceWeights:
        """The same weights in ``dtype``, for parts that compute in another precision."""
        return self if dtype == self._voice.dtype else VoiceWeights(self._adapters, self._voice.to(dtype))

    def part(self, name: str) -> Tensor | None:
        """The tensor ``(B, *shape)`` of the slot ``name``; None where the layout has none."""
        slot = self._adapters.slots.get(name)
        if slot is None:
            return None
        return self._voice[:, slot.offset : slot.offset + slot.size].reshape(-1, *slot.shape)

    def __call__(self, site: str, y: Tensor) -> Tensor:
        """``y (B, T, D)`` with the voice's adapters of ``site`` applied."""
        if self._silent or site not in self._adapters.sites:
            return y
        return self._adapters.apply_at(site, y, self)


class VoiceAdapters(nn.Module):
    """The model's side of the adapters: layout of the voice vector, and the shared down-projections."""

    def __init__(self, config: AdapterConfig, sites: list[Site], embedding: int) -> None:
        """``sites``: every place that exists, in the model's order; ``embedding``: length of the speaker embedding.

        Raises:
            NemoExtError: a kind or activation that there is not.
        """
        super().__init__()
        if config.kind not in KINDS:
            raise NemoExtError(f"voice_adapters.kind={config.kind} is not one of {', '.join(KINDS)}")
        if config.activation not in ACTIVATIONS:
            raise NemoExtError(f"voice_adapters.activation={config.activation} is not one of {', '.join(ACTIVATIONS)}")
        self.config, self._act = config, ACTIVATIONS[config.activation]
        chosen = [site for site in sites if config.kind != "none" and site.part in config.parts]
        shapes: dict[str, tuple[int, ...]] = {"embedding": (embedding,)}
        self.sites: set[str] = set()
        for site in chosen:
            own = self._shapes(site)
            shapes |= {f"{site.name}/{part}": shape for part, shape in own.items()}
            self.sites |= {site.name} if own else set()
            if config.kind == "shared" and "up" in own:
                # orthonormal rows: behind a layer norm every hidden unit then has about unit variance
                self.register_buffer(_key(site.name), torch.linalg.qr(torch.randn(site.width, own["up"][1]))[0].T)
        self.layout = VoiceLayout.of(shapes)
        self.slots = {slot.name: slot for slot in self.layout.slots}

    def _shapes(self, site: Site) -> dict[str, tuple[int, ...]]:
        config, width = self.config, site.width
        rank = config.predictor_rank if site.part.endswith("predictor") else config.rank
        rank = min(rank, width) if site.bottleneck else 0
        if config.kind == "linear":
            return {"norm": (2, width), "down": (rank, width), "up": (width, rank)} if rank else {}
        film: dict[str, tuple[int, ...]] = {"film": (2, width)} if config.film else {}
        return film | ({"up": (width, rank)} if rank else {})

    def weights(self, voice: Tensor) -> VoiceWeights:
        """``voice (B, P)`` or ``(B, E)``, cut into sites."""
        return VoiceWeights(self, voice)

    def apply_at(self, site: str, y: Tensor, weights: VoiceWeights) -> Tensor:
        """The site's adapters on ``y (B, T, D)``."""
        up = weights.part(f"{site}/up")
        if self.config.kind == "linear":
            assert up is not None
            return y + self._linear(site, y, up, weights)
        film, added = weights.part(f"{site}/film"), torch.zeros((), device=y.device, dtype=y.dtype)
        if up is not None:
            hidden = self._act(F.linear(y, getattr(self, _key(site)).to(y.dtype)))
            added = torch.matmul(hidden, up.transpose(1, 2).to(hidden.dtype))
        if film is not None:
            added = added + film[:, :1] * y + film[:, 1:]
        return y + added

    def _linear(self, site: str, y: Tensor, up: Tensor, weights: VoiceWeights) -> Tensor:
        """NeMo's LinearAdapter: norm, down, activation, up; or down, activation, up, norm."""
        norm, down = weights.part(f"{site}/norm"), weights.part(f"{site}/down")
        assert norm is not None
        assert down is not None

        def normalised(x: Tensor) -> Tensor:
            # the norm's weight is kept as its difference from 1, so that a voice of zeros adds nothing
            return F.layer_norm(x, x.shape[-1:]) * (1.0 + norm[:, :1]) + norm[:, 1:]

        before = self.config.norm_position == "pre"
        hidden = self._act(torch.bmm(normalised(y) if before else y, down.transpose(1, 2)))
        added = torch.bmm(hidden, up.transpose(1, 2))
        return added if before else normalised(added)


def _key(site: str) -> str:
    return f"down_{site.replace('.', '_')}"


def stack_sites(part: str, layers: int, width: int) -> list[Site]:
    """Sites of a transformer stack: behind the attention (scale and shift only) and behind the feed-forward."""
    return [
        site
        for i in range(layers)
        for site in (Site(part, f"{part}.{i}.attention", width, False), Site(part, f"{part}.{i}.ff", width, True))
    ]


def predictor_sites(part: str, layers: int, width: int) -> list[Site]:
    """Sites of a predictor: behind each of its convolutions."""
    return [Site(part, f"{part}.{i}", width, True) for i in range(layers)]


def pack(layout: VoiceLayout, parts: Mapping[str, Tensor]) -> Tensor:
    """A voice vector ``(P,)`` from tensors by slot name; slots that are left out are zero.

    Raises:
        NemoExtError: a name that is no slot, or a tensor of another shape.
    """
    slots = {slot.name: slot for slot in layout.slots}
    vector = torch.zeros(layout.size)
    for name, tensor in parts.items():
        if name not in slots or tuple(tensor.shape) != slots[name].shape:
            raise NemoExtError(f"'{name}' of shape {tuple(tensor.shape)} has no place in this model's voices")
        vector[slots[name].offset : slots[name].offset + slots[name].size] = tensor.detach().float().reshape(-1).cpu()
    return vector
