"""Expressions are taken apart, and the thing that they mean is chosen among those that are seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from plantain.operators.models.plantain.choosing import chosen
from plantain.operators.models.plantain.expressions import parsed
from plantain.operators.models.plantain.fields import OFFSET_UNIT_PX
from plantain.operators.models.plantain.hues import HUES, shows
from plantain.operators.models.plantain.model import EmbeddedModel
from plantain.operators.prompts import Prompt
from plantain.operators.scenes import Scene


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
    found = parsed("the truck to the right of the nearest white car on the left")
    assert (found.words, found.relation, found.side) == ("truck", "right", "")
    assert (found.anchor.words, found.anchor.pick, found.anchor.side) == ("white car", "nearest", "left")


@pytest.mark.parametrize(
    ("text", "side", "pick", "words"),
    [
        ("the nearest person to the camera on the left", "left", "nearest", "person"),
        ("the person closest to the camera on the left", "left", "nearest", "person"),
        ("the car furthest to the left", "", "leftmost", "car"),
        ("the car on the left in the background", "left", "farthest", "car"),
        ("the person on the right in red", "right", "", "person in red"),
        ("the red car on the left side of the image", "left", "", "red car"),
        ("every red car", "", "", "red car"),
        ("the traffic lights on the right", "right", "", "traffic lights"),
        ("the taxis", "", "", "taxis"),
        ("the number 7 bus", "", "", "number 7 bus"),
        ("the dark-red car", "", "", "dark-red car"),
        ("the nearest vehicle", "", "nearest", "vehicle"),
        ("the largest vehicle on the left", "left", "largest", "vehicle"),
        ("the car in the middle lane", "", "", "car in middle lane"),
    ],
)
def test_more_wordings(text, side, pick, words):
    found = parsed(text)
    assert (found.side, found.pick, found.words) == (side, pick, words)
    assert found.is_many == (text in ("every red car", "the traffic lights on the right", "the taxis"))


@pytest.mark.parametrize("text", ["the nearest person to the bus", "the person nearest the bus"])
def test_near_what_is_said_however_it_is_said(text):
    found = parsed(text)
    assert (found.words, found.pick, found.relation, found.anchor.words) == ("person", "", "beside", "bus")


@pytest.mark.parametrize(
    ("text", "colour", "part"),
    [
        ("person in a white shirt and blue jeans", "white", "upper"),
        ("person with blue jeans and a white shirt", "blue", "lower"),
        ("man in a red coat with a dog", "red", "upper"),
        ("man with a red jacket", "red", "upper"),
        ("woman carrying a pink bag", "pink", "carried"),
        ("person riding a red bicycle", "", "whole"),
        ("woman getting out of a red car", "", "whole"),
        ("the car in red", "red", "whole"),
        ("the car with a blue stripe", "", "whole"),
    ],
)
def test_a_colour_is_that_of_what_it_is_said_of(text, colour, part):
    found = parsed(text)
    assert (found.colour, found.part) == (colour, part)


@pytest.mark.parametrize(
    "text",
    [
        "the bus driver", "the bus stop", "the car park", "the cycle lane", "the wheel of the red car",
        "a car's shadow",
        "the second car from the left", "the last bus", "the person not wearing red", "man without a red hat",
        "the truck right of the white car behind the bus", "the cars in the background",
        "people next to the bus", "the largest car next to the bus", "the man in front of the shop",
        "car" + " behind car" * 5000, "\N{SMILING FACE WITH SUNGLASSES}", "of", "left", "nearest to the",
    ],
)  # fmt: skip
def test_what_is_not_understood_wholly_is_left_to_the_network(text):
    assert parsed(text) is None


@pytest.mark.parametrize(("text", "boxes"), [
    ("the red car", {"near right": (20, 20, 24, 35)}), ("the car on the right", {"near right": (20, 20, 24, 25)}),
])  # fmt: skip
def test_things_that_reach_into_the_padding_are_cut_and_sides_are_those_of_the_picture(text, boxes):
    region, things = fields(boxes)
    image = np.full((50, 66, 3), (200, 20, 20), np.uint8)
    logits = chosen(parsed(text), [region, things], image, is_sure=True)
    assert logits.shape == (H, W, 2)
    found = logits[..., 1] > logits[..., 0]
    assert found[20:25, 20:24].all()
    assert not found[25:].any()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("the leftmost white car", ["middle"]),
        ("the green car", []),
        ("the green cars", []),
        ("the red car", ["near right"]),
    ],
)
def test_told_how_sure_it_must_be_colours_count_all_the_same(text, names):
    assert meant(text, is_sure=False) == names


def test_beside_what_is_not_there_is_nothing():
    expression = parsed("the car left of the green car")
    region, things = fields(BOXES)
    for likes, is_there in ((3.0, True), (-1.0, False)):  # what the network says of green cars
        liked = np.where(region[..., 1:] > 0, likes, -3.0)
        maps = [region, things, np.concatenate([0 * liked, liked], -1).astype(np.float32), things]
        logits = chosen(expression, maps, picture(), is_sure=True)
        assert bool((logits[..., 1] > 0).any()) == is_there
    assert meant("the car left of the leftmost green car") == []


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
    others = set(HUES) - {colour} - alike
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
        unit = OFFSET_UNIT_PX
        things[(*inside, 2)] = 2 * (middle[0] - columns) / unit
        things[(*inside, 3)] = 2 * (middle[1] - rows) / unit
    return region, things


def picture() -> np.ndarray:
    image = np.full((2 * H, 2 * W, 3), 90, np.uint8)
    for name, (left, top, right, bottom) in BOXES.items():
        image[2 * top : 2 * bottom, 2 * left : 2 * right] = COLOUR[name]
    return image


def meant(
    text: str, boxes: dict[str, tuple[int, int, int, int]] = BOXES, *, is_sure: bool = True
) -> list[str]:
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
    logits = chosen(expression, maps, picture(), is_sure=is_sure)
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


@pytest.mark.parametrize("shape", [(224, 384), (200, 350)])
def test_a_gpus_way_chooses_the_same(shape, model: EmbeddedModel):
    """Where there is none it is gone on the CPU: batches as a whole instead of frame by frame."""
    images = np.stack([Scene(seed).render(1.0).image[: shape[0], : shape[1]] for seed in (5, 6)])
    texts = ["refer[score=0.01]:the leftmost car", "refer:the cars", "depth", "refer:the person behind the car",
             "refer:the nearest white car", "semantic:road,sky", "refer:the wet road"]  # fmt: skip
    prompts = [Prompt.parse(text) for text in texts] * 2
    image_of = [0] * len(texts) + [1] * len(texts)
    here = model.render(images, image_of, prompts)
    model._shared = replace(model._held, sight=None)
    there = model.render(images, image_of, prompts)
    for prompt, one, other in zip(prompts, here, there, strict=True):
        gap = np.abs(one.astype(int) - other).max(axis=2)
        assert np.mean(gap > 2) < 0.01, prompt
    cars = [bool(one.any()) for text, one in zip(texts * 2, here, strict=True) if text == "refer:the cars"]
    assert any(cars)


@pytest.fixture
def model(tmp_path) -> EmbeddedModel:
    return EmbeddedModel(dtype="float32", device="cpu")
