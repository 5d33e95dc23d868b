"""People and animals: limbs of rounded bars in walking, standing and sitting poses."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from plantain.operators.scenes.mesh import Floats, Mesh, box, ellipsoid, join, surface, tube

# Material slots of people; animals use SKIN for the coat and SHOES for nose and hooves.
SKIN, HAIR, UPPER, LOWER, SHOES, EXTRA = range(6)

NUM_PHASES = 8
"""Poses of one walking cycle."""

OUTFITS = ("trousers", "shorts", "skirt", "coat", "dress", "robe")
HELDOUT_OUTFITS = ("dress", "robe")


@lru_cache(maxsize=1024)
def person(variant: int, outfit: str, pose: str, phase: int, extra: str = "") -> Mesh:
    """A person 1.75 m tall with feet on z = 0, looking along +x.

    Args:
        variant: Which build and hair.
        outfit: One of `OUTFITS`.
        pose: "walk", "stand", "sit" (on a seat 0.48 m high) or "ride" (hands forward).
        phase: 0..NUM_PHASES - 1 of a walking cycle, ignored otherwise.
        extra: "", "backpack", "umbrella", "bag", "hat".
    """
    rng = np.random.default_rng((21, variant))
    girth, shoulder = rng.uniform(0.85, 1.3), rng.uniform(0.17, 0.215)
    hip, leg = 0.92, 0.45
    swing = np.sin(2 * np.pi * phase / NUM_PHASES)
    lift = np.cos(2 * np.pi * phase / NUM_PHASES)
    parts: list[Mesh] = []
    crouch = -0.42 if pose == "sit" else 0.0
    waist = hip + crouch
    for side in (-1, 1):
        s = swing * side
        thigh, shin = {
            "walk": (0.5 * s, 0.5 * s - max(0.0, lift * side) * 0.7 - 0.08),
            "stand": (0.03 * side, 0.0),
            "sit": (1.5, 0.05),
            "ride": (0.95 + 0.3 * side, -0.15 + 0.3 * side),
        }[pose]
        root = np.array([0.0, side * 0.09 * girth, waist])
        knee = root + leg * np.array([np.sin(thigh), 0, -np.cos(thigh)])
        foot = knee + (leg - 0.03) * np.array([np.sin(shin), 0, -np.cos(shin)])
        bare = outfit in ("shorts", "skirt", "dress")
        wide = 1.25 if outfit == "trousers" and variant % 3 == 0 else 1.0
        parts.append(tube(root, knee, (0.085 * girth, 0.08 * girth, 0.06 * girth * wide), LOWER, sides=7))
        shin_slot = SKIN if bare else LOWER
        parts.append(tube(knee, foot, (0.062 * wide, 0.055 * wide, 0.042 * wide), shin_slot, sides=7))
        parts.append(
            ellipsoid(
                (0.13, 0.048, 0.045), (foot[0] + 0.05, foot[1], foot[2] - 0.005), SHOES, sides=7, rings=4
            )
        )
    lean = 0.12 if pose == "walk" else 0.35 if pose == "ride" else 0.02
    neck = np.array([lean * 0.5, 0, waist + 0.56])
    parts.append(_torso(waist, neck, shoulder, girth))
    for side in (-1, 1):
        root = neck + np.array([-0.01, side * shoulder, -0.06])
        if pose == "ride":
            upper, lower = 0.9, 1.3
        elif pose == "walk":
            upper, lower = -0.5 * swing * side, -0.5 * swing * side + 0.35
        else:
            upper, lower = rng.uniform(-0.1, 0.15), rng.uniform(0.0, 0.9)
        if extra == "umbrella" and side == 1:
            upper, lower = 0.2, 2.2
        spread = 0.18
        elbow = root + 0.29 * np.array([np.sin(upper), side * spread, -np.cos(upper)])
        hand = elbow + 0.26 * np.array([np.sin(lower), side * 0.02, -np.cos(lower)])
        parts.append(tube(root, elbow, (0.058 * girth, 0.053, 0.045), UPPER, sides=6))
        parts.append(tube(elbow, hand, (0.045, 0.036), UPPER if outfit != "shorts" else SKIN, sides=6))
        parts.append(ellipsoid((0.045, 0.03, 0.05), tuple(hand), SKIN, sides=6, rings=4))
        if extra == "umbrella" and side == 1:
            parts += _umbrella(hand)
        if extra == "bag" and side == -1:
            parts.append(box((0.32, 0.12, 0.28), tuple(hand - np.array([0, 0, 0.2])), EXTRA))
    head = neck + np.array([0.03, 0, 0.17])
    parts.append(tube(neck - np.array([0, 0, 0.05]), head, (0.05, 0.05), SKIN, sides=6, capped=False))
    parts.append(ellipsoid((0.092, 0.078, 0.118), tuple(head), SKIN, sides=9, rings=7))
    parts.append(
        ellipsoid((0.02, 0.015, 0.025), (head[0] + 0.095, 0, head[2] - 0.01), SKIN, sides=4, rings=3)
    )
    long_hair = variant % 2 == 1
    parts.append(ellipsoid((0.1, 0.09, 0.1), (head[0] - 0.022, 0, head[2] + 0.035), HAIR, sides=8, rings=5))
    if long_hair:
        parts.append(
            ellipsoid((0.06, 0.09, 0.17), (head[0] - 0.055, 0, head[2] - 0.08), HAIR, sides=8, rings=5)
        )
    if extra == "hat":
        parts.append(
            tube(head + np.array([0, 0, 0.06]), head + np.array([0, 0, 0.15]), (0.115, 0.095), EXTRA, sides=9)
        )
        parts.append(
            tube(
                head + np.array([0.04, 0, 0.06]),
                head + np.array([0.04, 0, 0.07]),
                (0.16, 0.16),
                EXTRA,
                sides=9,
            )
        )
    if extra == "backpack":
        parts.append(
            ellipsoid((0.13, 0.16, 0.23), (neck[0] - 0.2, 0, neck[2] - 0.25), EXTRA, sides=8, rings=6)
        )
    if outfit in ("skirt", "coat", "dress", "robe"):
        slot = LOWER if outfit == "skirt" else UPPER
        drop = {"skirt": 0.45, "coat": 0.42, "dress": 0.5, "robe": 0.86}[outfit]
        if pose in ("walk", "stand"):
            base = 0.17 * girth + (0.1 if pose == "walk" else 0.03)
            parts.append(
                tube(
                    (0, 0, waist - drop),
                    (0, 0, waist + 0.12),
                    (base + 0.03, base, 0.14 * girth),
                    slot,
                    sides=10,
                    flatness=0.95,
                )
            )
    return join(parts)


@lru_cache(maxsize=128)
def animal(kind: str, variant: int, phase: int) -> Mesh:
    """A dog, a horse or a sheep with its feet on z = 0, looking along +x."""
    rng = np.random.default_rng((22, variant, *map(ord, kind)))
    scale = {"dog": rng.uniform(0.35, 0.65), "horse": 1.5, "sheep": 0.75}[kind]
    bulk = {"dog": 0.16, "horse": 0.19, "sheep": 0.28}[kind]
    swing = np.sin(2 * np.pi * phase / NUM_PHASES)
    parts = [ellipsoid((0.48, bulk, bulk * 1.1), (0, 0, 0.72), SKIN)]
    for x in (-0.33, 0.33):
        for side in (-1, 1):
            stride = 0.14 * swing * side * (1 if x > 0 else -1)
            knee = np.array([x + stride, side * bulk * 0.55, 0.35])
            foot = np.array([x + stride * 1.9, side * bulk * 0.55, 0.03])
            parts.append(tube((x, side * bulk * 0.55, 0.68), knee, (0.08, 0.05), SKIN, sides=6))
            parts.append(tube(knee, foot, (0.045, 0.035), SKIN, sides=6))
            parts.append(ellipsoid((0.06, 0.04, 0.03), tuple(foot), SHOES, sides=6, rings=3))
    rise = 0.35 if kind == "horse" else 0.2
    head = np.array([0.66, 0, 0.82 + rise])
    parts.append(tube((0.38, 0, 0.78), head, (0.12, 0.09), SKIN, sides=7))
    parts.append(ellipsoid((0.17, 0.085, 0.09), (head[0] + 0.07, 0, head[2]), SKIN, sides=7, rings=5))
    parts.append(ellipsoid((0.04, 0.04, 0.03), (head[0] + 0.23, 0, head[2]), SHOES, sides=5, rings=3))
    ear, tip = head + np.array([0, 0.06, 0.05]), head + np.array([-0.02, 0.09, 0.17])
    flip = np.array([1, -1, 1])
    parts += [tube(ear * side, tip * side, (0.04, 0.01), SKIN, sides=4) for side in (flip, flip**2)]
    parts.append(
        tube((-0.46, 0, 0.8), (-0.72, 0, 0.8 + rng.uniform(-0.3, 0.25)), (0.045, 0.02), SKIN, sides=5)
    )
    return join(parts).moved(scale=scale)


def _torso(waist: float, neck: Floats, shoulder: float, girth: float) -> Mesh:
    """Hips, waist, chest and shoulders as a skin of flattened rings."""
    rows = (
        (-0.06, 0.10, 0.13, LOWER),
        (0.05, 0.115, 0.155, LOWER),
        (0.17, 0.105, 0.14, UPPER),
        (0.36, 0.12, 0.165, UPPER),
        (0.48, 0.10, shoulder + 0.01, UPPER),
        (0.55, 0.05, shoulder * 0.55, UPPER),
        (0.58, 0.03, 0.05, UPPER),
    )
    angle = np.linspace(0, 2 * np.pi, 11)
    grid = [
        np.stack(
            [
                deep * girth * np.cos(angle) + neck[0] * max(0.0, rise) / 0.58,
                wide * (girth if rise < 0.4 else 1.0) * np.sin(angle),
                np.full_like(angle, waist + rise),
            ],
            -1,
        )
        for rise, deep, wide, _ in rows
    ]
    slots = np.array([[slot] * 10 for *_, slot in rows[1:]], np.int16)
    return surface(np.stack(grid).astype(np.float32)[:, ::-1], slots, closed=True)


def _umbrella(hand: Floats) -> list[Mesh]:
    """An open umbrella above the head."""
    top = hand + np.array([-0.12, 0, 0.62])
    rings = np.array([0.02, 0.3, 0.45, 0.52])
    heights = np.array([0.16, 0.12, 0.05, -0.04])
    angle = np.linspace(0, 2 * np.pi, 13)
    grid = np.stack(
        [rings[:, None] * np.cos(angle), rings[:, None] * np.sin(angle), heights[:, None] + 0 * angle], -1
    )
    return [
        tube(hand, top + np.array([0, 0, 0.15]), (0.012, 0.012), SHOES, sides=4),
        surface((grid + top).astype(np.float32)[:, ::-1], EXTRA, closed=True),
    ]
