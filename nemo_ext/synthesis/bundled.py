"""Speaking from a bundle: the side of the chain that needs neither torch nor NeMo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nemo_ext import voices as files
from nemo_ext.audio.mel import log_mel_without_torch
from nemo_ext.audio.reference import reference_pitch
from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.export import bundle as bundles
from nemo_ext.export.bundle import Bundle
from nemo_ext.export.style_assets import StyleAssets, read_style
from nemo_ext.export.text_assets import read_text
from nemo_ext.runtime.choose import open_session
from nemo_ext.runtime.session import Session
from nemo_ext.runtime.vocoder import VocoderRunner
from nemo_ext.synthesis.prosody import NEUTRAL, Settings
from nemo_ext.synthesis.sides import Said, differs
from nemo_ext.types import NO_FRAME, BaseVoice, MelSpec, Tokens
from nemo_ext.voices import Vector, Voice, VoiceLayout

PRECISIONS = ("auto", "fp32")
BF16_DB = 40.0  # signal over difference from which bf16 is good enough
_ASKED = ("spect", "num_frames", "pitch_predicted", "durations")  # of the acoustic graph's outputs


def open_bundle(
    folder: str | Path, backend: str = "auto", threads: int = 0, precision: str = "auto"
) -> tuple[BundledAcoustic, VocoderRunner]:
    """The acoustic model and the vocoder of the bundle in ``folder``; see `open_session` for ``backend``, ``threads``.

    ``precision``: ``fp32``, or ``auto``, which lets OpenVINO run a vocoder that loses nothing by it in bf16, on a
    processor that has it.

    Raises:
        NemoExtError: it is no bundle, one for Riva only, one without a vocoder, or its graphs cannot be run.
    """
    if precision not in PRECISIONS:
        raise NemoExtError(
            f"precision={precision} is not one of {', '.join(PRECISIONS)}{nearest(precision, PRECISIONS)}"
        )
    found = bundles.read(folder)
    acoustic = BundledAcoustic(found, backend, threads)
    if "vocoder" not in found.graphs:
        raise NemoExtError(f"{found.dir} has no vocoder: export it again with vocoder=MODEL.nemo")
    # never the acoustic model, which would speak other durations; nor a vocoder that its export found to suffer
    lowest = "bf16" if precision == "auto" and (found.vocoder_bf16_db or 0.0) >= BF16_DB else "fp32"
    session = _session(found, "vocoder", backend, threads, lowest, acoustic.elsewhere.append)
    return acoustic, VocoderRunner(session, found.mel)


class BundledAcoustic:
    """An acoustic model's graph with the voices, styles and the text frontend of its bundle.

    Attributes:
        voices: base voices, the default first.
        voice_folder: where voice files are found by name, those that were copied there later too.
        elsewhere: what was run without an engine that does not take it, in lines, since somebody last emptied it.
    """

    def __init__(self, bundle: Bundle, backend: str = "auto", threads: int = 0) -> None:
        """
        Raises:
            NemoExtError: the bundle is for Riva only, a file of it is damaged, or the graph cannot be run.
        """
        graph = bundle.graphs.get("acoustic")
        if graph is not None and "voice" not in {port.name for port in graph.inputs}:
            raise NemoExtError(f"{bundle.dir} holds Riva's layout, in which voices are fixed: export the open one")
        self.bundle = bundle
        self.elsewhere: list[str] = []
        self.session: Session = _session(bundle, "acoustic", backend, threads, "fp32", self.elsewhere.append)
        self.frontend = read_text(bundle.dir)
        self.mel_spec: MelSpec = bundle.mel
        self.voices: list[BaseVoice] = bundle.base_voices
        self.voice_folder = bundle.dir / bundles.VOICES
        self.origin = bundle.name
        self._styles: StyleAssets | None = None
        if bundle.style_size:
            self._styles = read_style(bundle.dir, bundle.style_size, bundle.mel.n_mels)
        self._opened = (backend, threads)
        self._encoder: Session | None = None

    # ------------------------------------------------------------------ voices

    @property
    def voice_layout(self) -> VoiceLayout:
        """What stands where in the voice vectors."""
        return self.bundle.layout

    def weights_hash(self) -> str:
        """Identity of the model that voices are made for."""
        return self.bundle.base_hash

    def base_voice(self, name: str) -> Voice:
        """The base voice ``name``, from its file.

        Raises:
            NemoExtError: no base voice has that name, or its file is missing, damaged or another model's.
        """
        names = [voice.name for voice in self.voices]
        if name not in names:
            listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            raise NemoExtError(f"unknown voice '{name}'{nearest(name, names)}; this bundle speaks as: {listed}")
        path = self.voice_folder / f"{name}{files.SUFFIX}"
        if Path(name).name != name or not path.is_file():  # a name that no file can have
            raise NemoExtError(f"the base voice '{name}' has no file in {self.voice_folder}: export the bundle again")
        voice = files.load(path)  # anybody can copy a file there, also under this name
        remedy = "export the bundle again, which writes the base voices anew"
        files.check_base(voice, str(path), self.origin, self.weights_hash(), self.voice_layout, remedy)
        files.check_sizes(voice, str(path), self.style_size, self.mel_spec.n_mels)
        return voice

    # ------------------------------------------------------------------ styles

    @property
    def style_size(self) -> int:
        """S, the length of a style vector; 0 for a model without style."""
        return self.bundle.style_size

    @property
    def style_tokens(self) -> int:
        """How many style tokens there are."""
        return 0 if self._styles is None else len(self._styles.token_values)

    def named_styles(self) -> dict[str, Vector]:
        """The mean style ``(S,)`` over the base voices by name."""
        return {} if self._styles is None else dict(self._styles.named)

    def style_from_tokens(self, weights: Sequence[float]) -> Vector:
        """The style ``(S,)`` of one weight for each style token.

        Raises:
            NemoExtError: the model has no style, or another number of tokens.
        """
        values = self._known_styles().token_values
        if len(weights) != len(values):
            raise NemoExtError(f"{len(weights)} token weights, and this model has {len(values)} style tokens")
        return np.asarray(np.asarray(weights, np.float32) @ values, np.float32)

    def style_vector_from(self, audio: np.ndarray, voice: Voice | None = None) -> Vector:
        """The style ``(S,)`` of the recording ``audio (T_audio,)`` at the model's sample rate, as the model hears it.

        Raises:
            NemoExtError: the model has no style, or the recording is too short or silent.
        """
        styles, spec = self._known_styles(), self.mel_spec
        samples = np.ascontiguousarray(audio, dtype=np.float32)
        pitch, mel = reference_pitch(samples, spec), log_mel_without_torch(samples, spec)
        voiced = pitch > 0
        known = voice is not None and voice.mel_stats is not None and voice.pitch_mean > 0
        if known and voice is not None and voice.mel_stats is not None:
            mean, deviation, statistics = voice.pitch_mean, voice.pitch_std, voice.mel_stats
        else:  # a stranger's recording is centred on itself
            mean = float(pitch[voiced].mean())
            deviation = max(mean * styles.typical_range, 1.0)
            statistics = np.stack([mel.mean(axis=1), styles.typical_deviation])
        normalized = np.where(voiced, (pitch - mean) / deviation, 0.0)
        if self._encoder is None:
            self._encoder = _session(self.bundle, "style_encoder", *self._opened, "fp32", self.elsewhere.append)
        said = self._encoder.run(
            {
                "mel": mel[None],
                "pitch": normalized[None].astype(np.float32),
                "lens": np.array([mel.shape[1]], np.int64),
                "statistics": statistics[None].astype(np.float32),
                "alone": np.array([0.0 if known else 1.0], np.float32),
            }
        )
        return np.asarray(said["style"][0], np.float32)

    def _known_styles(self) -> StyleAssets:
        if self._styles is None:
            raise NemoExtError("this bundle's model was trained without styles: leave style= out")
        return self._styles


class BundleSide:
    """The graphs of a bundle, fed with what a person asked for."""

    def __init__(self, acoustic: BundledAcoustic, vocoder: VocoderRunner) -> None:
        self.acoustic, self.vocoder = acoustic, vocoder
        own, other = acoustic.session.backend, vocoder.session.backend
        self.device = "bundle"
        self.backend = own if own == other else f"{own}; vocoder in {other}"
        self.notes: list[str] = []

    def speak(self, tokens: Tokens, voice: Voice, style: Vector | None, settings: Settings) -> Said:
        """See `Side.speak`."""
        feeds = self._feeds(tokens, voice, style, settings)
        said = self.acoustic.session.run(feeds, _ASKED)
        frames = int(said["num_frames"][0])
        if not frames:
            raise NemoExtError(NO_FRAME)
        mel = np.ascontiguousarray(said["spect"][0, :, :frames])
        pitch = said["pitch_predicted"][0] * np.float32(voice.pitch_std) + np.float32(voice.pitch_mean)
        audio = self.vocoder.decode(mel)
        return Said(said["durations"][0], pitch, mel, audio, self._notes())

    def copy(self, audio: np.ndarray) -> np.ndarray:
        """See `Side.copy`."""
        copied = self.vocoder.decode(log_mel_without_torch(audio, self.acoustic.mel_spec))
        self._notes()
        return copied

    def _notes(self) -> list[str]:
        """What was run without an engine since the last call."""
        told = list(self.acoustic.elsewhere)
        self.acoustic.elsewhere.clear()
        return told

    def _feeds(self, tokens: Tokens, voice: Voice, style: Vector | None, settings: Settings) -> dict[str, np.ndarray]:
        """The inputs of the acoustic graph: what FastPitch.predict_mel makes of the same settings."""
        bundle, length = self.acoustic.bundle, len(tokens.ids)

        def each(name: str) -> np.ndarray:
            return np.broadcast_to(np.asarray(settings[name], np.float32), (1, length))

        if differs(settings["pitch"], NEUTRAL["pitch"]) and not voice.pitch_mean > 0:
            raise NemoExtError("this model does not know its voice's pitch in Hz, so pitch= cannot be shifted")
        ratio = np.float32(2.0) ** (each("pitch") / np.float32(12.0))
        feeds = {
            "text": tokens.ids[None],
            "pitch": np.float32(voice.pitch_mean) * (ratio - np.float32(1.0)) / np.float32(voice.pitch_std),
            "pitch_scale": each("pitch_range") * ratio,
            "pace": each("pace"),
            "volume": np.ones((1, length), np.float32),  # a gain on the finished samples: synthesis/joining.py
            "voice": voice.vector[None],
        }
        if bundle.energy:
            feeds["energy_scale"] = np.float32(10.0) ** (each("energy") / np.float32(20.0))
        elif differs(settings["energy"], NEUTRAL["energy"]):
            raise NemoExtError("this model was trained without energy, so energy= changes nothing in it: leave it out")
        if bundle.style_size:
            feeds["style"] = (np.zeros(bundle.style_size, np.float32) if style is None else style)[None]
        return feeds


def _session(
    bundle: Bundle, graph: str, backend: str, threads: int, precision: str, tell: Callable[[str], None]
) -> Session:
    """``graph`` in ``backend``, with the engines that the bundle has of exactly this graph."""
    path, told = bundle.path(graph), bundle.graphs[graph]
    of_this = bundle.files.get(told.file)
    engines = [bundle.engine_file(e) for e in bundle.engines if (e.graph, e.graph_hash) == (graph, of_this)]

    def say(line: str) -> None:
        tell(f"{graph}: {line}")

    return open_session(path, backend, threads, engines, precision, inputs=told.inputs, outputs=told.outputs, tell=say)
