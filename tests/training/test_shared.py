"""What a validation tells does not depend on how many processes share its batches."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
import torch

from nemo_ext.config import compose
from nemo_ext.data.sampler import Place
from nemo_ext.training.build import build

# Of small models, without what only processes that talk to each other can compute: a norm over all of them.
MODELS = {
    "fastpitch": ["model/style=gst"],
    "vocos": ["model.losses.stft=0", "model.batch_size=6"],
    "fastpitch_hifigan": ["model.losses.stft=0", "model.segment_frames=16"],
    "speaker": ["model.batch_size=6"],
}


def told(built: Any, world_size: int) -> dict[str, float]:
    """As Lightning takes the mean: over what each process logs of each batch, by the sizes that are given."""
    sums: dict[str, float] = defaultdict(float)
    sizes = 0

    def noted(values: dict[str, torch.Tensor], batch_size: int, **_: Any) -> None:
        nonlocal sizes
        sizes += batch_size
        for name, value in values.items():
            sums[name] += batch_size * float(value)

    model = built.model.eval()
    model.log_dict = noted
    with torch.no_grad():
        for rank in range(world_size):
            built.val.batch_sampler.place = Place(rank, world_size)
            for batch in built.val:
                model.validation_step(batch, 0)
    return {name: value / sizes for name, value in sums.items()}


@pytest.mark.parametrize("name", MODELS)
def test_means_are_those_of_one_process(options, tmp_path, name):
    line = [o for o in options(tmp_path, model="fastpitch") if not o.startswith(("model", "size"))]
    built = build(compose("train", [f"model={name}", "size=tiny", *MODELS[name], *line]))
    for utterance in getattr(built.val.dataset, "utterances", [])[::2]:
        utterance.style = None  # not all are labelled
    alone = told(built, 1)
    assert "val/loss" in alone
    for world_size in (2, 6):
        assert told(built, world_size) == pytest.approx(alone, rel=1e-4)
