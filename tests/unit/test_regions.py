from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import find_objects

from plantain.operators.answers.masks import regions
from plantain.operators.answers.masks.regions import boxes_of, medians_of

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
