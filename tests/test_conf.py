"""Every YAML under conf/ composes, fits its dataclass, and its model can be built."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from nemo_ext import config, jobs
from nemo_ext.types import BaseVoice, MelSpec

CONF = config.conf_dir()
COMPOSED = sorted(path.stem for path in CONF.glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))


def choices() -> Iterator[tuple[str, str, str]]:
    """(job, group, choice) for every file that a job can choose by itself."""
    for job in COMPOSED:
        for group in config.groups(job).values():
            if not str(group.default).startswith("${"):
                yield from ((job, group.name, choice) for choice in group.choices)


def sizes() -> Iterator[tuple[str, str]]:
    """(model, size) for every overlay under conf/model/size."""
    for path in sorted((CONF / "model/size").glob("*.yaml")):
        model, _, size = path.stem.rpartition("_")
        yield model, size


def model_class(target: str) -> Any:
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_each_yaml_on_top_belongs_to_a_job() -> None:
    assert set(COMPOSED) <= set(jobs.JOBS)


def test_no_yaml_is_out_of_reach() -> None:
    reached = {f"{group}/{choice}" for _, group, choice in choices()}
    reached |= {f"model/size/{model}_{size}" for model, size in sizes() if model in MODELS}
    found = {str(path.relative_to(CONF).with_suffix("")) for path in CONF.glob("*/**/*.yaml")}
    assert found == reached


@pytest.mark.parametrize("job", jobs.JOBS)
def test_defaults_fit(job: str) -> None:
    assert isinstance(config.compose(job), jobs.load(jobs.find(job).config))


@pytest.mark.parametrize(("job", "group", "choice"), list(choices()))
def test_choices_fit(job: str, group: str, choice: str) -> None:
    assert isinstance(config.compose(job, [f"{group}={choice}"]), jobs.load(jobs.find(job).config))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("size", ["tiny", "small", "full"])
def test_models_come_in_the_promised_sizes(model: str, size: str) -> None:
    composed = config.compose("train", [f"model={model}", f"size={size}"]).model
    overlay = OmegaConf.load(CONF / f"model/size/{model}_{size}.yaml")
    assert overlay
    assert OmegaConf.merge(composed, overlay) == composed


@pytest.mark.parametrize(("model", "size"), list(sizes()))
def test_models_fit_their_dataclass(model: str, size: str) -> None:
    composed = config.compose("train", [f"model={model}", f"model/size={model}_{size}"]).model
    assert composed["name"] == model
    filled = config.conform(composed, model_class(composed["_target_"]).config_class)
    assert set(composed) <= set(filled)


@pytest.mark.parametrize(("model", "size"), list(sizes()))
def test_a_size_holds_only_what_differs(model: str, size: str) -> None:
    base = OmegaConf.to_container(OmegaConf.load(CONF / f"model/{model}.yaml"))
    overlay = OmegaConf.to_container(OmegaConf.load(CONF / f"model/size/{model}_{size}.yaml"))
    assert isinstance(base, dict)
    assert isinstance(overlay, dict)
    assert not [key for key in overlay if key in base and overlay[key] == base[key]]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("group", ["trainer", "strategy", "size", "logger", "text"])
def test_what_is_chosen_beside_an_experiment_wins(experiment: str, group: str) -> None:
    """An experiment chooses only for those who do not: every file of the group, against the group alone."""
    for choice in config.groups("train")[group].choices:
        chosen = getattr(config.compose("train", [f"experiment={experiment}", f"{group}={choice}"]), group)
        given = OmegaConf.load(CONF / f"{group}/{choice}.yaml")
        assert isinstance(given, DictConfig)
        told = OmegaConf.load(CONF / f"experiment/{experiment}.yaml").get(group, {})
        for key in given.keys() - {"defaults"} - set(told):
            assert (chosen[key] if isinstance(chosen, dict) else getattr(chosen, str(key))) == given[key]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_says_what_it_costs_and_chooses_only_what_differs(experiment: str) -> None:
    path = CONF / f"experiment/{experiment}.yaml"
    written = path.read_text()
    for word in ("# Cost, ", "# Figures"):
        assert word in written
    assert "expected" in written
    assert "measured" in written
    own: Any = OmegaConf.to_container(OmegaConf.load(path))
    for entry in own.pop("defaults"):
        ((group, choice),) = entry.items()
        assert config.groups("train")[group.removeprefix("override /")].default != choice


@pytest.mark.parametrize("model", [*MODELS, *EXPERIMENTS])
def test_models_are_built_at_toy_size(model: str) -> None:
    from nemo_ext.text.frontend import TextFrontend

    cfg = config.compose("train", [f"{'model' if model in MODELS else 'experiment'}={model}", "size=tiny"])
    cls = model_class(cfg.model["_target_"])
    settings: Any = OmegaConf.to_container(config.conform(cfg.model, cls.config_class, "model."))
    settings["mel"] = dataclasses.asdict(cfg.features.mel)
    if hasattr(cls, "predict_mel") or not hasattr(cls, "decode"):  # all but vocoders
        settings["text"] = dataclasses.asdict(TextFrontend(dataclasses.replace(cfg.text, languages=["en"])).config)
        settings["voices"] = [dataclasses.asdict(BaseVoice(name)) for name in ("ada", "ben")]
    built = cls(OmegaConf.create(settings))
    assert built.mel_spec == MelSpec()
    assert sum(p.numel() for p in built.parameters()) > 100_000
