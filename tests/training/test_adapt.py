"""`nemo-ext adapt`: one voice vector of a frozen base, learned from a new speaker's recordings."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import nemo_ext
from nemo_ext import _nemo, voices
from nemo_ext.audio.io import read_mono, write
from nemo_ext.cli import main
from nemo_ext.config import compose
from nemo_ext.corpus.manifest import Corpus
from nemo_ext.errors import NemoExtError
from nemo_ext.synthesis.pipeline import Pipeline
from nemo_ext.training import adapt_report, alignments, voice_fit
from nemo_ext.training.adapt import _named_styles, adapt, learn, make
from nemo_ext.training.adapt_config import AdaptConfig, recipe_for
from nemo_ext.training.adapt_data import _held_out, gather
from nemo_ext.training.adapt_report import speak
from nemo_ext.training.alignments import AlignerCopy, Health
from nemo_ext.training.voice_fit import AVERAGED, GROUPS, VoiceFit, group_indices
from nemo_ext.types import Utterance
from nemo_ext.voices import Consent
from tests.models.acoustic.test_styled import styled

QUICK = ["trainer.threads=1", "trainer.log_every=5", "speaker=ben", "consent=unknown"]


def config(base: Path, corpus: Path, out: Path, *more: str) -> AdaptConfig:
    options = [f"base={base}", f"corpus={corpus}", f"out={out}", *QUICK, *more]
    return compose("adapt", options)  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def base(tiny_acoustic: Path) -> Any:
    return _nemo.restore(tiny_acoustic).requires_grad_(False)


@pytest.fixture(scope="session")
def adapted(tiny_acoustic: Path, base: Any, espeak_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A voice of a few dozen steps, its report, and the base's weights as they were before."""
    out = tmp_path_factory.mktemp("voices") / "anna.voice"
    before = {k: v.clone() for k, v in base.state_dict().items()}
    chosen = config(tiny_acoustic, espeak_corpus, out, "trainer.max_steps=24", "trainer.val_every=8", "aligner_steps=4")
    chosen = dataclasses.replace(chosen, lr=2e-2, embedding_lr=2e-2)
    made = make(chosen, base, out, "Anna", Consent.parse("Anna Meier; 2026-05-01; tests"))
    return SimpleNamespace(made=made, out=out, before=before)


def test_held_out_loss_falls_and_the_best_is_kept(adapted: Any) -> None:
    losses = {step: held_out["loss"] for step, held_out in adapted.made.history}
    assert list(losses) == [0, 8, 16, 24]
    assert min(losses.values()) == losses[adapted.made.steps] == adapted.made.after["loss"]
    assert adapted.made.steps > 0
    assert adapted.made.after["loss"] < adapted.made.before["loss"]
    assert adapted.made.after["mel_l1"] < adapted.made.before["mel_l1"]


def test_what_is_looked_at_is_the_mean_over_the_last_steps(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = VoiceFit(base, base.voice_vector("ada"), {"embedding": 1e-2}, 0.0, lambda batch: None)  # type: ignore[arg-type]
    expected = None
    for step in (1, 2, 3, 700):
        monkeypatch.setattr(VoiceFit, "global_step", step)
        fit.learned["embedding"].data.fill_(float(step))
        fit.on_train_batch_end(None, None, 0)
        kept = min(AVERAGED, step / (step + 9.0))
        now = fit.vector().detach()
        expected = now if expected is None else kept * expected + (1.0 - kept) * now
    torch.testing.assert_close(fit.mean(), expected)
    fit.begin({"loss": 2.0}, patience=0)
    fit._sums = [(10, {"loss": 1.0})]
    fit.on_validation_epoch_end()
    torch.testing.assert_close(fit.best[2], expected)
    assert not torch.allclose(fit.best[2], fit.vector())


def test_the_held_out_loss_is_the_mean_over_frames_not_over_batches(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = VoiceFit(base, base.voice_vector("ada"), {"embedding": 1e-2}, 0.0, lambda batch: None)  # type: ignore[arg-type]
    fit.begin({"loss": 9.0}, patience=0)
    monkeypatch.setattr(VoiceFit, "_losses", lambda *_: (None, None))
    monkeypatch.setattr(VoiceFit, "log_dict", lambda *_, **__: None)
    monkeypatch.setattr(VoiceFit, "global_step", 1)
    for frames, loss in ((10, 1.0), (30, 3.0)):
        here = {"loss": torch.tensor(loss), "mel_l1": torch.tensor(loss)}
        monkeypatch.setattr(voice_fit, "_measured", lambda *_, here=here: here)
        fit.validation_step(SimpleNamespace(ids=["a"], mel_lens=torch.tensor([frames])), 0)  # type: ignore[arg-type]
    fit.on_validation_epoch_end()
    assert fit.history[-1][1]["loss"] == pytest.approx(2.5)


def test_the_base_is_left_as_it_was(adapted: Any, base: Any) -> None:
    after = base.state_dict()
    assert after.keys() == adapted.before.keys()
    assert all(torch.equal(after[k], v) for k, v in adapted.before.items())
    assert all(p.grad is None for p in base.parameters())


def test_the_voice_file_says_where_it_comes_from(adapted: Any, base: Any) -> None:
    voice = voices.load(adapted.out)
    origin = voice.provenance
    assert (voice.name, voice.language) == ("Anna", "en")
    assert voice.base_hash == base.weights_hash()
    assert (origin.made_by, origin.recordings, origin.steps) == ("adapted", 20, adapted.made.steps)
    assert str(origin.consent) == "Anna Meier, 2026-05-01, for tests"
    assert len(origin.recordings_hash) == 32
    assert 20 < origin.seconds < 100
    told = next(v for v in base.voices if v.name == "ben")
    assert voice.pitch_mean == pytest.approx(told.pitch_mean, abs=0.5)  # of the recordings themselves
    assert voice.mel_stats is not None
    assert voice.mel_stats.shape == (2, 80)
    assert np.any(voice.vector != adapted.made.start.vector)


def test_it_speaks(adapted: Any, base: Any) -> None:
    speech = nemo_ext.load(base).say("Hello there.", voice=str(adapted.out))
    assert speech.voice == "Anna"
    assert np.abs(speech.audio).max() > 0.01


def test_the_report_is_one_file_with_everything_in_it(adapted: Any) -> None:
    page = adapted.out.with_suffix(".html").read_text(encoding="utf-8")
    assert page.count("data:audio/flac") == 3 * 3  # three held-out utterances, each in three readings
    figures = ("mel L1, own durations", "mean F0, Hz", "MCD-DTW", "cosine to the recordings (d-vector)")
    for told in (*figures, "focus", "Anna Meier", "embedding, film"):
        assert told in page
    assert 'src="/' not in page


def test_each_figure_of_the_report_is_under_what_it_is_of() -> None:
    """A voice whose F0 went away from its recordings', which is remarked; 25 % less mel distance is a change."""

    def sound(f0: float, frames: int) -> Any:
        heard = np.zeros(8, np.float32)
        return adapt_report.Sound("", heard, np.zeros((2, frames)), np.full(3, f0), mcd=5.0 if f0 == 110.0 else 4.0)

    reading = adapt_report.Reading("Hello.", sound(110.0, 20), sound(130.0, 10), sound(100.0, 10))
    made = SimpleNamespace(before={"mel_l1": 1.0, "pitch": 0.5}, after={"mel_l1": 0.75, "pitch": 0.6})
    rows, remarks = adapt_report._figures([reading], made, {"before": 0.6, "after": 0.8})
    told = {row["name"]: (row["before"], row["after"], row["change"], row["recording"]) for row in rows}
    assert told == {
        "mel L1, own durations": ("1.000", "0.750", "25 % less", ""),
        "distortion (MCD-DTW), dB": ("5.000", "4.000", "-1.000", ""),
        "cosine to the recordings (d-vector)": ("0.600", "0.800", "+0.200", ""),
        "mean F0, Hz": ("110", "130", "", "100"),
        "F0 from the recordings', semitones": ("+1.65", "+4.54", "farther", ""),
        "length, times the recordings'": ("2.00", "1.00", "nearer", ""),
        "loss of pitch": ("0.500", "0.600", "20 % more", ""),
    }
    assert len(remarks) == 1
    assert "F0 became worse: 4.54 semitones" in remarks[0]


def test_what_does_worse_is_not_kept(tiny_acoustic: Path, base: Any, espeak_corpus: Path, tmp_path: Path) -> None:
    """A rate far too high: every step does harm, so the start is kept, and the search ends early."""
    chosen = config(tiny_acoustic, espeak_corpus, tmp_path / "x.voice", "aligner_steps=0", "patience=2")
    chosen = dataclasses.replace(chosen, lr=30.0, embedding_lr=30.0)
    chosen.trainer.max_steps, chosen.trainer.val_every = 12, 2
    made = learn(chosen, base, gather(chosen, base))
    assert [step for step, _ in made.history] == [0, 2, 4]
    assert made.steps == 0
    assert np.array_equal(made.voice.vector, made.start.vector)


def test_the_start_is_held_against_losses_of_the_same_precision(
    tiny_acoustic: Path, base: Any, espeak_corpus: Path, tmp_path: Path
) -> None:
    """Nothing is learned at a rate of 0, so the held-out losses stay those of the start."""
    chosen = config(tiny_acoustic, espeak_corpus, tmp_path / "x.voice", "aligner_steps=0", "trainer.max_steps=1")
    chosen = dataclasses.replace(chosen, lr=0.0, embedding_lr=0.0)
    chosen.trainer.precision = "bf16-mixed"
    (_, before), (_, after) = learn(chosen, base, gather(chosen, base)).history
    assert after == pytest.approx(before, rel=1e-6)


def test_the_aligner_s_copy_comes_back_to_where_the_base_is(
    tiny_acoustic: Path, base: Any, espeak_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning moves what it has fitted to the processor; there, the base of a training on a GPU is not."""
    moves: list[str] = []

    def noting(name: str) -> None:
        before = getattr(AlignerCopy, name)

        def noted(self: Any, *where: Any) -> Any:
            moves.append(f"to {where[0]}" if name == "to" else name)
            return before(self, *where)

        monkeypatch.setattr(AlignerCopy, name, noted)

    noting("cpu")
    noting("to")
    noting("align")
    chosen = config(tiny_acoustic, espeak_corpus, tmp_path / "x.voice", "aligner_steps=1", "trainer.max_steps=1")
    learn(chosen, base, gather(chosen, base))
    left = moves.index("cpu")
    assert moves[left : left + 3] == ["cpu", f"to {base.device}", "align"]


def test_the_command(tiny_acoustic: Path, espeak_corpus: Path, tmp_path: Path, capfd: Any) -> None:
    out = tmp_path / "deep" / "ben.voice"
    line = [f"base={tiny_acoustic}", f"corpus={espeak_corpus}", f"out={out}", *QUICK, "trainer.max_steps=1"]
    assert main(["adapt", *line, "aligner_steps=0", "report=false", "learn=embedding"]) == 0
    said = capfd.readouterr().err
    assert "nearest base voice: 'ben'" in said
    assert "learned: embedding; at most 1 steps" in said
    assert "note: the base has a voice 'ben' too, and voice=ben is that one" in said
    assert {p.name for p in out.parent.iterdir()} == {"ben.voice"}
    voice = voices.load(out)
    assert voice.name == "ben"
    adapters = slice(voice.layout.slots[0].size, None)
    assert not voice.vector[adapters].any()  # embedding only


def test_a_report_that_cannot_be_written_costs_no_voice(
    tiny_acoustic: Path, base: Any, espeak_corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "ben.voice"
    out.with_suffix(".html").mkdir()
    quick = ["trainer.max_steps=1", "aligner_steps=0", "learn=embedding"]
    with pytest.raises(NemoExtError, match=r"ben\.html could not be written"):
        make(config(tiny_acoustic, espeak_corpus, out, *quick), base, out, "ben", Consent())
    assert voices.load(out).name == "ben"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_learns_leaves_nothing(
    number: int, tiny_acoustic: Path, espeak_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """Lightning's own answers are a silent exit with 1, and with 0."""
    monkeypatch.setattr(VoiceFit, "on_train_batch_end", lambda *_: os.kill(os.getpid(), number))
    out = tmp_path / "v" / "ben.voice"
    line = [f"base={tiny_acoustic}", f"corpus={espeak_corpus}", f"out={out}", *QUICK, "aligner_steps=0"]
    handler = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, handler)  # tests in the background of a shell ignore Ctrl-C
    try:
        if number == signal.SIGINT:
            assert main(["adapt", *line]) == 130
            assert capfd.readouterr().err.endswith("nemo-ext: interrupted\n")
        else:
            with pytest.raises(SystemExit) as left:
                main(["adapt", *line])
            assert left.value.code == 143
        assert signal.getsignal(number) == handler
    finally:
        signal.signal(number, before)
    assert not out.parent.exists()


def test_a_clip_is_another_module_s_work(
    tiny_acoustic: Path, base: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def voice_from_clip(model: Any, clip: str, name: str, consent: Consent, encoder: str | None) -> Any:
        assert encoder is None
        asked.append((str(clip), name, str(consent)))
        return dataclasses.replace(model.base_voice("ada"), name=name)

    module = SimpleNamespace(voice_from_clip=voice_from_clip)
    monkeypatch.setitem(sys.modules, "nemo_ext.training.zero_shot", module)
    out = tmp_path / "clip.voice"
    adapt(compose("adapt", [f"base={tiny_acoustic}", "reference=clip.wav", f"out={out}", "consent=unknown"]))
    assert asked == [("clip.wav", "clip", "unknown")]
    assert voices.load(out).name == "clip"


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["corpus=c", "out=x.voice", "consent=unknown"], "base= is missing"),
        (["base=b", "out=x.voice", "consent=unknown"], "either corpus= .* or reference="),
        (["base=b", "corpus=c", "reference=r", "out=x.voice"], "either corpus= .* or reference="),
        (["base=b", "corpus=c", "encoder=e.nemo", "out=x.voice"], "encoder=e.nemo is for reference="),
        (["base=b", "reference=r.wav", "learn=film", "out=x.voice"], "learn=film is for corpus="),
        (["base=b", "corpus=c", "out=x.nemo", "consent=unknown"], r"out=x\.nemo is no voice file: end it in \.voice"),
        (["base=b", "corpus=c", "consent=unknown"], "out=nothing is no voice file"),
        (["base=b", "corpus=c", "out=x.voice"], "consent= is missing: write who agreed"),
        (["base=b", "corpus=c", "out=x.voice", "consent=yes"], "consent='yes' cannot be read"),
        (["base=b", "corpus=c", "out=x.voice", "consent=unknown", "trainer.devices=2"], "on one device"),
        (["base=b", "corpus=c", f"out={__file__}/deep/x.voice", "consent=unknown"], "cannot be written"),
        (["base=b", "corpus=c", "out=x.voice", "consent=unknown", "name=J\udcf6rg"], "must be UTF-8"),
        (["base=b", "corpus=c", "out=x.voice", "trainer.precision=fp7"], "fp7 is not one of 32, bf16-mixed, 16-mixed"),
        (["base=none.nemo", "corpus=c", "out=x.voice", "consent=unknown"], "no model at"),
    ],
)
def test_options_that_cannot_be(options: list[str], told: str) -> None:
    with pytest.raises(NemoExtError, match=told) as raised:
        adapt(compose("adapt", options))
    assert "\n" not in str(raised.value)


def test_a_vocoder_that_cannot_be_is_refused_before_anything_is_learned(tiny_acoustic: Path, tmp_path: Path) -> None:
    """The corpus, which is looked at next, is not there either."""
    for vocoder, told in (("none.nemo", "no model at .*none.nemo"), (tiny_acoustic, "is no vocoder for this base")):
        chosen = config(tiny_acoustic, tmp_path / "none", tmp_path / "x.voice", f"vocoder={vocoder}")
        with pytest.raises(NemoExtError, match=told):
            adapt(chosen)


def test_a_vocoder_is_no_base(tiny_vocoder: Path) -> None:
    with pytest.raises(NemoExtError, match="is a Vocos, which has no voices"):
        adapt(compose("adapt", [f"base={tiny_vocoder}", "corpus=c", "out=x.voice", "consent=unknown"]))


@pytest.fixture
def changed(espeak_corpus: Path, tmp_path: Path) -> Callable[..., Path]:
    """``changed(rows)`` is the corpus with its manifests passed through ``rows(list of rows)``."""

    def make_one(rows: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], **info: Any) -> Path:
        folder = Path(shutil.copytree(espeak_corpus, tmp_path / "changed"))
        for name in ("train.jsonl", "val.jsonl"):
            path = folder / name
            found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows(found)), encoding="utf-8")
        about = yaml.safe_load((folder / "corpus.yaml").read_text(encoding="utf-8"))
        (folder / "corpus.yaml").write_text(yaml.safe_dump(about | info), encoding="utf-8")
        return folder

    return make_one


def refused(base: Any, chosen: AdaptConfig) -> str:
    with pytest.raises(NemoExtError) as raised:
        make(chosen, base, Path(chosen.out), "x", Consent())
    assert not Path(chosen.out).parent.exists() or not list(Path(chosen.out).parent.glob("x*"))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_recordings_that_do_not_fit(tiny_acoustic: Path, base: Any, changed: Any, tmp_path: Path) -> None:
    def same(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return rows

    out = tmp_path / "out" / "x.voice"
    folder = changed(same)
    several = dataclasses.replace(config(tiny_acoustic, folder, out), speaker="")
    assert "has 2 speakers (ada, ben): choose one with speaker=NAME" in refused(base, several)
    misspelt = dataclasses.replace(several, speaker="bem")
    assert "did you mean 'ben'" in refused(base, misspelt)
    (folder / "corpus.yaml").write_text("sample_rate: 16000\n")
    assert "has 16000 Hz and the base" in refused(base, several)


def test_too_little_speech(tiny_acoustic: Path, base: Any, changed: Any, tmp_path: Path) -> None:
    folder = changed(lambda rows: [r for r in rows if r["speaker"] == "ben"][:2])
    told = refused(base, config(tiny_acoustic, folder, tmp_path / "out" / "x.voice"))
    assert "adaptation needs at least 10 s" in told
    assert "reference=CLIP.wav" in told


def test_another_language_and_another_alphabet(tiny_acoustic: Path, base: Any, changed: Any, tmp_path: Path) -> None:
    folder = changed(lambda rows: [row | {"language": "de"} for row in rows])
    chosen = config(tiny_acoustic, folder, tmp_path / "out" / "x.voice")
    assert "speaks de and the base" in refused(base, chosen)
    for name in ("train.jsonl", "val.jsonl"):
        text = (folder / name).read_text(encoding="utf-8").replace('"de"', '"en"')
        rows = [json.loads(line) | {"text": "Привет мир"} for line in text.splitlines()]
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert "have letters that the base" in refused(base, chosen)


def test_labels_become_the_voices_own_styles_whispered_and_short_ones_too(
    tiny_acoustic: Path, changed: Any, tmp_path: Path
) -> None:
    whispered = "ben-neutral-0002"
    folder = changed(lambda rows: [{**row, "style": "whisper"} if row["id"] == whispered else row for row in rows])
    base, chosen = styled(), config(tiny_acoustic, folder, tmp_path / "x.voice")
    torch.nn.init.constant_(base.fastpitch.duration_predictor.fc.bias, 1.5)  # so that it speaks
    noise = np.random.default_rng(0).normal(0.0, 0.05, int(0.4 * 22050)).astype(np.float32)
    write(folder / "audio" / f"{whispered}.wav", noise, 22050)
    recordings, ben = gather(chosen, base), base.base_voice("ben")
    found = _named_styles(base, recordings, ben)
    rows = [row for row in recordings.corpus.utterances if row.style == "lively"]
    assert set(found) == {"lively", "neutral", "whisper"}
    heard = [base.style_vector_from(read_mono(recordings.store.audio_path(row))[0], ben) for row in rows]
    np.testing.assert_allclose(found["lively"], np.mean(heard, axis=0), atol=1e-5)
    assert np.abs(found["whisper"] - found["lively"]).max() > 1e-3
    # the report speaks as `say` does
    ben.styles = {"neutral": 3 * found["neutral"]}
    said = Pipeline(base, device="cpu", voices=voices.save(ben, tmp_path / "anna.voice").parent)
    mel = speak(base, rows[0], ben)[0].numpy()
    np.testing.assert_allclose(mel, said.say(rows[0].text, str(tmp_path / "anna.voice")).mel, atol=1e-5)


def test_texts_of_other_recordings(tiny_acoustic: Path, base: Any, changed: Any, tmp_path: Path) -> None:
    """What makes an adaptation learn noise is found before anything is learned."""

    def exchanged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        texts = [row["text"] for row in rows]
        return [row | {"text": texts[(i + 5) % len(rows)]} for i, row in enumerate(rows)]

    folder = changed(exchanged)
    chosen = config(tiny_acoustic, folder, tmp_path / "out" / "x.voice", "aligner_steps=0")
    told = refused(base, chosen)
    assert told.startswith(f"the texts of {folder} do not seem to belong to its recordings")


# ------------------------------------------------------------------------ its parts


@pytest.mark.parametrize(("won", "pairs", "doubted"), [(6, 10, True), (9, 10, False), (18, 30, True), (60, 100, False)])
def test_texts_that_may_fit_by_chance_are_doubted(won: int, pairs: int, doubted: bool) -> None:
    """White noise under ten texts was seen to pass with six of them."""
    health = Health(loss=1.0, focus=0.5, margin=0.1, won=won / pairs, pairs=pairs)
    assert not health.hopeless
    assert health.doubtful is doubted
    assert not Health(loss=1.0, focus=0.5, margin=float("nan"), won=float("nan")).doubtful


@pytest.mark.parametrize("count", [2, 3, 4, 9, 30])
def test_something_is_held_out_and_something_is_left_to_learn_from(count: int) -> None:
    rows = [Utterance(str(i), f"{i}.wav", f"Text {i}.", 5.0) for i in range(count)]
    for aside in {0, 1, count // 2, count - 1, count}:  # of the corpus's own validation part
        train, val = _held_out(Corpus(Path(), rows[aside:], rows[:aside]), rows, seed=0)
        assert train, aside
        assert val, aside
        assert sorted(u.id for u in train + val) == sorted(u.id for u in rows)
        assert len(val) >= 2 or count < 4


def test_more_speech_teaches_longer_and_is_tied_less() -> None:
    short, middle, long = (recipe_for(seconds, AdaptConfig(), GROUPS) for seconds in (60.0, 300.0, 1800.0))
    assert short.groups == middle.groups == long.groups == GROUPS
    assert short.steps <= middle.steps < long.steps
    assert short.decay > middle.decay >= long.decay
    assert recipe_for(60.0, AdaptConfig(), ("embedding",)).groups == ("embedding",)


def test_what_is_asked_for_wins() -> None:
    chosen = AdaptConfig(lr=1e-4, learn="all", aligner_steps=0)
    chosen.trainer.max_steps = 7
    recipe = recipe_for(60.0, chosen, GROUPS)
    assert (recipe.steps, recipe.val_every, recipe.lr, recipe.aligner_steps) == (7, 7, 1e-4, 0)
    assert recipe.groups == GROUPS
    with pytest.raises(NemoExtError, match="nothing of base  can be learned"):
        recipe_for(60.0, AdaptConfig(), ())
    for changes, told in (({"lr": float("inf")}, "lr=inf"), ({"patience": -1}, "patience=-1: it must be at least 0")):
        with pytest.raises(NemoExtError, match=told):
            recipe_for(60.0, dataclasses.replace(chosen, **changes), GROUPS)
    chosen.trainer.max_steps = 0
    with pytest.raises(NemoExtError, match=r"trainer\.max_steps=0: it must be at least 1"):
        recipe_for(60.0, chosen, GROUPS)


def test_the_groups_are_the_whole_vector(base: Any) -> None:
    found = group_indices(base.voice_layout)
    assert tuple(found) == GROUPS
    assert torch.equal(torch.cat(list(found.values())).sort().values, torch.arange(base.voice_layout.size))


def test_durations_give_the_alignment_they_came_from(
    base: Any, adapted: Any, espeak_corpus: Path, tmp_path: Path
) -> None:
    recordings = gather(config(tmp_path, espeak_corpus, tmp_path / "x.voice"), base)
    aligner = alignments.FrozenAligner(base, base._voice_table()[1].detach())
    batch = next(iter(recordings.whole))
    there = aligner.align(batch)
    again = alignments.find(aligner, [batch])(batch)
    assert torch.equal(again.durations, there.durations)
    assert torch.equal(again.path, there.path)
    held_out = {u.id for u in recordings.corpus.val}
    assert held_out
    assert not held_out & {u.id for u in recordings.corpus.train}
