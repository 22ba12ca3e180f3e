from __future__ import annotations

import numpy as np
import pytest

from nemo_ext.audio.channels import downmix, loudest_against

NOISE = np.random.default_rng(5).normal(0, 0.1, (2, 4000)).astype(np.float32)
SOUND = NOISE[0]


@pytest.mark.parametrize("level", [1.0, 0.999, 0.7, 0.3])
def test_an_inverted_channel_takes_nothing_away(level: float) -> None:
    np.testing.assert_array_equal(downmix(np.stack([SOUND, -level * SOUND])), SOUND)
    np.testing.assert_array_equal(np.abs(downmix(np.stack([-level * SOUND, SOUND]))), np.abs(SOUND))


def test_channels_that_agree_or_have_nothing_to_do_with_each_other_are_averaged() -> None:
    np.testing.assert_allclose(downmix(np.stack([SOUND, SOUND / 2])), 0.75 * SOUND, rtol=1e-5)
    np.testing.assert_allclose(downmix(NOISE), NOISE.mean(axis=0))
    np.testing.assert_allclose(downmix(np.stack([SOUND, 0 * SOUND])), SOUND / 2)


def test_three_channels_that_cancel_only_together() -> None:
    quiet = NOISE[1] - SOUND * float(NOISE[1] @ SOUND) / float(SOUND @ SOUND)
    parts = np.stack([SOUND, 1.5 * quiet - SOUND / 2, -1.5 * quiet - SOUND / 2])
    assert loudest_against(parts) is not None


def test_one_channel_and_no_samples() -> None:
    assert downmix(SOUND[None]) is not None
    assert downmix(np.zeros((2, 0), np.float32)).shape == (0,)
