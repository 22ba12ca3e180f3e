"""Options of ``nemo-ext adapt``, and what they are taken to be for so much speech."""

from __future__ import annotations

from dataclasses import dataclass, field

from nemo_ext.config import option
from nemo_ext.errors import NemoExtError
from nemo_ext.training.config import PRECISIONS

LEAST_SECONDS = 10.0  # of speech, held-out part included
LEARN = ("embedding", "film", "all")


@dataclass
class AdaptTrainer:
    """How to adapt: conf/trainer/*.yaml. The names that Lightning's Trainer has mean what they mean there."""

    accelerator: str = option("cpu", "cpu or gpu")
    devices: int = option(1, "one: a voice is learned on one device", least=0, most=4096)
    precision: str = option("32", "what is computed in", choices=PRECISIONS)
    max_steps: int | None = option(
        None, "optimizer steps at most; chosen from the length of the speech when left out", least=1
    )
    val_every: int | None = option(
        None, "look at the held-out utterances this often; chosen when left out", "steps", least=1
    )
    checkpoint_every: int = option(0, "no meaning here: the best vector is kept in memory", least=0)
    threads: int = option(0, "CPU threads; 0: one a core, or OMP_NUM_THREADS", least=0, most=4096)
    workers: int = option(0, "processes that load data; 0 loads in the process that adapts", least=0, most=1024)
    log_every: int = option(10, "write losses this often", "steps", least=1)
    gradient_clip: float = option(1000.0, "largest norm of the gradient", above=0.0)


@dataclass
class AdaptConfig:
    """Options of ``nemo-ext adapt``."""

    base: str = option("", "acoustic model to adapt, a .nemo file; it is not changed", path=True)
    corpus: str = option("", "folder that `nemo-ext corpus` made of the new speaker's recordings", path=True)
    reference: str = option("", "one clip of the speaker, instead of corpus=: nothing is trained", path=True)
    encoder: str = option(
        "", "with reference=: the base's speaker encoder, a .nemo file, where it is not where it was", path=True
    )
    out: str = option("", "voice file to write, ends in .voice; its report goes beside it", path=True)
    name: str = option("", "of the voice; the stem of out= when left out", verbatim=True)
    consent: str = option("", "who agreed, when, to what use: 'WHO; WHEN; USE', or unknown", verbatim=True)
    speaker: str = option("", "whose recordings to take from a corpus of several speakers", verbatim=True)
    learn: str = option("all", "what of the voice is learned", choices=LEARN)
    lr: float | None = option(
        None, "learning rate of adapters; chosen from the length of the speech when left out", above=0.0
    )
    embedding_lr: float | None = option(None, "learning rate of the speaker embedding; likewise", above=0.0)
    decay: float | None = option(None, "weight decay towards the nearest base voice; likewise", least=0.0)
    patience: int = option(6, "stop after so many looks at the held-out utterances without a better one; 0: never")
    aligner_steps: int | None = option(
        None,
        "steps for which a copy of the aligner learns from the recordings; 0: none; chosen when left out",
        "steps",
        least=0,
    )
    frames_per_batch: int = option(2000, "budget of a batch, padding included", "mel frames", least=1)
    pitch_method: str = option("dio", "dio (fast), harvest or pyin")
    pitch_f_min: float = option(65.0, "lowest pitch searched for", "Hz", least=10.0, most=2000.0)
    pitch_f_max: float = option(600.0, "highest pitch searched for", "Hz", least=20.0, most=4000.0)
    vocoder: str = option("", "vocoder for the report's audio, a .nemo file; Griffin-Lim without one", path=True)
    report: bool = option(True, "write a report beside the voice file")
    seed: int = option(0, "of the order of batches", least=0, most=2**32 - 1)
    trainer: AdaptTrainer = field(default_factory=AdaptTrainer)


@dataclass(frozen=True)
class Recipe:
    """How a voice is learned."""

    groups: tuple[str, ...]  # embedding, film, bottleneck
    steps: int
    val_every: int
    lr: float
    embedding_lr: float
    decay: float
    aligner_steps: int

    @property
    def rates(self) -> dict[str, float]:
        """Learning rate of each group."""
        return {name: self.embedding_lr if name == "embedding" else self.lr for name in self.groups}

    def __str__(self) -> str:
        return (
            f"{', '.join(self.groups)}; at most {self.steps} steps, rate {self.lr:g} (embedding {self.embedding_lr:g}),"
            f" decay {self.decay:g}, aligner's copy {self.aligner_steps} steps"
        )


# Up to so many seconds of speech. More speech: longer, and less tied to the start.
_ALL = ("embedding", "film", "bottleneck")
_BY_LENGTH: tuple[tuple[float, Recipe], ...] = (
    (120.0, Recipe(_ALL, 400, 20, 2e-2, 2e-2, 0.1, 400)),
    (900.0, Recipe(_ALL, 400, 40, 2e-2, 2e-2, 0.02, 400)),
    (float("inf"), Recipe(_ALL, 2000, 100, 2e-2, 2e-2, 0.01, 400)),
)


def recipe_for(seconds: float, config: AdaptConfig, groups: tuple[str, ...]) -> Recipe:
    """What to do with ``seconds`` of speech to learn from; ``groups``: what this base's voices have.

    Raises:
        NemoExtError: options that cannot work, or nothing of what is asked for is in this base's voices.
    """
    default = next(recipe for limit, recipe in _BY_LENGTH if seconds <= limit)
    wanted = {"embedding": ("embedding",), "film": ("embedding", "film"), "all": _ALL}[config.learn]
    found = tuple(name for name in wanted if name in groups)
    if not found:
        raise NemoExtError(
            f"nothing of base {config.base} can be learned for a voice: it is a model of one speaker without adapters; "
            "train a base with several voices, or with model/adapters=shared"
        )

    def given(value: float | None, chosen: float) -> float:
        return chosen if value is None else value

    options = config.trainer
    steps = default.steps if options.max_steps is None else options.max_steps
    every = default.val_every if options.val_every is None else options.val_every
    copied = default.aligner_steps if config.aligner_steps is None else config.aligner_steps
    recipe = Recipe(
        groups=found,
        steps=steps,
        val_every=max(1, min(every, steps)),
        lr=given(config.lr, default.lr),
        embedding_lr=given(config.embedding_lr, default.embedding_lr),
        decay=given(config.decay, default.decay),
        aligner_steps=copied,
    )
    for name, value, least in (
        ("trainer.max_steps", steps, 1),
        ("trainer.val_every", every, 1),
        ("aligner_steps", copied, 0),
        ("lr", recipe.lr, 0.0),
        ("embedding_lr", recipe.embedding_lr, 0.0),
        ("decay", recipe.decay, 0.0),
        ("patience", config.patience, 0),
        ("trainer.gradient_clip", options.gradient_clip, 0.0),
        ("trainer.log_every", options.log_every, 1),
    ):
        if not least <= value < float("inf"):
            raise NemoExtError(f"{name}={value}: it must be at least {least:g}, and a number")
    return recipe
