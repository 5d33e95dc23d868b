"""Materials: what a surface is made of, as rows of numbers that shading reads."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Kind(IntEnum):
    """Texture families; `textures.py` draws them."""

    PLAIN = 0
    ASPHALT = 1
    SLABS = 2
    GRASS = 3
    FACADE = 4
    PAINT = 5
    GLASS = 6
    LEAF = 7
    BARK = 8
    LAMP = 9
    CLOTH = 10
    ROOF = 11
    SHOP = 12
    LETTERS = 13
    COBBLES = 14


NAMED_COLOURS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "black": ((18, 18, 20), (32, 32, 34)),
    "white": ((235, 236, 238), (245, 243, 236)),
    "grey": ((120, 124, 128), (158, 161, 165), (90, 92, 96)),
    "red": ((170, 20, 24), (200, 36, 30), (128, 16, 26)),
    "blue": ((24, 50, 130), (36, 90, 180), (60, 120, 200), (18, 34, 86)),
    "green": ((24, 96, 50), (60, 130, 60), (30, 70, 44)),
    "yellow": ((236, 196, 30), (246, 214, 60)),
    "orange": ((226, 104, 24), (240, 130, 40)),
    "brown": ((98, 62, 38), (122, 82, 54)),
    "pink": ((226, 130, 160), (240, 170, 190)),
    "purple": ((96, 44, 120), (120, 70, 150)),
    "beige": ((206, 190, 160), (190, 172, 140)),
}
"""Names that referring expressions use, and sRGB examples of each."""


class Materials:
    """A growing table of materials.

    Args:
        rng: Jitters named colours.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._rows: list[list[float]] = []

    def add(
        self,
        kind: Kind,
        colour: tuple[float, float, float] | NDArray[np.float64],
        second: tuple[float, float, float] | NDArray[np.float64] | None = None,
        *,
        scale: float = 1.0,
        gloss: float = 0.0,
        p: tuple[float, float, float] = (0.0, 0.0, 0.0),
        emission: float = 0.0,
        offset: float = 0.0,
        rough: float = 0.1,
    ) -> int:
        """Index of a new material.

        Args:
            kind: Texture family.
            colour: sRGB 0..255.
            second: The other colour of two-coloured textures.
            scale: Size of the texture's cells, metres.
            gloss: How much it mirrors the sky, 0..1.
            p: Parameters of the family.
            emission: Light that it gives off, relative to a white surface in full sun.
            offset: Height at which a facade's rows begin, metres.
            rough: Strength of brightness noise.
        """
        other = colour if second is None else second
        self._rows.append(
            [
                float(kind),
                *to_linear(colour),
                *to_linear(other),
                scale,
                gloss,
                *p,
                emission,
                float(self._rng.integers(1 << 16)),
                offset,
                rough,
            ]
        )
        return len(self._rows) - 1

    def named(self, name: str) -> NDArray[np.float64]:
        """The sRGB value of a colour name with a little variation."""
        examples = NAMED_COLOURS[name]
        base = np.asarray(examples[self._rng.integers(len(examples))], np.float64)
        return np.clip(base * self._rng.uniform(0.88, 1.1) + self._rng.normal(0, 4, 3), 2, 252)

    def table(self) -> NDArray[np.float32]:
        """(M, 16) float32: kind, colour, second, scale, gloss, p, emission, seed, offset, roughness."""
        return np.asarray(self._rows, np.float32)


def to_linear(colour: tuple[float, float, float] | NDArray[np.float64]) -> list[float]:
    """Linear reflectance of an sRGB colour 0..255."""
    return [(float(c) / 255.0) ** 2.2 for c in colour]
