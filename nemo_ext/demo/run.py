"""``nemo-ext demo``: corpus, features, two trainings, speech, measures, page. Each phase leaves what the next needs."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_ext.demo import newcomer
from nemo_ext.demo.config import DemoConfig
from nemo_ext.demo.state import State
from nemo_ext.demo.trainings import Training
from nemo_ext.errors import NemoExtError
from nemo_ext.jobs import Command

if TYPE_CHECKING:
    from nemo_ext.demo.page import Chart, Phase

# the phases in order, with the seconds that each takes on two cores; only for the first estimate of the time left
PLANNED = {
    "corpus": 20.0,
    "features": 20.0,
    "training": 390.0,
    "newcomer": 50.0,
    "speech": 60.0,
    "alignment": 15.0,
    "page": 2.0,
}
ABOUT = {
    "corpus": "a corpus, read by espeak-ng",
    "features": "mel, pitch, energy and tokens of it",
    "training": "a FastPitch and a Vocos, trained side by side",
    "newcomer": "a third voice, adapted from two minutes of it",
    "speech": "unseen sentences, spoken and compared",
    "alignment": "the alignment, measured over the corpus",
    "page": "the page",
}
SHOWN_ALIGNMENTS = 2


def demo(cfg: DemoConfig) -> Path:
    """Make everything that is not there yet below ``cfg.out``; the page's path.

    Raises:
        NemoExtError: a phase failed (what was done before is kept), or the folder holds another demo.
    """
    out = Path(cfg.out)
    state = State(out, settings(cfg), PLANNED)
    _corpus(cfg, state, out)
    _features(state, out)
    trainings = _trainings(cfg, out)
    _train(trainings, state)
    _adapt(cfg, state, out)
    _speak(cfg, state, out)
    page = _page(cfg, state, out, trainings)
    print(f"the page: {page.resolve().as_uri()}")
    return page


def settings(cfg: DemoConfig) -> dict[str, Any]:
    """What the demo's products depend on."""
    return {k: v for k, v in dataclasses.asdict(cfg).items() if k not in ("out", "shown")}


def _adapt(cfg: DemoConfig, state: State, out: Path) -> None:
    if state.done("newcomer") and (out / newcomer.FILE).is_file():
        return
    with state.phase("newcomer", ABOUT["newcomer"]) as noted:
        noted["what"] = newcomer.adapt(out, cfg.newcomer_sentences, cfg.adapt_steps, cfg.trainer)


def _corpus(cfg: DemoConfig, state: State, out: Path) -> None:
    if state.done("corpus"):
        return
    from nemo_ext.corpus.build import build
    from nemo_ext.corpus.config import CorpusConfig, EspeakOptions

    with state.phase("corpus", ABOUT["corpus"]) as noted:
        corpus = build(
            CorpusConfig(
                out=str(out / "corpus"), title="Two voices of espeak-ng", espeak=EspeakOptions(sentences=cfg.sentences)
            )
        )
        newcomer.make_corpus(out, cfg.newcomer_sentences)
        info = corpus.info
        noted["what"] = f"{info['kept']} utterances, {info['seconds'] / 60:.1f} minutes, {len(info['voices'])} voices"


def _features(state: State, out: Path) -> None:
    if state.done("features"):
        return
    from nemo_ext.corpus.manifest import load_corpus
    from nemo_ext.data.features import FeatureStore
    from nemo_ext.data.prepare import prepare

    with state.phase("features", ABOUT["features"]) as noted:
        corpus = load_corpus(out / "corpus")
        prepare(corpus.utterances, FeatureStore(out / "corpus"))
        noted["what"] = "80-band mel, F0 by DIO, energy"


def _trainings(cfg: DemoConfig, out: Path) -> list[Training]:
    common = [f"corpus={out / 'corpus'}", f"size={cfg.size}", f"trainer={cfg.trainer}", "logger.tensorboard=false"]
    common.append(f"frames_per_batch={cfg.frames_per_batch}")  # a vocoder's batches are segments: it ignores it
    steps = {"acoustic": cfg.acoustic_steps, "vocoder": cfg.vocoder_steps}
    models = {
        "acoustic": ("FastPitch", ["model=fastpitch", "model/style=gst"]),
        "vocoder": ("Vocos", ["model=vocos"]),
    }
    return [
        Training(models[part][0], out / part, [*models[part][1], f"trainer.max_steps={steps[part]}", *common])
        for part in ("acoustic", "vocoder")
    ]


def _train(trainings: list[Training], state: State) -> None:
    if state.done("training") and all((t.out / "model.nemo").is_file() for t in trainings):
        return
    from nemo_ext.demo.trainings import train_side_by_side

    with state.phase("training", ABOUT["training"]) as noted:
        train_side_by_side(trainings, state.progress)
        noted["what"] = ", ".join(f"{t.name} {t.steps()[0]} steps" for t in trainings)


def _speak(cfg: DemoConfig, state: State, out: Path) -> None:
    kept = out / "results.json"
    acoustic, vocoder = (out / part / "model.nemo" for part in ("acoustic", "vocoder"))
    key = _digest([acoustic, vocoder, out / newcomer.FILE])
    marker = out / "results.of"  # the models whose results these are
    if kept.is_file() and marker.is_file() and marker.read_text() == key and state.done("alignment"):
        return
    import torch

    from nemo_ext.corpus.manifest import load_corpus
    from nemo_ext.corpus.sentences import unseen_sentences
    from nemo_ext.demo import measure
    from nemo_ext.synthesis.pipeline import load

    marker.unlink(missing_ok=True)
    torch.set_num_threads(1)  # models this small gain nothing from more
    sentences = unseen_sentences(cfg.unseen)
    with state.phase("speech", ABOUT["speech"]) as noted:
        pipeline = load(acoustic, vocoder)
        done, total = 0, len(sentences) * len(pipeline.voices)

        def spoken() -> None:
            nonlocal done
            done += 1
            state.progress(done / total, f"{done} of {total} sentences")

        results = measure.speak(pipeline, sentences, pipeline.voices, out, spoken)
        results.newcomer = newcomer.speak(pipeline, sentences, out)
        results.styles = measure.styles(pipeline, sentences[0], out)
        noted["what"] = f"{total} sentences, each with copy synthesis and reading, three spectrograms, two MCDs"
    with state.phase("alignment", ABOUT["alignment"]) as noted:
        corpus = load_corpus(out / "corpus")
        seen, count = 0, len(corpus.utterances)

        def aligned(number: int) -> None:
            nonlocal seen
            seen += number
            state.progress(seen / count, f"{seen} of {count} utterances")

        shown = [row.id for row in corpus.val[:SHOWN_ALIGNMENTS]]
        results.aligned = measure.align(pipeline.acoustic, out / "corpus", shown, aligned)
        noted["what"] = f"{results.aligned.boundaries:,} phoneme starts"
        results.save(kept)
        marker.write_text(key)


def _page(cfg: DemoConfig, state: State, out: Path, trainings: list[Training]) -> Path:
    from nemo_ext.demo import report
    from nemo_ext.demo.measure import Results
    from nemo_ext.demo.page import write_page

    with state.phase("page", ABOUT["page"]):
        results = Results.load(out / "results.json")
        models = f"acoustic={out}/acoustic/model.nemo vocoder={out}/vocoder/model.nemo"
        command = f'nemo-ext say {models} text="Hello." out=hello.wav'
        charts, facts = _charts(trainings), _facts(state, trainings)
        page = report.page(results, charts, phases(state), facts, command, cfg.shown)
        path = write_page(page, out / "index.html")
    for figure in page.figures:
        if figure.met is not None:
            print(f"{'met   ' if figure.met else 'MISSED'}  {figure.name}: {figure.value} ({figure.bound})")
    return path


def phases(state: State) -> list[Phase]:
    """What each phase did, and what it took."""
    from nemo_ext.demo.page import Phase

    return [
        Phase(ABOUT[name], state.seconds(name), state.what(name), state.processor_seconds(name)) for name in PLANNED
    ]


def _charts(trainings: list[Training]) -> list[Chart]:
    from nemo_ext.demo import pictures
    from nemo_ext.demo.page import Chart

    charts = []
    for training in trainings:
        curves = training.curves()
        # FastPitch learns by the squared error and is validated by the absolute one; a vocoder takes the latter twice
        error = "squared" if "train/duration" in curves else "absolute"
        named = {f"training, {error} error": "train/mel", "validation, absolute error": "val/mel"}
        mel = [(shown, curves[name]) for shown, name in named.items() if name in curves]
        left_out = ("train/mel", "train/loss", "train/lr")
        others = [
            (name.removeprefix("train/"), curve)
            for name, curve in curves.items()
            if name.startswith("train/") and name not in left_out
        ]
        charts.append(Chart(f"{training.name}: the mel", pictures.chart_svg(mel, "error of the log-mel", True)))
        charts.append(Chart(f"{training.name}: what else it learned", pictures.chart_svg(others, "loss", True)))
    return charts


def _facts(state: State, trainings: list[Training]) -> list[tuple[str, str]]:
    import torch

    from nemo_ext import __version__
    from nemo_ext.demo import report

    sizes = ", ".join(f"{t.name} {os.path.getsize(t.out / 'model.nemo') / 1e6:.1f} MB" for t in trainings)
    return [
        ("Machine", report.machine()),
        ("Software", f"nemo_ext {__version__}, torch {torch.__version__}"),
        ("Corpus", state.what("corpus")),
        ("Models", sizes),
    ]


def _digest(paths: list[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        if not path.is_file():
            raise NemoExtError(f"{path} is missing: start the demo again, it is trained anew")
        found.update(path.read_bytes())
    return found.hexdigest()


def then(cfg: DemoConfig, _page: Path) -> Command:
    """The command to type next."""
    models = {part: f"{cfg.out}/{part}/model.nemo" for part in ("acoustic", "vocoder")}
    return "say", {**models, "text": "Hello.", "out": "hello.wav"}
