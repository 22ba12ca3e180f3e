"""Fixtures that every room's tests share. Real speech and real components; nothing is downloaded."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest


def pytest_configure() -> None:
    """Let signals do what they do at a terminal, in the programs that tests start too, however the tests were started.

    Behind ``nohup`` or in the background of a script some are ignored, and a training rightly leaves such ones alone.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.fixture(scope="session")
def corpora() -> Path | None:
    """The folder of small real-speech sets named by NEMO_EXT_CORPORA, or None: then tests use the espeak corpus."""
    named = os.environ.get("NEMO_EXT_CORPORA")
    if not named:
        return None
    folder = Path(named).expanduser().resolve()
    if not folder.is_dir():
        pytest.fail(f"NEMO_EXT_CORPORA names {folder}, which is no folder")
    return folder


@pytest.fixture(scope="session")
def espeak_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished corpus folder of 40 utterances: two voices, two styles, with phoneme events."""
    from nemo_ext.corpus.build import build
    from nemo_ext.corpus.config import CorpusConfig, EspeakOptions

    out = tmp_path_factory.mktemp("corpus") / "espeak"
    build(CorpusConfig(out=str(out), espeak=EspeakOptions(sentences=40), processes=1))
    return out


@pytest.fixture(scope="session")
def speech(corpora: Path | None, request: pytest.FixtureRequest) -> Any:
    """Some seconds of one speaker at 22,050 Hz, ``(T_audio,)`` float32: a real recording, else the espeak corpus's."""
    import torch

    from nemo_ext.audio.io import read

    if corpora is not None:
        path = corpora / "ljspeech_mini" / "wavs" / "LJ001-0002.wav"
    else:
        # ben's: of espeak's high voice, ada, pyworld's harvest gets a third of the frames wrong (against pyin)
        path = min((request.getfixturevalue("espeak_corpus") / "audio").glob("ben-neutral-*.wav"))
    audio, rate = read(path)
    assert rate == 22050
    return torch.from_numpy(audio[0])


@pytest.fixture(scope="session")
def tiny_acoustic(espeak_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FastPitch after a few dozen batches: ``model.nemo`` in its run folder. Its speech is only half learned."""
    return _trained("fastpitch", 60, espeak_corpus, tmp_path_factory, "frames_per_batch=2500")


@pytest.fixture(scope="session")
def tiny_vocoder(espeak_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Vocos that has seen a few dozen batches: ``model.nemo`` in its run folder."""
    return _trained("vocos", 30, espeak_corpus, tmp_path_factory, "model.width=96", "model.hidden_width=192")


def _trained(name: str, steps: int, corpus: Path, tmp_path_factory: pytest.TempPathFactory, *more: str) -> Path:
    from nemo_ext.config import compose
    from nemo_ext.training.run import train

    out = tmp_path_factory.mktemp("runs") / name
    options = [f"model={name}", "size=tiny", f"corpus={corpus}", f"out={out}", f"trainer.max_steps={steps}", *more]
    return train(
        compose("train", [*options, f"trainer.val_every={steps}", "trainer.log_every=5", "trainer.measure_seconds=0"])
    )


@pytest.fixture(scope="session")
def tiny_bundle(tiny_acoustic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of ``tiny_acoustic`` and of an untrained HiFi-GAN, exported: to be read, not to be written to."""
    from nemo_ext.export.config import ExportConfig
    from nemo_ext.export.run import export

    folder = tmp_path_factory.mktemp("bundles")
    toy_vocoder().save_to(str(folder / "vocoder.nemo"))
    return export(ExportConfig(str(tiny_acoustic), str(folder / "vocoder.nemo"), out=str(folder / "tiny")))


def make_bundle(acoustic: Any, folder: Path, precision: str = "fp32") -> Path:
    """A bundle in ``folder`` of a model in memory and a toy HiFi-GAN, as the export writes it, but not compared."""
    from nemo_ext import voices
    from nemo_ext.export import run

    (folder / "voices").mkdir(parents=True)
    for told in acoustic.voices:
        voices.save(acoustic.base_voice(told.name), folder / "voices" / f"{told.name}.voice")
    bundle = run.describe(acoustic, folder)
    run.write_assets(acoustic, bundle)
    run.write_graphs(acoustic, toy_vocoder(), bundle, precision)
    bundle.write()
    return folder


def toy_vocoder() -> Any:
    """A small HiFi-GAN with random weights, always the same."""
    import dataclasses

    import torch
    from omegaconf import OmegaConf

    from nemo_ext.models.vocoder.hifigan import HifiGan
    from nemo_ext.types import MelSpec

    conf = Path(__file__).parents[1] / "conf/model"
    cfg = OmegaConf.merge(OmegaConf.load(conf / "hifigan.yaml"), OmegaConf.load(conf / "size/hifigan_tiny.yaml"))
    torch.manual_seed(0)
    return HifiGan(OmegaConf.merge(cfg, {"mel": dataclasses.asdict(MelSpec())})).eval()
