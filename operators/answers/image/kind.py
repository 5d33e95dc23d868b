"""A picture as a kind of answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers.base import OFF_PALETTE, Kind, Raster, Row
from plantain.operators.answers.codec import Codec
from plantain.operators.answers.grids import enlarge
from plantain.operators.answers.image.value import Image
from plantain.operators.answers.sketch import InTile
from plantain.operators.prompts import Prompt


class Pictures(Kind[Image]):
    """A new picture."""

    value = Image
    frame_columns = (OFF_PALETTE,)

    @cached_property
    def codec(self) -> Codec:
        """The drawing itself."""
        from plantain.operators.answers.image.codec import ImageCodec

        return ImageCodec()

    def summary(self, value: Image) -> Row:
        """Nothing but that every colour is legal."""
        return {"off_palette": value.off_palette}

    def raster(self, value: Image) -> Raster:
        """The picture."""
        from plantain.operators.answers.rasters import pack_rgb

        return pack_rgb(value.rgb)

    def read(self, row: Row, objects: Sequence[Row], raster: NDArray[Any] | None) -> Image | None:
        """From the picture."""
        del row, objects
        return None if raster is None else Image(raster.astype(np.uint8, copy=False))

    def sized(self, value: Image, size_hw: tuple[int, int]) -> Image:
        """The picture on another grid."""
        return replace(value, rgb=enlarge(value.rgb, size_hw))

    def size_hw(self, value: Image) -> tuple[int, int]:
        """Of the picture."""
        return value.rgb.shape[0], value.rgb.shape[1]

    def array(self, value: Image) -> NDArray[np.uint8]:
        """Its colours."""
        return value.rgb

    def is_empty(self, value: Image) -> bool:  # noqa: ARG002
        """A picture finds nothing, and so cannot become true."""
        return True

    def words(self, prompt: Prompt, value: Image) -> str:  # noqa: ARG002
        """It speaks for itself."""
        return ""

    def in_tile(self, prompt: Prompt, value: Image) -> InTile:  # noqa: ARG002
        """The picture."""
        return InTile(np.ascontiguousarray(value.rgb), is_smooth=True)
