from __future__ import annotations

import numpy as np

from plantain.operators.analytics.distance import Distance
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.prompts import Prompt
from plantain.operators.types import Failure
from tests.results import CARS, DEPTH, masks, result


def wall_with_steps() -> DepthMap:
    """2 m on the left, 8 m on the right, sky on top of everything from column 6 on."""
    depth_m = np.full((12, 16), 2.0, np.float32)
    depth_m[:, 3:] = 8.0
    valid = np.ones((12, 16), np.bool_)
    valid[:, 6:] = False
    depth_m[~valid] = 0
    return DepthMap(depth_m, valid, 0.0)


def test_each_region_gets_the_median_of_its_depths_and_none_where_there_is_none():
    out, _ = Distance().step(result(0, {CARS: masks(3), DEPTH: wall_with_steps()}))
    assert out.predictions[0].value.distances_m == (2.0, 8.0, None)
    assert out.predictions[1].value is not None


def test_without_depth_nothing_changes():
    frame = result(0, {CARS: masks(3)})
    assert Distance().step(frame) == (frame, ())


def test_a_depth_that_failed_is_no_depth():
    frame = result(0, {CARS: masks(1), DEPTH: Failure("infer", "no", retryable=False)})
    out, _ = Distance().step(frame)
    assert out.predictions[0].value.distances_m == ()


def test_no_regions_no_distances():
    out, _ = Distance().step(result(0, {CARS: masks(0), DEPTH: wall_with_steps()}))
    assert out.predictions[0].value.distances_m == ()


def test_all_mask_prompts_are_measured():
    refer = Prompt.parse("refer:the red car")
    out, _ = Distance().step(result(0, {CARS: masks(1), refer: masks(2), DEPTH: wall_with_steps()}))
    assert [p.value.distances_m for p in out.predictions[:2]] == [(2.0,), (2.0, 8.0)]
