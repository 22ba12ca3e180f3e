"""Dynamic time warping and symbol alignment, compiled.

Sakoe and Chiba, "Dynamic programming algorithm optimization for spoken word recognition" (1978), the unweighted form:
steps (1, 0), (0, 1) and (1, 1), each cell of the path counted once; ends fixed to ends; no window. Needleman and
Wunsch (1970) for symbols, with unit costs.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def fast_warp(left: NDArray[np.float64], right: NDArray[np.float64], radius: int = 1) -> NDArray[np.int64]:
    """FastDTW's path between ``left (N, D)`` and ``right (M, D)``: pairs ``(K, 2)`` of frames, in order.

    Salvador and Chan, "FastDTW: toward accurate dynamic time warping in linear time and space" (2007): the path at
    half the resolution, widened by ``radius`` to either side, is where the path is looked for. The same path as the
    package fastdtw finds with the Euclidean distance, ties included.
    """
    if min(len(left), len(right)) < radius + 2:
        first = np.zeros(len(left), np.int64)
        return _within(left, right, first, np.full(len(left), len(right), np.int64))
    coarse = fast_warp(_halved(left), _halved(right), radius)
    first, past = _window(coarse, len(left), len(right), radius)
    return _within(left, right, first, past)


def warped_distance(left: Array, right: Array) -> float:
    """Mean distance per step along the cheapest path between ``left (N, D)`` and ``right (M, D)``."""
    total, steps = _cheapest(np.ascontiguousarray(left, np.float32), np.ascontiguousarray(right, np.float32))
    return float(total / steps)


def align_symbols(left: Sequence[Hashable], right: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Pairs of equal symbols in a cheapest alignment of two sequences (insert, delete and replace cost 1 each)."""
    names: dict[Hashable, int] = {}
    codes = [np.array([names.setdefault(s, len(names)) for s in side], np.int64) for side in (left, right)]
    if not len(codes[0]) or not len(codes[1]):
        return []
    return [(int(i), int(j)) for i, j in _matches(codes[0], codes[1])]


def _halved(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    even = len(frames) // 2 * 2
    return (frames[0:even:2] + frames[1:even:2]) / 2


@numba.njit(cache=True)
def _window(path: np.ndarray, rows: int, columns: int, radius: int) -> Any:
    """For every row, the first column to look at and one past the last."""
    first, past = np.full(rows, columns, np.int64), np.zeros(rows, np.int64)
    for k in range(len(path)):
        for row in range(2 * (path[k, 0] - radius), 2 * (path[k, 0] + radius) + 2):
            if 0 <= row < rows:
                first[row] = min(first[row], max(0, 2 * (path[k, 1] - radius)))
                past[row] = max(past[row], min(columns, 2 * (path[k, 1] + radius) + 2))
    return first, past


@numba.njit(cache=True)
def _within(left: np.ndarray, right: np.ndarray, first: np.ndarray, past: np.ndarray) -> np.ndarray:
    """The cheapest path through the columns ``first`` to ``past`` of each row."""
    rows, columns, width = len(left), len(right), left.shape[1]
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    for i in range(1, rows + 1):
        for j in range(first[i - 1] + 1, past[i - 1] + 1):
            square = 0.0
            for d in range(width):
                square += (left[i - 1, d] - right[j - 1, d]) ** 2
            total[i, j] = np.sqrt(square) + min(total[i - 1, j], total[i, j - 1], total[i - 1, j - 1])
    path = np.empty((rows + columns, 2), np.int64)
    i, j, length = rows, columns, 0
    while i > 0 and j > 0:
        path[length, 0], path[length, 1] = i - 1, j - 1
        length += 1
        if total[i - 1, j] <= total[i, j - 1] and total[i - 1, j] <= total[i - 1, j - 1]:
            i -= 1
        elif total[i, j - 1] <= total[i - 1, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
    return path[:length][::-1].copy()


@numba.njit(cache=True, fastmath=True)
def _cheapest(left: np.ndarray, right: np.ndarray) -> Any:
    """(cost, length) of the cheapest path; two rows of memory, since only the sum is wanted.

    Distances are made on the way: a matrix of them would go through BLAS, whose threads cost more than they bring here.
    """
    columns, width = len(right), left.shape[1]
    total, steps = np.full(columns + 1, 1e30), np.zeros(columns + 1, np.int64)
    total[0] = 0.0
    for i in range(len(left)):
        diagonal, diagonal_steps = total[0], steps[0]
        total[0] = 1e30
        for j in range(1, columns + 1):
            best, length = diagonal, diagonal_steps
            diagonal, diagonal_steps = total[j], steps[j]
            if total[j] < best:
                best, length = total[j], steps[j]
            if total[j - 1] < best:
                best, length = total[j - 1], steps[j - 1]
            square = np.float32(0.0)
            for d in range(width):
                square += (left[i, d] - right[j - 1, d]) ** 2
            total[j], steps[j] = best + np.sqrt(square), length + 1
    return total[columns], steps[columns]


@numba.njit(cache=True)
def _matches(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    rows, columns = len(left), len(right)
    total = np.empty((rows + 1, columns + 1), np.int64)
    total[0, :] = np.arange(columns + 1)
    total[:, 0] = np.arange(rows + 1)
    for i in range(1, rows + 1):
        for j in range(1, columns + 1):
            replaced = total[i - 1, j - 1] + (left[i - 1] != right[j - 1])
            total[i, j] = min(replaced, total[i - 1, j] + 1, total[i, j - 1] + 1)
    pairs = np.empty((min(rows, columns), 2), np.int64)
    i, j, count = rows, columns, 0
    while i > 0 and j > 0:
        same = left[i - 1] == right[j - 1]
        if total[i, j] == total[i - 1, j - 1] + (not same):
            if same:
                pairs[count, 0], pairs[count, 1] = i - 1, j - 1
                count += 1
            i, j = i - 1, j - 1
        elif total[i, j] == total[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return pairs[:count][::-1].copy()
