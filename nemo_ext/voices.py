"""The voice vector and the voice file. No torch: a server that speaks from a bundle reads voices with this alone.

A voice is a vector ``(P,)``: the speaker embedding and the flattened adapter weights. A ``VoiceLayout`` names what
stands where in it. The layout is an interface between files: its hash stands in the model, in every voice file and in
every exported bundle, and files whose hashes differ are never brought together.

A voice file (``anna.voice``) is a safetensors file, which can hold numbers and one JSON text and nothing that runs:
the vector, named styles, how the voice's mels are centred, and in the header the rest: name, language, pitch in Hz,
the base model it belongs to, where it came from and who agreed to it.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemo_ext import files
from nemo_ext._options import conformed
from nemo_ext.errors import NemoExtError
from nemo_ext.untrusted import parse_json, read_bytes, shown, string, whole_number

Vector = NDArray[np.float32]

FORMAT = 1  # raise it when the file's meaning changes; files of later formats are refused
SUFFIX = ".voice"
WITH_THE_BASE = "trained with the base"  # who made a base voice
# Far above what training reaches (embeddings are of the order of 1) and far enough below float16's 65,504 that a
# product of two such values with a normalized activation still fits.
LARGEST = 100.0
_MOST_BYTES = 256 << 20  # of a file that claims to be a voice
_MOST_SLOTS = 10_000
_MOST_VALUES = _MOST_BYTES // 4


@dataclass(frozen=True)
class Slot:
    """A tensor's place in the voice vector."""

    name: str  # "embedding", or site and part of an adapter: "decoder.3.ff/up"
    offset: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class VoiceLayout:
    """What stands where in a voice vector: slots one after the other, without gaps."""

    slots: tuple[Slot, ...]

    @classmethod
    def of(cls, shapes: Mapping[str, tuple[int, ...]]) -> VoiceLayout:
        """The layout with a slot for each of ``shapes``, in their order."""
        slots, offset = [], 0
        for name, shape in shapes.items():
            slots.append(Slot(name, offset, tuple(int(n) for n in shape)))
            offset += slots[-1].size
        return cls(tuple(slots))

    @property
    def size(self) -> int:
        """P, the number of values in a voice vector."""
        return sum(slot.size for slot in self.slots)

    @property
    def hash(self) -> str:
        """Identity of the layout: 16 hexadecimal digits over names, offsets and shapes."""
        table = [[slot.name, slot.offset, list(slot.shape)] for slot in self.slots]
        return hashlib.sha256(json.dumps(table, separators=(",", ":")).encode()).hexdigest()[:16]

    def to_list(self) -> list[list[Any]]:
        """``[[name, shape], ...]`` for JSON; offsets follow from the order."""
        return [[slot.name, list(slot.shape)] for slot in self.slots]

    @classmethod
    def from_list(cls, table: Any, where: str) -> VoiceLayout:
        """The layout that ``to_list`` wrote; ``where`` names its source in messages.

        Raises:
            NemoExtError: it is no list of names and shapes, names one twice, or is larger than any voice.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        values = 0
        for row in _list(table, f"{where}: layout", _MOST_SLOTS):
            name, shape = _list(row, f"{where}: a slot of the layout", 2, least=2)
            name = string(name, f"{where}: the name of a slot", 200)
            place = f"{where}: the shape of {shown(name)}"
            shape = tuple(whole_number(n, place, 0, _MOST_VALUES) for n in _list(shape, place, 8))
            values += math.prod(shape)
            if name in shapes or values > _MOST_VALUES:
                raise NemoExtError(f"{place} is there twice, or larger than any voice")
            shapes[name] = shape
        return cls.of(shapes)


def _list(value: Any, where: str, most: int, least: int = 0) -> list[Any]:
    if not isinstance(value, list | tuple) or not least <= len(value) <= most:
        raise NemoExtError(f"{where} is {shown(value)}, not a list of {least} to {most}")
    return list(value)


@dataclass(frozen=True)
class Consent:
    """Who agreed to the voice being made, when, and for what use."""

    who: str = "unknown"
    when: str = "unknown"  # ISO 8601 date
    use: str = "unknown"

    @classmethod
    def parse(cls, text: str) -> Consent:
        """``"unknown"``, or ``"WHO; WHEN; USE"``.

        Raises:
            NemoExtError: neither.
        """
        if text.strip() == "unknown":
            return cls()
        parts = [part.strip() for part in text.split(";")]
        if len(parts) != 3 or not all(parts):
            raise NemoExtError(
                f"consent='{text}' cannot be read: write 'WHO; WHEN; USE', for instance 'Anna Meier; 2026-05-01; "
                "audiobooks', or consent=unknown"
            )
        return cls(*parts)

    def __str__(self) -> str:
        return "unknown" if self == Consent() else f"{self.who}, {self.when}, for {self.use}"


@dataclass
class Provenance:
    """Where a voice came from."""

    made_by: str = ""  # WITH_THE_BASE, adapted, zero-shot, mixed, migrated
    created: str = ""  # ISO 8601
    source: str = ""  # name of the corpus, of the clip, of the voices that were mixed
    recordings: int = field(default=0, metadata={"least": 0})
    seconds: float = field(default=0.0, metadata={"least": 0})  # of speech
    recordings_hash: str = ""  # over the recordings' bytes
    consent: Consent = field(default_factory=Consent)
    steps: int = field(default=0, metadata={"least": 0})  # optimizer steps of the adaptation


@dataclass
class _Header:
    """What stands in a voice file beside its numbers."""

    format: int
    name: str
    language: str
    pitch_mean: float
    pitch_std: float
    base: str
    base_hash: str
    layout: list[Any]
    layout_hash: str
    provenance: Provenance
    checksum: str
    base_parameters: int = field(default=0, metadata={"least": 0})
    header_checksum: str | None = None


@dataclass
class Voice:
    """A voice of one base model. A base speaker is one too: its row of the embedding table, and zero adapters."""

    name: str
    vector: Vector  # (P,)
    layout: VoiceLayout
    language: str = "en"
    pitch_mean: float = 0.0  # Hz, over voiced frames
    pitch_std: float = 1.0  # Hz
    styles: dict[str, Vector] = field(default_factory=dict)  # name -> (S,)
    mel_stats: Vector | None = None  # (2, n_mels) mean and deviation of its log-mels; centre references for styles
    base: str = ""  # name of the base model
    base_hash: str = ""
    base_parameters: int = 0  # that the base model speaks with; 0: not known
    provenance: Provenance = field(default_factory=Provenance)

    def made_for(self, base_hash: str, layout: VoiceLayout) -> bool:
        """Whether it belongs to the base model of that hash, whose voices have that layout."""
        return (self.base_hash, self.layout.hash) == (base_hash, layout.hash)

    def __str__(self) -> str:
        """``'anna' (adapted; consent: unknown)``; of a base voice, only its name."""
        if self.provenance.made_by == WITH_THE_BASE:
            return f"'{self.name}'"
        made = self.provenance.made_by or "of unknown origin"
        return f"'{self.name}' ({made}; consent: {self.provenance.consent})"


def save(voice: Voice, path: str | Path) -> Path:
    """Write ``voice`` as a voice file: beside its place first, then renamed.

    Raises:
        NemoExtError: its values are not finite or too large, its styles or mel_stats of no shape that such have, or
            the file cannot be written.
    """
    from safetensors.numpy import save as to_bytes

    path = Path(path).expanduser()
    _check_values(voice, path)
    files.sweep(path.parent)
    tensors: dict[str, Any] = {"vector": np.ascontiguousarray(voice.vector, np.float32)}
    for name, style in voice.styles.items():
        tensors[f"style/{name}"] = np.ascontiguousarray(style, np.float32)
    if voice.mel_stats is not None:
        tensors["mel_stats"] = np.ascontiguousarray(voice.mel_stats, np.float32)
    about = {
        "format": FORMAT,
        "name": voice.name,
        "language": voice.language,
        "pitch_mean": voice.pitch_mean,
        "pitch_std": voice.pitch_std,
        "base": voice.base,
        "base_hash": voice.base_hash,
        "base_parameters": voice.base_parameters,
        "layout": voice.layout.to_list(),
        "layout_hash": voice.layout.hash,
        "provenance": dataclasses.asdict(voice.provenance),
        "checksum": _checksum(tensors),
    }
    about["header_checksum"] = _header_checksum(about)
    try:
        with files.replacing(path) as beside:
            beside.write_bytes(to_bytes(tensors, {"voice": json.dumps(about, ensure_ascii=False)}))
    except OSError as error:
        raise NemoExtError(
            f"{path} could not be written: {error.strerror or error}; free some space, or choose another place"
        ) from error
    return path


def load(path: str | Path) -> Voice:
    """The voice in the file at ``path``. Nothing in the file is run.

    Raises:
        NemoExtError: no such file, or it is damaged, of a later format, or holds values or shapes that no voice has.
    """
    path = Path(path).expanduser()
    about, tensors = _read(path)
    if about.get("format") != FORMAT:
        raise NemoExtError(
            f"{path} is a voice file of format {about.get('format')}, and this version reads format {FORMAT}: "
            "make the voice again, or install the version that made it"
        )
    header = conformed(_Header, about, f"{path} is no voice file, or a damaged one: its header")
    layout = VoiceLayout.from_list(header.layout, f"{path} is no voice file, or a damaged one")
    if "vector" not in tensors or "consent" not in about["provenance"]:
        raise NemoExtError(f"{path} is no voice file, or a damaged one: it lacks its vector, or who agreed to it")
    voice = Voice(
        name=header.name,
        vector=tensors["vector"],
        layout=layout,
        language=header.language,
        pitch_mean=header.pitch_mean,
        pitch_std=header.pitch_std,
        styles={k.removeprefix("style/"): v for k, v in tensors.items() if k.startswith("style/")},
        mel_stats=tensors.get("mel_stats"),
        base=header.base,
        base_hash=header.base_hash,
        base_parameters=header.base_parameters,
        provenance=header.provenance,
    )
    whole = header.checksum == _checksum(tensors) and header.layout_hash == layout.hash
    # the first files of this format have none
    whole = whole and header.header_checksum in (None, _header_checksum(about))
    if not whole or voice.vector.shape != (layout.size,):
        raise NemoExtError(f"{path} is damaged (it is not what was written): copy it again")
    _check_values(voice, path)
    return voice


def check_base(voice: Voice, what: str, base: str, base_hash: str, layout: VoiceLayout, remedy: str) -> None:
    """Refuse a voice that was made for another model than ``base``; ``what``: the voice, as a person knows it.

    Raises:
        NemoExtError: it was; both models and the ``remedy`` are named.
    """
    if not voice.made_for(base_hash, layout):
        raise NemoExtError(
            f"{what} was made for the base model '{voice.base}' ({voice.base_hash}), and this is '{base}' "
            f"({base_hash}): {remedy}"
        )


def check_sizes(voice: Voice, what: str, style_size: int, n_mels: int) -> None:
    """Refuse a voice that names the right base model and has arrays of another one; ``what``: as a person knows it.

    ``style_size`` is 0 for a model without styles: nothing else uses these arrays.

    Raises:
        NemoExtError: its styles are not of ``style_size`` values, or its mel_stats not of ``n_mels`` bands.
    """
    for name, has, takes in zip(("styles", "mel_stats"), _sizes(voice), (style_size, n_mels), strict=True):
        if style_size and has is not None and has != takes:
            raise NemoExtError(
                f"{what}: its {name} have {has} values, and those of the base model '{voice.base}' have {takes}: "
                "make the voice again"
            )


def mix(parts: Sequence[tuple[Voice, float]], name: str = "") -> Voice:
    """The weighted mean of voices of one base model; weights are brought to a sum of 1.

    Adapters enter the model linearly in the voice vector (modules/adapters.py), so a mean of vectors is a mean of what
    the adapters add. Pitch is averaged in semitones, its deviation in Hz; a style is kept if every part has it.

    Raises:
        NemoExtError: nothing to mix, a weight that is no positive number, or voices of different base models or with
            arrays of different sizes.
    """
    if not parts:
        raise NemoExtError("nothing to mix: give at least one voice")
    for voice, weight in parts:
        if not (math.isfinite(weight) and weight > 0):
            raise NemoExtError(f"voice '{voice.name}' has weight {weight:g} in the mix: give a number above 0")
    first = parts[0][0]
    for voice, _ in parts[1:]:
        if not voice.made_for(first.base_hash, first.layout):
            raise NemoExtError(
                f"'{first.name}' belongs to base model '{first.base}' ({first.base_hash}) and '{voice.name}' to "
                f"'{voice.base}' ({voice.base_hash}): only voices of one base model can be mixed"
            )
        if any(None not in pair and pair[0] != pair[1] for pair in zip(_sizes(first), _sizes(voice), strict=True)):
            raise NemoExtError(
                f"'{first.name}' and '{voice.name}' have styles or mel_stats of different sizes, and both belong to "
                f"the base model '{first.base}': make one of them again"
            )
    if len(parts) == 1:
        return first
    total = sum(weight for _, weight in parts)
    shares = [weight / total for _, weight in parts]
    voices = [voice for voice, _ in parts]

    def mean(arrays: Sequence[Vector]) -> Vector:
        return sum(np.float64(w) * a for w, a in zip(shares, arrays, strict=True)).astype(np.float32)  # type: ignore[union-attr]

    known = all(v.pitch_mean > 0 for v in voices)
    spoken = name or "+".join(f"{v.name}:{w:.3g}" for v, w in zip(voices, shares, strict=True))
    kept = [s for s in first.styles if all(s in v.styles for v in voices)]
    heaviest = max(range(len(voices)), key=lambda i: shares[i])
    return dataclasses.replace(
        first,
        name=spoken,
        vector=mean([v.vector for v in voices]),
        language=voices[heaviest].language,
        pitch_mean=math.exp(sum(w * math.log(v.pitch_mean) for v, w in zip(voices, shares, strict=True)))
        if known
        else 0.0,
        pitch_std=sum(w * v.pitch_std for v, w in zip(voices, shares, strict=True)) if known else 1.0,
        styles={s: mean([v.styles[s] for v in voices]) for s in kept},
        mel_stats=mean([v.mel_stats for v in voices if v.mel_stats is not None])
        if all(v.mel_stats is not None for v in voices)
        else None,
        provenance=_mixed_provenance(voices, shares),
    )


def parse_mix(text: str) -> list[tuple[str, float]]:
    """``"anna:0.7+bob:0.3"`` -> ``[("anna", 0.7), ("bob", 0.3)]``; a weight that is left out is 1.

    Names may be paths. A name with a colon or a plus in it is possible alone, without a weight.

    Raises:
        NemoExtError: an empty name.
    """
    parts = []
    for part in text.split("+"):
        name, colon, weight = part.rpartition(":")
        try:
            parts.append((name.strip(), float(weight)) if colon else (part.strip(), 1.0))
        except ValueError:  # a colon that belongs to the name
            parts.append((part.strip(), 1.0))
    if not all(name for name, _ in parts):
        raise NemoExtError(f"'{text}' is no mix: write 'anna:0.7+bob:0.3'")
    return parts


def now() -> str:
    """The time, as a provenance tells it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _mixed_provenance(voices: Sequence[Voice], shares: Sequence[float]) -> Provenance:
    consents = list(dict.fromkeys(v.provenance.consent for v in voices))
    return Provenance(
        made_by="mixed",
        created=max(v.provenance.created for v in voices),
        source=", ".join(f"{v.name} {w:.3g}" for v, w in zip(voices, shares, strict=True)),
        recordings=sum(v.provenance.recordings for v in voices),
        seconds=sum(v.provenance.seconds for v in voices),
        # one unknown among several makes the whole unknown
        consent=Consent()
        if Consent() in consents
        else Consent(*("; ".join(getattr(c, part) for c in consents) for part in ("who", "when", "use"))),
    )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Vector]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    try:
        content = read_bytes(path, _MOST_BYTES, "voice file")
    except NemoExtError as error:
        too_large = path.is_file() and path.stat().st_size > _MOST_BYTES
        raise NemoExtError(f"{error}{'; is it a model? give it as acoustic=' if too_large else ''}") from error
    damaged = f"{path} is no voice file, or a damaged one: copy it again or make it again"
    try:
        tensors = from_bytes(content)
        # whole, as safetensors has just found: eight bytes of length, then the header
        header = parse_json(content[8 : 8 + int.from_bytes(content[:8], "little")].decode(), str(path))
        about = parse_json(header["__metadata__"]["voice"], str(path))
    # an AttributeError: of numbers that numpy has no name for, such as bfloat16
    except (SafetensorError, AttributeError, KeyError, ValueError, TypeError, NemoExtError) as error:
        raise NemoExtError(damaged) from error
    if not isinstance(about, dict) or any(t.dtype != np.float32 for t in tensors.values()):
        raise NemoExtError(damaged)
    return about, tensors


def _sizes(voice: Voice) -> tuple[int | None, int | None]:
    """Values of its styles, and bands of its mel_stats; None of what it does not have."""
    style = next(iter(voice.styles.values()), None)
    return None if style is None else len(style), None if voice.mel_stats is None else voice.mel_stats.shape[1]


def _check_values(voice: Voice, path: Path) -> None:
    arrays = {"the vector": voice.vector, **{f"style '{k}'": v for k, v in voice.styles.items()}}
    if voice.mel_stats is not None:
        arrays["mel_stats"] = voice.mel_stats
        if voice.mel_stats.ndim != 2 or len(voice.mel_stats) != 2:
            raise NemoExtError(
                f"{path}: mel_stats of voice '{voice.name}' have shape {voice.mel_stats.shape}, and are a mean and a "
                "deviation of each band, (2, n_mels): make the voice again"
            )
    shapes = {style.shape for style in voice.styles.values()}
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        raise NemoExtError(
            f"{path}: the styles of voice '{voice.name}' have shapes {', '.join(map(str, sorted(shapes)))}, and are "
            "vectors of one size: make the voice again"
        )
    for what, values in arrays.items():
        largest = float(np.abs(values).max(initial=0.0))
        if not np.isfinite(values).all() or largest > LARGEST:
            raise NemoExtError(
                f"{path}: {what} of voice '{voice.name}' has values that are no numbers or beyond +-{LARGEST:g} "
                f"(largest {largest:g}), which would overflow in float16: make the voice again"
            )
    pitch = (voice.pitch_mean, voice.pitch_std)
    if not (all(math.isfinite(p) for p in pitch) and 0 <= pitch[0] < 2000 and 0 < pitch[1] < 2000):
        raise NemoExtError(f"{path}: the pitch of voice '{voice.name}' is {pitch[0]:g} +- {pitch[1]:g} Hz: no voice's")


def _checksum(tensors: Mapping[str, Vector]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}{tensors[name].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()[:32]


def _header_checksum(about: Mapping[str, Any]) -> str:
    """Over what the header says beside the numbers: pitch, consent, whose voice it is."""
    rest = {name: value for name, value in about.items() if name != "header_checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:32]
