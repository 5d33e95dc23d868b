"""What a scene gives for one moment: the picture and everything that is true about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One visible thing.

    Attributes:
        instance_id: Its value in `SceneFrame.instance_map`, the same in every frame of the scene.
        label: Its class name.
        colour: Name of its main colour ("" where none is meant).
        size: Against others of its class.
        box_xyxy: Pixels of the visible part, (x1, y1, x2, y2), ends exclusive.
        area_px: Visible pixels.
        depth_m: Median distance along the optical axis of the visible part, metres.
        moving: Whether it moves in the world.
        upper, lower: Colours of a person's clothes, else "".
        kind: Finer word ("man", "woman", "child", "dog", "taxi", ...), else the label.
        carries: What a person holds ("red umbrella", "backpack"), else "".
    """

    instance_id: int
    label: str
    colour: str
    size: Literal["small", "large"]
    box_xyxy: tuple[int, int, int, int]
    area_px: int
    depth_m: float
    moving: bool = False
    upper: str = ""
    lower: str = ""
    kind: str = ""
    carries: str = ""


@dataclass(frozen=True, slots=True)
class SceneFrame:
    """One moment of a scene with exact labels.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        depth_m: (H, W) float32 metres along the optical axis, inf for the sky.
        normals: (H, W, 3) float32 unit vectors, camera frame: +x right, +y up, +z to the viewer; 0 for sky.
        class_map: (H, W) uint8 index into `CLASSES`.
        instance_map: (H, W) uint16, 0 where there is no thing.
        objects: The visible things, by instance id.
    """

    image: NDArray[np.uint8] = field(repr=False)
    depth_m: NDArray[np.float32] = field(repr=False)
    normals: NDArray[np.float32] = field(repr=False)
    class_map: NDArray[np.uint8] = field(repr=False)
    instance_map: NDArray[np.uint16] = field(repr=False)
    objects: tuple[SceneObject, ...]
