from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pytest

from plantain.operators.geometry import Letterbox
from plantain.operators.types import Failure, Frame, FrameInfo, Header
from tests.results import CARS, DEPTH, depth, masks, result

INFO = FrameInfo(90, Fraction(1, 30), None, "file", Letterbox.fit((24, 32), (12, 16)))
HEADER = Header("clip", 0, 0)


def test_seconds_are_exact_until_they_are_asked_for():
    assert INFO.time_s == 3.0
    assert FrameInfo(None, Fraction(1, 30), None, "file", INFO.fit).time_s is None


@pytest.mark.parametrize(
    "image",
    [np.zeros((12, 17, 3), np.uint8), np.zeros((12, 16), np.uint8), np.zeros((12, 16, 3), np.float32)],
)
def test_a_frame_that_does_not_fit_its_canvas_is_refused(image):
    with pytest.raises(ValueError, match=r"frame image must be uint8 \(12, 16, 3\), not"):
        Frame(HEADER, INFO, image)


def test_a_result_knows_where_it_failed():
    failure = Failure("infer", "no", retryable=False)
    assert result(0).failed_in is None
    assert result(0, {CARS: masks(1), DEPTH: failure}).failed_in == "infer"


def test_what_flows_survives_the_way_between_processes():
    sent = result(3, {CARS: masks(2), DEPTH: depth(4)})
    back = pickle.loads(pickle.dumps(sent))
    assert (back.header, back.info) == (sent.header, sent.info)
    assert back.predictions[0].prompt == CARS
    np.testing.assert_array_equal(back.predictions[0].value.labels, sent.predictions[0].value.labels)


def test_pixels_are_not_printed():
    assert "array" not in repr(Frame(HEADER, INFO, np.zeros((12, 16, 3), np.uint8)))
