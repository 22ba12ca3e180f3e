"""A voice for NVIDIA Riva: what nemo2riva would pack, and the riva-build command line for it.

fastpitch/model_graph.onnx    ragged and with volume; voices and styles are tables inside
fastpitch/model_config.yaml   the model's configuration in NeMo's keys, with export_config
fastpitch/mapping.txt         tokens and their ids
hifigan/model_graph.onnx, hifigan/model_config.yaml
dictionary.LANGUAGE.txt       pronunciations as Riva reads them
pack.py                       makes fastpitch.riva and hifigan.riva where NVIDIA's package is
riva-build.sh                 riva-build, filled in
"""

from __future__ import annotations

import re
import shlex
import shutil
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from nemo_ext.errors import NemoExtError
from nemo_ext.export import riva_archive
from nemo_ext.export.bundle import Bundle
from nemo_ext.export.files import link_or_copy, whole_folder
from nemo_ext.export.onnx import ports
from nemo_ext.export.ragged import write_ragged
from nemo_ext.export.riva_text import dictionary, mapping
from nemo_ext.export.subvoices import Tables, tables
from nemo_ext.export.text_assets import read_text
from nemo_ext.text.tokens import TokenTable
from nemo_ext.types import MelSpec
from nemo_ext.untrusted import parse_yaml
from nemo_ext.voices import Voice

SCRIPT = "riva-build.sh"
CODES = {"en": "en-US", "de": "de-DE"}
_CONFIG = "model_config.yaml"
_WEIGHTS = (".ckpt", ".pt", ".ts", "~")  # what nemo2riva leaves out of an archive
_MOST_BYTES = 64 << 20  # of one file of a .nemo that is no checkpoint


def write_riva(
    bundle: Bundle,
    out: Path,
    voices: Sequence[Voice],
    *,
    acoustic: Path,
    vocoder: Path,
    graph: str = "acoustic_riva",
    voice_name: str = "",
    language: str = "",
    words: Iterable[str] = (),
    max_batch: int = 8,
) -> list[str]:
    """Write the folder ``out``; a folder of an earlier export is replaced when all is done.

    Args:
        bundle: with a graph of the Riva layout, a vocoder and the text side.
        out: folder to be.
        voices: whose vectors and styles are in the graph's tables, in their order (``subvoices.tables``).
        acoustic: .nemo file that the bundle was made of, for its configuration.
        vocoder: the same.
        graph: name of the graph of the Riva layout in ``bundle``.
        voice_name: of the whole, in Riva; the bundle's when empty.
        language: Riva's code, en-US; when empty, a command for each language that the voices speak.
        words: that go into the dictionary beside the lexicon's.
        max_batch: utterances at a time.

    Returns:
        lines for a person: what was made, and what is left to do.

    Raises:
        NemoExtError: the bundle lacks a graph, the graph has other rows than ``voices``, a .nemo cannot be read, a
            sub-voice cannot be named, or the disk is full.
    """
    rows, dense = tables(voices, bundle.style_size), bundle.path(graph)
    frontend = read_text(bundle.dir)
    _same_rows(dense, rows)
    languages = [code.partition("-")[0] for code in (language,) if code] or list(dict.fromkeys(rows.languages))
    name = voice_name or re.sub(r"[^\w.-]+", "-", bundle.name.removesuffix(".nemo").removesuffix("/model"))
    commands, lines = [], []
    with whole_folder(out, SCRIPT) as folder:
        precision = bundle.graphs[graph].precision
        _pack_fastpitch(bundle.mel, folder / "fastpitch", dense, precision, acoustic, rows, voices[0], frontend.table)
        (folder / "fastpitch" / "mapping.txt").write_text(
            mapping(frontend.table.symbols, frontend.config.alphabet), encoding="utf-8"
        )
        lines += _pack_hifigan(bundle, folder / "hifigan", vocoder)
        listed = list(words)
        for code in languages:
            spoken = dictionary(frontend, listed, code)
            file = f"dictionary.{code}.txt"
            if spoken:
                (folder / file).write_text(spoken, encoding="utf-8")
                lines.append(f"{file}: {spoken.count(chr(10))} words; Riva spells out every other word")
            elif frontend.config.alphabet != "chars":
                lines.append(f"{file}: none, for no word was given: Riva would spell out every word")
            commands.append(
                build_command(
                    name=name,
                    language=language or CODES.get(code, code),
                    mel=bundle.mel,
                    alphabet=frontend.config.alphabet,
                    subvoices={
                        n: i for i, n in enumerate(rows.names) if len(languages) == 1 or rows.languages[i] == code
                    },
                    speakers=len(rows.names),
                    dictionary=file if spoken else "",
                    max_batch=max_batch,
                )
            )
        (folder / SCRIPT).write_text(script(commands), encoding="utf-8")
        (folder / SCRIPT).chmod(0o755)
        shutil.copyfile(riva_archive.__file__, folder / "pack.py")
        lines += _archived(folder)
    return [f"Riva: {len(rows.names)} sub-voices: {', '.join(rows.names)}", *lines]


def build_command(
    *,
    name: str,
    language: str,
    mel: MelSpec,
    alphabet: str,
    subvoices: Mapping[str, int],
    speakers: int,
    dictionary: str = "",
    max_batch: int = 8,
) -> list[str]:
    """riva-build's arguments for the archives that ``pack.py`` makes; files are relative to the folder.

    Args:
        name: ``--voice_name``; a client asks for ``NAME.SUBVOICE``.
        language: Riva's code, en-US.
        mel: of both models.
        alphabet: ipa, arpabet or chars.
        subvoices: name -> row of the tables, those of this language.
        speakers: number of rows.
        dictionary: file with pronunciations; empty: none.
        max_batch: utterances at a time.
    """
    command = [
        *("riva-build", "speech_synthesis", f"{name}-{language}.rmir", "fastpitch.riva", "hifigan.riva"),
        f"--voice_name={name}",
        f"--language_code={language}",
        f"--sample_rate={mel.sample_rate}",
        f"--num_mels={mel.n_mels}",
        f"--num_samples_per_frame={mel.hop_length}",
        f"--max_batch_size={max_batch}",
    ]
    if speakers > 1:
        listed = ",".join(f"{subvoice}:{row}" for subvoice, row in subvoices.items())
        command += [f"--num_speakers={speakers}", f"--subvoices={listed}"]
    if alphabet != "chars":
        command.append(f"--phone_set={alphabet}")
    if alphabet == "ipa":  # the letters of such a table are in upper case, the phones in lower
        command.append("--upper_case_chars=True")
    if dictionary:
        command.append(f"--phone_dictionary_file={dictionary}")
    return command


def script(commands: Sequence[Sequence[str]]) -> str:
    """A shell script that runs ``commands`` in its folder, with a key and NVIDIA's grammars where they are given."""
    head = (
        "#!/bin/sh\n"
        "# Run this in Riva's ServiceMaker container.\n"
        "# KEY=...: archives and .rmir files are encrypted with that key, yours to choose, and riva-deploy then wants\n"
        "# FILE.rmir:KEY. Without it nothing is encrypted.\n"
        "# TOKENIZER=... VERBALIZER=...: NVIDIA's grammars (.far); without them numbers are not read out.\n"
        'set -e\ncd "$(dirname "$0")"\n'
        # with a key they are packed anew: those that are there may be open, as an export makes them, or of another key
        '[ -z "$KEY" ] && [ -f fastpitch.riva ] && [ -f hifigan.riva ] || python3 pack.py ${KEY:+"$KEY"}\n'
    )
    tail = '${TOKENIZER:+"--wfst_tokenizer_model=$TOKENIZER"} ${VERBALIZER:+"--wfst_verbalizer_model=$VERBALIZER"}'
    blocks = []
    for command in commands:
        words = [
            shlex.quote(word) + ('"${KEY:+:$KEY}"' if word.endswith((".rmir", ".riva")) else "") for word in command
        ]
        blocks.append(" \\\n  ".join([" ".join(words[:2]), *words[2:], tail]) + "\n")
    return "\n".join([head, *blocks])


def riva_config(config: Mapping[str, Any], name: str, mel: MelSpec, **more: Any) -> dict[str, Any]:
    """``config``, of a .nemo, with what Riva's tools look for: NeMo's class, its preprocessor, and ``more``."""
    from nemo_ext.models.stock import stock_preprocessor  # a package whose import brings torch

    target = {"fastpitch": "fastpitch.FastPitchModel", "hifigan": "hifigan.HifiGanModel"}[name]
    return {
        **config,
        "target": f"nemo.collections.tts.models.{target}",
        "preprocessor": {**stock_preprocessor(mel), **(config.get("preprocessor") or {})},
        "sample_rate": mel.sample_rate,
        **more,
    }


def nemo_files(path: Path) -> dict[str, bytes]:
    """The files of a .nemo archive that are no checkpoint, by name without folder. Nothing is unpacked or run.

    Raises:
        NemoExtError: it cannot be read, or has no configuration.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                name = Path(member.name).name
                if not member.isfile() or name.endswith(_WEIGHTS) or member.size > _MOST_BYTES:
                    continue
                content = tar.extractfile(member)
                found[name] = content.read() if content else b""
    except (OSError, tarfile.TarError, EOFError) as error:
        raise NemoExtError(f"{path} cannot be read as a .nemo file: {error}; export from the file itself") from error
    if _CONFIG not in found:
        raise NemoExtError(f"{path} has no {_CONFIG}: it is no .nemo file")
    return found


def _config(files: Mapping[str, bytes], path: Path) -> dict[str, Any]:
    try:
        return dict(parse_yaml(files[_CONFIG].decode(), str(path)))
    except (NemoExtError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise NemoExtError(f"the {_CONFIG} in {path} cannot be read: save the model again") from error


def _pack_fastpitch(
    mel: MelSpec,
    folder: Path,
    dense: Path,
    precision: str,
    nemo: Path,
    rows: Tables,
    first: Voice,
    table: TokenTable,
) -> None:
    files = nemo_files(nemo)
    config = riva_config(
        _config(files, nemo),
        "fastpitch",
        mel,
        n_speakers=len(rows.names),
        # one for all in Riva, which reckons a pitch in Hz with it
        pitch_mean=first.pitch_mean,
        pitch_std=first.pitch_std,
        export_config={"enable_volume": True, "enable_ragged_batches": True},
    )
    _write_files(folder, files, config)
    write_ragged(
        dense,
        folder / riva_archive.GRAPH,
        precision,
        pad=table.pad,
        blank=table.space,
        speaker=len(rows.names) > 1,
    )


def _pack_hifigan(bundle: Bundle, folder: Path, nemo: Path) -> list[str]:
    files = nemo_files(nemo)
    config = _config(files, nemo)
    kind = str(config.get("target") or config.get("_target_") or "").rpartition(".")[2]
    source, graph = bundle.path("vocoder"), bundle.graphs["vocoder"]
    if graph.external:
        raise NemoExtError(f"{source} keeps weights beside it, which no vocoder of Riva's does: export a HiFi-GAN")
    _write_files(folder, files, riva_config(config, "hifigan", bundle.mel))
    link_or_copy(source, folder / riva_archive.GRAPH)
    if "hifigan" in kind.lower():
        return []
    return [
        f"the vocoder is a {kind}: its graph has a HiFi-GAN's input and output, but Riva's tools know HiFi-GAN only"
    ]


def _write_files(folder: Path, files: Mapping[str, bytes], config: Mapping[str, Any]) -> None:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
    (folder / _CONFIG).write_text(text, encoding="utf-8")


def _same_rows(dense: Path, rows: Tables) -> None:
    import onnx

    inputs, _ = ports(dense)
    if "speaker" not in [port.name for port in inputs]:
        raise NemoExtError(f"{dense} is not of Riva's layout: it takes {', '.join(port.name for port in inputs)}")
    model = onnx.load(str(dense), load_external_data=False)
    inside = [tensor.dims[0] for tensor in model.graph.initializer if tensor.name == "rows"]
    if inside and inside[0] != len(rows.names):
        raise NemoExtError(
            f"{dense} holds {inside[0]} sub-voices, and the voices given make {len(rows.names)}: export it again"
        )


def _archived(folder: Path) -> list[str]:
    try:
        made = riva_archive.pack(folder)
    except ImportError:
        return [
            "no .riva archives: NVIDIA's package nvidia-eff is optional and not installed here; run riva-build.sh in "
            "Riva's ServiceMaker container, which packs them first (pack.py)"
        ]
    return [f"packed {', '.join(path.name for path in made)}"]
