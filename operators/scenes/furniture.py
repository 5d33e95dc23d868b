"""What stands along streets: lamp posts, traffic lights, signs, bins, benches, bollards, cones, fences."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from plantain.operators.scenes.mesh import Mesh, box, ellipsoid, flat, join, tube

METAL, LAMP, FACE, SECOND, RED_LAMP, AMBER_LAMP, GREEN_LAMP = range(7)

LAMP_HEIGHT_M = 7.0
"""Height of the light of `lamp_post`, whose arm reaches 1.6 m along +y."""


@lru_cache(maxsize=32)
def lamp_post(variant: int) -> Mesh:
    """A street lamp; METAL is the post, LAMP its light."""
    rng = np.random.default_rng((41, variant))
    radius = rng.uniform(0.06, 0.11)
    parts = [tube((0, 0, 0), (0, 0, LAMP_HEIGHT_M), (radius * 1.4, radius, radius * 0.7), METAL, sides=8)]
    if variant % 3 == 2:
        parts.append(ellipsoid((0.28, 0.28, 0.24), (0, 0, LAMP_HEIGHT_M + 0.1), LAMP))
    else:
        parts.append(
            tube(
                (0, 0, LAMP_HEIGHT_M),
                (0, 1.6, LAMP_HEIGHT_M + 0.3),
                (radius * 0.6, radius * 0.5),
                METAL,
                sides=6,
            )
        )
        parts.append(box((0.28, 0.75, 0.12), (0, 1.75, LAMP_HEIGHT_M + 0.3), METAL))
        parts.append(box((0.2, 0.6, 0.04), (0, 1.75, LAMP_HEIGHT_M + 0.23), LAMP))
    return join(parts)


@lru_cache(maxsize=16)
def traffic_light_pole(variant: int) -> Mesh:
    """The post of a traffic light, 3.2 m, every second one with an arm along +y."""
    parts = [tube((0, 0, 0), (0, 0, 3.4 if variant % 2 == 0 else 5.6), (0.08, 0.07), METAL, sides=8)]
    if variant % 2:
        parts.append(tube((0, 0, 5.5), (0, 4.0, 5.6), (0.06, 0.05), METAL, sides=6))
    return join(parts)


@lru_cache(maxsize=16)
def traffic_light_head(variant: int) -> Mesh:
    """The housing with its three lamps, facing +x, on the post of the same variant."""
    spots = [(0.0, 2.9)] if variant % 2 == 0 else [(0.0, 2.9), (3.8, 5.4)]
    parts = []
    for y, z in spots:
        parts.append(box((0.26, 0.34, 1.0), (0.12, y, z), METAL))
        if variant % 4 > 1:
            parts.append(box((0.03, 0.62, 1.3), (0.0, y, z), METAL))
        for rise, slot in ((0.31, RED_LAMP), (0.0, AMBER_LAMP), (-0.31, GREEN_LAMP)):
            parts.append(tube((0.22, y, z + rise), (0.27, y, z + rise), (0.115, 0.115), slot, sides=10))
            parts.append(box((0.2, 0.26, 0.03), (0.32, y, z + rise + 0.13), METAL))
    return join(parts)


@lru_cache(maxsize=32)
def sign_plate(variant: int) -> Mesh:
    """A plate facing +x, FACE with a SECOND border or bar: round, triangle, octagon, square or wide."""
    rng = np.random.default_rng((43, variant))
    z, kind = rng.uniform(2.1, 2.8), variant % 5
    if kind == 4:
        wide, tall = rng.uniform(1.0, 2.6), rng.uniform(0.5, 1.0)
        parts = [
            box((0.05, wide, tall), (0.05, 0, z), SECOND),
            box((0.02, wide * 0.94, tall * 0.88), (0.08, 0, z), FACE),
        ]
        parts += [
            box((0.01, wide * rng.uniform(0.3, 0.7), tall * 0.12), (0.095, 0, z + rise * tall), SECOND)
            for rise in (0.2, -0.15)
        ]
        return join(parts)
    size = rng.uniform(0.3, 0.42)
    sides, turn = {0: (20, 0.0), 1: (3, np.pi / 2), 2: (8, np.pi / 8), 3: (4, np.pi / 4)}[kind]
    parts = []
    for x, scale, slot in ((0.06, 1.0, SECOND), (0.075, 0.78, FACE)):
        angle = turn + np.linspace(0, 2 * np.pi, sides + 1)
        ring = np.stack(
            [np.full_like(angle, x), scale * size * np.cos(angle), z + scale * size * np.sin(angle)], -1
        )
        fan = np.stack([np.repeat(np.array([[x, 0, z]]), sides, 0), ring[:-1], ring[1:]], 1)
        parts.append(flat(fan.astype(np.float32), slot))
    parts.append(box((0.01, size * 0.9, size * 0.22), (0.085, 0, z), SECOND))
    return join(parts)


@lru_cache(maxsize=4)
def sign_post() -> Mesh:
    """The post of a sign."""
    return tube((0, 0, 0), (0, 0, 2.9), (0.035, 0.035), METAL, sides=6)


@lru_cache(maxsize=64)
def thing(kind: str, variant: int) -> Mesh:
    """A bin, bench, bollard, cone, hydrant, cabinet, planter, stall or trolley on z = 0."""
    rng = np.random.default_rng((44, variant, *map(ord, kind)))
    match kind:
        case "bin":
            return join(
                [
                    box((0.6, 0.6, 1.0), (0, 0, 0.55), METAL, taper=1.12),
                    box((0.66, 0.68, 0.08), (0, 0, 1.08), SECOND),
                ]
            )
        case "bench":
            legs = [box((0.4, 0.06, 0.45), (0, y, 0.22), SECOND) for y in (-0.7, 0.7)]
            slats = [box((0.1, 1.7, 0.04), (x, 0, 0.46), METAL) for x in (-0.15, 0, 0.15)]
            return join([*legs, *slats, box((0.04, 1.7, 0.3), (-0.24, 0, 0.75), METAL)])
        case "bollard":
            tall = rng.uniform(0.7, 1.1)
            return join(
                [
                    tube((0, 0, 0), (0, 0, tall), (0.09, 0.08), METAL),
                    tube((0, 0, tall * 0.8), (0, 0, tall * 0.9), (0.095,) * 2, SECOND),
                ]
            )
        case "cone":
            return join(
                [
                    box((0.42, 0.42, 0.04), (0, 0, 0.02), METAL),
                    tube((0, 0, 0.02), (0, 0, 0.72), (0.16, 0.03), METAL, sides=10),
                    tube((0, 0, 0.3), (0, 0, 0.48), (0.108, 0.075), SECOND, sides=10, capped=False),
                ]
            )
        case "hydrant":
            return join(
                [
                    tube((0, 0, 0), (0, 0, 0.7), (0.13, 0.12, 0.12), METAL),
                    ellipsoid((0.14, 0.14, 0.12), (0, 0, 0.7), METAL),
                    tube((0, -0.2, 0.5), (0, 0.2, 0.5), (0.06, 0.06), SECOND),
                ]
            )
        case "cabinet":
            return box((0.45, rng.uniform(0.8, 1.4), rng.uniform(1.0, 1.5)), (0, 0, 0.6), METAL)
        case "planter":
            return join(
                [
                    box((1.0, 1.0, 0.6), (0, 0, 0.3), METAL, taper=1.15),
                    ellipsoid((0.5, 0.5, 0.35), (0, 0, 0.7), SECOND),
                ]
            )
        case _:
            return join(
                [box((1.4, 2.2, 0.9), (0, 0, 0.45), METAL), box((1.8, 2.6, 0.08), (0, 0, 2.3), SECOND)]
                + [
                    tube((x, y, 0.9), (x, y, 2.3), (0.03, 0.03), METAL, sides=4)
                    for x in (-0.7, 0.7)
                    for y in (-1.0, 1.0)
                ]
            )


@lru_cache(maxsize=16)
def fence(variant: int) -> Mesh:
    """Four metres of fence, rail or low wall along x."""
    rng = np.random.default_rng((45, variant))
    tall = rng.uniform(0.8, 2.0)
    match variant % 3:
        case 0:
            return box((4.0, 0.2, tall), (0, 0, tall / 2), METAL)
        case 1:
            posts = [box((0.08, 0.08, 0.8), (x, 0, 0.4), METAL) for x in (-1.5, 0.5)]
            return join([*posts, box((4.0, 0.06, 0.3), (0, 0, 0.65), METAL)])
        case _:
            bars = [box((0.09, 0.03, tall), (x, 0, tall / 2), METAL) for x in np.linspace(-1.95, 1.8, 20)]
            return join(
                [
                    *bars,
                    box((4.0, 0.05, 0.07), (0, 0, tall * 0.2), METAL),
                    box((4.0, 0.05, 0.07), (0, 0, tall * 0.85), METAL),
                ]
            )
