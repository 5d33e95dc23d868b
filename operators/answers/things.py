"""Kinds of answers that are single things, whether they are masks or boxes: what is said about them, and drawn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from plantain.operators import colours
from plantain.operators.answers.base import Kind, Thing
from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.sketch import Chip, Key
from plantain.operators.prompts import Prompt

T = TypeVar("T", Boxes, Masks)

MAX_CHIPS = 8

PER_THING = ("names", "track_ids", "distances_m")
"""What masks and boxes say of each thing, in tuples that are empty where it is not known."""


class Things(Kind[T]):
    """What is the same for masks of things and for boxes."""

    has_things = True

    @abstractmethod
    def sizes(self, value: T) -> NDArray[Any]:
        """(N,) how large each of them is."""

    def words(self, prompt: Prompt, value: T) -> str:  # noqa: ARG002
        """How many there are."""
        return f"{len(value.names)} found"

    def tally(self, value: T) -> str:
        """How many there are."""
        return f"({len(value.names)})"

    def has_tile(self, prompt: Prompt) -> bool:  # noqa: ARG002
        """Things are drawn on the frame."""
        return False

    def key(self, prompt: Prompt, value: T | None, length: int) -> Key:  # noqa: ARG002
        """The largest things; of nothing, no key: a track's colour is its own."""
        return Key() if value is None else Key(_chips(value, self.by_size(value)))

    def by_size(self, value: T) -> list[int]:
        """Numbers of the things, the largest first."""
        order: list[int] = np.argsort(-self.sizes(value), kind="stable").tolist()
        return order

    def things(self, value: T) -> list[Thing]:
        """What is known of each."""
        nothing = (None,) * len(value.names)
        told = zip(value.names, value.track_ids or nothing, value.distances_m or nothing, strict=True)
        return [Thing(*known) for known in told]

    def with_tracks(self, value: T, track_ids: tuple[int | None, ...]) -> T:
        """The things with the identity of each."""
        return replace(value, track_ids=track_ids)


def some(value: Boxes | Masks, kept: NDArray[np.int64]) -> dict[str, Any]:
    """What `PER_THING` of masks or boxes says of the things `kept` alone."""
    told = {name: getattr(value, name) for name in PER_THING}
    return {name: tuple(each[k] for k in kept) if each else () for name, each in told.items()}


def words_of(value: Boxes | Masks, number: int) -> str:
    """What is known about a thing: `#3 12 m`."""
    identity, distance = _known(value, number)
    known = [
        "" if identity is None else f"#{identity}",
        "" if distance is None else f"{distance:.{0 if distance >= 10 else 1}f} m",
    ]
    return " ".join(filter(None, known))


def _chips(value: Boxes | Masks, order: Sequence[int]) -> tuple[Chip, ...]:
    """The legend of things, those that come first in `order`."""
    chips = []
    for number in order[:MAX_CHIPS]:
        identity, distance = _known(value, number)
        name = value.names[number] if identity is None else f"#{identity}"
        said = "" if distance is None else f"{distance:.1f} m"
        chips.append(Chip(name, colours.of_object(number, identity), said))
    if len(value.names) > MAX_CHIPS:
        chips.append(Chip(f"and {len(value.names) - MAX_CHIPS} more"))
    return tuple(chips)


def _known(value: Boxes | Masks, number: int) -> tuple[int | None, float | None]:
    """Identity and distance of a thing."""
    return (
        value.track_ids[number] if value.track_ids else None,
        value.distances_m[number] if value.distances_m else None,
    )
