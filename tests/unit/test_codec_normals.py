"""Normals: the paper's axes, and which colours mean no direction."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from plantain.operators.answers import codec_for
from plantain.operators.answers.normals.codec import BLANK_LENGTH, MAX_LENGTH, MIN_LENGTH, NO_DIRECTION
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.errors import CodecError
from plantain.operators.prompts import Prompt

PROMPT = Prompt.parse("normals")


def decode(drawing: NDArray[np.uint8]) -> NormalMap:
    value = codec_for(PROMPT).decode(drawing, PROMPT)
    assert isinstance(value, NormalMap)
    return value


@pytest.mark.parametrize(
    ("direction", "colour"),
    [
        ((-1, 0, 0), (255, 128, 128)),  # left: pinkish red
        ((1, 0, 0), (0, 128, 128)),
        ((0, 1, 0), (128, 255, 128)),  # up: light green
        ((0, -1, 0), (128, 0, 128)),
        ((0, 0, 1), (128, 128, 255)),  # to the camera: light blue
        ((0, 0, -1), (128, 128, 0)),
    ],
)
def test_the_axes_have_the_colours_of_the_paper(
    direction: tuple[int, int, int], colour: tuple[int, int, int]
) -> None:
    value = NormalMap(np.array([[direction]], np.float32), np.ones((1, 1), np.bool_), 0.0)
    drawing = codec_for(PROMPT).encode(value, PROMPT)
    np.testing.assert_array_equal(drawing[0, 0], colour)
    np.testing.assert_allclose(decode(drawing).normals[0, 0], direction, atol=0.006)


def test_all_colours_give_unit_vectors_or_none() -> None:
    plane = np.empty((256, 256, 3), np.uint8)
    plane[..., 1] = np.arange(256)[:, None]
    plane[..., 2] = np.arange(256)
    for red in range(256):
        plane[..., 0] = red
        value = decode(plane)
        drawn = plane * np.array([-2.0, 2.0, 2.0]) / 255 + np.array([1.0, -1.0, -1.0])
        length = np.linalg.norm(drawn, axis=2)
        np.testing.assert_array_equal(value.valid, (length >= MIN_LENGTH) & (length <= MAX_LENGTH))
        np.testing.assert_allclose(
            value.normals, np.where(value.valid[..., None], drawn / length[..., None], 0), atol=1e-6
        )
        assert value.off_palette == pytest.approx((~value.valid & (length > BLANK_LENGTH)).mean())


@pytest.mark.parametrize("colour", [NO_DIRECTION, (0, 0, 0), (8, 8, 8), (255, 255, 255), (128, 128, 128)])
def test_gray_black_and_white_are_no_direction(colour: tuple[int, int, int]) -> None:
    value = decode(np.full((2, 2, 3), colour, np.uint8))
    assert not value.valid.any()
    assert not value.normals.any()
    assert value.off_palette == (0.0 if colour in (NO_DIRECTION, (128, 128, 128)) else 1.0)


def test_what_is_invalid_or_no_number_is_drawn_gray() -> None:
    normals = np.array([[(0, 0, 1), (np.nan, 0, 1), (0, np.inf, 0)]], np.float32)
    value = NormalMap(normals, np.array([[False, True, True]]), 0.0)
    drawing = codec_for(PROMPT).encode(value, PROMPT)
    np.testing.assert_array_equal(drawing, np.full((1, 3, 3), NO_DIRECTION))


def test_maps_of_different_size_are_refused() -> None:
    value = NormalMap(np.zeros((2, 3, 2), np.float32), np.zeros((2, 3), np.bool_), 0.0)
    with pytest.raises(CodecError, match=r"values \(H, W, 3\).*not \(2, 3, 2\) and \(2, 3\)"):
        codec_for(PROMPT).encode(value, PROMPT)
