"""Combinations of the embedded model: with real weights each answers as the model alone does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from plantain.operators.answers import kind_of
from plantain.operators.answers.masks.value import Masks
from plantain.operators.models import load_model
from plantain.operators.models.base import Answering
from plantain.operators.prompts import Prompt
from plantain.operators.segments import Position
from plantain.operators.sources import open_source
from plantain.operators.streams import StreamSpec, View
from plantain.operators.types import Failure, Frame, Value
from tests.scripted_models import Speaking, named

EMBEDDED = {"name": "embedded", "options": {"threads": 1}}
ROAD, DEPTH, RED, QUESTION = (
    Prompt.parse(each)
    for each in ("semantic:road,sky", "depth", "refer:the red car", "refer:which one should I follow?")
)
TOLERANCE = 0.01
"""Pixels that may be answered otherwise in another batch, of 1."""


@pytest.fixture(scope="module")
def street() -> Frame:
    source = open_source(StreamSpec("x", "synthetic://street?seed=6&frames=1"), View((224, 384)), Position())
    try:
        return source.read(1)[0]
    finally:
        source.close()


@pytest.fixture(scope="module")
def alone() -> Answering:
    return load_model("embedded", EMBEDDED["options"])


def answered(model: Answering, frame: Frame, prompt: Prompt) -> Value:
    (answer,) = model.answer([frame], [0], [prompt])
    assert not isinstance(answer.value, Failure), answer.value
    return answer.value


def combined(name: str, options: dict[str, Any], frame: Frame, *prompts: Prompt) -> list[Value]:
    model = load_model(name, options)
    try:
        return [answered(model, frame, prompt) for prompt in prompts]
    finally:
        model.close()


def assert_alike(value: Value, expected: Value, prompt: Prompt, tolerance: float = TOLERANCE) -> None:
    ours, theirs = kind_of(prompt).array(value), kind_of(prompt).array(expected)
    assert ours is not None
    assert theirs is not None
    assert np.mean(~np.isclose(ours, theirs, rtol=1e-3, atol=1e-3)) <= tolerance


def test_a_router_passes_on_what_the_embedded_model_says(street: Frame, alone: Answering) -> None:
    values = combined("router", {"routes": {"depth": EMBEDDED}, "rest": EMBEDDED}, street, DEPTH, ROAD)
    for value, prompt in zip(values, (DEPTH, ROAD), strict=True):
        assert_alike(value, answered(alone, street, prompt), prompt)


def test_a_gate_lets_through_what_the_embedded_model_finds_and_nothing_else(
    street: Frame, alone: Answering
) -> None:
    options = {"model": EMBEDDED, "presence": EMBEDDED}
    (seen,) = combined("gate", options, street, ROAD)
    assert_alike(seen, answered(alone, street, ROAD), ROAD)
    assert not kind_of(ROAD).is_empty(seen)
    tram = Prompt.parse("instances:tram")
    (unseen,) = combined("gate", options, replace(street, image=np.zeros_like(street.image)), tram)
    assert kind_of(tram).is_empty(unseen)


def test_a_question_that_is_rewritten_is_drawn_by_the_embedded_model(street: Frame, alone: Answering) -> None:
    options = {"model": EMBEDDED, "rewriter": named(Speaking, says="the red car")}
    (value,) = combined("rewriting", options, street, QUESTION)
    assert_alike(value, answered(alone, street, RED), RED)


def test_a_vote_of_the_embedded_models_drawings_is_what_it_draws(street: Frame, alone: Answering) -> None:
    (value,) = combined("voting", {"model": EMBEDDED, "votes": 3}, street, ROAD)
    expected = answered(alone, street, ROAD)
    assert isinstance(value, Masks)
    assert isinstance(expected, Masks)
    assert value.names == expected.names
    assert "road" in value.names
    assert_alike(value, expected, ROAD, 0.05)
