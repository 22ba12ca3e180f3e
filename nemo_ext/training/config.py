"""Options of ``nemo-ext train``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nemo_ext.config import option
from nemo_ext.data.augment import Augment
from nemo_ext.text.config import TextConfig
from nemo_ext.types import MelSpec

PRECISIONS = ("32", "bf16-mixed", "16-mixed")  # as Lightning names them


@dataclass
class TrainerOptions:
    """How to train: conf/trainer/*.yaml. The names that Lightning's Trainer has mean what they mean there."""

    accelerator: str = option("cpu", "cpu or gpu")
    devices: int = option(
        1, "how many of them on each node; torchrun and srun say it themselves; 0: every GPU", least=0, most=4096
    )
    num_nodes: int = option(
        1, "machines that train together; torchrun and srun say it themselves", least=1, most=100_000
    )
    precision: str = option("32", "what is computed in", choices=PRECISIONS)
    max_steps: int = option(1000, "optimizer steps of the whole training, resumed parts included", least=1)
    max_minutes: float | None = option(
        None,
        "instead of max_steps: as many steps as the measured speed allows; a resumed run keeps that number",
        "min",
        above=0.0,
    )
    measure_seconds: float = option(
        4.0, "measure speed and memory this long before the start; 0: not at all", "s", least=0.0, most=3600.0
    )
    threads: int = option(0, "CPU threads; 0: one a core, or OMP_NUM_THREADS", least=0, most=4096)
    workers: int = option(
        0,
        "processes that load data; 0 loads in the training process; with loader=dali: threads of DALI, at least 1",
        least=0,
        most=1024,
    )
    val_every: int = option(500, "validate, draw pictures and curves this often", "steps", least=1)
    checkpoint_every: int = option(500, "write a checkpoint this often", "steps", least=1)
    keep_checkpoints: int = option(2, "how many of the newest checkpoints to keep", least=1)
    fused: bool = option(True, "optimizers update all weights in one pass, where torch has such a form of them")
    compile: bool = option(
        False,
        "torch.compile a vocoder's networks, for about a minute; whether its steps are then faster is to be tried",
    )
    log_every: int = option(10, "write losses to metrics.jsonl and the logger this often", "steps", least=1)
    accumulate: int = option(
        1, "take a batch in so many parts that are added up; for acoustic models", "parts", least=1, most=65_536
    )
    ema: float = option(
        0.0,
        "validate and save the mean of the weights over the last steps, which keeps this share of itself; 0: none",
        least=0.0,
        most=0.999999,
    )
    objective_every: int | None = option(
        None,
        "speak and measure a few sentences this often; 0: never; left out: 5 on GPUs, else never",
        "validations",
        least=0,
    )
    gradient_clip: float = option(
        1000.0, "largest norm of the gradient; vocoders have their own, model.gradient_clip", above=0.0
    )


@dataclass
class StrategyOptions:
    """How processes train together: conf/strategy/*.yaml."""

    name: str = option("auto", "auto (one process alone, else ddp), ddp or fsdp")
    static_graph: bool = option(True, "ddp: every step uses the same weights; not for vocoders, nor with accumulate")
    bucket_views: bool = option(True, "ddp: gradients lie in the buckets that are sent, which saves a copy")
    bucket_megabytes: int = option(25, "ddp: gradients sent at once", "MB", least=1, most=65_536)


@dataclass
class LoggerOptions:
    """Where curves, pictures and audio go: conf/logger/*.yaml."""

    tensorboard: bool = option(True, "write TensorBoard logs to out/logs")
    wandb: bool = option(False, "send to Weights & Biases (pip install wandb; WANDB_MODE=offline keeps it here)")
    project: str = option("nemo_ext", "Weights & Biases' project")


@dataclass
class FeatureOptions:
    """What is computed from the recordings."""

    mel: MelSpec = field(default_factory=MelSpec)
    pitch_method: str = option("dio", "dio (fast), harvest or pyin")
    pitch_f_min: float = option(65.0, "lowest pitch searched for", "Hz", least=10.0, most=2000.0)
    pitch_f_max: float = option(600.0, "highest pitch searched for", "Hz", least=20.0, most=4000.0)


@dataclass
class TrainConfig:
    """Options of ``nemo-ext train``."""

    corpus: str = option("", "folder that `nemo-ext corpus` made", path=True)
    out: str = option("", "folder for model.nemo, checkpoints and logs; the same again resumes", path=True)
    init: str = option("", "start from the weights in this .nemo, or in this checkpoint of a training", path=True)
    acoustic: str = option("", "teach a vocoder the mels that this acoustic model (.nemo) predicts", path=True)
    seed: int = option(0, "of weights, order and dropout", least=0, most=2**32 - 1)
    frames_per_batch: int = option(
        6000, "budget of an acoustic model's batch, padding included, over all devices", "mel frames", least=1
    )
    loader: str = option(
        "torch", "who reads recordings and makes mels: torch, or NVIDIA DALI as it goes", choices=("torch", "dali")
    )
    augment: Augment = field(default_factory=Augment)
    size: dict[str, Any] = option({}, "tiny, small or full")
    model: dict[str, Any] = option({}, "what to train, with its own options")
    # without languages: they are then the corpus's
    text: TextConfig = field(default_factory=lambda: TextConfig(languages=[]))
    features: FeatureOptions = field(default_factory=FeatureOptions)
    trainer: TrainerOptions = field(default_factory=TrainerOptions)
    strategy: StrategyOptions = field(default_factory=StrategyOptions)
    logger: LoggerOptions = field(default_factory=LoggerOptions)
