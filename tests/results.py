"""Results made by hand, for tests of what comes after the model."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.masks.value import Masks
from plantain.operators.geometry import Letterbox
from plantain.operators.prompts import Prompt
from plantain.operators.sinks.rows import Rows
from plantain.operators.types import (
    Event,
    Failure,
    FrameInfo,
    Header,
    Moment,
    Place,
    Prediction,
    Result,
    Timing,
    Value,
)

CARS = Prompt.parse("instances:car")
DEPTH = Prompt.parse("depth")
FINGERPRINT = "0123"


def masks(count: int, *, size_hw: tuple[int, int] = (12, 16), name: str = "car") -> Masks:
    """`count` squares of 2 x 2 pixels side by side."""
    labels = np.zeros(size_hw, np.uint16)
    for number in range(count):
        labels[2:4, 3 * number : 3 * number + 2] = number + 1
    return Masks(labels, (name,) * count, np.full(count, 0.5, np.float32), 0.0)


def depth(metres: float, *, size_hw: tuple[int, int] = (12, 16)) -> DepthMap:
    """A wall, and a column of sky."""
    valid = np.ones(size_hw, np.bool_)
    valid[:, 0] = False
    return DepthMap(np.where(valid, metres, 0).astype(np.float32), valid, 0.0)


def written(*results: Result, run_id: str = "run") -> Rows:
    """What a sink is given to write."""
    return Rows(results, run_id)


def result(
    index: int,
    values: dict[Prompt, Value | Failure] | None = None,
    *,
    stream_id: str = "clip",
    epoch: int = 0,
    size_hw: tuple[int, int] = (24, 32),
    model_hw: tuple[int, int] = (12, 16),
) -> Result:
    """The answers about one frame; two cars and a wall if nothing else is said."""
    if values is None:
        values = {CARS: masks(2), DEPTH: depth(3.0 + index)}
    info = FrameInfo(40 * index, Fraction(1, 1000), None, "file", Letterbox.fit(size_hw, model_hw))
    predictions = tuple(
        Prediction(prompt, value, "hand", FINGERPRINT, Timing(1.0, 2.0, 3.0, 4.0))
        for prompt, value in values.items()
    )
    return Result(Header(stream_id, epoch, index), info, predictions)


def stay(
    track_id: int, index: int, *, stream_id: str = "clip", since: int = 0, until: int | None = None
) -> Event:
    """What a frame tells of a car that is there from frame `since` on, and has left where `until` is known."""

    def moment(of: int) -> Moment:
        return Moment(0, of, of * 0.04, None)

    return Event(
        "appeared" if until is None else "left", "presence", stream_id, moment(since),
        None if until is None else moment(until), moment(index), track_id=track_id, label="car",
        place=Place(12.5, 40.0, 7.25), revision=int(until is not None),
    )  # fmt: skip
