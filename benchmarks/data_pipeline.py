"""Our features and batches against stock NeMo's TTSDataset: the same recordings, texts and tokens, one run, one core.

    python benchmarks/data_pipeline.py [--utterances 12]

Writes benchmarks/data_pipeline.md. Needs real speech: NEMO_EXT_CORPORA with ljspeech_mini, vctk_mini and kerstin_de.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # both sides are measured per core

import argparse
import contextlib
import functools
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import describe, table, write
from torch.utils.data import DataLoader

from nemo_ext import _nemo
from nemo_ext.audio.pitch import gross_pitch_error
from nemo_ext.corpus.build import build
from nemo_ext.corpus.config import CorpusConfig
from nemo_ext.corpus.manifest import load_corpus
from nemo_ext.data.collate import collate_acoustic
from nemo_ext.data.dataset import AcousticDataset
from nemo_ext.data.features import FeatureConfig, FeatureStore
from nemo_ext.data.prepare import base_voices
from nemo_ext.data.prior import beta_binomial_prior
from nemo_ext.types import MelSpec, Utterance

SETS = {"ljspeech_mini": ("ljspeech", "en"), "vctk_mini": ("vctk", "en"), "kerstin_de": ("ljspeech", "de")}
SPEC = MelSpec()
STOCK_RANGE = (65.406, 2093.005)  # Hz: C2 to C7, TTSDataset's defaults
SPEECH_RANGE = (65.406, 500.0)  # Hz: what both search in the comparison at equal range
BATCH = 8
ROUNDS = 5
EXTRACTED = ["align_prior_matrix", "log_mel", "pitch"]
LOADED = ["align_prior_matrix", "pitch", "energy", "speaker_id"]  # and audio and text, which stock always gives
STOCK_FORMS = ("stock", "stock, interpolated prior", "stock, mel as well")
BAND = "pitch band, Hz (stock / ours)"
DEFAULTS, EQUAL, SAME, GROSS, LOADING = "defaults", "equal range", "same method", "gross error", "loading"
NEEDED = {DEFAULTS: 20.0, EQUAL: 6.0, GROSS: 3.0, LOADING: 3.0}  # times, times, at most %, times


@dataclass
class Material:
    """A set of recordings, as both sides read it."""

    name: str
    corpus_dir: Path
    utterances: list[Utterance]
    tokenizer: Any
    tokens: list[np.ndarray]
    manifest: Path  # in stock's form: absolute paths, speakers by number

    @property
    def seconds(self) -> float:
        """Seconds of speech."""
        return sum(utterance.duration for utterance in self.utterances)


def material(name: str, corpora: Path, count: int, work: Path) -> Material:
    """Make a corpus of the set ``name`` and choose ``count`` utterances, spread evenly over it."""
    from nemo.collections.common.tokenizers.text_to_speech import tts_tokenizers

    recipe, language = SETS[name]
    out = work / name
    build(CorpusConfig(recipe=recipe, source=str(corpora / name), out=str(out), language=language))
    corpus = load_corpus(out)
    everything = sorted(corpus.utterances, key=lambda utterance: utterance.id)
    chosen = [everything[i] for i in np.linspace(0, len(everything) - 1, min(count, len(everything))).astype(int)]
    tokenizer = (tts_tokenizers.GermanCharsTokenizer if language == "de" else tts_tokenizers.EnglishCharsTokenizer)()
    speakers = sorted({str(utterance.speaker) for utterance in chosen})
    rows = [
        {
            "audio_filepath": str(corpus.audio_path(utterance).resolve()),
            "text": utterance.normalized_text or utterance.text,
            "duration": utterance.duration,
            "speaker": speakers.index(str(utterance.speaker)),
        }
        for utterance in chosen
    ]
    manifest = work / f"{name}.json"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tokens = [np.asarray(tokenizer(row["text"]), dtype=np.int32) for row in rows]
    return Material(name, out, chosen, tokenizer, tokens, manifest)


def stock_dataset(of: Material, folder: Path, kinds: list[str], pitch_range: tuple[float, float], **more: Any) -> Any:
    """Stock NeMo's dataset on ``of``, with its caches under ``folder``."""
    from nemo.collections.tts.data.dataset import TTSDataset

    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        return TTSDataset(
            manifest_filepath=str(of.manifest),
            sample_rate=SPEC.sample_rate,
            text_tokenizer=of.tokenizer,
            sup_data_types=kinds,
            sup_data_path=str(folder),
            n_fft=SPEC.n_fft,
            win_length=SPEC.win_length,
            hop_length=SPEC.hop_length,
            n_mels=SPEC.n_mels,
            lowfreq=SPEC.f_min,
            highfreq=SPEC.f_max,
            pitch_fmin=pitch_range[0],
            pitch_fmax=pitch_range[1],
            **more,
        )


def core_seconds(work: Callable[[], Any]) -> float:
    """Seconds of processor time that ``work`` takes, all threads together."""
    start = time.process_time()
    work()
    return time.process_time() - start


def extract_stock(of: Material, folder: Path, pitch_range: tuple[float, float]) -> tuple[float, list[np.ndarray]]:
    """Core seconds to make every utterance's features, and the pitch that was found."""
    dataset = stock_dataset(of, folder, EXTRACTED, pitch_range)
    taken = core_seconds(lambda: [dataset[i] for i in range(len(dataset))])
    names = [utterance.audio_filepath.rsplit("/", 1)[-1].rsplit(".", 1)[0] for utterance in of.utterances]
    return taken, [torch.load(folder / "pitch" / f"{name}.pt").numpy() for name in names]


def extract_ours(
    of: Material, folder: Path, pitch_range: tuple[float, float], method: str = FeatureConfig().pitch_method
) -> tuple[float, list[np.ndarray]]:
    """The same of ours, energy included; the median of several runs, each with an empty cache; pYIN, slow, once."""
    config = FeatureConfig(SPEC, method, *pitch_range)
    taken = []
    for turn in range(1 if method == "pyin" else ROUNDS):
        store = FeatureStore(of.corpus_dir, config, folder / str(turn))

        def all_of_them(store: FeatureStore = store) -> None:
            for utterance, tokens in zip(of.utterances, of.tokens, strict=True):
                beta_binomial_prior(len(tokens), store.entry(utterance).frames)

        taken.append(core_seconds(all_of_them))
    return statistics.median(taken), [store.load(utterance).pitch for utterance in of.utterances]


def compare_pitch(ours: list[np.ndarray], stock: list[np.ndarray]) -> tuple[float, float, float, float]:
    """Gross error, voiced for stock only, voiced for ours only, all in %; the median difference in cents."""
    wrong = both = missing = extra = frames = 0
    cents: list[np.ndarray] = []
    for found, reference in zip(ours, stock, strict=True):
        length = min(len(found), len(reference))
        found, reference = found[:length], reference[:length]
        errors, shared = gross_pitch_error(found, reference)
        wrong, both = wrong + errors, both + shared
        missing, extra = (
            missing + int(((reference > 0) & (found == 0)).sum()),
            extra + int(((found > 0) & (reference == 0)).sum()),
        )
        frames += length
        voiced = (found > 0) & (reference > 0)
        off = np.abs(1200 * np.log2(found[voiced] / reference[voiced]))
        cents.append(off[off < 300])
    return 100 * wrong / both, 100 * missing / frames, 100 * extra / frames, float(np.median(np.concatenate(cents)))


def samples_per_second(loaders: dict[str, DataLoader[Any]], samples: int) -> dict[str, float]:
    """Samples a core second of each loader: after one epoch to warm up, the median of rounds taken in turn."""
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for loader in loaders.values():
        for _ in loader:
            pass
    for _ in range(ROUNDS):
        for name, loader in loaders.items():
            epochs, start = 0, time.process_time()
            while time.process_time() - start < 1.0:
                for _ in loader:
                    pass
                epochs += 1
            rates[name].append(epochs * samples / (time.process_time() - start))
    return {name: statistics.median(values) for name, values in rates.items()}


def load(of: Material, work: Path) -> dict[str, float]:
    """Samples a second from warm caches, in batches of BATCH in the order of the manifest."""
    store = FeatureStore(of.corpus_dir, FeatureConfig(SPEC), work / "ours")
    voices = base_voices(of.utterances, store)
    ours = AcousticDataset(of.utterances, of.tokens, store, voices)
    loaders = {"ours": DataLoader(ours, BATCH, collate_fn=functools.partial(collate_acoustic, pad=of.tokenizer.pad))}
    normalize = {"pitch_norm": True, "pitch_mean": voices[0].pitch_mean, "pitch_std": voices[0].pitch_std}
    forms: dict[str, tuple[list[str], bool]] = {
        STOCK_FORMS[0]: (LOADED, False),
        STOCK_FORMS[1]: (LOADED, True),
        STOCK_FORMS[2]: ([*LOADED, "log_mel"], False),
    }
    for name, (kinds, interpolate) in forms.items():
        more = normalize | {"use_beta_binomial_interpolator": interpolate}
        dataset = stock_dataset(of, work / "stock", kinds, SPEECH_RANGE, **more)
        loaders[name] = DataLoader(dataset, BATCH, collate_fn=dataset._collate_fn)
    return samples_per_second(loaders, len(of.utterances))


def warm_up(of: Material, work: Path) -> None:
    """Both sides once, uncounted: librosa compiles its pyin at the first call."""
    one = of.manifest.with_suffix(".one")
    one.write_text(of.manifest.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    few = Material(of.name, of.corpus_dir, of.utterances[:1], of.tokenizer, of.tokens[:1], one)
    extract_stock(few, work / "warm_stock", SPEECH_RANGE)
    extract_ours(few, work / "warm_ours", SPEECH_RANGE)


@dataclass
class Results:
    """Rows of the three tables, and the figures that something is demanded of."""

    speed: list[list[str]] = field(default_factory=list)
    pitch: list[list[str]] = field(default_factory=list)
    loading: list[list[str]] = field(default_factory=list)
    figures: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in (*NEEDED, SAME)})

    def judge(self, name: str, measured: float) -> str:
        """Remember a figure and say whether it is good enough."""
        self.figures[name].append(measured)
        good = measured <= NEEDED[name] if name == GROSS else measured >= NEEDED[name]
        return "met" if good else "missed"


def measure(of: Material, work: Path, results: Results) -> None:
    """Everything that is measured on one set."""
    ours = FeatureConfig()
    bands = {DEFAULTS: (STOCK_RANGE, (ours.pitch_f_min, ours.pitch_f_max)), EQUAL: (SPEECH_RANGE, SPEECH_RANGE)}
    count = len(of.utterances)
    for label, (stock_range, our_range) in bands.items():
        print(f"{of.name}: features, {label}, {of.seconds:.0f} s of speech", flush=True)
        stock_taken, stock_pitch = extract_stock(of, work / f"stock {label}", stock_range)
        our_taken, our_pitch = extract_ours(of, work / f"ours {label}", our_range)
        band = f"{stock_range[0]:.0f}-{stock_range[1]:.0f} / {our_range[0]:.0f}-{our_range[1]:.0f}"
        ratio = stock_taken / our_taken
        rates = [f"{count / stock_taken:.2f}", f"{count / our_taken:.1f}", f"{of.seconds / our_taken:.0f}"]
        results.speed.append(
            [of.name, ours.pitch_method, band, *rates, f"**{ratio:.1f}**", results.judge(label, ratio)]
        )
        gross, missing, extra, cents = compare_pitch(our_pitch, stock_pitch)
        shown = [f"**{gross:.2f}**", results.judge(GROSS, gross), f"{missing:.1f}", f"{extra:.1f}", f"{cents:.0f}"]
        results.pitch.append([of.name, band, *shown])
    print(f"{of.name}: features, pYIN on both sides", flush=True)
    pyin_taken, _ = extract_ours(of, work / "ours pyin", SPEECH_RANGE, "pyin")
    ratio = stock_taken / pyin_taken  # stock's of the equal range, which came last
    rates = [f"{count / stock_taken:.2f}", f"{count / pyin_taken:.2f}", f"{of.seconds / pyin_taken:.0f}"]
    results.speed.append([of.name, "pyin", band, *rates, f"**{ratio:.2f}**", "none"])
    results.figures[SAME].append(ratio)
    print(f"{of.name}: loading", flush=True)
    rate = load(of, work)
    ratio = rate["ours"] / max(rate[form] for form in STOCK_FORMS)
    shown = [f"{rate[form]:,.0f}" for form in (*STOCK_FORMS, "ours")]
    results.loading.append([of.name, *shown, f"**{ratio:.1f}**", results.judge(LOADING, ratio)])


def main() -> None:
    """Measure both and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=12, help="of each set")
    chosen = parser.parse_args()
    corpora = os.environ.get("NEMO_EXT_CORPORA")
    if not corpora:
        raise SystemExit("set NEMO_EXT_CORPORA to the folder with ljspeech_mini, vctk_mini and kerstin_de")
    torch.set_num_threads(1)
    _nemo.quiet()
    results = Results()
    with tempfile.TemporaryDirectory() as folder:
        for name in SETS:
            of = material(name, Path(corpora), chosen.utterances, Path(folder))
            if not results.speed:
                warm_up(of, Path(folder))
            measure(of, Path(folder) / f"{name}_features", results)
    worst = {name: (max if name == GROSS else min)(values) for name, values in results.figures.items()}
    write(
        Path(__file__).with_suffix(".md"),
        "Features and batches",
        f"NEMO_EXT_CORPORA=... python benchmarks/data_pipeline.py --utterances {chosen.utterances}",
        [
            f"Stock NeMo's `TTSDataset` and ours on the same recordings ({chosen.utterances} of each set, 22,050 Hz "
            "WAV) with the same tokens, in one process with one thread. All speeds are per second of processor time.",
            f"Worst set: **{worst[DEFAULTS]:.1f} times** stock's speed in making features at each side's defaults, "
            f"**{worst[EQUAL]:.1f} times** at equal pitch range, **{worst[SAME]:.2f} times** with pYIN on both sides "
            "(the gain is the method's, DIO in place of pYIN); "
            f"**{worst[LOADING]:.1f} times** in cached loading; gross pitch error **{worst[GROSS]:.2f} %**.",
            "## Making features\n\n"
            "Read the recording, compute pitch, mel and prior, and keep them; ours computes the energy as well. Pitch: "
            f"stock's librosa.pyin; ours `{FeatureConfig().pitch_method}` of WORLD, and librosa.pyin too. Median of "
            f"{ROUNDS} runs of ours, one with pyin, one of stock. Needed: at least {NEEDED[DEFAULTS]:.0f} times stock's"
            f" speed at each side's defaults, {NEEDED[EQUAL]:.0f} times when both search the same band; nothing is "
            "needed of the rows with pyin.",
            table(
                [
                    "set",
                    "ours",
                    BAND,
                    "stock, utterances/s",
                    "ours, utterances/s",
                    "ours, times real time",
                    "ratio",
                    "needed",
                ],
                results.speed,
            ),
            "## Pitch against pyin\n\n"
            "Gross error: share of the frames voiced in both whose F0 differs by more than 20 %. Needed: at most "
            f"{NEEDED[GROSS]:.0f} %. Voicing error is the sum of two shares of all frames: voiced for pyin only, and "
            "for ours only. Last: median difference of F0 where it is below 300 cents.",
            table(
                ["set", BAND, "gross error, %", "needed", "pyin only, %", "ours only, %", "difference, cents"],
                results.pitch,
            ),
            "## Loading from warm caches\n\n"
            f"Samples/s in batches of {BATCH} with tokens, normalized pitch, energy, prior and speaker. Stock gives "
            "the audio (its model computes the mel inside the step), or audio and mel; ours gives the mel. Stock's "
            "interpolated prior is an approximation; ours is exact. No worker processes; median of "
            f"{ROUNDS} rounds in turn. The ratio is to the fastest of stock's forms. "
            f"Needed: at least {NEEDED[LOADING]:.0f}.",
            table(["set", *STOCK_FORMS, "ours", "ratio", "needed"], results.loading),
            describe(),
        ],
    )


if __name__ == "__main__":
    main()
