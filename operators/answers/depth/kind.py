"""Metric depth as a kind of answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantain.operators import colours
from plantain.operators.answers.base import OFF_PALETTE, VALID_FRACTION, Column, Kind, Raster, Row
from plantain.operators.answers.codec import Codec
from plantain.operators.answers.depth.value import DepthMap, Lens
from plantain.operators.answers.grids import enlarge
from plantain.operators.answers.sketch import InTile, Key
from plantain.operators.prompts import Prompt


class Depth(Kind[DepthMap]):
    """Metres along the optical axis for each pixel."""

    value = DepthMap
    gives_metres = True
    frame_columns = (
        Column("depth_min_m", "float32", "nearest depth, metres; null where no pixel has one"),
        Column("depth_median_m", "float32", "median depth, metres"),
        Column("depth_max_m", "float32", "farthest depth, metres"),
        VALID_FRACTION,
        OFF_PALETTE,
        Column("hfov_deg", "float32", "horizontal field of view that the distances follow from, degrees"),
        Column("hfov_error", "float32", "mean error of its focal length, as a share: 0 where it was told"),
    )

    @cached_property
    def codec(self) -> Codec:
        """Metres as colours."""
        from plantain.operators.answers.depth.codec import DepthCodec

        return DepthCodec()

    def summary(self, value: DepthMap) -> Row:
        """Nearest, median and farthest depth."""
        depths = value.depth_m[value.valid]
        row: Row = {
            "off_palette": value.off_palette,
            "valid_fraction": depths.size / max(1, value.valid.size),
        }
        if value.lens is not None:
            row["hfov_deg"], row["hfov_error"] = value.lens
        if depths.size:
            row["depth_min_m"] = float(depths.min())
            row["depth_median_m"] = float(np.median(depths))
            row["depth_max_m"] = float(depths.max())
        return row

    def raster(self, value: DepthMap) -> Raster:
        """The map in 16 bits."""
        from plantain.operators.answers.rasters import pack_depth

        return pack_depth(value)

    def read(self, row: Row, objects: Sequence[Row], raster: NDArray[Any] | None) -> DepthMap | None:
        """From the map."""
        del objects
        if raster is None:
            return None
        depth_m = raster.astype(np.float32, copy=False)
        told = row.get("hfov_deg")  # rows of before have no such columns
        lens = None if told is None else Lens(told, row["hfov_error"])
        return DepthMap(depth_m, depth_m > 0, row["off_palette"], lens)

    def sized(self, value: DepthMap, size_hw: tuple[int, int]) -> DepthMap:
        """The map on another grid."""
        return replace(value, depth_m=enlarge(value.depth_m, size_hw), valid=enlarge(value.valid, size_hw))

    def size_hw(self, value: DepthMap) -> tuple[int, int]:
        """Of the map."""
        return value.valid.shape[0], value.valid.shape[1]

    def array(self, value: DepthMap) -> NDArray[np.float32]:
        """Metres."""
        return np.where(value.valid, value.depth_m, np.float32(0))

    def is_empty(self, value: DepthMap) -> bool:
        """Whether no pixel has a depth."""
        return not bool(value.valid.any())

    def words(self, prompt: Prompt, value: DepthMap) -> str:  # noqa: ARG002
        """Median and nearest."""
        known = value.depth_m[value.valid]
        if not known.size:
            return "nothing at a finite distance"
        return f"median {np.median(known):.1f} m, nearest {known.min():.1f} m"

    def in_tile(self, prompt: Prompt, value: DepthMap) -> InTile:
        """Near is bright, far is dark."""
        from plantain.operators.answers.depth.shades import depth_colours

        picture = depth_colours(value.depth_m, prompt.curve)
        picture[~value.valid] = colours.BACKDROP
        return InTile(picture)

    def key(self, prompt: Prompt, value: DepthMap | None, length: int) -> Key:  # noqa: ARG002
        """Metres on the prompt's own scale."""
        from plantain.operators.answers.depth.shades import depth_scale

        return Key(scale=depth_scale(prompt.curve, length))

    def metres(self, value: DepthMap) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The map itself."""
        return value.depth_m, value.valid
