"""Ground: the land, roads with their markings, blocks with pavements and kerbs."""

from __future__ import annotations

import itertools

import numpy as np

from plantain.operators.scenes.materials import Kind
from plantain.operators.scenes.mesh import Mesh, box, ellipsoid, join, quad
from plantain.operators.scenes.world import World

KERB_M = 0.13
FAR_M = 420.0


def add_land(world: World, colour_kind: str = "grass") -> int:
    """An endless plain just below the roads; gives its material."""
    material = grass(world) if colour_kind == "grass" else gravel(world)
    mesh = quad((-FAR_M, -FAR_M, 0), (FAR_M, -FAR_M, 0), (FAR_M, FAR_M, 0), (-FAR_M, FAR_M, 0))
    world.place(mesh, [material], (0, 0, -0.05), label="terrain")
    for _ in range(world.rng.integers(0, 7) if world.rng.uniform() < 0.4 else 0):
        angle, reach = world.rng.uniform(-1.2, 1.2), world.rng.uniform(260, 380)
        hill = ellipsoid(
            (world.rng.uniform(50, 160), world.rng.uniform(60, 200), world.rng.uniform(12, 60)),
            sides=20,
            rings=12,
        )
        world.place(hill, [material], (reach * np.cos(angle), reach * np.sin(angle), -4), label="terrain")
    return material


def add_bank(world: World, y: float, side: int, material: int) -> None:
    """A slope that rises away from a road along x, its foot at `y`."""
    wide, rise = world.rng.uniform(5, 14), world.rng.uniform(0.6, 4.5)
    for x in range(-40, 280, 40):
        low, high = (
            ((x, y, -0.06), (x + 40, y, -0.06)),
            ((x + 40, y + side * wide, rise), (x, y + side * wide, rise)),
        )
        far = ((x + 40, y + side * 90, rise), (x, y + side * 90, rise))
        world.place(
            join([quad(*low, *high), quad(high[1], high[0], *far)]), [material], (0, 0, 0), label="terrain"
        )


def add_road(
    world: World, material: int, x: float, y: float, yaw: float, length: float, half_width: float
) -> None:
    """A strip of road centred at (x, y)."""
    world.place(_plate(length, 2 * half_width), [material], (x, y, 0.0), yaw=yaw, label="road")


def add_block(
    world: World, x0: float, y0: float, x1: float, y1: float, paving: int, inner: int, walk_m: float
) -> None:
    """A raised block between roads: pavement around, something else inside `walk_m` (0: all pavement)."""
    size = (x1 - x0, y1 - y0, 0.4)
    at = ((x0 + x1) / 2, (y0 + y1) / 2, 0.0)
    world.place(box(size, (0, 0, KERB_M - 0.2)), [paving], at, label="pavement")
    if walk_m > 0 and min(size[:2]) > 2 * walk_m + 1:
        lawn = _plate(size[0] - 2 * walk_m, size[1] - 2 * walk_m)
        world.place(lawn, [inner], (at[0], at[1], KERB_M + 0.03), label="terrain")


def add_marking(
    world: World,
    x: float,
    y: float,
    yaw: float,
    length: float,
    width: float,
    *,
    period: float = 0.0,
    share: float = 1.0,
    crossing: bool = False,
    tone: tuple[float, float, float] = (0.75, 0.75, 0.72),
) -> None:
    """Paint on the road: a rectangle centred at (x, y), optionally dashed along `yaw`."""
    label = 3.0 if crossing else 2.0
    world.decals.append(
        (x, y, float(np.cos(yaw)), float(np.sin(yaw)), length / 2, width / 2, label, period, share, *tone)
    )


def asphalt(world: World) -> int:
    """A road surface."""
    rng = world.rng
    tone = rng.uniform(50, 135)
    tint = rng.normal(1, 0.025, 3)
    if world.split == "heldout" and rng.uniform() < 0.3:
        return world.materials.add(Kind.COBBLES, tone * 1.1 * tint, tone * 0.8 * tint, scale=0.16, rough=0.3)
    return world.materials.add(
        Kind.ASPHALT,
        tone * tint,
        tone * rng.uniform(0.88, 1.12) * tint,
        scale=rng.uniform(0.6, 2),
        rough=rng.uniform(0.1, 0.5),
        gloss=rng.uniform(0, 0.1),
    )


def paving(world: World) -> int:
    """A pavement's surface."""
    rng = world.rng
    tone = rng.uniform(90, 200) * np.array([1.0, rng.uniform(0.9, 1.0), rng.uniform(0.78, 1.0)])
    if rng.uniform() < 0.2:
        tone = np.array([150, 96, 76]) * rng.uniform(0.7, 1.2)
    kind = Kind.ASPHALT if rng.uniform() < 0.25 else Kind.SLABS
    if world.split == "heldout" and rng.uniform() < 0.4:
        kind = Kind.COBBLES
    return world.materials.add(
        kind,
        tone,
        tone * rng.uniform(0.8, 1.1),
        scale=rng.uniform(0.2, 0.9),
        p=(float(rng.integers(2)), rng.uniform(0.8, 2), 0),
        rough=rng.uniform(0.1, 0.4),
    )


def grass(world: World) -> int:
    """A lawn, lush or dry."""
    rng = world.rng
    lush = np.array([rng.uniform(50, 100), rng.uniform(85, 130), rng.uniform(30, 60)])
    dry = np.array([rng.uniform(110, 165), rng.uniform(105, 140), rng.uniform(60, 90)])
    return world.materials.add(
        Kind.GRASS, lush, lush + (dry - lush) * rng.uniform(0, 0.8), rough=rng.uniform(0.2, 0.5)
    )


def gravel(world: World) -> int:
    """Bare soil or gravel."""
    tone = np.array([1.0, 0.9, 0.76]) * world.rng.uniform(90, 180)
    return world.materials.add(Kind.GRASS, tone, tone * 0.75, rough=0.35)


def _plate(length: float, width: float) -> Mesh:
    """A level rectangle around the origin, in pieces, so that its triangles stay well shaped."""
    count = max(1, int(length / 80))
    edges = np.linspace(-length / 2, length / 2, count + 1)
    half = width / 2
    return join(
        [quad((a, -half, 0), (b, -half, 0), (b, half, 0), (a, half, 0)) for a, b in itertools.pairwise(edges)]
    )
