"""What is said about single things of an answer, whether they are masks or boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantain.operators import colours
from plantain.operators.answers.base import Thing
from plantain.operators.answers.sketch import Chip

MAX_CHIPS = 8

PER_THING = ("names", "track_ids", "distances_m")
"""What masks and boxes say of each thing, in tuples that are empty where it is not known."""


def some(value: Any, kept: NDArray[np.int64]) -> dict[str, Any]:
    """What `PER_THING` of masks or boxes says of the things `kept` alone."""
    told = {name: getattr(value, name) for name in PER_THING}
    return {name: tuple(each[k] for k in kept) if each else () for name, each in told.items()}


def words_of(number: int, track_ids: Sequence[int | None], distances_m: Sequence[float | None]) -> str:
    """What is known about thing `number`: `#3 12 m`."""
    identity = track_ids[number] if track_ids else None
    distance = distances_m[number] if distances_m else None
    known = [
        "" if identity is None else f"#{identity}",
        "" if distance is None else f"{distance:.{0 if distance >= 10 else 1}f} m",
    ]
    return " ".join(filter(None, known))


def chips_of(
    names: Sequence[str],
    order: Sequence[int],
    track_ids: Sequence[int | None],
    distances_m: Sequence[float | None],
) -> tuple[Chip, ...]:
    """The legend of things, those that come first in `order`."""
    chips = []
    for number in order[:MAX_CHIPS]:
        identity = track_ids[number] if track_ids else None
        distance = distances_m[number] if distances_m else None
        name = names[number] if identity is None else f"#{identity}"
        said = "" if distance is None else f"{distance:.1f} m"
        chips.append(Chip(name, colours.of_object(number, identity), said))
    if len(names) > MAX_CHIPS:
        chips.append(Chip(f"and {len(names) - MAX_CHIPS} more"))
    return tuple(chips)


def things_of(
    names: Sequence[str], track_ids: Sequence[int | None], distances_m: Sequence[float | None]
) -> list[Thing]:
    """Things by their names; identities and distances may be empty."""
    nothing = (None,) * len(names)
    return [Thing(*known) for known in zip(names, track_ids or nothing, distances_m or nothing, strict=True)]
