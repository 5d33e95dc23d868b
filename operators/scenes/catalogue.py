"""Vehicles, people and animals: each picks a shape, colours it and places it."""

from __future__ import annotations

import numpy as np

from plantain.operators.scenes import people, vehicles
from plantain.operators.scenes.materials import Kind
from plantain.operators.scenes.mesh import Mesh
from plantain.operators.scenes.world import Facts, World, pick

CAR_COLOURS = ("white", "black", "grey", "red", "blue", "green", "yellow", "orange", "brown", "beige")
_CAR_SHARES = (0.2, 0.16, 0.24, 0.12, 0.11, 0.05, 0.04, 0.03, 0.03, 0.02)
CLOTH_COLOURS = (*CAR_COLOURS, "pink", "purple")
SKINS = ((236, 196, 170), (224, 172, 138), (198, 140, 104), (152, 100, 70), (104, 66, 46), (70, 44, 32))
HAIRS = ((28, 22, 18), (60, 40, 26), (104, 72, 42), (180, 140, 84), (150, 148, 146), (120, 50, 26))


VEHICLE_ROLES = ("body", "glass", "tyre", "grey", "dark", "lamp", "tail lamp", "white", "other")
"""Roles of an asset's parts, in the order of the procedural vehicles' slots."""


def add_vehicle(
    world: World,
    label: str,
    x: float,
    y: float,
    yaw: float,
    speed_mps: float = 0.0,
    ground: float = 0.0,
    is_dark: bool = False,
) -> int:
    """A vehicle of class `label` with its wheels on `ground`; two-wheelers that move have riders."""
    rng, mats = world.rng, world.materials
    colour = str(rng.choice(CAR_COLOURS, p=_CAR_SHARES))
    variant, kind = int(rng.integers(12)), label
    if label == "car":
        kind = pick(world, tuple(vehicles.CAR_SHAPES), vehicles.HELDOUT_CARS)
        mesh = vehicles.car(kind, variant)
    else:
        mesh = getattr(vehicles, label)(variant)
    asset = world.asset(label, 0.35) if label in ("car", "van", "bus", "bicycle") else None
    if label == "car" and rng.uniform() < 0.06:
        kind, colour = "taxi", str(rng.choice(["yellow", "black", "white"]))
    other = mats.named(str(rng.choice(["white", "grey", "blue", "red", "green", "black"])))
    if label in ("truck", "bus") and rng.uniform() < 0.5:
        other = mats.named(colour)
    on = is_dark and speed_mps != 0.0
    paint = mats.add(Kind.PAINT, mats.named(colour), gloss=rng.uniform(0.35, 0.85))
    tone = rng.uniform(8, 50)
    table = [
        paint,
        mats.add(Kind.GLASS, (tone, tone * 1.05, tone * 1.1), gloss=rng.uniform(0.75, 1.0)),
        mats.add(Kind.PLAIN, (24, 24, 25), rough=0.15),
        mats.add(Kind.PLAIN, tuple(rng.uniform(60, 190) * np.ones(3)), gloss=0.3),
        mats.add(Kind.PLAIN, (22, 22, 24), gloss=0.08),
        mats.add(Kind.LAMP, (245, 245, 235), gloss=0.5, emission=9.0 if on else 0.0),
        mats.add(Kind.LAMP, (170, 16, 18), gloss=0.4, emission=2.5 if on else 0.0),
        mats.add(Kind.PLAIN, (235, 232, 220) if rng.uniform() < 0.7 else (240, 200, 50)),
        mats.add(
            Kind.LETTERS if rng.uniform() < 0.3 else Kind.PAINT,
            other,
            mats.named(colour),
            scale=0.8,
            gloss=0.2,
        ),
    ]
    scale = 1.0
    if asset is not None:
        mesh, scale = asset[0].mesh, asset[1]
        by_role = dict(zip(VEHICLE_ROLES, table, strict=True))
        table = [by_role.get(role, by_role["other"]) for role in asset[0].roles]
    length = scale * float(np.ptp(mesh.points[..., 0]))
    number = world.place(
        mesh,
        table,
        (x, y, ground),
        yaw=yaw,
        scale=scale,
        label=label,
        speed_mps=speed_mps,
        facts=Facts(label, colour, length, kind=kind),
    )
    if on:
        world.headlights.append(len(world.owners) - 1)
    if label in ("motorcycle", "bicycle") and (speed_mps or rng.uniform() < 0.15):
        lift = 0.0 if label == "bicycle" else -0.06
        seat = np.array([np.cos(yaw), np.sin(yaw)]) * -0.25
        add_person(world, x + seat[0], y + seat[1], yaw, speed_mps, ground + lift, pose="ride")
    return number


def add_person(
    world: World,
    x: float,
    y: float,
    yaw: float,
    speed_mps: float = 0.0,
    ground: float = 0.0,
    pose: str = "stand",
) -> int:
    """A person with feet on `ground`; walks when `speed_mps` is not 0."""
    rng, mats = world.rng, world.materials
    variant = int(rng.integers(16))
    outfit = pick(world, people.OUTFITS, people.HELDOUT_OUTFITS)
    extra = str(rng.choice(["", "backpack", "bag", "umbrella", "hat"], p=[0.5, 0.17, 0.14, 0.09, 0.1]))
    if pose == "ride":
        extra = "backpack" if extra == "backpack" else ""
    upper, lower, held = (str(rng.choice(CLOTH_COLOURS)) for _ in range(3))
    if rng.uniform() < 0.6:
        lower = str(rng.choice(["black", "blue", "grey", "brown", "beige"]))
    if outfit in ("coat", "dress", "robe") and rng.uniform() < 0.7:
        lower = "black"
    pattern = float(rng.choice([0, 0, 0, 1, 2, 3]))
    mixed = mats.named(upper) * 0.7 if pattern else None
    table = [
        mats.add(Kind.PLAIN, SKINS[rng.integers(6)], rough=0.05),
        mats.add(Kind.PLAIN, HAIRS[rng.integers(6)], rough=0.3, scale=0.1),
        mats.add(
            Kind.CLOTH, mats.named(upper), mixed, scale=rng.uniform(0.04, 0.12), p=(pattern, 0, 0), rough=0.3
        ),
        mats.add(Kind.CLOTH, mats.named(lower), rough=0.3),
        mats.add(Kind.PLAIN, mats.named(str(rng.choice(["black", "white", "brown", "grey", "red"])))),
        mats.add(Kind.CLOTH, mats.named(held), rough=0.2),
    ]
    gait = "walk" if speed_mps and pose == "stand" else pose

    def at_phase(phase: float) -> Mesh:
        return people.person(variant, outfit, gait, int(phase * people.NUM_PHASES), extra)

    height = float(np.clip(rng.normal(1.71, 0.09), 1.45, 2.0))
    kind = "woman" if variant % 2 else "man"
    if rng.uniform() < 0.1 and pose == "stand":
        height, kind = float(rng.uniform(0.95, 1.4)), "child"
    scale = height / 1.72
    wide = scale * rng.uniform(0.92, 1.12)
    if outfit in ("skirt", "dress"):
        kind = "child" if kind == "child" else "woman"
    carries = {
        "umbrella": f"{held} umbrella",
        "backpack": f"{held} backpack",
        "bag": f"{held} bag",
        "hat": f"{held} hat",
    }.get(extra, "")
    asset = world.asset("person", 0.4) if gait == "stand" and not carries else None
    if asset is not None:
        by_role = dict(zip(("skin", "hair", "upper", "lower", "shoes", "other"), table, strict=True)) | {
            "dark": table[1]
        }
        figure, size = asset
        kind = "woman" if figure.name.startswith("female") else "man"
        size *= scale if kind != "child" else 1.0
        return world.place(
            figure.mesh,
            [by_role.get(role, table[2] if role == "body" else table[5]) for role in figure.roles],
            (x, y, ground),
            yaw=yaw,
            scale=size,
            label="person",
            facts=Facts("person", upper, height, upper=upper, lower=lower, kind=kind),
        )
    return world.place(
        at_phase if gait == "walk" else at_phase(0.0),
        table,
        (x, y, ground),
        yaw=yaw,
        scale=(wide, wide, scale),
        label="person",
        speed_mps=speed_mps,
        cycle_m=1.45 * scale,
        facts=Facts("person", upper, height, upper=upper, lower=lower, kind=kind, carries=carries),
    )


def add_animal(
    world: World, x: float, y: float, yaw: float, speed_mps: float = 0.0, ground: float = 0.0
) -> int:
    """A dog, sometimes a horse or a sheep."""
    rng, mats = world.rng, world.materials
    kind = str(rng.choice(["dog", "horse", "sheep"], p=[0.85, 0.08, 0.07]))
    colour = str(rng.choice(["black", "brown", "white", "grey", "beige"]))
    table = [mats.add(Kind.PLAIN, mats.named(colour), rough=0.3, scale=0.2)] * 4 + [
        mats.add(Kind.PLAIN, (30, 26, 24))
    ] * 2
    variant = int(rng.integers(6))

    def at_phase(phase: float) -> Mesh:
        return people.animal(kind, variant, int(phase * people.NUM_PHASES))

    return world.place(
        at_phase if speed_mps else at_phase(0.0),
        table,
        (x, y, ground),
        yaw=yaw,
        label="animal",
        speed_mps=speed_mps,
        cycle_m=0.9,
        facts=Facts("animal", colour, kind=kind),
    )
