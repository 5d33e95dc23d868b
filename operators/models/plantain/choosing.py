"""Which of several things an expression means: what it says is looked up in what the network sees.

Asked for "the leftmost red car" the network marks what looks like a car and a little more what is red: it answers
pixels one by one, and none of them knows what else is in the picture. So with an expression taken apart the things of
its kind are found as for `instances`, each is judged by what is said of it alone, and one is chosen by how it compares
with the others: colours, places, sizes and distances.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plantain.operators.models.plantain import painting
from plantain.operators.models.plantain.expressions import Expression
from plantain.operators.models.plantain.hues import shows
from plantain.operators.models.plantain.lens import F0

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

MIN_CELLS = 16
"""Half-resolution cells of a thing that can be meant."""

MIN_SCORE = 0.75
"""Mean likelihood of a thing's cells from which it can be meant; these and the next two were chosen on 90 training
scenes: training_log.md."""

MIN_FIT = 0.0
"""How well a thing must fit what is said of it alone, in logits, for the expression to mean anything."""

COLOUR_LOGITS = 16.0
"""What a thing gains that shows nothing but the colour that is said of it."""

MIN_SHARE = 0.08
"""Share of a thing that must show the colour for it to be called so."""

BESIDE = 0.4
"""How far around persons what they carry is looked for, in their own width and height."""


@dataclass(frozen=True, slots=True)
class _Least:
    """What is asked of a thing that can be meant.

    Attributes:
        score: Mean likelihood of its cells.
        fit: How well it fits, in logits.
        fit_unshown: How well the network must think that it fits if it does not show the colour.
    """

    score: float
    fit: float
    fit_unshown: float


_SURE = _Least(MIN_SCORE, MIN_FIT, np.inf)
_UNSURE = _Least(0.0, -np.inf, np.inf)
_OTHER = _Least(MIN_SCORE, -np.inf, 0.0)


@dataclass(frozen=True, slots=True)
class _Thing:
    """One thing of the kind that is asked for.

    Attributes:
        cells: (h, w), where it is.
        size: How many they are.
        box: x0, y0, x1, y1 in cells, the end excluded.
        middle: Its horizontal middle, as a share of the picture's width.
        fit: How well it fits what is said of it alone, in logits.
        far: Logarithm of how far it is; 0 where nobody asks.
    """

    cells: Mask
    size: int
    box: tuple[int, int, int, int]
    middle: float
    fit: float
    far: float

    @property
    def worth(self) -> float:
        """What speaks for it where nothing else decides: of two that fit as well, the larger is meant."""
        return self.fit + float(np.log(self.size)) / 2


def chosen(
    expression: Expression, maps: Sequence[Floats], image: NDArray[np.uint8], *, is_sure: bool
) -> Floats:
    """Logits (h, w, 2) of background and of what is meant, all background if there is no such thing.

    Args:
        expression: Taken apart.
        maps: Answers to what it asks (`Expression.asked`), each (h, w, C) at half resolution.
        image: (H, W, 3) uint8, the picture.
        is_sure: Nothing is chosen that fits too badly.
    """
    picture = image[::2, ::2]
    height, width = picture.shape[:2]  # maps are as large as the canvas, which may be larger
    seen = [np.ascontiguousarray(each[:height, :width]) for each in maps]
    far = seen[-1][..., 0] if expression.is_about_distance else None
    things = _things(expression, seen[0], seen[1], picture, far, _SURE if is_sure else _UNSURE)
    if expression.anchor is not None:
        # Without a word on how it compares with others the likeliest is taken, however unlikely.
        least = _SURE if expression.anchor.pick else _OTHER
        others = _things(expression.anchor, seen[2], seen[3], picture, far, least)
        anchor = max(_meant(expression.anchor, others), key=lambda other: other.worth, default=None)
        things = [thing for thing in things if anchor and _stands(thing, expression.relation, anchor)]
        if expression.relation == "beside" and anchor:
            things = sorted(things, key=lambda thing: _gap(thing, anchor))[:1]
    things = _meant(expression, things)
    logits = np.zeros((*maps[0].shape[:2], 2), np.float32)
    logits[..., 1] = -1.0
    for thing in things:
        logits[:height, :width, 1][thing.cells] = np.maximum(seen[1][thing.cells, 0], 0.1)
    return logits


def _meant(expression: Expression, things: list[_Thing]) -> list[_Thing]:
    """Those of things on the side that is said, or the one of them that stands out as is said."""
    if expression.side:
        things = [thing for thing in things if (thing.middle < 0.5) == (expression.side == "left")]
    if things and (expression.pick or not expression.is_many):
        things = [max(things, key=_BEST[expression.pick])]
    return things


_BEST: dict[str, Callable[[_Thing], float]] = {
    "leftmost": lambda thing: -thing.middle,
    "rightmost": lambda thing: thing.middle,
    "middle": lambda thing: -abs(thing.middle - 0.5),
    "largest": lambda thing: thing.size,
    "smallest": lambda thing: -thing.size,
    "nearest": lambda thing: -thing.far,
    "farthest": lambda thing: thing.far,
    "": lambda thing: thing.worth,
}
"""What the one that is picked has most of."""


def _stands(thing: _Thing, relation: str, anchor: _Thing) -> bool:
    """Whether a thing, another one than the anchor, is where an expression says."""
    if (thing.cells & anchor.cells).sum() >= 0.3 * thing.size:
        return False
    match relation:
        case "left":
            return thing.middle < anchor.middle
        case "right":
            return thing.middle > anchor.middle
        case "behind" | "in front of":
            is_behind = thing.far > anchor.far
            shares_columns = thing.box[0] < anchor.box[2] and anchor.box[0] < thing.box[2]
            return shares_columns and is_behind == (relation == "behind")
        case _:
            return True


def _gap(thing: _Thing, anchor: _Thing) -> float:
    """About how far two things are from each other, in the unit of their distance from the camera."""
    away, here = np.exp(thing.far), np.exp(anchor.far)
    across = ((thing.middle - 0.5) * away - (anchor.middle - 0.5) * here) / F0
    return float(np.hypot(across, away - here))


def _things(
    expression: Expression,
    region: Floats,
    maps: Floats,
    picture: NDArray[np.uint8],
    far: Floats | None,
    least: _Least,
) -> list[_Thing]:
    """Things of the kind that an expression names, but for those that do not show the colour that is said of them.

    Args:
        expression: Says what each should fit.
        region: (h, w, 2), what the network takes for what the words mean.
        maps: (h, w, 4), see `painting.instances`.
        picture: (h, w, 3) uint8.
        far: (h, w), log depth; None where nobody asks.
        least: What is asked of each.
    """
    owner, centres = painting.owners(maps)
    odds = maps[..., 0]
    found = []
    for index in range(len(centres)):
        cells = (owner == index) & (odds > 0)
        size = int(cells.sum())
        if size < MIN_CELLS or float(np.mean(1 / (1 + np.exp(-odds[cells])))) < least.score:
            continue
        columns, rows = np.flatnonzero(cells.any(0)), np.flatnonzero(cells.any(1))
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        fit = float(np.mean((region[..., 1] - region[..., 0])[cells]))
        if expression.colour:
            share = _share_of(expression, cells, box, picture)
            is_shown = share >= MIN_SHARE or expression.part == "carried"
            if not is_shown and fit < least.fit_unshown:
                continue
            fit = fit / 2 + COLOUR_LOGITS * share
        if fit < least.fit:
            continue
        middle = (box[0] + box[2]) / 2 / odds.shape[1]
        distance = 0.0 if far is None else float(np.median(far[cells]))
        found.append(_Thing(cells, size, box, middle, fit, distance))
    return found


def _share_of(
    expression: Expression, cells: Mask, box: tuple[int, int, int, int], picture: NDArray[np.uint8]
) -> float:
    """How much of what should show a colour does."""
    left, top, right, bottom = box
    height, width = bottom - top, right - left
    if expression.part == "carried":  # beside them, or above
        beside, above = int(BESIDE * width), int(BESIDE * height)
        seen = picture[max(0, top - above) : bottom, max(0, left - beside) : right + beside].reshape(-1, 3)
    else:
        cells = cells[top:bottom, left:right].copy()
        if expression.part == "upper":
            cells[int(0.55 * height) :] = False
        elif expression.part == "lower":
            cells[: int(0.5 * height)] = False
        seen = picture[top:bottom, left:right][cells]
    return float(shows(expression.colour, seen).mean()) if len(seen) else 0.0
