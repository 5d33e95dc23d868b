"""Where a picture went: source pixels to model pixels and back, and boxes on either."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Fit = Literal["letterbox", "stretch"]

F = TypeVar("F", bound=np.floating)


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a source picture lies on the model's canvas.

    The canvas is `model_hw`; the picture fills the rectangle `top, left, height, width` of it and the rest
    is padding, which no codec ever sees (`crop`).

    Attributes:
        source_hw: Height and width of the displayed source picture (after rotation), in pixels.
        model_hw: Height and width of the canvas, in pixels.
        top, left, height, width: The picture's rectangle on the canvas, in pixels.
    """

    source_hw: tuple[int, int]
    model_hw: tuple[int, int]
    top: int
    left: int
    height: int
    width: int

    @classmethod
    def fit(cls, source_hw: tuple[int, int], model_hw: tuple[int, int], how: Fit = "letterbox") -> Letterbox:
        """The placement that keeps the aspect ratio (`letterbox`) or fills the canvas (`stretch`)."""
        canvas_h, canvas_w = model_hw
        if how == "stretch":
            return cls(source_hw, model_hw, 0, 0, canvas_h, canvas_w)
        scale = min(canvas_h / source_hw[0], canvas_w / source_hw[1])
        height = min(canvas_h, max(1, round(source_hw[0] * scale)))
        width = min(canvas_w, max(1, round(source_hw[1] * scale)))
        return cls(source_hw, model_hw, (canvas_h - height) // 2, (canvas_w - width) // 2, height, width)

    def place(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The canvas (model_h, model_w, 3) with `picture` (height, width, 3) on it, the padding black."""
        if (self.height, self.width) == self.model_hw:
            return picture
        canvas = np.zeros((*self.model_hw, 3), np.uint8)
        canvas[self.top : self.top + self.height, self.left : self.left + self.width] = picture
        return canvas

    def crop(self, canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture's part (height, width, ...) of a model-sized array, as a view."""
        return canvas[self.top : self.top + self.height, self.left : self.left + self.width]

    def to_source(self, xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (N, 4) `x1, y1, x2, y2` on the cropped picture, as boxes on the source picture."""
        return (xyxy * _scale(self.source_hw, (self.height, self.width))).astype(np.float32)

    @property
    def area_scale(self) -> float:
        """Source pixels that one pixel of the cropped picture stands for."""
        return (self.source_hw[0] * self.source_hw[1]) / (self.height * self.width)


@lru_cache(64)  # of each size of cameras
def _scale(source_hw: tuple[int, int], picture_hw: tuple[int, int]) -> NDArray[np.float32]:
    """What boxes `x1, y1, x2, y2` on the cropped picture are multiplied by."""
    scale_y, scale_x = source_hw[0] / picture_hw[0], source_hw[1] / picture_hw[1]
    return np.array([scale_x, scale_y, scale_x, scale_y], np.float32)


def iou(a: NDArray[F], b: NDArray[F]) -> NDArray[F]:
    """Intersection over union of boxes a (N, 4) with boxes b (M, 4), as (N, M)."""
    left_top = np.maximum(a[:, None, :2], b[:, :2])
    sides = np.maximum(np.minimum(a[:, None, 2:], b[:, 2:]) - left_top, 0)
    overlap = sides[:, :, 0] * sides[:, :, 1]
    union = _areas(a)[:, None] + _areas(b) - overlap
    shares: NDArray[F] = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return shares


def _areas(xyxy: NDArray[F]) -> NDArray[F]:
    areas: NDArray[F] = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    return areas
