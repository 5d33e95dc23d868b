from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantain.operators.geometry import Letterbox, iou

side = st.integers(1, 4000)


@given(side, side, st.integers(16, 600), st.integers(16, 600), st.sampled_from(["letterbox", "stretch"]))
def test_the_picture_lies_on_the_canvas_and_touches_two_sides(height, width, model_h, model_w, how):
    fit = Letterbox.fit((height, width), (model_h, model_w), how)
    assert fit.top >= 0
    assert fit.left >= 0
    assert 1 <= fit.height <= model_h - fit.top
    assert 1 <= fit.width <= model_w - fit.left
    assert fit.height == model_h or fit.width == model_w
    if how == "stretch":
        assert (fit.height, fit.width) == (model_h, model_w)
    elif min(fit.height, fit.width) > 1:
        assert abs(fit.height / fit.width * width / height - 1) < 1 / min(fit.height, fit.width), (
            "its shape is kept"
        )


@given(side, side)
def test_boxes_go_back_to_the_source_and_areas_with_them(height, width):
    fit = Letterbox.fit((height, width), (48, 64))
    whole = np.array([[0, 0, fit.width, fit.height]], np.float32)
    np.testing.assert_allclose(fit.to_source(whole), [[0, 0, width, height]], rtol=1e-5)
    assert fit.area_scale * fit.width * fit.height == pytest.approx(width * height)


def test_what_is_placed_is_cropped_again():
    fit = Letterbox.fit((100, 50), (48, 64))
    picture = np.full((fit.height, fit.width, 3), 7, np.uint8)
    canvas = fit.place(picture)
    assert canvas.shape == (48, 64, 3)
    assert canvas.sum() == picture.sum()
    np.testing.assert_array_equal(fit.crop(canvas), picture)


def test_overlap_of_boxes():
    a = np.array([[0, 0, 2, 2], [5, 5, 5, 5]], np.float32)
    b = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [9, 9, 10, 10]], np.float32)
    np.testing.assert_allclose(iou(a, b), [[1, 1 / 3, 0], [0, 0, 0]], rtol=1e-6)
    assert iou(a[:0], b).shape == (0, 3)
