"""Triangle meshes and the primitives that every shape is built from.

World and object coordinates: x and y on the ground, z up, metres. Vehicles and people look along +x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

CREASE_COS = 0.77
"""Corners keep the face's own normal when the smooth one is further away than about 40 degrees."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """Triangles with a normal at each corner.

    Attributes:
        points: (T, 3, 3) float32 metres: triangle, corner, xyz.
        normals: (T, 3, 3) float32 unit vectors.
        slots: (T,) int16, which of the object's materials each triangle has.
    """

    points: Floats
    normals: Floats
    slots: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.slots)

    def moved(
        self,
        offset: Sequence[float] = (0.0, 0.0, 0.0),
        *,
        yaw: float = 0.0,
        scale: float | Sequence[float] = 1.0,
    ) -> Mesh:
        """This mesh scaled, then turned about z by `yaw` radians, then moved by `offset` metres."""
        factor = np.broadcast_to(np.asarray(scale, np.float32), (3,))
        turn = turn_z(yaw)
        points = (self.points * factor) @ turn + np.asarray(offset, np.float32)
        normals = self.normals
        if factor.min() != factor.max():
            normals = normals / factor
            normals = normals / (np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-9)
        return Mesh(points.astype(np.float32), (normals @ turn).astype(np.float32), self.slots)

    def tilted(self, turn: Floats, offset: Sequence[float] = (0.0, 0.0, 0.0)) -> Mesh:
        """This mesh times a (3, 3) rotation (row vectors), then moved."""
        points = self.points @ turn + np.asarray(offset, np.float32)
        return Mesh(points.astype(np.float32), (self.normals @ turn).astype(np.float32), self.slots)

    def painted(self, slot: int) -> Mesh:
        """This mesh with all triangles in one material slot."""
        return Mesh(self.points, self.normals, np.full(len(self), slot, np.int16))


def turn_z(yaw: float) -> Floats:
    """(3, 3) rotation about z for row vectors: `points @ turn_z(yaw)`."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32)


def turn_y(pitch: float) -> Floats:
    """(3, 3) rotation about y for row vectors; positive swings +z towards +x."""
    cos, sin = np.cos(pitch), np.sin(pitch)
    return np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]], np.float32)


def join(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of many."""
    return Mesh(
        np.concatenate([mesh.points for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.slots for mesh in meshes]),
    )


def flat(points: Floats, slot: int | NDArray[np.int16] = 0) -> Mesh:
    """(T, 3, 3) triangles with their own flat normals."""
    points = np.asarray(points, np.float32)
    normal = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    normal = normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12)
    slots = np.broadcast_to(np.asarray(slot, np.int16), (len(points),)).copy()
    return Mesh(points, np.repeat(normal[:, None], 3, axis=1).astype(np.float32), slots)


def quad(
    a: Sequence[float], b: Sequence[float], c: Sequence[float], d: Sequence[float], slot: int = 0
) -> Mesh:
    """A flat four-cornered face."""
    return flat(np.array([[a, b, c], [a, c, d]], np.float32), slot)


_CORNERS = np.array(
    [[-1, -1, -1], [1, -1, -1], [1, 1, -1], [-1, 1, -1], [-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]],
    np.float32,
)
_FACES = np.array(
    [
        [4, 5, 6],
        [4, 6, 7],
        [0, 1, 5],
        [0, 5, 4],
        [1, 2, 6],
        [1, 6, 5],
        [2, 3, 7],
        [2, 7, 6],
        [3, 0, 4],
        [3, 4, 7],
    ]
    + [[1, 0, 3], [1, 3, 2]]
)


def box(
    size: Sequence[float],
    centre: Sequence[float] = (0.0, 0.0, 0.0),
    slot: int = 0,
    *,
    taper: float = 1.0,
    top_slot: int | None = None,
) -> Mesh:
    """A box; `taper` scales the top's sides, `top_slot` gives the top another material."""
    corners = _CORNERS * (np.asarray(size, np.float32) / 2)
    corners[4:, :2] *= taper
    slots = np.full(12, slot, np.int16)
    slots[:2] = slot if top_slot is None else top_slot
    return flat((corners + np.asarray(centre, np.float32))[_FACES], slots)


def surface(grid: Floats, slots: int | NDArray[np.int16] = 0, *, closed: bool = False) -> Mesh:
    """A smooth skin over a grid of points, with creases where faces meet at more than 40 degrees.

    Args:
        grid: (R, C, 3) points.
        slots: One material, or (R - 1, C - 1) of them.
        closed: Whether the last column equals the first, so that normals are shared across the seam.
    """
    grid = np.asarray(grid, np.float32)
    rows, columns = grid.shape[0] - 1, grid.shape[1] - 1
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    weighted = np.cross(c - a, d - b)
    face = weighted / (np.linalg.norm(weighted, axis=-1, keepdims=True) + 1e-12)
    vertex = np.zeros_like(grid)
    for down in (0, 1):
        for right in (0, 1):
            vertex[down : rows + down, right : columns + right] += weighted
    if closed:
        vertex[:, 0] += vertex[:, -1]
        vertex[:, -1] = vertex[:, 0]
    vertex /= np.linalg.norm(vertex, axis=-1, keepdims=True) + 1e-12

    def corner(part: Floats) -> Floats:
        smooth = (part * face).sum(-1, keepdims=True) > CREASE_COS
        return np.where(smooth, part, face)

    na, nb = corner(vertex[:-1, :-1]), corner(vertex[1:, :-1])
    nc, nd = corner(vertex[1:, 1:]), corner(vertex[:-1, 1:])
    points = np.stack([np.stack([a, b, c], 2), np.stack([a, c, d], 2)], 2).reshape(-1, 3, 3)
    normals = np.stack([np.stack([na, nb, nc], 2), np.stack([na, nc, nd], 2)], 2).reshape(-1, 3, 3)
    each = np.broadcast_to(np.asarray(slots, np.int16), (rows, columns)).reshape(-1).repeat(2)
    edges = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    keep = (edges * edges).sum(1) > 1e-14
    return Mesh(points[keep], normals[keep].astype(np.float32), each[keep])


def tube(
    start: Sequence[float],
    end: Sequence[float],
    radii: Sequence[float],
    slot: int = 0,
    *,
    sides: int = 8,
    capped: bool = True,
    flatness: float = 1.0,
) -> Mesh:
    """A round bar from `start` to `end` whose radius runs through `radii`; `flatness` squeezes its second axis."""
    begin, stop = np.asarray(start, np.float32), np.asarray(end, np.float32)
    axis = stop - begin
    axis = axis / (np.linalg.norm(axis) + 1e-9)
    side = np.cross(axis, (0.0, 0.0, 1.0) if abs(axis[2]) < 0.9 else (0.0, 1.0, 0.0))
    side /= np.linalg.norm(side)
    other = np.cross(axis, side)
    along = np.linspace(0.0, 1.0, len(radii))
    size = np.asarray(radii, np.float32)
    if capped:
        along = np.concatenate([[0.0], along, [1.0]])
        size = np.concatenate([[0.0], size, [0.0]])
    angle = np.linspace(0.0, 2 * np.pi, sides + 1)
    ring = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * other * flatness
    centre = begin + along[:, None] * (stop - begin)
    return surface(centre[:, None] + size[:, None, None] * ring, slot, closed=True)


def ellipsoid(
    radii: Sequence[float],
    centre: Sequence[float] = (0.0, 0.0, 0.0),
    slot: int = 0,
    *,
    sides: int = 8,
    rings: int = 6,
) -> Mesh:
    """An ellipsoid with smooth normals."""
    polar = np.linspace(0.0, np.pi, rings + 1)[:, None]
    angle = np.linspace(0.0, 2 * np.pi, sides + 1)[None]
    unit = np.stack(
        [np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle), np.cos(polar) + 0 * angle], axis=-1
    )
    mesh = surface((unit * np.asarray(radii)).astype(np.float32), slot, closed=True)
    gradient = mesh.points / np.square(np.asarray(radii, np.float32))
    normals = gradient / (np.linalg.norm(gradient, axis=-1, keepdims=True) + 1e-9)
    return Mesh(mesh.points + np.asarray(centre, np.float32), normals.astype(np.float32), mesh.slots)
