"""Classes in a palette: nearest colour, compact numbering, honest scores."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from plantain.operators import colours
from plantain.operators.answers import codec_for
from plantain.operators.answers.masks.palette import Palette
from plantain.operators.answers.masks.value import Masks
from plantain.operators.errors import CodecError
from plantain.operators.prompts import Prompt


def decode(drawing: NDArray[np.uint8], prompt: Prompt) -> Masks:
    value = codec_for(prompt).decode(drawing, prompt)
    assert isinstance(value, Masks)
    return value


def nearest_by_enumeration(drawing: NDArray[np.uint8], table: NDArray[np.uint8]) -> NDArray[np.intp]:
    pixels = drawing.reshape(-1, 3).astype(np.int64)
    best = np.full(len(pixels), 1 << 30)
    index = np.zeros(len(pixels), np.intp)
    for k, colour in enumerate(table.astype(np.int64)):
        distance_sq = ((pixels - colour) ** 2).sum(axis=1)
        index[distance_sq < best] = k
        best = np.minimum(best, distance_sq)
    return index


@pytest.mark.parametrize("count", [1, 2, 20, 64])
def test_the_nearest_colour_wins_all_over_the_cube(count: int) -> None:
    table = np.array([colours.BLACK, *colours.spread(count)], np.uint8)
    palette = Palette.of(table)
    values = np.arange(0, 256, 5, dtype=np.uint8)
    drawing = np.stack(np.meshgrid(values, values, values, indexing="ij"), axis=-1).reshape(52, -1, 3)
    found = palette.assign(drawing)
    np.testing.assert_array_equal(found.index.ravel(), nearest_by_enumeration(drawing, table))
    np.testing.assert_array_equal(found.areas, np.bincount(found.index.ravel(), minlength=count + 1))


def test_close_colours_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    table = rng.integers(100, 110, (40, 3), dtype=np.uint8)
    drawing = rng.integers(90, 120, (100, 100, 3), dtype=np.uint8)
    found = Palette.of(table).assign(drawing).index
    np.testing.assert_array_equal(found.ravel(), nearest_by_enumeration(drawing, table))


def test_regions_are_numbered_over_the_classes_that_are_there() -> None:
    prompt = Prompt.parse("semantic:car=#ff0000,person=#00ff00,road=#0000ff,sky=#ffffff")
    drawing = np.array([[(0, 0, 250), (0, 0, 0), (255, 10, 0), (0, 0, 255)]], np.uint8)
    value = decode(drawing, prompt)
    assert value.names == ("car", "road")
    np.testing.assert_array_equal(value.labels, [[2, 0, 1, 2]])
    assert value.labels.dtype == np.uint16
    np.testing.assert_allclose(value.scores, [1 - 10 / 28, 1 - 2.5 / 28], rtol=1e-6)


def test_a_tie_goes_to_the_background_and_then_to_the_earlier_class() -> None:
    prompt = Prompt.parse("semantic[background=#000000]:b=#140000,a=#001400")
    value = decode(np.array([[(10, 0, 0), (20, 20, 0)]], np.uint8), prompt)
    np.testing.assert_array_equal(value.labels, [[0, 1]])
    assert value.names == ("b",)


def test_off_palette_counts_what_is_near_no_colour() -> None:
    prompt = Prompt.parse("semantic:car=#ff0000")
    drawing = np.array([[(227, 0, 0), (226, 0, 0), (28, 0, 0), (29, 0, 0)]], np.uint8)
    assert decode(drawing, prompt).off_palette == 0.5


def test_the_tolerance_never_reaches_past_the_middle_of_two_colours() -> None:
    prompt = Prompt.parse("semantic:car=#0a0000")
    value = decode(np.array([[(15, 0, 0), (16, 0, 0)]], np.uint8), prompt)
    assert value.off_palette == 0.5


@pytest.mark.parametrize(("colour", "names"), [((250, 250, 5), ("the red car",)), ((3, 2, 1), ())])
def test_a_referred_region_is_there_or_not(colour: tuple[int, int, int], names: tuple[str, ...]) -> None:
    prompt = Prompt.parse("refer:the red car")
    value = decode(np.full((3, 4, 3), colour, np.uint8), prompt)
    assert value.names == names
    assert len(value.scores) == len(names)
    assert value.labels.max() == len(names)


def test_drawings_of_masks_are_in_the_colours_of_their_names() -> None:
    prompt = Prompt.parse("semantic[background=#102030]:car=#ff0000,road=#0000ff")
    masks = Masks(np.array([[0, 1], [2, 1]], np.uint16), ("road", "car"), np.ones(2, np.float32), 0.0)
    drawing = codec_for(prompt).encode(masks, prompt)
    blue, red, dark = (0, 0, 255), (255, 0, 0), (16, 32, 48)
    np.testing.assert_array_equal(drawing, [[dark, blue], [red, blue]])


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (np.ones((2, 2), np.uint16), ("dog",), "regions dog have no colour in 'semantic:car'"),
        (np.full((2, 2), 2, np.uint16), ("car",), "label 2 has no name: the value names 1 regions"),
        (np.ones((2, 2), np.int64), ("car",), r"must be \(H, W\) uint16, not \(2, 2\) int64"),
    ],
)
def test_masks_that_cannot_be_drawn_say_why(
    labels: NDArray[np.uint16], names: tuple[str, ...], message: str
) -> None:
    prompt = Prompt.parse("semantic:car")
    with pytest.raises(CodecError, match=message):
        codec_for(prompt).encode(Masks(labels, names, np.ones(1, np.float32), 0.0), prompt)
