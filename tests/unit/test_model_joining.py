"""Two humps of heat are two objects only where the heat falls between them."""

from __future__ import annotations

import numpy as np
import pytest

from plantain.operators.models.plantain.joining import VALLEY, joined

H, W = 20, 60


def heat_with(peaks: list[tuple[int, int, float]], level: float) -> np.ndarray:
    heat = np.full((H, W), level, np.float32)
    for x, y, value in peaks:
        heat[y, x] = value
    return heat


def objects(
    heat: np.ndarray, peaks: list[tuple[int, int, float]], odds: np.ndarray | None = None
) -> list[int]:
    inside = np.ones((H, W), np.float32) if odds is None else odds
    centres = np.array([(2 * x, 2 * y) for x, y, _ in peaks], np.float32).reshape(-1, 2)
    found, strongest = joined(inside, heat, centres)
    first = [found.tolist().index(number) for number in range(len(strongest))]
    assert strongest.tolist() == centres[first].tolist()
    return found.tolist()


@pytest.mark.parametrize("peaks", [
    [(10, 5, 3.0), (40, 5, 2.0)], [(10, 5, 3.0), (10, 15, 2.0)], [(10, 3, 3.0), (50, 16, 2.0)],
    [(50, 16, 3.0), (10, 3, 2.0)],
])  # fmt: skip
def test_a_shallow_valley_parts_nothing_and_a_deep_one_does(peaks):
    weaker = peaks[-1][2]
    assert objects(heat_with(peaks, weaker - VALLEY + 0.1), peaks) == [0, 0]
    assert objects(heat_with(peaks, weaker - VALLEY - 0.1), peaks) == [0, 1]


def test_what_is_joined_to_one_of_two_is_joined_to_both():
    peaks = [(5, 10, 3.0), (50, 10, 2.5), (28, 10, 2.0)]
    heat = heat_with(peaks, -5.0)
    heat[10, 5:29] = heat[10, 5]
    assert objects(heat, peaks) == [0, 1, 0]
    heat[10, 28:51] = heat[10, 50]
    assert objects(heat, peaks) == [0, 0, 0]


def test_nothing_is_joined_across_what_is_not_asked_for():
    peaks = [(10, 5, 3.0), (40, 5, 2.0)]
    odds = np.ones((H, W), np.float32)
    odds[:, 25] = -1
    assert objects(heat_with(peaks, 2.0), peaks, odds) == [0, 1]


def test_centres_in_one_place_or_none_at_all():
    assert objects(heat_with([(10, 5, 3.0)], 0.0), [(10, 5, 3.0)] * 2) == [0, 0]
    assert objects(heat_with([], 0.0), []) == []
