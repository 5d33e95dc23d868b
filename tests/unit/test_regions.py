from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import find_objects

from plantain.operators.answers.masks import regions
from plantain.operators.answers.masks.regions import boxes_of, medians_of, overlaps, without_gaps
from plantain.operators.answers.masks.value import Masks

maps = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: st.tuples(
        arrays(np.uint16, shape, elements=st.integers(0, 4)),
        arrays(np.float32, shape, elements=st.floats(0, 100, width=32)),
        arrays(np.bool_, shape),
    )
)


def test_boxes_and_areas_of_regions():
    labels = np.zeros((6, 8), np.uint16)
    labels[1:3, 2:5] = 1
    labels[5, 7] = 3
    boxes, areas = boxes_of(labels, 3)
    assert boxes.tolist() == [[2, 1, 5, 3], [0, 0, 0, 0], [7, 5, 8, 6]]
    assert areas.tolist() == [6, 0, 1]


def test_no_region_at_all():
    boxes, areas = boxes_of(np.zeros((4, 4), np.uint16), 0)
    assert boxes.shape == (0, 4)
    assert areas.shape == (0,)


@given(maps)
def test_boxes_are_those_that_scipy_finds(drawn):
    labels, _, _ = drawn
    boxes, areas = boxes_of(labels, 4)
    found = find_objects(labels.astype(np.int32), 4)
    for k, region in enumerate(found):
        expected = [0, 0, 0, 0]
        if region is not None:
            rows, columns = region
            expected = [columns.start, rows.start, columns.stop, rows.stop]
        assert boxes[k].tolist() == expected
        assert areas[k] == np.count_nonzero(labels == k + 1)


@given(maps)
def test_medians_are_those_that_numpy_finds(drawn):
    labels, values, valid = drawn
    medians = medians_of(labels, values, valid, 3)  # a fourth region is passed over
    for k, median in enumerate(medians):
        own = values[(labels == k + 1) & valid]
        assert median == (float(np.median(own)) if own.size else None)


def test_what_was_measured_goes_with_its_map():
    """However many come and go, at the same place in memory, too."""
    before = len(regions._known)  # of maps that other tests still hold
    for number in range(200):
        labels = np.zeros((20, 30), np.uint16)
        labels[3 : 5 + number % 10, 4 : 6 + number % 20] = 1
        for _ in range(2):
            boxes, areas = boxes_of(labels, 1)
            assert boxes.tolist() == [[4, 3, 6 + number % 20, 5 + number % 10]]
            assert areas.tolist() == [(labels > 0).sum()]
        del labels
    assert len(regions._known) <= before


def test_more_regions_of_the_same_map_are_measured_apart():
    labels = np.array([[1, 2], [3, 0]], np.uint16)
    assert [len(boxes_of(labels, count)[0]) for count in (1, 3, 1, 2)] == [1, 3, 1, 2]
    assert boxes_of(labels, 3)[1].tolist() == [1, 1, 1]


def test_regions_are_numbered_without_gaps_in_the_order_of_their_labels() -> None:
    numbered, before = without_gaps(np.array([[0, 7, 7], [3, 0, 9]], np.uint16))
    assert numbered.tolist() == [[0, 2, 2], [1, 0, 3]]
    assert before == [3, 7, 9]
    empty, none = without_gaps(np.zeros((2, 2), np.uint16))
    assert not empty.any()
    assert none == []


def test_regions_of_two_maps_lie_on_one_another_as_far_as_they_share_pixels() -> None:
    first, second = np.array([[1, 1, 0], [2, 2, 0]]), np.array([[1, 0, 0], [1, 1, 0]])
    pixels, iou = overlaps(first, 2, second, 1)
    assert pixels.tolist() == [[2, 0], [1, 1], [0, 2]]
    assert iou.tolist() == [[1 / 4], [2 / 3]]
    assert overlaps(first, 2, np.zeros((2, 3), int), 0)[1].shape == (2, 0)


def test_regions_are_numbered_as_a_prompt_names_them() -> None:
    masks = Masks(np.array([[0, 1, 2]], np.uint16), ("road", "moon"), np.ones(2, np.float32), 0.0)
    assert masks.numbered_as(("car", "road")).tolist() == [[0, 2, 0]]
