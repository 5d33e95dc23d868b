"""Triangle meshes and the primitives that every shape is built from.

World and object coordinates: x and y on the ground, z up, metres. Vehicles and people look along +x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plantain.operators.compiled import compiled

Floats = NDArray[np.float32]
Vector = Sequence[float] | NDArray[np.floating]

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
        self, offset: Vector = (0.0, 0.0, 0.0), *, yaw: float = 0.0, scale: float | Sequence[float] = 1.0
    ) -> Mesh:
        """This mesh scaled, then turned about z by `yaw` radians, then moved by `offset` metres."""
        sx, sy, sz = (
            (scale, scale, scale) if isinstance(scale, float | int) else (float(value) for value in scale)
        )
        points, normals = move(
            self.points,
            self.normals,
            sx,
            sy,
            sz,
            math.cos(yaw),
            math.sin(yaw),
            float(offset[0]),
            float(offset[1]),
            float(offset[2]),
        )
        return Mesh(points, normals, self.slots)


@compiled(error_model="numpy", fastmath=True)
def move(
    points: Floats,
    normals: Floats,
    sx: float,
    sy: float,
    sz: float,
    cos: float,
    sin: float,
    x: float,
    y: float,
    z: float,
) -> tuple[Floats, Floats]:
    """Corners and normals after scaling, turning about z and moving."""
    new_points, new_normals = np.empty_like(points), np.empty_like(normals)
    for t in range(len(points)):
        for k in range(3):
            px, py, pz = points[t, k, 0] * sx, points[t, k, 1] * sy, points[t, k, 2] * sz
            nx, ny, nz = normals[t, k, 0] / sx, normals[t, k, 1] / sy, normals[t, k, 2] / sz
            size = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-20)
            new_points[t, k, 0] = px * cos - py * sin + x
            new_points[t, k, 1] = px * sin + py * cos + y
            new_points[t, k, 2] = pz + z
            new_normals[t, k, 0] = (nx * cos - ny * sin) * size
            new_normals[t, k, 1] = (nx * sin + ny * cos) * size
            new_normals[t, k, 2] = nz * size
    return new_points, new_normals


def join(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of many."""
    return Mesh(
        np.concatenate([mesh.points for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.slots for mesh in meshes]),
    )


def flat(points: NDArray[np.floating], slot: int | NDArray[np.int16] = 0) -> Mesh:
    """A mesh with sharp edges: every triangle has its own normal.

    Args:
        points: (T, 3, 3) corners.
        slot: One material, or (T,) of them.
    """
    points = np.ascontiguousarray(points, np.float32)
    slots = np.empty(len(points), np.int16)
    slots[:] = slot
    return Mesh(points, _flat_normals(points), slots)


@compiled(error_model="numpy")
def _flat_normals(points: Floats) -> Floats:
    """(T, 3, 3) the face normal at each corner."""
    normals = np.empty_like(points)
    for t in range(len(points)):
        ux, uy, uz = points[t, 1] - points[t, 0]
        vx, vy, vz = points[t, 2] - points[t, 0]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        size = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
        for k in range(3):
            normals[t, k, 0] = nx / size
            normals[t, k, 1] = ny / size
            normals[t, k, 2] = nz / size
    return normals


def quad(a: Vector, b: Vector, c: Vector, d: Vector, slot: int = 0) -> Mesh:
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
        [1, 0, 3],
        [1, 3, 2],
    ]
)


def box(
    size: Vector,
    centre: Vector = (0.0, 0.0, 0.0),
    slot: int = 0,
    *,
    taper: float = 1.0,
    top_slot: int | None = None,
) -> Mesh:
    """A box; `taper` scales the top's sides, `top_slot` gives the top another material."""
    points, normals = _box(
        float(size[0]),
        float(size[1]),
        float(size[2]),
        float(centre[0]),
        float(centre[1]),
        float(centre[2]),
        taper,
    )
    slots = np.empty(12, np.int16)
    slots[:] = slot
    slots[:2] = slot if top_slot is None else top_slot
    return Mesh(points, normals, slots)


@compiled(error_model="numpy")
def _box(
    sx: float, sy: float, sz: float, cx: float, cy: float, cz: float, taper: float
) -> tuple[Floats, Floats]:
    """Corners and flat normals of a box's 12 triangles."""
    points = np.empty((12, 3, 3), np.float32)
    for t in range(12):
        for k in range(3):
            corner = _CORNERS[_FACES[t, k]]
            shrink = taper if corner[2] > 0 else 1.0
            points[t, k, 0] = cx + 0.5 * sx * shrink * corner[0]
            points[t, k, 1] = cy + 0.5 * sy * shrink * corner[1]
            points[t, k, 2] = cz + 0.5 * sz * corner[2]
    return points, _flat_normals(points)


def surface(grid: NDArray[np.floating], slots: int | NDArray[np.int16] = 0, *, closed: bool = False) -> Mesh:
    """A smooth skin over a grid of points, with creases where faces meet at more than 40 degrees.

    Args:
        grid: (R, C, 3) points.
        slots: One material, or (R - 1, C - 1) of them.
        closed: Whether the last column equals the first, so that normals are shared across the seam.
    """
    rows, columns = grid.shape[0] - 1, grid.shape[1] - 1
    each = np.broadcast_to(np.asarray(slots, np.int16), (rows, columns)).copy()
    return Mesh(*_skin(np.ascontiguousarray(grid, np.float32), each, closed))


@compiled(error_model="numpy")
def _skin(grid: Floats, slots: NDArray[np.int16], closed: bool) -> tuple[Floats, Floats, NDArray[np.int16]]:
    """Points, normals and slots of the triangles over a grid; faces without area are left out."""
    rows, columns = grid.shape[0] - 1, grid.shape[1] - 1
    face = np.zeros((rows, columns, 3), np.float32)
    vertex = np.zeros((rows + 1, columns + 1, 3), np.float32)
    for i in range(rows):
        for j in range(columns):
            ax, ay, az = grid[i + 1, j + 1] - grid[i, j]
            bx, by, bz = grid[i, j + 1] - grid[i + 1, j]
            n = (ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)
            for c in range(3):
                face[i, j, c] = n[c]
                vertex[i, j, c] += n[c]
                vertex[i + 1, j, c] += n[c]
                vertex[i, j + 1, c] += n[c]
                vertex[i + 1, j + 1, c] += n[c]
    if closed:
        for i in range(rows + 1):
            for c in range(3):
                total = vertex[i, 0, c] + vertex[i, columns, c]
                vertex[i, 0, c] = total
                vertex[i, columns, c] = total
    points = np.empty((2 * rows * columns, 3, 3), np.float32)
    normals = np.empty((2 * rows * columns, 3, 3), np.float32)
    material = np.empty(2 * rows * columns, np.int16)
    count = 0
    corners = ((0, 0), (1, 0), (1, 1), (0, 1))
    for i in range(rows):
        for j in range(columns):
            f = face[i, j]
            length = math.sqrt(f[0] * f[0] + f[1] * f[1] + f[2] * f[2])
            if length < 1e-9:
                continue
            for half in range(2):
                picks = (0, 1, 2) if half == 0 else (0, 2, 3)
                for k in range(3):
                    di, dj = corners[picks[k]]
                    v = vertex[i + di, j + dj]
                    size = math.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]) + 1e-12
                    dot = (v[0] * f[0] + v[1] * f[1] + v[2] * f[2]) / (size * length)
                    for c in range(3):
                        points[count, k, c] = grid[i + di, j + dj, c]
                        normals[count, k, c] = v[c] / size if dot > CREASE_COS else f[c] / length
                a, b, d = points[count, 0], points[count, 1], points[count, 2]
                ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
                wx, wy, wz = d[0] - a[0], d[1] - a[1], d[2] - a[2]
                nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
                if nx * nx + ny * ny + nz * nz > 1e-14:
                    material[count] = slots[i, j]
                    count += 1
    return points[:count].copy(), normals[:count].copy(), material[:count].copy()


def tube(
    start: Vector,
    end: Vector,
    radii: Vector,
    slot: int = 0,
    *,
    sides: int = 8,
    capped: bool = True,
    flatness: float = 1.0,
) -> Mesh:
    """A round bar from `start` to `end` whose radius runs through `radii`; `flatness` squeezes one axis."""
    begin, stop = np.asarray(start, np.float32), np.asarray(end, np.float32)
    ax, ay, az = (float(value) for value in stop - begin)
    length = math.sqrt(ax * ax + ay * ay + az * az) + 1e-9
    ax, ay, az = ax / length, ay / length, az / length
    # any direction across the axis
    sx, sy, sz = (ay, -ax, 0.0) if abs(az) < 0.9 else (-az, 0.0, ax)
    across = math.sqrt(sx * sx + sy * sy + sz * sz)
    side = np.array([sx / across, sy / across, sz / across])
    other = np.array([ay * side[2] - az * side[1], az * side[0] - ax * side[2], ax * side[1] - ay * side[0]])
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
    radii: Vector, centre: Vector = (0.0, 0.0, 0.0), slot: int = 0, *, sides: int = 8, rings: int = 6
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
