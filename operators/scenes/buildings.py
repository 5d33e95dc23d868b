"""Buildings: boxes whose windows are drawn by the facade texture, with roofs, shops and balconies."""

from __future__ import annotations

import itertools

import numpy as np

from plantain.operators.scenes.mesh import Mesh, box, flat, join, quad, tube

FACADE, GROUND_FLOOR, ROOF, TRIM, SIGNBOARD = range(5)

BUILDINGS = ("block", "house", "tower", "terrace", "stepped", "round")
HELDOUT_BUILDINGS = ("stepped", "round")


def building(
    kind: str, width: float, deep: float, storeys: int, storey_m: float, rng: np.random.Generator
) -> Mesh:
    """A building with one corner at the origin, its front along x at y = 0 facing -y.

    Facade coordinates are the object's own, so that window cells begin at the corner.
    """
    ground = rng.uniform(3.2, 4.5) if kind in ("block", "tower", "terrace") and rng.uniform() < 0.7 else 0.0
    tall = ground + storeys * storey_m
    parts: list[Mesh] = []
    if ground:
        parts.append(_walls(0.0, ground, width, deep, GROUND_FLOOR))
        parts.append(box((width + 0.3, deep + 0.3, 0.25), (width / 2, deep / 2, ground), TRIM))
        if rng.uniform() < 0.6:
            for shop in np.arange(0.5, width - 3, rng.uniform(4, 7)):
                board = rng.uniform(2, 3.5)
                parts.append(box((board, 0.12, 0.6), (shop + board / 2, -0.1, ground - 0.5), SIGNBOARD))
                if rng.uniform() < 0.3:
                    low, out = ground - 0.9, rng.uniform(0.8, 1.5)
                    parts.append(
                        quad(
                            (shop, 0, low),
                            (shop, -out, low - 0.5),
                            (shop + board, -out, low - 0.5),
                            (shop + board, 0, low),
                            SIGNBOARD,
                        )
                    )
    if kind == "stepped":
        levels = [*sorted(rng.uniform(0.35, 0.85, 2)), 1.0]
        low, inset = ground, 0.0
        for level in levels:
            high = ground + round(storeys * level) * storey_m
            parts.append(_walls(low, high, width - 2 * inset, deep - 2 * inset, FACADE, (inset, inset)))
            parts.append(_lid(high, width - 2 * inset, deep - 2 * inset, (inset, inset)))
            low, inset = high, inset + min(width, deep) * 0.09
        return join(parts)
    if kind == "round":
        radius = min(width, deep) / 2
        angle = np.linspace(0, 2 * np.pi, 25)
        ring = np.stack([radius + radius * np.cos(angle), radius + radius * np.sin(angle)], -1)
        for a, b in itertools.pairwise(ring):
            parts.append(quad((*a, ground), (*b, ground), (*b, tall), (*a, tall), FACADE))
        parts.append(
            tube(
                (radius, radius, tall - 0.1),
                (radius, radius, tall + 0.4),
                (radius * 1.03,) * 2,
                TRIM,
                sides=24,
            )
        )
        return join(parts)
    parts.append(_walls(ground, tall, width, deep, FACADE))
    if kind == "house" or (kind == "terrace" and rng.uniform() < 0.6):
        parts.append(_gable(tall, width, deep, rng))
    else:
        parapet = rng.uniform(0.2, 1.0)
        parts.append(
            box(
                (width + 0.16, deep + 0.16, parapet),
                (width / 2, deep / 2, tall + parapet / 2),
                TRIM,
                top_slot=ROOF,
            )
        )
        for _ in range(rng.integers(0, 4)):
            size = rng.uniform(1, 4, 2)
            at = rng.uniform(0.2, 0.8, 2) * (width, deep)
            rise = rng.uniform(0.8, 2.5)
            parts.append(box((*size, rise), (*at, tall + parapet + rise / 2), TRIM))
    if kind in ("block", "terrace") and storeys >= 2 and rng.uniform() < 0.4:
        parts += _balconies(ground, storeys, storey_m, width, rng)
    if rng.uniform() < 0.3:
        for storey in range(1, storeys):
            parts.append(
                box(
                    (width + 0.12, deep + 0.12, 0.12), (width / 2, deep / 2, ground + storey * storey_m), TRIM
                )
            )
    return join(parts)


def _walls(
    low: float, high: float, width: float, deep: float, slot: int, corner: tuple[float, float] = (0.0, 0.0)
) -> Mesh:
    """Four upright faces."""
    x, y = corner
    ring = [(x, y), (x + width, y), (x + width, y + deep), (x, y + deep)]
    return join(
        [
            quad((*a, low), (*b, low), (*b, high), (*a, high), slot)
            for a, b in zip(ring, ring[1:] + ring[:1], strict=True)
        ]
    )


def _lid(height: float, width: float, deep: float, corner: tuple[float, float]) -> Mesh:
    """A flat roof."""
    x, y = corner
    return quad(
        (x, y, height), (x + width, y, height), (x + width, y + deep, height), (x, y + deep, height), ROOF
    )


def _gable(tall: float, width: float, deep: float, rng: np.random.Generator) -> Mesh:
    """A pitched roof with its ridge along x or y, and a chimney."""
    rise = min(width, deep) * rng.uniform(0.25, 0.55)
    over = 0.35
    along_x = rng.uniform() < 0.6
    x0, x1, y0, y1 = -over, width + over, -over, deep + over
    eave = tall - 0.1
    if along_x:
        a, b = (x0, deep / 2, tall + rise), (x1, deep / 2, tall + rise)
        roof = [
            quad((x0, y0, eave), (x1, y0, eave), b, a, ROOF),
            quad((x1, y1, eave), (x0, y1, eave), a, b, ROOF),
        ]
        ends = np.array(
            [
                [(0, 0, tall), (0, deep, tall), (0, deep / 2, tall + rise)],
                [(width, 0, tall), (width, deep, tall), (width, deep / 2, tall + rise)],
            ]
        )
    else:
        a, b = (width / 2, y0, tall + rise), (width / 2, y1, tall + rise)
        roof = [
            quad((x0, y1, eave), (x0, y0, eave), a, b, ROOF),
            quad((x1, y0, eave), (x1, y1, eave), b, a, ROOF),
        ]
        ends = np.array(
            [
                [(0, 0, tall), (width, 0, tall), (width / 2, 0, tall + rise)],
                [(0, deep, tall), (width, deep, tall), (width / 2, deep, tall + rise)],
            ]
        )
    chimney = box(
        (0.7, 0.7, rise + 1.2), (width * rng.uniform(0.2, 0.8), deep * 0.6, tall + (rise + 1.2) / 2), TRIM
    )
    return join([*roof, flat(ends.astype(np.float32), TRIM), chimney])


def _balconies(
    ground: float, storeys: int, storey_m: float, width: float, rng: np.random.Generator
) -> list[Mesh]:
    """Slabs with railings on the front."""
    parts = []
    wide, out = rng.uniform(1.6, 3.0), rng.uniform(0.7, 1.3)
    step = rng.uniform(wide + 1.0, wide + 4.0)
    for storey in range(1 if ground == 0 else 0, storeys):
        z = ground + storey * storey_m
        for x in np.arange(1.0, width - wide, step):
            parts.append(box((wide, out, 0.15), (x + wide / 2, -out / 2, z), TRIM))
            parts.append(box((wide, 0.05, 0.95), (x + wide / 2, -out, z + 0.5), TRIM))
    return parts
