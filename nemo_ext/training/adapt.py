"""``nemo-ext adapt``: a base model and minutes of a new speaker -> a voice file. The base is not changed by a bit.

Align (alignments.py), find the nearest base voice, learn the difference from it (voice_fit.py), keep the vector that
did best on utterances it did not learn from.
"""

from __future__ import annotations

import dataclasses
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nemo_ext import _nemo, voices  # before Lightning and NeMo: it keeps their imports quiet
from nemo_ext.console import tell

from lightning.pytorch import LightningModule, Trainer, seed_everything  # isort: skip
from lightning.pytorch.utilities.exceptions import SIGTERMException  # isort: skip

from nemo_ext.console import Progress, clock
from nemo_ext.data.prepare import mel_statistics
from nemo_ext.errors import NemoExtError
from nemo_ext.training import alignments, checks, preflight
from nemo_ext.training.adapt_config import AdaptConfig, Recipe, recipe_for
from nemo_ext.training.adapt_data import Recordings, gather
from nemo_ext.training.alignments import AlignerCopy, Durations, FrozenAligner, Health
from nemo_ext.training.run import without_third_party_warnings
from nemo_ext.training.voice_fit import VoiceFit, evaluate, group_indices
from nemo_ext.training.watch import NanGuard, Watch
from nemo_ext.types import Batch
from nemo_ext.voices import Consent, Provenance, Voice, now

_SHORT = 30.0  # seconds of speech that many base voices are first compared on
_FINALISTS = 4  # of them


@dataclass
class Aligned:
    """Who says what when in the new recordings."""

    aligner: FrozenAligner | AlignerCopy
    durations: Durations
    health: Health

    def __str__(self) -> str:
        whose = "a copy of the base's aligner" if isinstance(self.aligner, AlignerCopy) else "the base's aligner"
        return f"{self.health}; by {whose}"


@dataclass
class Adapted:
    """What an adaptation came to."""

    voice: Voice
    start: Voice  # the base voice it started from
    recipe: Recipe
    aligned: Aligned
    before: dict[str, float]  # held-out losses of the start
    after: dict[str, float]
    history: list[tuple[int, dict[str, float]]]  # (step, held-out losses)
    steps: int  # at which the best was reached
    seconds: float  # wall clock


def adapt(config: AdaptConfig) -> Voice:
    """Make the voice file ``config.out``; it is returned as well.

    Raises:
        NemoExtError: an option that is missing or cannot be, a base that cannot learn voices, recordings that do not
            fit it, or a loss that is no number; nothing is written then. Or the report cannot be made: the voice is.
    """
    out, consent = checks.adapt(config), _consent(config.consent)
    preflight.check_accelerator(config.trainer.accelerator)
    _nemo.quiet()
    base = _base(config)
    name = config.name or out.stem
    if out.stem in [voice.name for voice in base.voices]:
        _say(f"note: the base has a voice '{out.stem}' too, and voice={out.stem} is that one: speak with voice={out}")
    if config.reference:
        from nemo_ext.training.zero_shot import voice_from_clip

        voice = voice_from_clip(base, Path(config.reference), name, consent, config.encoder or None)
        voices.save(voice, out)
        _say(f"{out}: voice '{name}' from {config.reference}; nothing was trained")
        return voice
    return make(config, base, out, name, consent).voice


def make(config: AdaptConfig, base: Any, out: Path, name: str, consent: Consent) -> Adapted:
    """The voice of ``config.corpus`` for ``base``, written to ``out`` with its report beside it.

    Raises:
        NemoExtError: as ``adapt``.
    """
    from nemo_ext.training import adapt_report

    decoder = adapt_report.decoder_for(config, base) if config.report else None  # before minutes are spent
    seed_everything(config.seed, verbose=False)
    preflight.use_threads(config.trainer.threads)
    adapted = learn(config, base, recordings := gather(config, base))
    voice = adapted.voice
    voice.name, voice.provenance.consent = name, consent
    voices.save(voice, out)
    _say(
        f"{out}: voice '{name}', best at step {adapted.steps}: held-out mel L1 {adapted.before['mel_l1']:.3f} as "
        f"'{adapted.start.name}' -> {adapted.after['mel_l1']:.3f}, in {clock(adapted.seconds)}"
    )
    if config.report:
        page = adapt_report.write_report(out.with_suffix(".html"), config, base, recordings, adapted, decoder)
        _say(f"{page}: listen to it before you use the voice")
    return adapted


def learn(config: AdaptConfig, base: Any, recordings: Recordings) -> Adapted:
    """The voice of ``recordings`` for ``base``, still without name and consent.

    Raises:
        NemoExtError: the texts do not belong to the recordings, a loss is no number, or the base was changed.
    """
    began, untouched = time.monotonic(), base.weights_hash()
    recipe = recipe_for(recordings.seconds, config, tuple(group_indices(base.voice_layout)))
    _say(
        f"{clock(recordings.seconds)} of speech to learn from, {len(recordings.corpus.val)} utterances held out; "
        f"learned: {recipe}"
    )
    for note in recordings.notes:
        _say(f"note: {note}")
    whole, held_out = Moved(recordings.whole, base.device), Moved(recordings.val, base.device)
    aligned = _aligned(config, recipe, base, recordings, whole, held_out)
    if aligned.health.doubtful:
        recordings.notes.append(
            f"whether the texts belong to the recordings is not certain: only {100 * aligned.health.won:.0f} % of "
            f"{aligned.health.pairs} recordings fit their own text better than another's; listen before you use it"
        )
        _say(f"note: {recordings.notes[-1]}")
    durations = aligned.durations
    start = _nearest(base, whole, durations)
    vector = torch.from_numpy(start.vector).to(base.device)
    before = evaluate(base, vector, held_out, durations)
    _say(f"nearest base voice: '{start.name}', held-out mel L1 {before['mel_l1']:.3f}")
    fit = VoiceFit(base, vector, recipe.rates, recipe.decay, durations)
    fit.begin(before, config.patience)
    _run(fit, config, recipe.steps, recipe.val_every, recordings)
    if base.weights_hash() != untouched:
        raise NemoExtError("the base model changed while the voice was learned, which is a defect: report it")
    after = dict(next(losses for step, losses in fit.history if step == fit.best[1]))
    return Adapted(
        voice=_voice(base, recordings, start, fit),
        start=start,
        recipe=recipe,
        aligned=aligned,
        before=before,
        after=after,
        history=fit.history,
        steps=fit.best[1],
        seconds=time.monotonic() - began,
    )


class Moved:
    """The batches of a loader on a device, as often as they are asked for."""

    def __init__(self, loader: Any, device: Any) -> None:
        self.loader, self.device = loader, device

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.loader:
            yield batch.to(self.device)


# ------------------------------------------------------------------- preparation


def _consent(given: str) -> Consent:
    if not given.strip() and sys.stdin.isatty():
        tell("Whose voice is it, when did they agree, and to what use?", error=True)
        given = input("WHO; WHEN; USE (or unknown): ")
    return checks.consent(given)


def _base(config: AdaptConfig) -> Any:
    on = "cuda" if config.trainer.accelerator in ("gpu", "cuda") else "cpu"
    base = _nemo.restore(config.base, on)
    if not hasattr(base, "voice_layout"):
        raise NemoExtError(
            f"base={config.base} is a {type(base).__name__}, which has no voices: give an acoustic model"
        )
    return base.requires_grad_(False)


# --------------------------------------------------------------------- alignment


def _aligned(
    config: AdaptConfig, recipe: Recipe, base: Any, recordings: Recordings, whole: Moved, held_out: Moved
) -> Aligned:
    """Durations of every utterance: by the base's aligner, or by a copy that does better on what it has not heard."""
    frozen = FrozenAligner(base, _listening(base, whole))
    health = alignments.measure(base, frozen, whole)
    _say(f"alignment by the base: {health}")
    if not recipe.aligner_steps:
        alignments.refuse_hopeless(health, config.corpus)
        return Aligned(frozen, alignments.find(frozen, whole), health)
    mine = AlignerCopy(base, frozen.embedding, 1e-3)
    theirs = alignments.measure(base, frozen, held_out)
    every = max(1, min(25, recipe.aligner_steps))
    _run(mine, config, recipe.aligner_steps, every, recordings)
    mine.to(base.device)  # Lightning leaves what it has fitted on the processor
    mine.take_best()
    learned = alignments.measure(base, mine, held_out)
    better = learned.loss < theirs.loss and learned.focus >= theirs.focus
    if better:
        health = alignments.measure(base, mine, whole)
    _say(
        f"a copy of the aligner, held-out utterances: {theirs} -> {learned}: "
        f"{'it is used' if better else 'the base is kept'}"
    )
    alignments.refuse_hopeless(health, config.corpus)
    chosen: FrozenAligner | AlignerCopy = mine if better else frozen
    return Aligned(chosen, alignments.find(chosen, whole), health)


def _listening(base: Any, whole: Moved) -> torch.Tensor:
    """The base voice's embedding ``(E,)`` with which the aligner hears the recordings best."""
    table = base._voice_table().detach()
    some = _first(whole, _SHORT, base)
    losses = [alignments.measure(base, FrozenAligner(base, row), some, compare=False).loss for row in table]
    return table[min(range(len(losses)), key=losses.__getitem__)]


def _nearest(base: Any, whole: Moved, durations: Durations) -> Voice:
    """The base voice whose mels come closest to the recordings', with the recordings' durations."""
    names = [voice.name for voice in base.voices]
    table, some = base._voice_table().detach(), _first(whole, _SHORT, base)
    if len(names) > _FINALISTS:
        with Progress(len(names), "comparing base voices") as progress:
            losses = []
            for row in table:
                losses.append(evaluate(base, row, some, durations)["mel"])
                progress.step()
        order = sorted(range(len(names)), key=losses.__getitem__)[:_FINALISTS]
    else:
        order = list(range(len(names)))
    best = min(order, key=lambda i: evaluate(base, table[i], whole, durations)["mel"])
    found: Voice = base.base_voice(names[best])
    return found


def _first(batches: Moved, seconds: float, base: Any) -> list[Batch]:
    """The first batches of ``batches``, about ``seconds`` of them; they are the longest utterances."""
    found: list[Batch] = []
    for batch in batches:
        found.append(batch)
        if sum(int(b.mel_lens.sum()) for b in found) * base.mel_spec.seconds(1) >= seconds:
            break
    return found


# ----------------------------------------------------------------------- fitting


def _run(module: LightningModule, config: AdaptConfig, steps: int, every: int, recordings: Recordings) -> None:
    options = config.trainer
    on_gpu = options.accelerator != "cpu"
    with without_third_party_warnings(), tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            accelerator=options.accelerator,
            devices=1,
            precision=options.precision,  # type: ignore[arg-type]
            max_steps=steps,
            max_epochs=-1,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            inference_mode=False,
            callbacks=[
                NanGuard("lr= and embedding_lr=", "nothing was written", (options.log_every if on_gpu else 1,)),
                Watch(Path(folder), options.log_every, curves=False),
            ],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            gradient_clip_val=options.gradient_clip,
            check_val_every_n_epoch=None,
            val_check_interval=every,
        )
        try:
            trainer.fit(module, recordings.train, recordings.val)
        except SIGTERMException:  # would be exit status 0
            raise SystemExit(128 + signal.SIGTERM) from None
        except SystemExit:  # what Lightning makes of Ctrl-C, without a word
            raise KeyboardInterrupt from None
    if isinstance(module, VoiceFit) and trainer.should_stop and trainer.global_step < steps:
        _say(f"stopped at step {trainer.global_step}: the held-out loss was best at step {module.best[1]}")


def _voice(base: Any, recordings: Recordings, start: Voice, fit: VoiceFit) -> Voice:
    told = recordings.voice
    voice = dataclasses.replace(
        start,
        vector=fit.best[2].float().cpu().numpy(),
        language=told.language,
        pitch_mean=told.pitch_mean,
        pitch_std=told.pitch_std,
        styles={},
        mel_stats=mel_statistics(recordings.corpus.utterances, recordings.store, [told])[0],
        provenance=Provenance(
            made_by="adapted",
            created=now(),
            source=recordings.corpus.dir.name,
            recordings=len(recordings.corpus.utterances),
            seconds=round(sum(u.duration for u in recordings.corpus.utterances), 2),
            recordings_hash=recordings.hash(),
            steps=fit.best[1],
        ),
    )
    if getattr(base, "style", None) is not None:
        voice.styles = _named_styles(base, recordings, voice)
    return voice


def _named_styles(base: Any, recordings: Recordings, voice: Voice) -> dict[str, np.ndarray]:
    """The mean style of the utterances of each label, of short and whispered ones too."""
    heard: dict[str, list[np.ndarray]] = {}
    for row in recordings.corpus.utterances:
        if row.style:
            features = recordings.store.load(row)
            heard.setdefault(row.style, []).append(base.style_vector_of(features.mel, features.pitch, voice))
    return {name: np.mean(vectors, axis=0).astype(np.float32) for name, vectors in sorted(heard.items())}


def _say(line: str) -> None:
    tell(line, error=True)
