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


def test_distances_are_euclidean(frames: tuple[np.ndarray, np.ndarray]) -> None:
    left, right = frames
    expected = np.linalg.norm(left[:, None] - right[None], axis=2)
    np.testing.assert_allclose(warping.distances(left, right), expected, atol=1e-4)


def test_the_path_costs_what_librosas_exact_dtw_costs(frames: tuple[np.ndarray, np.ndarray]) -> None:
    import librosa

    cost = warping.distances(*frames)
    path = warping.warp(cost)
    assert tuple(path[0]) == (0, 0)
    assert tuple(path[-1]) == (59, 84)
    assert set(map(tuple, np.diff(path, axis=0))) <= {(0, 1), (1, 0), (1, 1)}
    expected, _ = librosa.sequence.dtw(C=cost.astype(np.float64))
    assert cost[path[:, 0], path[:, 1]].sum() == pytest.approx(expected[-1, -1], rel=1e-6)


def test_mean_distance_is_that_of_the_path(frames: tuple[np.ndarray, np.ndarray]) -> None:
    cost = warping.distances(*frames)
    path = warping.warp(cost)
    assert warping.warped_distance(*frames) == pytest.approx(cost[path[:, 0], path[:, 1]].mean(), rel=1e-6)
    assert warping.warped_distance(frames[0], frames[0]) == pytest.approx(0.0, abs=1e-3)


def test_symbols_are_aligned_around_what_differs() -> None:
    pairs = warping.align_symbols("həlˈoʊ wˈɜːld", "həloʊwɜːlt")
    assert "".join("həlˈoʊ wˈɜːld"[i] for i, _ in pairs) == "həloʊwɜːl"
    assert all("həlˈoʊ wˈɜːld"[i] == "həloʊwɜːlt"[j] for i, j in pairs)
    assert warping.align_symbols("", "abc") == []
