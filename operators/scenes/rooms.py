"""Rooms and corridors: a floor (class pavement), walls, furniture and people, as indoor cameras see them."""

from __future__ import annotations

import numpy as np

from plantain.operators.scenes import catalogue
from plantain.operators.scenes.camera import Camera
from plantain.operators.scenes.light import (
    BOUNCE,
    FOG_DENSITY,
    HORIZON,
    SHADOW_AMBIENT,
    SHADOW_SOFT,
    SUN_COLOUR,
    WET,
    ZENITH,
    Light,
)
from plantain.operators.scenes.materials import Kind
from plantain.operators.scenes.mesh import Mesh, box, join, quad, tube
from plantain.operators.scenes.world import Facts, World


def room(world: World, light: Light) -> Camera:
    """A room of 5-14 m by 3-10 m with its camera at one end."""
    rng = world.rng
    _light_up(world, light)
    length, half, tall = rng.uniform(5, 14), rng.uniform(1.3, 5.0), rng.uniform(2.5, 4.2)
    start = -2.0
    floor = quad((start, -half, 0), (length, -half, 0), (length, half, 0), (start, half, 0))
    world.place(floor, [_floor(world)], (0, 0, 0), label="pavement")
    paint = np.ones(3) * rng.uniform(110, 240) * rng.normal(1, 0.06, 3)
    mats = world.materials
    wall = mats.add(
        Kind.FACADE, np.clip(paint, 20, 250), p=(1e6, 0, 0), scale=1e6, offset=1e5, rough=_texture(world)
    )
    sides = [
        quad((start, half, 0), (length, half, 0), (length, half, tall), (start, half, tall)),
        quad((length, -half, 0), (start, -half, 0), (start, -half, tall), (length, -half, tall)),
        quad((length, half, 0), (length, -half, 0), (length, -half, tall), (length, half, tall)),
        quad((start, -half, 0), (start, half, 0), (start, half, tall), (start, -half, tall)),
    ]
    world.place(join(sides), [wall], (0, 0, 0), label="wall")
    white = mats.add(Kind.PLAIN, np.ones(3) * rng.uniform(170, 245), rough=0.05)
    ceiling = quad((start, -half, tall), (length, -half, tall), (length, half, tall), (start, half, tall))
    world.unshadowing.append(len(world.owners))
    world.place(ceiling, [white], (0, 0, 0), label="wall")
    _fittings(world, length, half, tall)
    for _ in range(rng.integers(0, 6)):
        x, y = rng.uniform(1.5, length - 0.6), rng.uniform(-half + 0.6, half - 0.6)
        if world.is_free(x, y, 0.8):
            _furniture(world, x, y)
    for _ in range(rng.integers(0, 6)):
        x, y = rng.uniform(1.2, length - 0.5), rng.uniform(-half + 0.4, half - 0.4)
        if world.is_free(x, y, 0.4):
            speed = rng.uniform(0.5, 1.4) if rng.uniform() < 0.5 else 0.0
            catalogue.add_person(world, x, y, rng.uniform(0, 2 * np.pi), speed)
    height = float(rng.uniform(1.1, min(3.2, tall - 0.4)))
    pitch = rng.normal(-0.05, 0.06) - (height - 1.1) * rng.uniform(0.05, 0.25)
    across = rng.uniform(-0.5, 0.5) * half
    return Camera((0.0, across, height), rng.normal(0, 0.3), pitch, rng.normal(0, 0.02), rng.uniform(45, 100))


def _light_up(world: World, light: Light) -> None:
    """Turn the scene's light into that of a room: from all sides, dry and clear."""
    rng, v = world.rng, light.vector
    warm = np.array([1.0, rng.uniform(0.82, 1.0), rng.uniform(0.62, 1.05)]) * rng.uniform(0.5, 0.9)
    v[:3] = 0.0, 0.0, 1.0
    v[SUN_COLOUR : SUN_COLOUR + 3] = 0.0
    v[ZENITH : ZENITH + 3] = v[HORIZON : HORIZON + 3] = warm
    v[BOUNCE : BOUNCE + 3] = warm * rng.uniform(0.5, 0.8)
    v[WET] = v[FOG_DENSITY] = 0.0
    v[SHADOW_AMBIENT], v[SHADOW_SOFT] = 1.0, 7.0


def _texture(world: World) -> float:
    """A wall's finish: its kind plus how rough it is."""
    kind = float(world.rng.choice([0, 0, 0, 1, 2, 3]))
    return kind + float(world.rng.uniform(0.02, 0.15))


def _floor(world: World) -> int:
    """Boards, tiles, carpet or concrete."""
    rng, mats = world.rng, world.materials
    wood = np.array([170, 110, 62]) * rng.uniform(0.5, 1.3)
    grey = np.ones(3) * rng.uniform(60, 210) * rng.normal(1, 0.05, 3)
    match int(rng.integers(4)):
        case 0 | 1:
            boards = (1.0, float(rng.uniform(6, 14)), 0.0)
            second = wood * rng.uniform(0.65, 0.9)
            return mats.add(
                Kind.SLABS,
                wood,
                second,
                scale=rng.uniform(0.07, 0.16),
                p=boards,
                rough=0.3,
                gloss=rng.uniform(0, 0.5),
            )
        case 2:
            return mats.add(
                Kind.SLABS,
                grey,
                grey * 0.93,
                scale=rng.uniform(0.2, 0.7),
                p=(0, 1, 0),
                rough=0.1,
                gloss=rng.uniform(0, 0.5),
            )
        case _:
            return mats.add(
                Kind.ASPHALT, grey, grey * 0.9, rough=rng.uniform(0.05, 0.2), gloss=rng.uniform(0, 0.3)
            )


def _fittings(world: World, length: float, half: float, tall: float) -> None:
    """Skirting, windows, doors, pictures and pillars."""
    rng, mats = world.rng, world.materials
    trim = mats.add(Kind.PLAIN, np.ones(3) * rng.uniform(40, 240) * rng.normal(1, 0.06, 3))
    dark = mats.add(Kind.GLASS, (40, 44, 50), gloss=0.7)
    bright = mats.add(Kind.LAMP, (235, 242, 250), emission=rng.uniform(0.5, 2.0))
    for side in (-1, 1):
        world.place(
            box((length + 2, 0.03, 0.12), (length / 2 - 1, side * half, 0.06)),
            [trim],
            (0, 0, 0),
            label="wall",
        )
        for x in np.arange(rng.uniform(0.5, 2.5), length - 1, rng.uniform(1.8, 4)):
            if rng.uniform() < 0.5:
                is_door = rng.uniform() < 0.4
                wide, high = (0.95, 2.1) if is_door else rng.uniform(0.6, 1.6, 2)
                z = high / 2 if is_door else rng.uniform(1.3, tall - 1.0)
                panel = mats.add(Kind.PLAIN, rng.uniform(20, 240, 3) * 0.5 + 60)
                inside = (
                    panel if is_door or rng.uniform() < 0.3 else (bright if rng.uniform() < 0.6 else dark)
                )
                pane = join(
                    [
                        box((wide + 0.14, 0.04, high + 0.14), (0, 0, 0), 0),
                        box((wide, 0.07, high), (0, 0, 0), 1),
                    ]
                )
                world.place(pane, [trim, inside], (x, side * half, z), label="wall")
    if rng.uniform() < 0.3:
        world.place(
            box((0.35, 0.35, tall), (0, 0, tall / 2)),
            [trim],
            (rng.uniform(2, length - 1), half * 0.7, 0),
            label="wall",
        )


def _furniture(world: World, x: float, y: float) -> None:
    """A table, chair, cupboard, shelf, sofa or potted plant."""
    rng, mats = world.rng, world.materials
    if rng.uniform() < 0.15:
        kind, colour = "plant", "green"
        mesh = join(
            [tube((0, 0, 0), (0, 0, 0.4), (0.16, 0.2), 0), tube((0, 0, 0.4), (0, 0, 1.2), (0.1, 0.4, 0.1), 1)]
        )
        table = [
            mats.add(Kind.PLAIN, rng.uniform(40, 220, 3)),
            mats.add(Kind.LEAF, (60, 110, 50), (30, 70, 30)),
        ]
    else:
        colour = str(rng.choice(["white", "black", "brown", "grey", "red", "blue"]))
        first = mats.add(Kind.PLAIN, mats.named(colour), gloss=rng.uniform(0, 0.2))
        table = [first, mats.add(Kind.PLAIN, np.ones(3) * rng.uniform(30, 190), gloss=0.1)]
        kind, mesh = _piece(rng)
    yaw = rng.uniform(0, 2 * np.pi)
    world.place(mesh, table, (x, y, 0), yaw=yaw, label="object", facts=Facts("object", colour, kind=kind))


def _piece(rng: np.random.Generator) -> tuple[str, Mesh]:
    """One piece of furniture."""
    high, wide = rng.uniform(0.7, 1.1), rng.uniform(0.6, 1.6)
    match int(rng.integers(4)):
        case 0:
            disc = tube((0, 0, high - 0.03), (0, 0, high), (0.4, 0.4), 0, sides=18)
            foot = [box((0.6, 0.06, 0.04), (0, 0, 0.03), 1), box((0.06, 0.6, 0.04), (0, 0, 0.03), 1)]
            return "table", join([disc, tube((0, 0, 0), (0, 0, high), (0.035, 0.035), 1), *foot])
        case 1:
            legs = [
                box((0.05, 0.05, 0.72), (sx * wide * 0.45, sy * 0.33, 0.36), 1)
                for sx in (-1, 1)
                for sy in (-1, 1)
            ]
            return "table", join([box((wide, 0.75, 0.04), (0, 0, 0.74), 0), *legs])
        case 2:
            legs = [
                box((0.04, 0.04, 0.45), (sx * 0.2, sy * 0.2, 0.22), 1) for sx in (-1, 1) for sy in (-1, 1)
            ]
            return "chair", join(
                [box((0.45, 0.45, 0.05), (0, 0, 0.46), 0), box((0.04, 0.45, 0.5), (-0.21, 0, 0.72), 0), *legs]
            )
        case _:
            return "cupboard", box((0.45, wide, high * 1.7), (0, 0, high * 0.85), 0)
