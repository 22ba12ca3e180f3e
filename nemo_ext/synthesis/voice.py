"""The job ``nemo-ext voice``: what is in a voice file, what is in a folder of them, and a new one mixed from some.

Without ``acoustic=`` it needs neither torch nor a model.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nemo_ext import model_files, voices
from nemo_ext.console import loading, printable, tell
from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.jobs import Command
from nemo_ext.synthesis.config import VoiceConfig
from nemo_ext.voices import FORMAT, SUFFIX, Voice, VoiceLayout


def voice(cfg: VoiceConfig) -> None:
    """Show, list or mix, as ``cfg`` says; prints the result.

    Raises:
        NemoExtError: not exactly one of the three is asked for, a voice is missing, damaged or made for another base
            model, or the file cannot be written.
    """
    asked = [name for name in ("show", "list", "mix") if getattr(cfg, name)]
    if len(asked) != 1:
        wrong = f"{' and '.join(f'{name}=' for name in asked)} are both given" if asked else "nothing is asked for"
        raise NemoExtError(f'voice: {wrong}: give one of show=FILE, list=DIR, or mix="anna:0.7+bob:0.3" out=FILE')
    if cfg.out and asked != ["mix"]:
        raise NemoExtError(f"out={cfg.out} is for mix=: leave it out")
    if cfg.list:
        tell(_listed(Path(cfg.list).expanduser()))
    elif cfg.show:
        tell(described(_find(cfg.show, cfg, _acoustic(cfg)), _file(cfg.show, cfg)))
    else:
        tell(_mixed(cfg))


def described(shown: Voice, file: Path | None = None) -> str:
    """What there is to know of a voice, one line a thing."""
    made = shown.provenance
    size = file.stat().st_size if file else 0
    values = f"{shown.layout.size:,} values"
    if shown.base_parameters:
        share = 100.0 * shown.layout.size / shown.base_parameters
        values += f", {share:.2f} % of the base's {shown.base_parameters / 1e6:.1f}M parameters"
    values += f", {size / 1e6:.2f} MB" if size else ""
    styles = ", ".join(f"{name} ({len(style)} values)" for name, style in shown.styles.items())
    origin = [made.made_by or "unknown"]
    origin += [f"on {made.created.partition('T')[0]}"] if made.created else []
    origin += [f"from {made.source}"] if made.source else []
    if made.recordings:
        origin.append(f"({made.recordings} recordings, {_duration(made.seconds)})")
    origin += [f"in {made.steps} steps"] if made.steps else []
    rows = [
        ("language", shown.language),
        ("pitch", _pitch(shown) + (f", deviation {shown.pitch_std:.1f} Hz" if shown.pitch_mean > 0 else "")),
        ("base model", f"{shown.base or 'unknown'} ({shown.base_hash or 'no hash'})"),
        ("vector", values),
        ("layout", f"{shown.layout.hash}: {_parts(shown.layout)}"),
        ("styles", styles or "none"),
        ("made", " ".join(origin)),
        ("recordings", f"hash {made.recordings_hash}" if made.recordings_hash else "no hash"),
        ("consent", str(made.consent)),
    ]
    head = f"{shown.name}: " + (f"{file}, voice file of format {FORMAT}" if file else "a base voice")
    return "\n".join(_plain(line) for line in [head, *(f"  {name:<11} {value}" for name, value in rows)])


def _listed(folder: Path) -> str:
    """A table of a folder's voice files; those that cannot be read stand below it, with the reason."""
    if not folder.is_dir():
        raise NemoExtError(f"list={folder} is no folder: give one with {SUFFIX} files in it")
    files = sorted(path for path in folder.glob(f"*{SUFFIX}") if path.is_file())
    if not files:
        return f"no {SUFFIX} files in {folder}"
    rows, damaged = [("name", "lang", "pitch", "values", "MB", "styles", "base model", "made", "consent")], []
    for path in files:
        try:
            found = voices.load(path)
        except NemoExtError as error:
            damaged.append(_plain(f"  {error}"))
            continue
        made, size = found.provenance, path.stat().st_size / 1e6
        # the name by which it is found, which is the file's
        name = path.stem if found.name == path.stem else f"{path.stem} ({found.name})"
        styles = ",".join(found.styles) or "-"
        base = f"{found.base} ({found.base_hash})"
        values = (f"{found.layout.size:,}", f"{size:.2f}", styles, base, made.made_by or "unknown", str(made.consent))
        rows.append((name, found.language, _pitch(found), *values))
    widths = [max(len(_plain(row[i])) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(f"{_plain(c):<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines = lines if len(rows) > 1 else []
    return "\n".join([*lines, *([f"cannot be read ({len(damaged)}):", *damaged] if damaged else [])])


def _mixed(cfg: VoiceConfig) -> str:
    out = Path(cfg.out).expanduser()
    if not cfg.out:
        raise NemoExtError(f"out= is missing: name the voice file to write, out=mixed{SUFFIX}")
    if out.suffix != SUFFIX:
        raise NemoExtError(f"out={cfg.out} is no name of a voice file: end it in {SUFFIX}")
    parts = voices.parse_mix(cfg.mix)
    if len(parts) < 2:
        raise NemoExtError(f"mix={cfg.mix} names one voice: write anna:0.7+bob:0.3")
    acoustic = _acoustic(cfg)
    mixed = voices.mix([(_find(name, cfg, acoustic), weight) for name, weight in parts], out.stem)
    # says where each part came from; when is now
    today = datetime.now(UTC).date().isoformat()
    voices.save(replace(mixed, provenance=replace(mixed.provenance, created=today)), out)
    return described(voices.load(out), out)


def _find(name: str, cfg: VoiceConfig, acoustic: Any) -> Voice:
    """A base voice of ``acoustic`` where there is one, a voice file, or a file of the folder ``voices=``."""
    if acoustic is not None:
        from nemo_ext.synthesis.casting import Cast

        found: Voice = Cast(acoustic, cfg.voices or ".").find(name)
        return found
    file = _file(name, cfg)
    if file is None:
        folder = Path(cfg.voices or ".").expanduser()
        there = sorted(path.stem for path in folder.glob(f"*{SUFFIX}"))
        hint = nearest(name, there) or "."
        raise NemoExtError(
            f"no voice '{name}' in {folder.resolve()}{hint} A file elsewhere needs its path or voices=FOLDER, a base "
            "voice its model as acoustic="
        )
    return voices.load(file)


def _file(name: str, cfg: VoiceConfig) -> Path | None:
    beside = Path(cfg.voices or ".").expanduser() / f"{name}{SUFFIX}"
    if name.endswith(SUFFIX) or (Path(name).is_file() and not beside.is_file()):
        return Path(name).expanduser()
    return beside if beside.is_file() else None


def _acoustic(cfg: VoiceConfig) -> Any:
    if not cfg.acoustic:
        return None
    model_files.check("acoustic", cfg.acoustic, "an acoustic model's .nemo file")
    loading()
    from nemo_ext import _nemo

    acoustic = _nemo.restore(cfg.acoustic)
    if not hasattr(acoustic, "base_voice"):
        raise NemoExtError(f"acoustic={cfg.acoustic} is a {type(acoustic).__name__}: give an acoustic model")
    return acoustic


def _parts(layout: VoiceLayout) -> str:
    """``embedding 384, encoder 55,296, ...``: how many values act where."""
    counted: Counter[str] = Counter()
    for slot in layout.slots:
        counted[slot.name.partition("/")[0].partition(".")[0]] += slot.size
    return ", ".join(f"{part} {size:,}" for part, size in counted.items())


def _pitch(shown: Voice) -> str:
    return f"{shown.pitch_mean:.1f} Hz" if shown.pitch_mean > 0 else "unknown"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _plain(text: str) -> str:
    """On one line, with whatever would steer a terminal written out: the file is anybody's."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def then(cfg: VoiceConfig, _result: object) -> Command | None:
    """The command to type next, when a voice file was made."""
    spoken = {"text": "Hello.", "out": "hello.wav"}
    return ("say", {"acoustic": cfg.acoustic or "ACOUSTIC.nemo", "voice": cfg.out, **spoken}) if cfg.mix else None
