"""Expressions are taken apart, and the thing that they mean is chosen among those that are seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from plantain.operators.models.plantain import choosing
from plantain.operators.models.plantain.choosing import chosen, parsed, shows
from plantain.operators.models.plantain.model import EmbeddedModel
from plantain.operators.prompts import Prompt


@pytest.mark.parametrize(
    ("text", "words", "kind", "pick", "colour", "part"),
    [
        ("the car", "car", "car", "", "", "whole"),
        ("the leftmost red car", "red car", "car", "leftmost", "red", "whole"),
        ("a bus on the right side", "bus", "bus", "", "", "whole"),
        ("The lorry closest to the camera", "lorry", "truck", "nearest", "", "whole"),
        ("the furthest person", "person", "person", "farthest", "", "whole"),
        ("the person in the blue shirt", "person in blue shirt", "person", "", "blue", "upper"),
        ("the woman with black trousers", "woman with black trousers", "person", "", "black", "lower"),
        ("the man with the orange umbrella", "man with orange umbrella", "person", "", "orange", "carried"),
        ("the biggest white van", "white van", "van", "largest", "white", "whole"),
        ("bicycle in the background", "bicycle", "bicycle", "farthest", "", "whole"),
        ("the bike in the middle", "bike", "bicycle", "middle", "", "whole"),
    ],
)
def test_expressions_are_taken_apart(text, words, kind, pick, colour, part):
    found = parsed(text)
    assert found is not None
    assert (found.words, found.kind, found.pick) == (words, kind, pick)
    assert (found.colour, found.part) == (colour, part)
    assert found.anchor is None
    assert (found.side == "right") == ("on the right" in text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("the left car", ("car", "left", "", "")),
        ("the right-hand bus", ("bus", "right", "", "")),
        ("the nearest car on the left-hand side", ("car", "left", "nearest", "")),
        ("the man on the left of the bus", ("man", "", "", "left")),
        ("the person near the red car on the right", ("person", "", "", "beside")),
        ("the nearest person behind the bus", ("person", "", "nearest", "behind")),
        ("the bus at the far right", ("bus", "right", "", "")),
        ("the middle bicycle", ("bicycle", "", "middle", "")),
        ("the car nearest to the viewer", ("car", "", "nearest", "")),
    ],
)
def test_ordinary_wordings(text, said):
    found = parsed(text)
    assert (found.words, found.side, found.pick, found.relation) == said


def test_what_is_said_of_the_other_thing_is_its_own():
    found = parsed("the truck to the right of the white car behind the bus on the left")
    assert (found.words, found.relation) == ("truck", "right")
    assert (found.anchor.words, found.anchor.relation) == ("white car", "behind")
    assert (found.anchor.anchor.words, found.anchor.anchor.side) == ("bus", "left")


@pytest.mark.parametrize(
    "text", ["the red cars", "all people", "buses on the left", "the lorries", "children"]
)
def test_words_for_many_mean_all(text):
    assert parsed(text).is_many


@pytest.mark.parametrize("text", ["the red car", "a person", "bus on the left", "the lorry", "any child"])
def test_words_for_one_mean_one(text):
    assert not parsed(text).is_many


@pytest.mark.parametrize(
    ("text", "relation", "who", "anchor"),
    [
        ("the person next to the red bus", "beside", "person", "red bus"),
        ("the car behind the white van", "behind", "car", "white van"),
        ("the truck in front of the bicycle", "in front of", "truck", "bicycle"),
        ("the person left of the car", "left", "person", "car"),
        ("the dog to the right of the woman", "right", "dog", "woman"),
    ],
)
def test_what_is_said_of_two_things(text, relation, who, anchor):
    found = parsed(text)
    assert found is not None
    assert found.anchor is not None
    assert (found.relation, found.words, found.anchor.words) == (relation, who, anchor)
    assert [word for word, _ in found.asked][:4] == ["refer", "instances"] * 2


@pytest.mark.parametrize("text", ["the wet road", "anything odd", "the car behind the wall", "", "the the"])
def test_what_names_no_countable_thing_is_left_to_the_network(text):
    assert parsed(text) is None


@pytest.mark.parametrize(
    ("colour", "rgb"),
    [
        ("red", (200, 30, 30)), ("red", (120, 20, 25)), ("orange", (230, 120, 20)), ("yellow", (220, 190, 30)),
        ("green", (40, 120, 60)), ("blue", (40, 60, 170)), ("white", (230, 230, 225)), ("black", (25, 25, 30)),
        ("grey", (120, 122, 125)), ("brown", (90, 55, 30)), ("purple", (120, 50, 160)), ("pink", (240, 120, 190)),
    ],
)  # fmt: skip
def test_colours_are_called_as_people_call_them(colour, rgb):
    pixels = np.array([rgb], np.uint8)
    assert shows(colour, pixels).all()
    alike = {"grey": {"gray", "silver"}, "white": {"silver"}}.get(colour, set())
    others = set(choosing.COLOURS) - {colour} - alike
    assert not [other for other in others if shows(other, pixels).any()]


H, W = 60, 100
BOXES = {"far left": (5, 20, 15, 26), "middle": (40, 22, 60, 36), "near right": (70, 25, 96, 50)}
"""x0, y0, x1, y1 in cells."""
COLOUR = {"far left": (200, 20, 20), "middle": (230, 230, 230), "near right": (200, 20, 20)}
METRES = {"far left": 40.0, "middle": 15.0, "near right": 6.0}


def fields(boxes: dict[str, tuple[int, int, int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Maps of the region, which likes all of them, and of the things."""
    region, things = np.zeros((H, W, 2), np.float32), np.zeros((H, W, 4), np.float32)
    region[..., 1], things[..., :2] = -3, -6
    for left, top, right, bottom in boxes.values():
        inside = slice(top, bottom), slice(left, right)
        middle = (left + right) // 2, (top + bottom) // 2
        region[(*inside, 1)] = 3
        things[(*inside, 0)] = 5
        things[middle[1], middle[0], 1] = 4
        rows, columns = np.mgrid[top:bottom, left:right]
        unit = choosing.painting.OFFSET_UNIT_PX
        things[(*inside, 2)] = 2 * (middle[0] - columns) / unit
        things[(*inside, 3)] = 2 * (middle[1] - rows) / unit
    return region, things


def picture() -> np.ndarray:
    image = np.full((2 * H, 2 * W, 3), 90, np.uint8)
    for name, (left, top, right, bottom) in BOXES.items():
        image[2 * top : 2 * bottom, 2 * left : 2 * right] = COLOUR[name]
    return image


def meant(text: str, boxes: dict[str, tuple[int, int, int, int]] = BOXES) -> list[str]:
    """Which of the boxes an expression means."""
    expression = parsed(text)
    assert expression is not None
    maps = list(fields(boxes))
    if expression.anchor is not None:
        maps += fields(boxes)
    if expression.is_about_distance:
        depth = np.full((H, W, 2), np.log(80), np.float32)
        for name, (left, top, right, bottom) in boxes.items():
            depth[top:bottom, left:right, 0] = np.log(METRES[name])
        maps.append(depth)
    logits = chosen(expression, maps, picture(), is_sure=True)
    region = logits[..., 1] > logits[..., 0]
    found = [name for name, (x0, y0, x1, y1) in boxes.items() if region[y0:y1, x0:x1].all()]
    assert region.sum() == sum((BOXES[n][2] - BOXES[n][0]) * (BOXES[n][3] - BOXES[n][1]) for n in found)
    return found


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("the leftmost car", "far left"),
        ("the rightmost car", "near right"),
        ("the nearest car", "near right"),
        ("the farthest car", "far left"),
        ("the smallest car", "far left"),
        ("the largest car", "near right"),
        ("the car in the middle", "middle"),
        ("the white car", "middle"),
        ("the nearest red car", "near right"),
        ("the leftmost red car", "far left"),
        ("the red car on the left", "far left"),
        ("the red car right of the white car", "near right"),
        ("the red car left of the white car", "far left"),
        ("the car next to the white car", "near right"),
        ("the car next to the leftmost car", "middle"),
        ("the car right of the nearest white car", "near right"),
        ("the left car", "far left"),
    ],
)
def test_one_whole_thing_is_chosen(text, name):
    assert meant(text) == [name]


@pytest.mark.parametrize(
    "text", ["the green car", "the yellow car on the left", "the car behind the white car"]
)
def test_what_is_not_there_is_nothing(text):
    assert meant(text) == []


def test_without_things_there_is_nothing_to_choose():
    assert meant("the nearest car", {}) == []
    assert meant("the car next to the white car", {}) == []


@pytest.mark.parametrize("shape", [(64, 96), (224, 384), (50, 70)])
def test_a_gpus_way_chooses_the_same(shape, model: EmbeddedModel):
    """Where there is none it is gone on the CPU: batches as a whole instead of frame by frame."""
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (2, *shape, 3), np.uint8)
    texts = ["refer[score=0.01]:the leftmost car", "refer:the car", "depth", "refer:the bus behind the red car",
             "semantic:road,sky"]  # fmt: skip
    prompts = [Prompt.parse(text) for text in texts] * 2
    image_of = [0] * len(texts) + [1] * len(texts)
    here = model.render(images, image_of, prompts)
    model._shared = replace(model._held, sight=None)
    there = model.render(images, image_of, prompts)
    for text, one, other in zip(texts * 2, here, there, strict=True):
        gap = np.abs(one.astype(int) - other).max(axis=2)
        assert np.mean(gap > 2) < 0.01, text


@pytest.fixture
def model(tmp_path) -> EmbeddedModel:
    return EmbeddedModel(dtype="float32", device="cpu")
