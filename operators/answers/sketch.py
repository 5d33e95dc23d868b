"""How an answer looks, as data: what is marked on the frame, what fills a tile beside it, and how to read both.

Rooms say it, `render` and the report draw it. Coordinates are pixels of the value's own grid, or of the source picture,
as each type says; colours are RGB.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plantain.operators.colours import RGB

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Regions:
    """Areas of the frame in colour.

    Attributes:
        labels: (h, w) uint16; 0 is left as it is.
        colours: Of the labels from 1 on.
        strength: Share of 255 that a colour has over the frame.
        is_spotlight: What is in no region is dimmed where nothing else is shown.
    """

    labels: NDArray[np.uint16] = field(repr=False)
    colours: tuple[RGB, ...]
    strength: int
    is_spotlight: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A box around a thing, and words on it.

    Attributes:
        xyxy: `x1, y1, x2, y2` in pixel edges of the source picture.
        colour: Of the box.
        name: What it is.
        words: What else is known about it: identity, distance.
    """

    xyxy: tuple[float, float, float, float]
    colour: RGB
    name: str
    words: str


@dataclass(frozen=True, slots=True)
class OnFrame:
    """What is drawn over the frame.

    Attributes:
        regions: Areas in colour; None for none.
        marks: The last ones lie on top.
    """

    regions: Regions | None = None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class InTile:
    """What fills a tile.

    Attributes:
        picture: (h, w, 3) uint8 of any size; None for none.
        cover: How much of the frame's own picture it hides, 0 to 1.
        is_smooth: Interpolated when it grows; else each pixel stays a square.
        text: Words to read.
    """

    picture: Pixels | None = field(default=None, repr=False)
    cover: float = 1.0
    is_smooth: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True)
class Chip:
    """A line of a legend.

    Attributes:
        name: Of the class or the thing.
        colour: Of it; None for a line without one.
        said: What is known about it.
    """

    name: str
    colour: RGB | None = None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """A bar of colours.

    Attributes:
        colours: (n, 3) uint8 at equal steps, from the camera to infinity.
        ticks: Where on it, 0 to 1, round numbers of metres stand.
    """

    colours: Pixels = field(repr=False)
    ticks: dict[int, float]


@dataclass(frozen=True, slots=True)
class Key:
    """How to read a drawing.

    Attributes:
        chips: Its legend.
        scale: Its bar of metres.
        sample: (n, n, 4) uint8 RGBA: something well known, drawn as the answer would draw it.
        said: What the sample shows.
    """

    chips: tuple[Chip, ...] = ()
    scale: Scale | None = None
    sample: Pixels | None = field(default=None, repr=False)
    said: str = ""
