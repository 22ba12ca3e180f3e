"""The bundle: a folder that holds everything a server needs to speak, and no torch.

    bundle.json           versions, MelSpec, graphs with names, types and shapes, the hash of every file, licences
    acoustic.onnx         text and voice -> mel; weights beyond 2 GiB stand beside it, in acoustic.onnx.data
    vocoder.onnx          mel -> audio
    style_encoder.onnx    a recording's features -> style, for a model with style tokens
    style.safetensors     named styles, values of the style tokens, what strangers' references are centred on
    text.json             alphabet, languages and token table;  lexicon.tsv  words with their own pronunciation
    voices/NAME.voice     base voices and adapted ones; a file that is copied there later is a voice as well
    engines/              TensorRT engines, each for one graph, one library version and one kind of GPU
    parity.json           how far the graphs are from the models they were made of

A folder is a bundle of this version if ``bundle.json`` says so; ``verify`` checks the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nemo_ext import voices
from nemo_ext._options import conformed
from nemo_ext.errors import NemoExtError
from nemo_ext.runtime.session import EngineFile, Port
from nemo_ext.types import BaseVoice, MelSpec
from nemo_ext.untrusted import inside, number, read_json, shown, string, whole_number
from nemo_ext.voices import VoiceLayout

FORMAT = 1  # raise it when the meaning of a bundle changes
INDEX, TEXT, LEXICON, STYLE, PARITY = "bundle.json", "text.json", "lexicon.tsv", "style.safetensors", "parity.json"
_MOST_INDEX = 64 << 20  # bytes
VOICES, ENGINES = "voices", "engines"
LAYOUTS = ("open", "riva")
RIVA_GRAPH = "acoustic_riva"  # the graph of the Riva layout


@dataclass(frozen=True)
class Graph:
    """One ONNX graph of the bundle."""

    file: str
    precision: str  # fp32 or fp16: of decoder and vocoder; inputs, outputs and the text side are always fp32
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    external: tuple[str, ...] = ()  # files with its weights

    def to_json(self) -> dict[str, Any]:
        """For bundle.json."""
        ports = {k: [port.to_json() for port in getattr(self, k)] for k in ("inputs", "outputs")}
        return {"file": self.file, "precision": self.precision, **ports, "external": list(self.external)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Graph:
        """What ``to_json`` made."""
        ports = {k: tuple(Port.from_json(port) for port in value[k]) for k in ("inputs", "outputs")}
        return cls(str(value["file"]), str(value["precision"]), **ports, external=tuple(map(str, value["external"])))


@dataclass(frozen=True)
class Engine:
    """One TensorRT engine of the bundle."""

    file: str
    graph: str  # "acoustic", "vocoder", "style_encoder"
    graph_hash: str  # of the graph's ONNX file that it was built from: another one means that it is stale
    library: str  # "tensorrt" or "tensorrt_rtx"
    version: str
    gpu: str  # what it was built for: "sm90", or "any" for an engine that is finished on the GPU it meets
    profile: dict[str, list[list[int]]]  # input -> least, usual, largest shape

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Engine:
        """What bundle.json tells of it."""
        told = {k: str(value[k]) for k in ("file", "graph", "graph_hash", "library", "version", "gpu")}
        shapes = {str(k): [[int(n) for n in shape] for shape in three] for k, three in value["profile"].items()}
        return cls(**told, profile=shapes)


@dataclass
class Bundle:
    """What bundle.json says."""

    dir: Path
    name: str  # of the acoustic model
    mel: MelSpec
    base_hash: str
    layout: VoiceLayout
    style_size: int = 0  # S; 0: no style
    energy: bool = False  # whether the model knows energy
    base_voices: list[BaseVoice] = field(default_factory=list)  # the first is the default
    graphs: dict[str, Graph] = field(default_factory=dict)
    engines: list[Engine] = field(default_factory=list)
    vocoder_bf16_db: float | None = None  # how near the vocoder in bf16 is to itself: signal over difference, dB
    made_with: dict[str, str] = field(default_factory=dict)  # package -> version
    licences: dict[str, str] = field(default_factory=dict)  # of the code, the models; unknown where nobody said
    files: dict[str, str] = field(default_factory=dict)  # path in the bundle -> sha256

    def path(self, name: str) -> Path:
        """Of the graph called ``name``.

        Raises:
            NemoExtError: the bundle has none of that name.
        """
        if name not in self.graphs:
            raise NemoExtError(f"{self.dir} has no graph '{name}': it holds {', '.join(self.graphs) or 'none'}")
        return self.dir / self.graphs[name].file

    def engine_file(self, engine: Engine) -> EngineFile:
        """``engine`` as a backend opens it."""
        return EngineFile(self.dir / engine.file, engine.library, engine.version, engine.gpu)

    def write(self) -> None:
        """Hash every file that is there now and write bundle.json, beside its place first."""
        # by name, so that the same content gives the same file
        there = sorted(p for p in self.dir.rglob("*") if p.is_file() and p.name != INDEX)
        self.files = {p.relative_to(self.dir).as_posix(): file_hash(p) for p in there}
        told = {
            "format": FORMAT,
            "name": self.name,
            "mel": asdict(self.mel),
            "base_hash": self.base_hash,
            "layout": self.layout.to_list(),
            "layout_hash": self.layout.hash,
            "style_size": self.style_size,
            "energy": self.energy,
            "base_voices": [asdict(voice) for voice in self.base_voices],
            "graphs": {name: graph.to_json() for name, graph in self.graphs.items()},
            "engines": [asdict(engine) for engine in self.engines],
            "vocoder_bf16_db": self.vocoder_bf16_db,
            "made_with": self.made_with,
            "licences": self.licences,
            "files": self.files,
        }
        beside = self.dir / f".writing-{INDEX}"
        beside.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(beside, self.dir / INDEX)


def read(folder: str | Path) -> Bundle:
    """The bundle in ``folder``. Hashes are not checked here: see ``verify``.

    Raises:
        NemoExtError: no bundle is there, it is damaged, or of a later format.
    """
    folder = Path(folder).expanduser()
    if not (folder / INDEX).exists():
        raise NemoExtError(f"{folder} is no bundle: there is no {INDEX} in it; `nemo-ext export` makes one")
    try:
        told = read_json(folder / INDEX, _MOST_INDEX, "bundle's index")
    except NemoExtError as error:
        raise NemoExtError(f"{folder / INDEX} cannot be read: export the bundle again ({error})") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT or told["format"] is True:
        found = told.get("format") if isinstance(told, dict) else None
        raise NemoExtError(
            f"{folder} is a bundle of format {found}, and this version reads format {FORMAT}: export it again"
        )
    try:
        layout = VoiceLayout.from_list(told["layout"], INDEX)
        bundle = Bundle(
            dir=folder,
            name=string(told["name"], "name"),
            mel=conformed(MelSpec, told["mel"], "mel"),
            base_hash=string(told["base_hash"], "base_hash", 200),
            layout=layout,
            style_size=whole_number(told["style_size"], "style_size", 0, 65_536),
            energy=_flag(told["energy"], "energy"),
            base_voices=[conformed(BaseVoice, voice, "base_voices") for voice in told["base_voices"]],
            graphs={str(name): Graph.from_json(graph) for name, graph in told["graphs"].items()},
            engines=[Engine.from_json(engine) for engine in told["engines"]],
            vocoder_bf16_db=None if (db := told.get("vocoder_bf16_db")) is None else number(db, "vocoder_bf16_db"),
            made_with=dict(told["made_with"]),
            licences=dict(told["licences"]),
            files={name: string(digest, f"hash of {shown(name)}", 200) for name, digest in told["files"].items()},
        )
        if told["layout_hash"] != layout.hash:
            raise ValueError
    except (NemoExtError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        why = f" ({error})" if isinstance(error, NemoExtError) else ""
        raise NemoExtError(f"{folder / INDEX} is damaged: export the bundle again{why}") from error
    # files, and what becomes part of a file's name
    named = [*bundle.files, *bundle.graphs, *(name for e in bundle.engines for name in (e.file, e.graph, e.gpu))]
    named += [name for graph in bundle.graphs.values() for name in (graph.file, *graph.external)]
    try:
        for name in named:
            inside(folder, name, INDEX)
    except NemoExtError as error:
        raise NemoExtError(f"{folder / INDEX} names files outside the bundle: do not use it ({error})") from error
    return bundle


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise NemoExtError(f"{where} is {shown(value)}, not true or false")
    return value


def verify(folder: str | Path) -> tuple[Bundle, list[str]]:
    """The bundle in ``folder`` and what is wrong with it, one line a fault; none: it is as it was written.

    Checked are the hash of every file, that each graph's names, types and shapes are those that bundle.json tells,
    engines against the graphs they were built from, and every voice against the model. Files beside those that were
    exported are faults too, but for voices.

    Raises:
        NemoExtError: ``read`` refuses it.
    """
    bundle = read(folder)
    faults = [
        *_missing(bundle),
        *_wrong_files(bundle),
        *_wrong_graphs(bundle),
        *_wrong_engines(bundle),
        *_wrong_voices(bundle),
    ]
    return bundle, faults


def file_hash(path: Path) -> str:
    """SHA-256 of the file at ``path``, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _missing(bundle: Bundle) -> Iterable[str]:
    """What a bundle cannot speak without."""
    if not {"acoustic", RIVA_GRAPH} & bundle.graphs.keys():
        yield "it has no graph of an acoustic model"
    if "vocoder" not in bundle.graphs:
        yield "it has no graph of a vocoder"
    wanted = [TEXT, *([STYLE] if bundle.style_size and "acoustic" in bundle.graphs else [])]
    wanted += [name for graph in bundle.graphs.values() for name in (graph.file, *graph.external)]
    for name in wanted:
        if name not in bundle.files:
            yield f"{name} is none of the files that {INDEX} lists"


def _wrong_files(bundle: Bundle) -> Iterable[str]:
    for name, expected in bundle.files.items():
        path = bundle.dir / name
        if not path.is_file():
            yield f"{name} is missing"
        elif file_hash(path) != expected:
            yield f"{name} is not the file that was exported"
    there = {p.relative_to(bundle.dir).as_posix(): p for p in bundle.dir.rglob("*")}
    for name, path in sorted(there.items()):
        if path.is_symlink():
            yield f"{name} is a link, and a bundle's files are all its own"
    for name in sorted({name for name, path in there.items() if path.is_file()} - set(bundle.files) - {INDEX}):
        if not (name.startswith(f"{VOICES}/") and name.endswith(voices.SUFFIX)):
            yield f"{name} does not belong to it"


def _wrong_graphs(bundle: Bundle) -> Iterable[str]:
    from nemo_ext.export import onnx

    for name, graph in bundle.graphs.items():
        path = bundle.dir / graph.file
        if not path.is_file():
            continue
        try:
            inputs, outputs = onnx.ports(path)
            elsewhere = onnx.external_files(path) - set(graph.external)
        except NemoExtError as error:
            yield str(error)
            continue
        if elsewhere:
            yield f"{graph.file}: its weights are in {', '.join(sorted(elsewhere))[:200]}, which {INDEX} does not list"
        for kind, told, found in (("input", graph.inputs, inputs), ("output", graph.outputs, outputs)):
            if told != found:
                yield f"{graph.file}: its {kind}s are {_listed(found)}, and {INDEX} tells {_listed(told)} ({name})"


def _wrong_engines(bundle: Bundle) -> Iterable[str]:
    for engine in bundle.engines:
        graph = bundle.graphs.get(engine.graph)
        if graph is None or bundle.files.get(graph.file) != engine.graph_hash:
            yield f"{engine.file} was built from another {engine.graph} than the bundle's: export it again"


def _wrong_voices(bundle: Bundle) -> Iterable[str]:
    for path in sorted((bundle.dir / VOICES).glob(f"*{voices.SUFFIX}")):
        name = f"{VOICES}/{path.name}"
        try:
            voice = voices.load(path)
            if voice.made_for(bundle.base_hash, bundle.layout):
                voices.check_sizes(voice, name, bundle.style_size, bundle.mel.n_mels)
            else:
                yield f"{name} was made for '{voice.base}' ({voice.base_hash}), not for this model"
        except NemoExtError as error:
            yield str(error)


def _listed(ports: Iterable[Port]) -> str:
    return ", ".join(f"{p.name} {p.dtype}[{', '.join(map(str, p.shape))}]" for p in ports)
