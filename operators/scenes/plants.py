"""Trees, bushes and hedges: trunks with branches, and crowns of leaf cards around dark cores."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from plantain.operators.scenes.mesh import Floats, Mesh, box, ellipsoid, join, surface, tube

TRUNK, LEAF, CORE = range(3)

TREES = ("round", "tall", "pine", "spreading", "bare", "palm", "poplar")
HELDOUT_TREES = ("palm", "poplar")


@lru_cache(maxsize=192)
def tree(kind: str, variant: int, detail: int = 2) -> Mesh:
    """A tree 6-12 m tall on z = 0; `detail` 0..3 sets the number of leaves."""
    rng = np.random.default_rng((31, variant, *map(ord, kind)))
    tall = rng.uniform(6.0, 11.0)
    if kind == "pine":
        return _pine(tall, rng, detail)
    if kind == "palm":
        return _palm(tall, rng)
    stem = {"round": 0.32, "tall": 0.3, "spreading": 0.35, "bare": 0.3, "poplar": 0.12}[kind] * tall
    bend = rng.normal(0, 0.15, 2)
    top = np.array([bend[0], bend[1], tall * 0.75])
    radius = tall * rng.uniform(0.014, 0.024)
    parts = [
        tube(
            (0, 0, -0.1),
            top,
            (radius * 1.3, radius, radius * 0.8, radius * 0.3),
            TRUNK,
            sides=7,
            capped=False,
        )
    ]
    wide = {"round": 0.3, "tall": 0.2, "spreading": 0.4, "bare": 0.28, "poplar": 0.09}[kind] * tall
    num_blobs = 14 if kind == "bare" else int(rng.integers(7, 13))
    blobs = []
    for _ in range(num_blobs):
        angle, reach = rng.uniform(0, 2 * np.pi), wide * np.sqrt(rng.uniform(0.02, 0.7))
        z = rng.uniform(stem + wide * 0.3, tall * 0.92)
        shrink = 1.0 - 0.5 * max(0.0, (z - tall * 0.6) / (tall * 0.4))
        centre = np.array([reach * np.cos(angle) * shrink, reach * np.sin(angle) * shrink, z])
        blobs.append((centre, wide * rng.uniform(0.38, 0.66) * (0.7 + 0.3 * shrink)))
        start = np.array([bend[0] * 0.5, bend[1] * 0.5, stem + (z - stem) * 0.3])
        parts.append(tube(start, centre, (radius * 0.5, radius * 0.15), TRUNK, sides=4, capped=False))
        if kind == "bare":
            for _ in range(5):
                tip = centre + rng.normal(0, wide * 0.3, 3)
                parts.append(
                    tube(
                        start + (centre - start) * rng.uniform(0.4, 1),
                        tip,
                        (radius * 0.2, 0.008),
                        TRUNK,
                        sides=3,
                        capped=False,
                    )
                )
    if kind != "bare":
        middle = np.array([bend[0] * 0.6, bend[1] * 0.6, stem + (tall * 0.92 - stem) * 0.5])
        blobs.append((middle, wide * 0.8))
        if kind == "poplar":
            blobs = [(np.array([0, 0, z]), wide * 1.3) for z in np.linspace(stem + wide, tall - wide, 7)]
        per_blob = (14, 32, 75, 170)[detail]
        leaf = wide * rng.uniform(0.1, 0.16) * (1.9, 1.4, 1.0, 0.65)[detail]
        for centre, size in blobs:
            parts.append(
                ellipsoid((size * 0.72, size * 0.72, size * 0.6), tuple(centre), CORE, sides=7, rings=5)
            )
            parts.append(_leaves(centre, np.array([size, size, size * 0.82]), per_blob, leaf, rng))
    return join(parts)


@lru_cache(maxsize=64)
def bush(variant: int) -> Mesh:
    """A bush about 1 m high."""
    rng = np.random.default_rng((32, variant))
    parts = []
    for _ in range(rng.integers(2, 5)):
        size = rng.uniform(0.35, 0.6)
        centre = np.array([*rng.normal(0, 0.35, 2), size * 0.8])
        parts.append(ellipsoid((size * 0.8,) * 3, tuple(centre), CORE, sides=7, rings=5))
        parts.append(_leaves(centre, np.full(3, size), 45, size * 0.28, rng))
    return join(parts)


@lru_cache(maxsize=32)
def hedge(variant: int) -> Mesh:
    """A clipped hedge 4 m long, along x."""
    rng = np.random.default_rng((33, variant))
    tall = rng.uniform(0.8, 1.8)
    grid_x, grid_z = np.meshgrid(np.linspace(-2, 2, 14), np.linspace(0, tall, 6))
    sides = []
    for side in (-1, 1):
        rough = rng.normal(0, 0.05, grid_x.shape)
        points = np.stack([grid_x, side * (0.35 + rough), grid_z], -1)[::-side]
        sides.append(surface(points.astype(np.float32), LEAF))
    return join([*sides, box((4.0, 0.66, tall), (0, 0, tall / 2), LEAF)])


def _leaves(centre: Floats, radii: Floats, count: int, size: float, rng: np.random.Generator) -> Mesh:
    """Leaf cards on an ellipsoid's shell, with about the shell's normals, so that crowns shade as volumes."""
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    middle = centre + direction * radii * rng.uniform(0.72, 1.08, (count, 1))
    corners = rng.normal(size=(count, 3, 3))
    corners /= np.linalg.norm(corners, axis=-1, keepdims=True)
    corners -= 0.6 * (corners * direction[:, None]).sum(-1, keepdims=True) * direction[:, None]
    points = middle[:, None] + corners * size * rng.uniform(0.7, 1.3, (count, 1, 1))
    normals = np.repeat(direction[:, None], 3, axis=1) + rng.normal(0, 0.3, (count, 1, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return Mesh(points.astype(np.float32), normals.astype(np.float32), np.full(count, LEAF, np.int16))


def _pine(tall: float, rng: np.random.Generator, detail: int) -> Mesh:
    """A conifer: a cone of drooping cards."""
    wide = tall * rng.uniform(0.16, 0.24)
    low = tall * rng.uniform(0.08, 0.2)
    parts = [tube((0, 0, -0.1), (0, 0, tall * 0.9), (tall * 0.02, 0.03), TRUNK, sides=6, capped=False)]
    parts.append(tube((0, 0, low), (0, 0, tall * 0.95), (wide * 0.62, 0.03), CORE, sides=8))
    count = (100, 220, 420, 900)[detail]
    rise = 1.0 - np.sqrt(rng.uniform(0, 1, count))
    angle = rng.uniform(0, 2 * np.pi, count)
    out = np.stack([np.cos(angle), np.sin(angle), np.zeros(count)], -1)
    across = np.stack([-np.sin(angle), np.cos(angle), np.zeros(count)], -1)
    reach = wide * (1 - rise) * rng.uniform(0.85, 1.1, count)
    base = np.stack([np.zeros(count), np.zeros(count), low + rise * (tall - low)], -1)
    tip = base + out * reach[:, None] + np.array([0, 0, -0.25]) * reach[:, None]
    spread = across * ((0.1 * wide + 0.16 * reach) * (1.5, 1.2, 1.0, 0.65)[detail])[:, None]
    inner = base + out * (reach * 0.35)[:, None] + np.array([0, 0, 0.12]) * reach[:, None]
    points = np.stack([tip, inner + spread, inner - spread], 1)
    normal = out + np.array([0, 0, 0.6]) + rng.normal(0, 0.15, (count, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    cards = Mesh(
        points.astype(np.float32),
        np.repeat(normal[:, None], 3, 1).astype(np.float32),
        np.full(count, LEAF, np.int16),
    )
    return join([*parts, cards])


def _palm(tall: float, rng: np.random.Generator) -> Mesh:
    """A palm: a bent trunk and long fronds."""
    top = np.array([*rng.normal(0, 0.4, 2), tall])
    parts = [tube((0, 0, -0.1), top, (0.22, 0.17, 0.15), TRUNK, sides=8, capped=False)]
    for frond in range(14):
        angle = 2 * np.pi * frond / 14 + rng.normal(0, 0.1)
        out = np.array([np.cos(angle), np.sin(angle), 0])
        across = np.array([-np.sin(angle), np.cos(angle), 0])
        along = np.linspace(0, 1, 6)[:, None]
        droop = np.array([0, 0, 1.0]) * (0.6 * along - rng.uniform(0.9, 1.7) * along**2)
        spine = top + out * along * tall * 0.28 + droop * tall * 0.22
        half = across * (0.05 + 0.4 * np.sin(np.pi * np.minimum(along + 0.1, 1)))
        fold = np.array([0, 0, -0.15]) * np.sin(np.pi * along)
        parts.append(
            surface(np.stack([spine - half + fold, spine, spine + half + fold], 1).astype(np.float32), LEAF)
        )
    return join(parts)


@lru_cache(maxsize=16)
def clump(variant: int) -> Mesh:
    """Trees far away: overlapping blobs over 40 m, about 9 m high, all in slot 0."""
    rng = np.random.default_rng((34, variant))
    blobs = []
    for x in np.linspace(-19, 19, 7):
        size = rng.uniform(3.5, 6.0)
        blobs.append(
            ellipsoid((size, size * 0.8, rng.uniform(4, 9)), (x, rng.normal(0, 1), 1.0), 0, sides=8, rings=6)
        )
    return join(blobs)
