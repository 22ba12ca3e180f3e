from __future__ import annotations

import numpy as np
import pytest

from nemo_ext.evaluation import warping


@pytest.fixture
def frames() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    left = generator.normal(size=(60, 5)).cumsum(axis=0).astype(np.float32)
    stretched = left[np.sort(generator.integers(0, 60, 85))] + 0.1 * generator.normal(size=(85, 5)).astype(np.float32)
    return left, stretched.astype(np.float32)


@pytest.mark.parametrize("lengths", [(60, 85), (61, 33), (2, 9), (128, 128)])
def test_the_fast_path_is_that_of_the_package_fastdtw(lengths: tuple[int, int]) -> None:
    from fastdtw import fastdtw

    generator = np.random.default_rng(sum(lengths))
    left, right = (generator.normal(size=(n, 4)).cumsum(axis=0) for n in lengths)
    _, theirs = fastdtw(left, right, dist=lambda a, b: float(np.linalg.norm(a - b)))
    assert [tuple(pair) for pair in warping.fast_warp(left, right)] == theirs


def test_the_mean_distance_is_that_of_librosas_exact_path(frames: tuple[np.ndarray, np.ndarray]) -> None:
    import librosa

    left, right = frames
    cost = np.linalg.norm(left[:, None].astype(np.float64) - right[None], axis=2)
    total, path = librosa.sequence.dtw(C=cost)
    assert warping.warped_distance(*frames) == pytest.approx(total[-1, -1] / len(path), rel=1e-5)
    assert warping.warped_distance(frames[0], frames[0]) == pytest.approx(0.0, abs=1e-3)


def test_symbols_are_aligned_around_what_differs() -> None:
    pairs = warping.align_symbols("həlˈoʊ wˈɜːld", "həloʊwɜːlt")
    assert "".join("həlˈoʊ wˈɜːld"[i] for i, _ in pairs) == "həloʊwɜːl"
    assert all("həlˈoʊ wˈɜːld"[i] == "həloʊwɜːlt"[j] for i, j in pairs)
    assert warping.align_symbols("", "abc") == []
