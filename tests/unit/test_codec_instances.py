"""The five stages of the instance decoder, one after another, at their thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from plantain.operators.answers import codec_for
from plantain.operators.answers.masks.value import Masks
from plantain.operators.errors import CodecError
from plantain.operators.prompts import Prompt

PROMPT = Prompt.parse("instances:car")
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def decode(drawing: NDArray[np.uint8], prompt: Prompt = PROMPT) -> Masks:
    value = codec_for(prompt).decode(drawing, prompt)
    assert isinstance(value, Masks)
    return value


def blank(height: int = 40, width: int = 60, colour: tuple[int, int, int] = (0, 0, 0)) -> NDArray[np.uint8]:
    return np.full((height, width, 3), colour, np.uint8)


def test_objects_are_numbered_by_their_first_pixel_and_named_as_the_class() -> None:
    drawing = blank()
    drawing[20:30, 5:15] = RED
    drawing[10:30, 30:40] = GREEN
    value = decode(drawing)
    assert value.names == ("car", "car")
    np.testing.assert_array_equal(value.scores, [1.0, 1.0])
    assert value.labels[10, 30] == 1
    assert value.labels[25, 10] == 2
    assert np.count_nonzero(value.labels) == 300
    assert value.off_palette == 0.0


def test_a_verbatim_prompt_names_its_objects_by_its_words() -> None:
    prompt = Prompt.parse("prompt[codec=instances]:each apple in its own colour")
    drawing = blank()
    drawing[5:20, 5:20] = RED
    assert decode(drawing, prompt).names == ("each apple in its own colour",)


def test_background_is_what_is_nearer_than_14_to_its_colour() -> None:
    prompt = Prompt.parse("instances[background=#583250]:croissant")
    drawing = blank(colour=(88, 50, 80))
    drawing[:20] = (88, 50, 93)
    assert decode(drawing, prompt).names == ()
    drawing[:20] = (88, 50, 94)
    assert decode(drawing, prompt).names == ("croissant",)


def test_a_component_is_what_is_within_14_of_its_seed_and_not_of_its_neighbour() -> None:
    drawing = blank(40, 60)
    for k, level in enumerate((100, 114, 128)):
        drawing[:, 20 * k : 20 * k + 20] = (level, 0, 0)
    value = decode(drawing)
    # 100 and 114 are one component, of mean 107; 128 is 21 from it, so it stays an object of its own.
    assert len(value.names) == 2
    np.testing.assert_array_equal(np.unique(value.labels[:, :40]), [1])
    np.testing.assert_array_equal(np.unique(value.labels[:, 40:]), [2])


@pytest.mark.parametrize(
    ("step", "is_one"),
    [((1, 2), True), ((2, 1), True), ((1, 1), True), ((2, 2), False), ((3, 0), False), ((0, 3), False)],
)
def test_pixels_touch_over_8_neighbours_and_8_moves_of_a_knight(step: tuple[int, int], is_one: bool) -> None:
    # 400 and 9 pixels of 60,000, where fewer than 12 are too few: the small block only counts as a part.
    drawing = blank(200, 300)
    drawing[10:30, 10:30] = RED
    down, right = step
    top, left = 29 + down, 29 + right
    if down == 0:
        top = 20
    if right == 0:
        left = 20
    drawing[top : top + 3, left : left + 3] = RED
    labels = decode(drawing).labels
    assert labels[15, 15] == 1
    assert labels[top + 1, left + 1] == is_one


def test_components_below_two_in_ten_thousand_pixels_are_dropped() -> None:
    drawing = blank(100, 500)  # at least 10 pixels
    drawing[10:13, 10:13] = RED  # 9
    drawing[10:13, 50:54] = GREEN  # 12
    value = decode(drawing)
    assert len(value.names) == 1
    assert value.labels[11, 51] == 1
    assert value.off_palette == 9 / 50_000


def test_halos_that_an_erosion_leaves_less_than_a_tenth_of_are_dropped() -> None:
    drawing = blank(100, 100)
    drawing[10:90, 10:90] = RED
    drawing[12:88, 12:88] = GREEN  # leaves a ring two pixels wide
    value = decode(drawing)
    assert len(value.names) == 1
    assert value.labels[50, 50] == 1
    assert value.labels[10, 50] == 0
    assert value.off_palette == (80 * 80 - 76 * 76) / 10_000


def test_parts_of_one_colour_apart_by_something_in_front_are_one_object() -> None:
    drawing = blank(100, 100)
    drawing[40:60, 10:30] = RED
    drawing[40:60, 30:50] = BLUE
    drawing[40:60, 50:70] = (250, 5, 5)
    value = decode(drawing)
    assert len(value.names) == 2
    assert value.labels[50, 20] == value.labels[50, 60] == 1
    assert value.labels[50, 40] == 2


@pytest.mark.parametrize(("left", "objects"), [(90, 1), (91, 2)])
def test_parts_farther_apart_than_five_times_their_boxes_are_two(left: int, objects: int) -> None:
    drawing = blank(100, 200)
    drawing[40:50, 0:10] = RED
    drawing[40:50, left : left + 10] = RED  # the box around both: (left + 10) x 10, against 5 x 200
    assert len(decode(drawing).names) == objects


def test_noise_and_soft_borders_leave_the_objects_whole() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:200, :300]
    truth = np.zeros((200, 300), np.uint16)
    for k, (y, x) in enumerate([(50, 60), (60, 200), (150, 120)]):
        truth[(rows - y) ** 2 + (columns - x) ** 2 < 900] = k + 1
    clean = codec_for(PROMPT).encode(Masks(truth, ("car",) * 3, np.ones(3, np.float32), 0.0), PROMPT)
    drawing = np.clip(clean + rng.normal(0, 3, clean.shape), 0, 255).astype(np.uint8)
    value = decode(drawing)
    assert len(value.names) == 3
    for k in (1, 2, 3):
        mine, true = value.labels == k, truth == k
        assert (mine & true).sum() / (mine | true).sum() > 0.95
    assert ((value.scores > 0.5) & (value.scores < 1.0)).all()


def test_more_objects_than_colours_cannot_be_drawn() -> None:
    masks = Masks(np.zeros((2, 2), np.uint16), ("car",) * 216, np.ones(216, np.float32), 0.0)
    with pytest.raises(CodecError, match="216 objects cannot be drawn"):
        codec_for(PROMPT).encode(masks, PROMPT)


def test_215_objects_come_back() -> None:
    labels = np.arange(1, 216, dtype=np.uint16).reshape(5, 43).repeat(6, axis=0).repeat(6, axis=1)
    masks = Masks(labels, ("car",) * 215, np.ones(215, np.float32), 0.0)
    value = decode(codec_for(PROMPT).encode(masks, PROMPT))
    np.testing.assert_array_equal(value.labels, labels)
