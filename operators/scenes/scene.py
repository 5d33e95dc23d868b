"""A scene: one random place, and its picture with exact labels at any time."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from plantain.operators.errors import UsageError
from plantain.operators.scenes import layout
from plantain.operators.scenes.assets import open_shelf
from plantain.operators.scenes.camera import Sensor
from plantain.operators.scenes.descriptions import Setting
from plantain.operators.scenes.frame import SceneFrame, SceneObject
from plantain.operators.scenes.light import SHADOW_TEXEL, choose_light
from plantain.operators.scenes.materials import Materials
from plantain.operators.scenes.raster import may_show, rasterise
from plantain.operators.scenes.shading import shade_frame
from plantain.operators.scenes.shadows import ShadowMap
from plantain.operators.scenes.world import Geometry, World

MIN_AREA_PX = 4
"""Things with fewer visible pixels stay in the maps but are not listed as objects."""


class Scene:
    """A random street scene that does not change apart from what moves in it.

    Args:
        seed: Everything random follows from it and from `split`.
        split: "heldout" has other seeds and families of shape, texture and layout that "train" never shows.
        assets: Folder of meshes to use beside the procedural families, None for those alone.
        size_hw: Height and width of the pictures.
        is_raised: The camera, if it stands outdoors, hangs as high as those of traffic.

    Attributes:
        setting: What kind of place it is, and in which weather.
        camera: What looks at it.

    Raises:
        UsageError: If the split is unknown or the size is too small to draw.
    """

    def __init__(
        self,
        seed: int,
        *,
        split: Literal["train", "heldout"] = "train",
        assets: Path | None = None,
        size_hw: tuple[int, int] = (224, 384),
        is_raised: bool = False,
    ) -> None:
        if split not in ("train", "heldout"):
            raise UsageError(f"split '{split}' is unknown: use train or heldout")
        if min(size_hw) < 16:
            raise UsageError(
                f"scenes of {size_hw[0]} x {size_hw[1]} pixels are too small: use at least 16 x 16"
            )
        self.seed, self.split, self.size_hw = seed, split, size_hw
        rng = np.random.default_rng((seed, 1 if split == "train" else 2))
        self._light = choose_light(rng)
        self._world = World(
            rng, split, Materials(rng), None if assets is None else open_shelf(Path(assets), split)
        )
        place, self.camera = layout.fill(self._world, self._light)
        if is_raised:
            self.camera = self.camera.raised(np.random.default_rng((seed, 31)))
        self.setting = Setting(place, self._light.weather, self._light.is_wet)
        self._world.clear_view(self.camera.eye(0.0))
        self._sensor = Sensor.random(
            rng, is_dark=self._light.is_dark, rain=self._light.rain, moves=self.camera.speed_mps > 0
        )
        world = self._world
        self._still = world.static_geometry()
        self._buffer: Geometry | None = None
        self._table = world.materials.table()
        self._owners = np.asarray(world.owners, np.float32)
        self._owner_class = np.asarray(world.classes, np.uint8)
        self._owner_instance = np.asarray(world.instances, np.uint16)
        self._decals = np.asarray(world.decals, np.float32).reshape(-1, 12)
        casts = ~np.isin(self._still.owner, world.unshadowing)
        self._shadows = ShadowMap.of(
            self._still.points[casts], self.camera.eye(0.0), self.camera.view()[2], self._light.vector[:3]
        )

        if not self.camera.speed_mps:
            focal = self.camera.focal(size_hw[1])
            slopes = 0.51 * size_hw[1] / focal, 0.51 * size_hw[0] / focal
            shows = may_show(self._still.points, self.camera.eye(0.0), self.camera.view(), *slopes)
            self._still = self._still.where(shows)
        self._light.vector[SHADOW_TEXEL] = self._shadows.texel_m

    def render(self, time_s: float = 0.0) -> SceneFrame:
        """The picture and its labels at a time.

        Args:
            time_s: Seconds; the same time always gives the same frame.
        """
        height, width = self.size_hw
        eye, view = self.camera.eye(time_s), self.camera.view()
        owners = self._owners.copy()
        moving = self._world.moving_geometry(time_s, owners)
        shown = self._joined(moving)
        inverse_depth = np.zeros((2 * height, 2 * width), np.float32)
        index = np.full((2 * height, 2 * width), -1, np.int32)
        focal = 2.0 * self.camera.focal(width)
        rasterise(shown.points, eye, view, focal, inverse_depth, index)
        radiance = np.empty((height, width, 3), np.float32)
        depth_m = np.empty((height, width), np.float32)
        normal = np.empty((height, width, 3), np.float32)
        class_map = np.empty((height, width), np.uint8)
        instance_map = np.empty((height, width), np.uint16)
        shade_frame(
            inverse_depth, index, shown.points, shown.normals, shown.material, shown.owner, owners,
            self._owner_class, self._owner_instance, self._table, self._decals, eye, view, focal,
            self._light.vector, self._shadows.with_moving(moving.points), self._shadows.centre,
            self._shadows.axes, self._lamps(owners, eye), radiance, depth_m, normal, class_map, instance_map,
        )  # fmt: skip
        image = self._sensor.picture(radiance, time_s)
        objects = self._visible(depth_m, instance_map)
        return SceneFrame(image, depth_m, normal, class_map, instance_map, objects)

    def _joined(self, moving: Geometry) -> Geometry:
        """What stands still and what moves as one; the still part is copied only once."""
        still, room = self._still, len(self._still) + len(moving)
        if self._buffer is None or len(self._buffer) < room:
            corners = (room + 4096, 3, 3)
            self._buffer = Geometry(
                np.empty(corners, np.float32),
                np.empty(corners, np.float32),
                np.empty(corners[0], np.int32),
                np.empty(corners[0], np.int32),
            )
            self._buffer.write(still, 0)
        self._buffer.write(moving, len(still))
        return self._buffer.first(room)

    def _lamps(self, owners: NDArray[np.float32], eye: NDArray[np.float64]) -> NDArray[np.float32]:
        """(L, 11) the nearest lamps: place, power, reach, direction, cosine of the cone."""
        rows = list(self._world.lamps)
        for which in self._world.headlights:
            x, y, z, cos, sin = (float(value) for value in owners[which, :5])
            rows.append((x + 2.2 * cos, y + 2.2 * sin, z + 0.75, 3.0, 2.8, 2.4, 30.0, cos, sin, -0.12, 0.75))
        lamps = np.asarray(rows, np.float32).reshape(-1, 11)
        near = np.argsort(np.hypot(lamps[:, 0] - eye[0] - 12, lamps[:, 1] - eye[1]), kind="stable")[:14]
        return np.ascontiguousarray(lamps[near])

    def _visible(
        self, depth_m: NDArray[np.float32], instance_map: NDArray[np.uint16]
    ) -> tuple[SceneObject, ...]:
        """The things that can be seen."""
        flat = instance_map.reshape(-1)
        where = np.flatnonzero(flat)
        if not len(where):
            return ()
        where = where[np.argsort(flat[where], kind="stable")]
        numbers, starts = np.unique(flat[where], return_index=True)
        width = instance_map.shape[1]
        found = []
        for number, pixels in zip(numbers, np.split(where, starts[1:]), strict=True):
            if len(pixels) < MIN_AREA_PX:
                continue
            rows, columns = pixels // width, pixels % width
            facts = self._world.facts[int(number)]
            found.append(
                SceneObject(
                    instance_id=int(number),
                    label=facts.label,
                    colour=facts.colour,
                    size="large" if facts.length_m > LARGE_M.get(facts.label, 1e9) else "small",
                    box_xyxy=(
                        int(columns.min()),
                        int(rows.min()),
                        int(columns.max()) + 1,
                        int(rows.max()) + 1,
                    ),
                    area_px=len(pixels),
                    depth_m=float(np.median(depth_m.reshape(-1)[pixels])),
                    moving=facts.moving,
                    upper=facts.upper,
                    lower=facts.lower,
                    kind=facts.kind or facts.label,
                    carries=facts.carries,
                )
            )
        return tuple(found)


LARGE_M = {
    "car": 4.6,
    "van": 5.5,
    "truck": 8.5,
    "bus": 11.0,
    "person": 1.45,
    "motorcycle": 2.0,
    "bicycle": 1.75,
}
"""Things of a class longer (persons: taller) than this are large."""
