"""Who speaks: a base voice, a voice file, a voice of a folder, or a mix of them, found by what a person writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nemo_ext import voices as files
from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.voices import SUFFIX, Voice


class Cast:
    """The voices that an acoustic model can speak with."""

    def __init__(self, acoustic: Any, folder: str | Path | None = None) -> None:
        """``folder``: voice files in it can be named without their path and ending.

        Raises:
            NemoExtError: ``folder`` is none.
        """
        self.acoustic = acoustic
        self.folders = [Path(folder).expanduser()] if folder else []
        if self.folders and not self.folders[0].is_dir():
            raise NemoExtError(f"voices={folder} is no folder: give one with {SUFFIX} files in it")
        if hasattr(acoustic, "voice_folder"):  # a bundle brings its own
            self.folders.append(acoustic.voice_folder)
        self._base: dict[str, Voice] = {}
        self._files: dict[Path, tuple[int, Voice]] = {}  # when it was written, what was read

    @property
    def names(self) -> list[str]:
        """Base voices in the model's order, then the folders' files."""
        there = sorted({p.stem for folder in self.folders for p in folder.glob(f"*{SUFFIX}")})
        base = [voice.name for voice in self.acoustic.voices]
        return base + [name for name in there if name not in base]

    def find(self, wanted: str) -> Voice:
        """The voice that ``wanted`` names: a base voice, a ``.voice`` file, or a mix ``anna:0.7+bob:0.3``.

        Raises:
            NemoExtError: there is none of that name, or it was made for another base model.
        """
        if self._names_one(wanted):
            return self._one(wanted)
        parts = files.parse_mix(wanted)
        if len(parts) == 1:
            return self._one(parts[0][0])
        return files.mix([(self._one(name), weight) for name, weight in parts], wanted)

    def _names_one(self, wanted: str) -> bool:
        return wanted in self.names or (wanted.endswith(SUFFIX) and Path(wanted).expanduser().is_file())

    def _one(self, name: str) -> Voice:
        if name in [voice.name for voice in self.acoustic.voices]:
            if name not in self._base:
                self._base[name] = self.acoustic.base_voice(name)
            return self._base[name]
        if name.endswith(SUFFIX):
            return self._from_file(Path(name).expanduser())
        for folder in self.folders:
            if (folder / f"{name}{SUFFIX}").is_file():
                return self._from_file(folder / f"{name}{SUFFIX}")
        some = ", ".join(self.names[:8]) + (f" and {len(self.names) - 8} more" if len(self.names) > 8 else "")
        raise NemoExtError(f"no voice '{name}' in this model{nearest(name, self.names) or '.'} It has: {some}")

    def _from_file(self, path: Path) -> Voice:
        written = path.stat().st_mtime_ns if path.is_file() else -1  # it may have been made again, or taken away
        known = self._files.get(path)
        if known is not None and known[0] == written:
            return known[1]
        voice = files.load(path)
        check_base(voice, self.acoustic, str(path))
        self._files[path] = (written, voice)
        return voice


def check_base(voice: Voice, acoustic: Any, what: str) -> None:
    """Refuse a voice that was made for another base model.

    Raises:
        NemoExtError: it was; both models are named. Or it says that it was not, and its arrays do not fit.
    """
    if not hasattr(acoustic, "voice_layout"):
        raise NemoExtError(f"{what} is a voice file, and a {type(acoustic).__name__} takes none")
    remedy = "give that model as acoustic=, or adapt the voice to this one"
    files.check_base(voice, what, acoustic.origin, acoustic.weights_hash(), acoustic.voice_layout, remedy)
    files.check_sizes(voice, what, getattr(acoustic, "style_size", 0), acoustic.mel_spec.n_mels)
