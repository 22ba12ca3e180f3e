"""What `nemo-ext` can do: the options and the function of each job, by name, so that nothing is imported too early."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nemo_ext.errors import UsageError, nearest

Command = tuple[str, Mapping[str, object]]  # a job, and options with their values


@dataclass(frozen=True)
class Job:
    """One job of the command line."""

    help: str  # one line
    config: str  # "module:dataclass" of its options
    run: str  # "module:function" that takes an instance of them
    example: str = ""  # the options of a typical call
    check: str = ""  # "module:function" that refuses wrong options, where importing `run` costs seconds
    positional: str = ""  # the option that may be given first, without its name
    then: str = ""  # "module:function" of the options and what `run` gave back: the `Command` to type next, or None


JOBS: Mapping[str, Job] = {
    "corpus": Job(
        "recordings and their texts -> a corpus: manifests, splits, a report of what was dropped and why",
        "nemo_ext.corpus.config:CorpusConfig",
        "nemo_ext.corpus.build:build",
        "recipe=ljspeech source=LJSpeech-1.1 out=corpora/lj",
        then="nemo_ext.corpus.build:then",
    ),
    "train": Job(
        "a corpus -> an acoustic model or a vocoder; the same command again resumes",
        "nemo_ext.training.config:TrainConfig",
        "nemo_ext.training.run:train",
        "model=fastpitch size=small corpus=corpora/lj out=runs/lj",
        "nemo_ext.training.checks:before_train",
        then="nemo_ext.training.checks:after_train",
    ),
    "adapt": Job(
        "a base model and minutes of a new speaker -> a voice file; the base stays as it is",
        "nemo_ext.training.adapt_config:AdaptConfig",
        "nemo_ext.training.adapt:adapt",
        "base=runs/vctk/model.nemo corpus=corpora/anna out=anna.voice consent='Anna Meier; 2026-05-01; audiobooks'",
        "nemo_ext.training.checks:before_adapt",
        then="nemo_ext.training.checks:after_adapt",
    ),
    "say": Job(
        "a text -> an audio file",
        "nemo_ext.synthesis.config:SayConfig",
        "nemo_ext.synthesis.say:say",
        'acoustic=runs/lj/model.nemo text="Hello, world." out=hello.wav',
    ),
    "text": Job(
        "a text -> how it is read: normalized, in phonemes, in tokens; loads no model",
        "nemo_ext.text.job:TextJobConfig",
        "nemo_ext.text.job:text",
        'text="Dr. Smith paid $3.50 on May 3." language=en',
        positional="action",
        then="nemo_ext.text.job:then",
    ),
    "voice": Job(
        "a voice file -> what is in it; a folder of them -> a table; voices with weights -> a new voice file",
        "nemo_ext.synthesis.config:VoiceConfig",
        "nemo_ext.synthesis.voice:voice",
        "show=anna.voice",
        then="nemo_ext.synthesis.voice:then",
    ),
    "export": Job(
        "models -> a bundle that speaks without torch: ONNX, TensorRT engines, a Triton repository, a Riva voice",
        "nemo_ext.export.config:ExportConfig",
        "nemo_ext.export.run:export",
        "acoustic=runs/vctk/model.nemo vocoder=runs/hifigan/model.nemo voices=voices out=bundle targets=[onnx,triton]",
        then="nemo_ext.export.run:then",
    ),
    "migrate": Job(
        "a FastPitch or HiFi-GAN of NeMo 1.x or 2.x -> ours; its adapters -> voice files",
        "nemo_ext.migrate.config:MigrateConfig",
        "nemo_ext.migrate.run:migrate",
        "old.nemo out=new.nemo",
        positional="source",
        then="nemo_ext.migrate.run:then",
    ),
    "demo": Job(
        "the whole chain on a small corpus made on the spot, with a page to listen to",
        "nemo_ext.demo.config:DemoConfig",
        "nemo_ext.demo.run:demo",
        then="nemo_ext.demo.run:then",
    ),
    "doctor": Job(
        "what is installed, what is missing for which job, and the command that adds it",
        "nemo_ext.doctor:DoctorConfig",
        "nemo_ext.doctor:doctor",
    ),
}


def find(name: str, jobs: Mapping[str, Job] = JOBS) -> Job:
    """The job called ``name``.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    if name not in jobs:
        raise UsageError(f"there is no job '{name}'{nearest(name, jobs) or '; jobs: ' + ', '.join(jobs)}")
    return jobs[name]


def load(path: str) -> Any:
    """The object at ``"module:name"``."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
