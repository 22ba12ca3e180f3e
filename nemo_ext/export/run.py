"""The job ``nemo-ext export``: models -> a bundle, compared with them before it takes its place."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from nemo_ext import model_files, voices
from nemo_ext.console import Progress, clock, loading, tell
from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.export import bundle as bundles
from nemo_ext.export.bundle import INDEX, RIVA_GRAPH, VOICES, Bundle
from nemo_ext.export.config import TARGETS, ExportConfig
from nemo_ext.export.files import whole_folder
from nemo_ext.export.subvoices import Tables, tables
from nemo_ext.jobs import Command
from nemo_ext.types import check_mels
from nemo_ext.voices import SUFFIX, Voice

_ENGINES = ("tensorrt", "tensorrt_rtx")
_TABLES = {"triton", "riva"}  # targets with a graph that has the voices inside


def export(cfg: ExportConfig) -> Path:
    """Write the bundle ``cfg.out``, or check the one at ``cfg.verify``; its folder is returned.

    Raises:
        NemoExtError: an option is missing or cannot be, models that do not belong together or have no graph, a graph
            that is not the model beyond the tolerance, a disk that is full; then nothing is left behind, and a bundle
            that was there is untouched. With ``verify``: the bundle is not as it was written.
    """
    if cfg.verify:
        return _verified(cfg)
    out = _checked(cfg)
    began, previous = time.monotonic(), _previous(out)
    with whole_folder(out, INDEX) as folder:
        _, made = _written(cfg, folder, previous, out / VOICES)
    for line in made:
        tell(line.replace(str(folder), str(out)))
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file()) / 2**20
    spoken = len(list((out / VOICES).glob(f"*{SUFFIX}")))
    tell(f"{out}: a bundle of {size:.0f} MiB with {spoken} voices, in {clock(time.monotonic() - began)}")
    return out


def _verified(cfg: ExportConfig) -> Path:
    bundle, faults = bundles.verify(cfg.verify)
    if faults:
        for fault in faults:
            tell(f"  {fault}", error=True)
        raise NemoExtError(f"{cfg.verify} is not as it was exported ({len(faults)} faults, above): export it again")
    there = len(list((bundle.dir / VOICES).glob(f"*{SUFFIX}")))
    tell(
        f"{cfg.verify}: whole. {len(bundle.files)} files, graphs {', '.join(bundle.graphs)}, "
        f"{len(bundle.engines)} engines, {there} voices"
    )
    return bundle.dir


def _checked(cfg: ExportConfig) -> Path:
    models = (("acoustic", "an acoustic model's .nemo file"), ("vocoder", "a vocoder's .nemo file"))
    for name, what in models:
        if not getattr(cfg, name):
            raise NemoExtError(f"{name}= is missing: give {what}")
    for target in cfg.targets:
        if target not in TARGETS:
            raise NemoExtError(f"targets: '{target}' is not one of {', '.join(TARGETS)}{nearest(target, TARGETS)}")
    if not cfg.out:
        raise NemoExtError("out= is missing: name the folder of the bundle to write")
    out = Path(cfg.out).expanduser()
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / INDEX).is_file()):
        raise NemoExtError(f"out={cfg.out} holds something else than a bundle: give another folder")
    if cfg.voices and not Path(cfg.voices).expanduser().is_dir():
        raise NemoExtError(f"voices={cfg.voices} is no folder: give one with {SUFFIX} files in it")
    _check_targets(cfg)
    for name, what in models:
        model_files.check(name, getattr(cfg, name), what)
    return out


def _check_targets(cfg: ExportConfig) -> None:
    """Their own options: what can be known before the models are read is not told after minutes."""
    if "triton" in cfg.targets:
        from nemo_ext.export import triton

        triton.check_options(cfg.triton)
    if "riva" in cfg.targets:
        from nemo_ext.export.riva_text import read_words
        from nemo_ext.text.languages import language

        if cfg.riva.words:
            read_words(Path(cfg.riva.words))
        if cfg.riva.language:
            language(cfg.riva.language)
        _check_riva_vocoder(cfg)
    for library in _libraries(cfg):
        from nemo_ext.export import tensorrt

        tensorrt.check_options(library, cfg.profile)


def _check_riva_vocoder(cfg: ExportConfig) -> None:
    """Riva's tools know a vocoder as ``hifigan`` only: another one goes there on request alone."""
    from nemo_ext import nemo_archive

    kind = str(nemo_archive.read_config(model_files.find(cfg.vocoder).nemo).get("target")).rpartition(".")[2]
    if "hifigan" not in kind.lower() and not cfg.riva.any_vocoder:
        raise NemoExtError(
            f"vocoder={cfg.vocoder} is a {kind}, and Riva's tools know HiFi-GAN only: give one, or ask for it to be "
            "packed as one all the same, riva.any_vocoder=true"
        )


def _libraries(cfg: ExportConfig) -> list[str]:
    return [target for target in cfg.targets if target in _ENGINES]


def _previous(out: Path) -> Bundle | None:
    try:
        return bundles.read(out)
    except NemoExtError:  # damaged, of another format, or none: its voices are kept all the same
        return None


def _written(cfg: ExportConfig, folder: Path, previous: Bundle | None, kept: Path) -> tuple[Bundle, list[str]]:
    """The bundle in ``folder``, whole and compared, and what there is to say of repositories in it.

    ``kept``: folder of the voices that the bundle before holds, which may exist nowhere else.
    """
    loading()
    import torch

    from nemo_ext import _nemo  # these cost seconds; a wrong option should not

    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    _say("reading the models")
    acoustic, vocoder = _nemo.restore(cfg.acoustic), _nemo.restore(cfg.vocoder)
    if not hasattr(acoustic, "voice_layout"):
        raise NemoExtError(f"acoustic={cfg.acoustic} is a {type(acoustic).__name__}: give an acoustic model")
    if not hasattr(vocoder, "decode"):
        raise NemoExtError(f"vocoder={cfg.vocoder} is a {type(vocoder).__name__}: give a vocoder")
    check_mels(acoustic.mel_spec, vocoder.mel_spec)
    bundle = describe(acoustic, folder, cfg.licence)
    cast = _voices(cfg, acoustic, bundle, kept)
    write_assets(acoustic, bundle)
    rows = tables(cast, bundle.style_size) if _TABLES & set(cfg.targets) else None
    write_graphs(acoustic, vocoder, bundle, cfg.precision, rows)
    _engines(cfg, bundle, previous)
    made = _triton(cfg, bundle, rows) if rows is not None and "triton" in cfg.targets else []
    made += _riva(cfg, bundle, cast) if "riva" in cfg.targets else []
    from nemo_ext.export.compare import compare

    compare(acoustic, vocoder, bundle, cast, cfg.precision, rows)
    bundle.write()
    return bundle, made


def describe(acoustic: Any, folder: Path, licence: str = "") -> Bundle:
    """A bundle of ``acoustic`` in ``folder``, still without files."""
    import torch

    from nemo_ext.models.acoustic.fastpitch_config import title

    return Bundle(
        dir=folder,
        name=title(acoustic),
        mel=acoustic.mel_spec,
        base_hash=acoustic.weights_hash(),
        layout=acoustic.voice_layout,
        style_size=acoustic.style_size,
        energy=acoustic.fastpitch.energy_predictor is not None,
        base_voices=list(acoustic.voices),
        made_with={
            **{name: metadata.version(name) for name in ("nemo_ext", "nemo_toolkit", "onnx")},
            "torch": torch.__version__,
        },
        licences={"nemo_ext": "Apache-2.0", "models": licence or "unknown"},
    )


def write_assets(acoustic: Any, bundle: Bundle) -> None:
    """The text side and the styles of ``acoustic``."""
    from nemo_ext.export.style_assets import StyleAssets, write_style
    from nemo_ext.export.text_assets import write_text

    write_text(acoustic.frontend, bundle.dir)
    if acoustic.style is not None:
        write_style(StyleAssets.of(acoustic), bundle.dir)


def write_graphs(acoustic: Any, vocoder: Any, bundle: Bundle, precision: str, rows: Tables | None = None) -> None:
    """The ONNX graphs of both models: the open layout, and with ``rows`` Riva's, with these tables in it."""
    import torch

    from nemo_ext.export import onnx
    from nemo_ext.export.graphs import AcousticGraph, RivaGraph, StyleGraph, VocoderGraph

    opened = AcousticGraph(acoustic, precision)
    made: list[tuple[str, Any, str]] = [
        ("acoustic", opened, precision),
        ("vocoder", VocoderGraph(vocoder, precision), precision),
    ]
    if acoustic.style is not None:
        made.append(("style_encoder", StyleGraph(acoustic), "fp32"))
    filled: dict[str, Any] = {}
    if rows is not None:
        filled = {"rows": rows.rows, "voices": rows.voices}
        filled |= {"styles": rows.styles} if rows.styles is not None else {}
        few = {name: torch.from_numpy(value[:1].repeat(2, 0)) for name, value in filled.items()}
        made.append((RIVA_GRAPH, RivaGraph(opened, **few), precision))
    with Progress(len(made), "exporting graphs") as progress:
        for name, graph, of in made:
            path, example = bundle.dir / f"{name}.onnx", onnx.example(graph, acoustic)
            bundle.graphs[name] = onnx.export(graph, example, path, of, filled if name == RIVA_GRAPH else None)
            progress.step()


def _voices(cfg: ExportConfig, acoustic: Any, bundle: Bundle, kept: Path) -> list[Voice]:
    """Write the base voices, those of ``cfg.voices`` and those that somebody put into the bundle before."""
    folder = bundle.dir / VOICES
    folder.mkdir()
    cast = {voice.name: acoustic.base_voice(voice.name) for voice in acoustic.voices}
    for name in cast:
        if "/" in name or name.startswith("."):
            raise NemoExtError(f"base voice '{name}' cannot be the name of a file in a bundle: rename it")
    base = list(cast)
    for place in (*([Path(cfg.voices).expanduser()] if cfg.voices else []), kept):
        for path in sorted(place.glob(f"*{SUFFIX}")):
            if place == kept and path.stem in cast:  # it was put there by an export, or there is a newer one
                continue
            voice = voices.load(path)
            remedy = f"take it out of {place}, or adapt the voice to this model"
            voices.check_base(voice, str(path), bundle.name, bundle.base_hash, bundle.layout, remedy)
            voices.check_sizes(voice, str(path), bundle.style_size, bundle.mel.n_mels)
            if path.stem not in base:
                cast[path.stem] = voice
            elif voice.provenance.made_by != voices.WITH_THE_BASE:
                raise NemoExtError(f"{path} has the name of a base voice, which would speak for it: rename the file")
    inside: dict[str, str] = {}
    for name, voice in cast.items():
        other = inside.setdefault(voice.name, name)
        if other != name and _TABLES & set(cfg.targets):
            raise NemoExtError(
                f"{other}{SUFFIX} and {name}{SUFFIX} are both called '{voice.name}' inside, by which Riva and Triton "
                "know sub-voices: take one of them out, or make it again with another name="
            )
        voices.save(voice, folder / f"{name}{SUFFIX}")
    return list(cast.values())


def _engines(cfg: ExportConfig, bundle: Bundle, previous: Bundle | None) -> None:
    """Those that were asked for, beside those of other GPUs that an earlier export made of the same graphs."""
    from nemo_ext.export import tensorrt

    libraries = _libraries(cfg)
    kept = tensorrt.keep_engines(bundle, previous) if libraries and previous is not None else []
    built = []
    for library in libraries:
        made = tensorrt.build_engines(bundle, library, cfg.profile, previous=previous)
        built += [one.engine.file for one in made]
        tell(tensorrt.table(made))
    stay = [engine.file for engine in kept if engine in bundle.engines and engine.file not in built]
    if stay:
        bundle.engines.sort(key=lambda engine: engine.file in stay)  # those of this GPU are tried first
        tell(f"kept, of the same graphs: {', '.join(stay)}")


def _triton(cfg: ExportConfig, bundle: Bundle, rows: Tables) -> list[str]:
    from nemo_ext.export.triton import write_triton

    return write_triton(bundle, bundle.dir / "triton", cfg.triton, rows.names)


def _riva(cfg: ExportConfig, bundle: Bundle, cast: Sequence[Voice]) -> list[str]:
    from nemo_ext.export.riva import write_riva
    from nemo_ext.export.riva_text import read_words

    return write_riva(
        bundle,
        bundle.dir / "riva",
        cast,
        acoustic=model_files.find(cfg.acoustic).nemo,
        vocoder=model_files.find(cfg.vocoder).nemo,
        graph=RIVA_GRAPH,
        voice_name=cfg.riva.name,
        language=cfg.riva.language,
        words=read_words(Path(cfg.riva.words)) if cfg.riva.words else (),
    )


def _say(line: str) -> None:
    tell(line, error=True)


def then(cfg: ExportConfig, folder: Path) -> Command:
    """The command to type next."""
    voice = bundles.read(folder).base_voices[0].name
    return "say", {"bundle": cfg.verify or cfg.out, "voice": voice, "text": "Hello.", "out": "hello.wav"}
