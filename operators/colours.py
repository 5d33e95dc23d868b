"""Colours: names and hex codes, and palettes whose members lie as far apart as possible."""

from __future__ import annotations

import re
from functools import cache
from itertools import product

import numpy as np

from plantain.operators.errors import PromptError

RGB = tuple[int, int, int]
"""Red, green, blue, each 0..255."""

BLACK: RGB = (0, 0, 0)
WHITE: RGB = (255, 255, 255)

NAMED: dict[str, RGB] = {
    "black": BLACK,
    "white": WHITE,
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "orange": (255, 165, 0),
    "purple": (128, 0, 128),
    "pink": (255, 192, 203),
    "brown": (139, 69, 19),
    "gray": (128, 128, 128),
}

BACKDROP: RGB = (18, 20, 26)
"""What drawn frames stand on, and where an answer has no value."""

HIGHLIGHT: RGB = (255, 214, 10)
"""What somebody asked for by words."""

# Bright on asphalt and foliage, well apart.
_OBJECTS: tuple[RGB, ...] = (
    (255, 99, 72),
    (46, 196, 255),
    (255, 200, 40),
    (140, 233, 90),
    (214, 120, 255),
    (255, 140, 190),
    (60, 230, 190),
    (255, 160, 60),
    (120, 150, 255),
    (220, 230, 80),
)

# Candidates of `spread`: a 6 x 6 x 6 grid of the cube has steps of 51 levels, finer than any distance that a
# palette of up to 40 colours can keep, and stays small enough to choose from greedily in milliseconds.
_GRID = np.array(list(product((0, 51, 102, 153, 204, 255), repeat=3)), dtype=np.int32)


def parse(text: str) -> RGB:
    """The colour that `text` writes: `#rrggbb`, `r,g,b` in round brackets or not, or a name of `NAMED`.

    Raises:
        PromptError: If `text` is none of these.
    """
    word = text.strip().lower()
    if word in NAMED:
        return NAMED[word]
    if re.fullmatch(r"#[0-9a-f]{6}", word):
        return int(word[1:3], 16), int(word[3:5], 16), int(word[5:7], 16)
    numbers = re.fullmatch(r"\(?\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)?", word)
    if numbers and all(int(value) <= 255 for value in numbers.groups()):
        red, green, blue = (int(value) for value in numbers.groups())
        return red, green, blue
    raise PromptError(f"'{text}' is no colour: write #rrggbb, (r, g, b) or one of {', '.join(NAMED)}")


def to_hex(colour: RGB) -> str:
    """`colour` as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def of_object(number: int, track_id: int | None) -> RGB:
    """The colour in which object `number` of an answer is drawn; a track keeps its own."""
    return _OBJECTS[(number if track_id is None else track_id) % len(_OBJECTS)]


@cache
def spread(count: int, avoid: tuple[RGB, ...] = (BLACK,)) -> tuple[RGB, ...]:
    """`count` colours, each as far as possible from those before it and from `avoid`, always the same ones.

    Greedy farthest-point choice in RGB with Euclidean distance, the distance that the decoders use
    (Vision Banana, section 3.1), so the smallest gap shrinks slowly: 183 levels for 7 colours beside black, 102 for 26,
    72 for 58, 51 for 215.

    Raises:
        PromptError: If more than 215 colours are asked for.
    """
    if count > len(_GRID) - len(avoid):
        raise PromptError(f"no {count} colours far enough apart exist: use at most {len(_GRID) - len(avoid)}")
    gap = np.full(len(_GRID), np.iinfo(np.int32).max, dtype=np.int64)
    for taken in avoid:
        gap = np.minimum(gap, ((_GRID - np.array(taken)) ** 2).sum(axis=1))
    chosen: list[RGB] = []
    for _ in range(count):
        best = int(gap.argmax())
        red, green, blue = (int(value) for value in _GRID[best])
        chosen.append((red, green, blue))
        gap = np.minimum(gap, ((_GRID - _GRID[best]) ** 2).sum(axis=1))
    return tuple(chosen)
