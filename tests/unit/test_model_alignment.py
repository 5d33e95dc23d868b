"""Drawings that do not lie on their frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from plantain.operators.models import BACKENDS
from plantain.operators.models.alignment import is_shifted, shift_px
from plantain.operators.models.base import Pixels
from plantain.operators.models.drawn import Drawn
from plantain.operators.models.fake import FakeModel
from plantain.operators.prompts import Prompt
from tests.unit.test_answering import frame

RNG = np.random.default_rng(0)


def street() -> tuple[Pixels, Pixels]:
    """A picture of things before a ground, and what a model would draw of them."""
    picture = np.full((96, 160, 3), 90, np.uint8)
    drawing = np.zeros_like(picture)
    for k, (top, left, height, width) in enumerate([(20, 30, 30, 24), (50, 90, 24, 40), (15, 110, 20, 30)]):
        inside = np.s_[top : top + height, left : left + width]
        picture[inside] = RNG.integers(0, 255, 3)
        drawing[inside] = np.eye(3, dtype=np.uint8)[k] * 255
    noise = RNG.normal(0, 4, picture.shape)
    return (picture + noise).clip(0, 255).astype(np.uint8), drawing


@pytest.mark.parametrize("moved", [(0, 0), (1, 1), (4, 0), (-3, 6)])
def test_how_far_a_drawing_is_off_is_told_by_its_edges(moved: tuple[int, int]) -> None:
    picture, drawing = street()
    drawing = np.roll(drawing, moved, axis=(0, 1))
    assert shift_px(picture, drawing) == moved
    assert is_shifted(picture, drawing) == (abs(moved[0]) + abs(moved[1]) > 2)


def test_a_drawing_that_has_no_edges_or_others_is_not_said_to_be_off() -> None:
    picture, drawing = street()
    noise = [RNG.integers(0, 255, picture.shape).astype(np.uint8) for _ in range(20)]
    for each in (np.zeros_like(drawing), *noise):
        assert shift_px(picture, each) is None
    assert all(shift_px(one, other) is None for one, other in zip(noise[::2], noise[1::2], strict=True))


class Drifting(FakeModel):
    """Draws what is true some pixels to the right."""

    answer = None  # type: ignore[assignment]  # a model that only draws

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        return np.roll(super().render(images, image_of, prompts), 5, axis=2)


def test_a_drawing_that_is_off_is_reported_as_off_palette() -> None:
    picture, _ = street()
    seen = frame(0, (96, 160))
    fit = seen.info.fit
    canvas = seen.image.copy()
    canvas[fit.top : fit.top + fit.height, fit.left : fit.left + fit.width] = picture[
        : fit.height, : fit.width
    ]
    seen = replace(seen, image=canvas)
    prompts = [Prompt.parse("semantic:a,b,c"), Prompt.parse("depth")]
    for model, drifts, expected in (
        (Drifting(), True, 1.0),
        (Drifting(), False, 0.0),
        (FakeModel(), True, 0.0),
    ):
        answers = Drawn(model, drifts=drifts).answer([seen], [0, 0], prompts)
        assert answers[0].value.off_palette == pytest.approx(expected, abs=0.05)  # type: ignore[union-attr]
    assert BACKENDS["klein"].drifts
