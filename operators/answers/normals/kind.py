"""Surface normals as a kind of answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantain.operators import colours
from plantain.operators.answers.base import OFF_PALETTE, VALID_FRACTION, Kind, Raster, Row
from plantain.operators.answers.codec import Codec
from plantain.operators.answers.grids import enlarge
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.answers.sketch import InTile, Key, Pixels
from plantain.operators.prompts import Prompt

_BALL_PX = 64


class Normals(Kind[NormalMap]):
    """A unit vector for each pixel."""

    value = NormalMap
    frame_columns = (VALID_FRACTION, OFF_PALETTE)

    @cached_property
    def codec(self) -> Codec:
        """Directions as colours."""
        from plantain.operators.answers.normals.codec import NormalsCodec

        return NormalsCodec()

    def summary(self, value: NormalMap) -> Row:
        """How much of the picture has a direction."""
        valid = float(value.valid.mean()) if value.valid.size else 0.0
        return {"off_palette": value.off_palette, "valid_fraction": valid}

    def raster(self, value: NormalMap) -> Raster:
        """The map in 8 bits."""
        from plantain.operators.answers.rasters import pack_normals

        return pack_normals(value)

    def read(self, row: Row, objects: Sequence[Row], raster: NDArray[Any] | None) -> NormalMap | None:
        """From the map."""
        del objects
        if raster is None:
            return None
        normals = raster.astype(np.float32, copy=False)
        return NormalMap(normals, np.asarray(normals.any(axis=-1)), row["off_palette"])

    def sized(self, value: NormalMap, size_hw: tuple[int, int]) -> NormalMap:
        """The map on another grid."""
        return replace(value, normals=enlarge(value.normals, size_hw), valid=enlarge(value.valid, size_hw))

    def size_hw(self, value: NormalMap) -> tuple[int, int]:
        """Of the map."""
        return value.valid.shape[0], value.valid.shape[1]

    def array(self, value: NormalMap) -> NDArray[np.float32]:
        """Unit vectors."""
        return np.where(value.valid[..., None], value.normals, np.float32(0))

    def is_empty(self, value: NormalMap) -> bool:
        """Whether no pixel has a direction."""
        return not bool(value.valid.any())

    def words(self, prompt: Prompt, value: NormalMap) -> str:  # noqa: ARG002
        """How much is known."""
        return f"known for {value.valid.mean():.0%} of the picture"

    def in_tile(self, prompt: Prompt, value: NormalMap) -> InTile:  # noqa: ARG002
        """Pink faces right, green up, blue the camera."""
        picture = (value.normals * 127.5 + 127.5).astype(np.uint8)
        picture[~value.valid] = colours.BACKDROP
        return InTile(picture)

    def key(self, prompt: Prompt, value: NormalMap | None, length: int) -> Key:  # noqa: ARG002
        """A ball as the map would draw it."""
        said = "A ball in these colours: pink faces right, green faces up, blue faces the camera."
        return Key(sample=_ball(), said=said)


def _ball() -> Pixels:
    """A ball seen from the camera, RGBA."""
    side = np.linspace(-1.05, 1.05, _BALL_PX, dtype=np.float32)
    x, y = np.meshgrid(side, -side)
    rest = 1 - x**2 - y**2
    ball = np.stack([x, y, np.sqrt(np.maximum(rest, 0))], axis=-1)
    shade = np.zeros((_BALL_PX, _BALL_PX, 4), np.uint8)
    shade[..., :3] = (ball * 127.5 + 127.5).clip(0, 255)
    shade[..., 3] = (np.clip(rest * _BALL_PX / 4, 0, 1) * 255).astype(np.uint8)
    return shade
