"""Which of several things an expression means: what it says is looked up in what the network sees.

Asked for "the leftmost red car" the network marks what looks like a car and a little more what is red: it answers
pixels one by one, and none of them knows what else is in the picture. So the expression is taken apart: the things of
its kind are found as for `instances`, each is judged by what is said of it alone, and one is chosen by how it compares
with the others: colours, places, sizes and distances.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from plantain.operators.models.phrases import MAX_PHRASES
from plantain.operators.models.plantain import painting
from plantain.operators.vocabulary import THINGS, class_of

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

_PICKS = {
    "leftmost": "leftmost", "rightmost": "rightmost", "nearest": "nearest", "closest": "nearest",
    "farthest": "farthest", "furthest": "farthest", "largest": "largest", "biggest": "largest",
    "smallest": "smallest",
}  # fmt: skip
_PLACES = {
    "left": re.compile(r" (?:on|at|to) (?:the )?(?:far )?left(?:[- ]hand)?(?: side)?$"),
    "right": re.compile(r" (?:on|at|to) (?:the )?(?:far )?right(?:[- ]hand)?(?: side)?$"),
    "middle": re.compile(r" in (?:the )?(?:middle|cent(?:re|er))$"),
    "nearest": re.compile(
        r" (?:(?:closest|nearest) to (?:the )?(?:camera|viewer)|in (?:the )?(?:foreground|front))$"
    ),
    "farthest": re.compile(r" in (?:the )?(?:background|distance)$"),
}
_ADJECTIVES = {
    "left": "left", "left-hand": "left", "right": "right", "right-hand": "right", "middle": "middle",
    "central": "middle",
}  # fmt: skip
_SIDES = {"left", "right"}
_RELATIONS = re.compile(
    r"(?P<who>.+?) (?:(?:(?:to|on) )?(?:the )?(?P<side>left|right)(?: side)? of"
    r"|(?P<where>nearest to|closest to|next to|beside|near|behind|in front of))"
    r" (?P<anchor>(?!(?:the )?(?:camera|viewer)$).+)"
)
_BESIDE = {"nearest to", "closest to", "next to", "beside", "near"}
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
_ARTICLES = {"a", "an", "the", "all", "any", "every", "each"}


@dataclass(frozen=True, slots=True)
class Expression:
    """What a referring expression says.

    Attributes:
        words: What it says of the thing alone: "red car", "person with orange umbrella".
        kind: Class of countable things that it names.
        colour: Word for one of COLOURS that it shows, "" if none is named.
        part: What shows it.
        side: Half of the picture that it is in: left, right or "".
        pick: How it compares with the others of its kind, "" if nothing is said.
        relation: Where it is from another thing, "" if nothing is said.
        anchor: The other thing.
        is_many: It speaks of all that fit, as in "the red cars".
    """

    words: str
    kind: str
    colour: str = ""
    part: str = "whole"
    side: str = ""
    pick: str = ""
    relation: str = ""
    anchor: Expression | None = None
    is_many: bool = False

    @property
    def asked(self) -> tuple[tuple[str, str], ...]:
        """What the network is asked, as (task word, phrase): the region, the things, and where it counts how far."""
        things = [self] if self.anchor is None else [self, self.anchor]
        own = [pair for each in things for pair in (("refer", each.words), ("instances", each.kind))]
        return (*own, ("depth", "")) if self.is_about_distance else tuple(own)

    @property
    def is_about_distance(self) -> bool:
        """Whether somebody has to know how far things are."""
        picks = {self.pick, self.anchor.pick if self.anchor else ""}
        return bool(picks & {"nearest", "farthest"}) or self.relation in ("beside", "behind", "in front of")


@lru_cache(MAX_PHRASES)
def parsed(text: str) -> Expression | None:
    """An expression taken apart; None where it names no countable thing, or another thing that is none."""
    said = " ".join(text.lower().split())
    relation, anchor = "", None
    if found := _RELATIONS.fullmatch(said):
        anchor = parsed(found["anchor"])
        if anchor is None:
            return None
        relation = found["side"] or ("beside" if found["where"] in _BESIDE else found["where"])
        said = found["who"]
    places = []
    for place, pattern in _PLACES.items():
        if found := pattern.search(said):
            places.append(place)
            said = said[: found.start()]
    words = [word for word in _WORD.findall(said) if word not in _ARTICLES]
    at = _kind_at(words)
    if at is None:
        return None
    last, kind = at
    noun = words[last - 1]
    told = {index: _PICKS[word] for index, word in enumerate(words) if word in _PICKS}
    told |= {index: _ADJECTIVES[word] for index, word in enumerate(words[: last - 1]) if word in _ADJECTIVES}
    places += told.values()
    last -= sum(index < last for index in told)
    words = [word for index, word in enumerate(words) if index not in told]
    colours = [index for index, word in enumerate(words) if word in COLOURS]
    colour, part = (words[colours[0]], "whole") if colours else ("", "whole")
    if colours and kind == "person" and colours[0] > last:
        behind = words[last:]
        worn_below = any(word in _BELOW for word in behind)
        part = "lower" if worn_below else "carried" if "with" in behind else "upper"
    return Expression(
        words=" ".join(words),
        kind=kind,
        colour=colour,
        part=part,
        side=next((place for place in places if place in _SIDES), ""),
        pick=next((place for place in places if place not in _SIDES), ""),
        relation=relation,
        anchor=anchor,
        is_many=noun in _MANY
        or any(class_of(noun.removesuffix(end)) == kind for end in ("s", "es") if noun.endswith(end)),
    )


_BELOW = {"trousers", "pants", "jeans", "skirt", "shorts"}
_MANY = {"people", "men", "women", "children", "lorries"}


def _kind_at(words: Sequence[str]) -> tuple[int, str] | None:
    """Behind which word, and which: the first class of countable things that words name."""
    for first in range(len(words)):
        for last in (first + 2, first + 1):
            kind = class_of(" ".join(words[first:last]))
            if kind in THINGS and last <= len(words):
                return last, kind
    return None


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
    height, width = maps[0].shape[:2]
    picture = image[: 2 * height : 2, : 2 * width : 2]
    far = maps[-1][..., 0] if expression.is_about_distance else None
    least = MIN_FIT if is_sure else -np.inf
    things = [each for each in _things(expression, maps[0], maps[1], picture, far) if each.fit >= least]
    if expression.anchor is not None:
        others = _things(expression.anchor, maps[2], maps[3], picture, far)
        if expression.anchor.pick:  # else the likeliest is taken, however unlikely
            others = [each for each in others if each.fit >= MIN_FIT]
        anchor = max(_meant(expression.anchor, others), key=lambda other: other.worth, default=None)
        things = [thing for thing in things if anchor and _stands(thing, expression.relation, anchor)]
        if expression.relation == "beside" and anchor:
            things = sorted(things, key=lambda thing: _gap(thing, anchor))[:1]
    things = _meant(expression, things)
    logits = np.zeros((height, width, 2), np.float32)
    logits[..., 1] = -1.0
    for thing in things:
        logits[thing.cells, 1] = np.maximum(maps[1][thing.cells, 0], 0.1)
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
    return float(np.hypot((thing.middle - 0.5) * away - (anchor.middle - 0.5) * here, away - here))


def _things(
    expression: Expression, region: Floats, maps: Floats, picture: NDArray[np.uint8], far: Floats | None
) -> list[_Thing]:
    """Things of the kind that an expression names.

    Args:
        expression: Says what each should fit.
        region: (h, w, 2), what the network takes for what the words mean.
        maps: (h, w, 4), see `painting.instances`.
        picture: (h, w, 3) uint8.
        far: (h, w), log depth; None where nobody asks.
    """
    owner, centres = painting.owners(maps)
    odds = maps[..., 0]
    found = []
    for index in range(len(centres)):
        cells = (owner == index) & (odds > 0)
        size = int(cells.sum())
        if size < MIN_CELLS or float(np.mean(1 / (1 + np.exp(-odds[cells])))) < MIN_SCORE:
            continue
        columns, rows = np.flatnonzero(cells.any(0)), np.flatnonzero(cells.any(1))
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        fit = float(np.mean((region[..., 1] - region[..., 0])[cells]))
        if expression.colour:
            share = _share_of(expression, cells, box, picture)
            is_shown = share >= MIN_SHARE or expression.part == "carried"
            fit = fit / 2 + COLOUR_LOGITS * share if is_shown else -np.inf
        middle = (box[0] + box[2]) / 2 / odds.shape[1]
        found.append(
            _Thing(cells, size, box, middle, fit, 0.0 if far is None else float(np.median(far[cells])))
        )
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


def shows(colour: str, pixels: NDArray[np.uint8]) -> Mask:
    """Which of pixels (N, 3) uint8 RGB somebody would call by the word for a colour."""
    (first, last), strong, light = COLOURS[colour]
    hue, saturation, value = _hsv(pixels)
    of_hue = (hue >= first) & (hue <= last) if first < last else (hue >= first) | (hue <= last)
    is_as_strong = (saturation >= strong[0]) & (saturation <= strong[1])
    return of_hue & is_as_strong & (value >= light[0]) & (value <= light[1])


def _hsv(pixels: NDArray[np.uint8]) -> tuple[Floats, Floats, Floats]:
    """Hue in degrees, saturation and value from 0 to 1, each (N,)."""
    rgb = pixels.astype(np.float32) / 255
    red, green, blue = rgb.T
    value, spread = rgb.max(1), rgb.max(1) - rgb.min(1)
    wide = np.maximum(spread, 1e-6)
    sixth = np.where(
        value == red,
        (green - blue) / wide % 6,
        np.where(value == green, (blue - red) / wide + 2, (red - green) / wide + 4),
    )
    return 60 * sixth, spread / np.maximum(value, 1e-3), value


COLOURS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((342, 14), (0.45, 1), (0, 1)),
    "orange": ((14, 40), (0.5, 1), (0.45, 1)),
    "brown": ((0, 45), (0.3, 1), (0.22, 0.45)),
    "yellow": ((40, 68), (0.45, 1), (0, 1)),
    "green": ((75, 165), (0.25, 1), (0, 1)),
    "blue": ((190, 255), (0.3, 1), (0, 1)),
    "purple": ((255, 310), (0.2, 1), (0, 1)),
    "pink": ((310, 342), (0.2, 1), (0.5, 1)),
    "white": ((0, 360), (0, 0.2), (0.7, 1)),
    "grey": ((0, 360), (0, 0.22), (0.25, 0.7)),
    "gray": ((0, 360), (0, 0.22), (0.25, 0.7)),
    "silver": ((0, 360), (0, 0.2), (0.45, 1)),
    "black": ((0, 360), (0, 1), (0, 0.22)),
}
"""Words for colours, and what is called so: from and to of hue in degrees, saturation and value."""
