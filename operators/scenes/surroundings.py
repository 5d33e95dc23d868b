"""What stands around: trees, buildings, lamps, signs, street furniture, fences and the skyline."""

from __future__ import annotations

import numpy as np

from plantain.operators.scenes import buildings, furniture, plants
from plantain.operators.scenes.assets import Asset
from plantain.operators.scenes.light import Light
from plantain.operators.scenes.materials import Kind
from plantain.operators.scenes.world import Facts, World, pick


def add_tree(
    world: World, x: float, y: float, distance_m: float, ground: float = 0.0, small: bool = False
) -> None:
    """A tree or, if `small`, a bush; farther ones have fewer leaves."""
    rng, mats = world.rng, world.materials
    detail = 3 if distance_m < 16 else 2 if distance_m < 32 else 1 if distance_m < 70 else 0
    green = np.array([rng.uniform(40, 105), rng.uniform(70, 130), rng.uniform(20, 60)]) * rng.uniform(
        0.6, 1.05
    )
    if rng.uniform() < 0.14:
        green = np.array([rng.uniform(130, 190), rng.uniform(80, 140), rng.uniform(20, 60)])
    table = [
        mats.add(
            Kind.BARK, np.array([90, 76, 62]) * rng.uniform(0.5, 1.4), np.array([50, 42, 36]), rough=0.3
        ),
        mats.add(Kind.LEAF, green, green * rng.uniform(0.5, 0.8)),
        mats.add(Kind.LEAF, green * 0.7, green * 0.4),
    ]
    asset = world.asset("bush" if small else "tree", 0.35)
    if asset is not None:
        by_role = {"wood": table[0], "body": table[1], "leaf": table[1], "white": table[0], "dark": table[0]}
        slots = [by_role.get(role, table[2]) for role in asset[0].roles]
        world.place(
            asset[0].mesh, slots, (x, y, ground), yaw=rng.uniform(0, 6), scale=asset[1], label="vegetation"
        )
        return
    if small:
        mesh = plants.bush(int(rng.integers(10)))
        world.place(
            mesh,
            table,
            (x, y, ground),
            yaw=rng.uniform(0, 6),
            scale=rng.uniform(0.6, 1.6),
            label="vegetation",
        )
        return
    mesh = plants.tree(pick(world, plants.TREES, plants.HELDOUT_TREES), int(rng.integers(8)), detail)
    scale = rng.uniform(0.65, 1.35)
    world.place(
        mesh,
        table,
        (x, y, ground),
        yaw=rng.uniform(0, 6),
        scale=(scale, scale, scale * rng.uniform(0.85, 1.2)),
        label="vegetation",
    )


def add_building(
    world: World,
    x: float,
    y: float,
    yaw: float,
    width: float,
    deep: float,
    storeys: int,
    is_dark: bool = False,
    kind: str | None = None,
) -> None:
    """A building whose front left corner is at (x, y), its front along `yaw`, facing right of it."""
    rng, mats = world.rng, world.materials
    asset = world.asset("building", 0.2) if kind not in ("tower", "terrace") and storeys <= 5 else None
    if asset is not None:
        _place_building(world, asset[0], asset[1], x, y, yaw, width, deep)
        return
    kind = kind or pick(world, buildings.BUILDINGS, buildings.HELDOUT_BUILDINGS)
    storey_m = float(rng.uniform(2.8, 3.9))
    hue = rng.uniform(0, 1)
    if hue < 0.35:
        wall = np.array([1.0, 0.95, 0.88]) * rng.uniform(120, 240)
    elif hue < 0.6:
        wall = np.array([rng.uniform(110, 180), rng.uniform(60, 100), rng.uniform(45, 80)])
    elif hue < 0.8:
        wall = np.ones(3) * rng.uniform(60, 210) * rng.normal(1, 0.03, 3)
    else:
        base = rng.uniform(80, 230, 3)
        wall = base.mean() + (base - base.mean()) * rng.uniform(0.15, 0.6)
    trim = wall * rng.uniform(0.6, 1.3) if rng.uniform() < 0.5 else np.ones(3) * rng.uniform(40, 240)
    texture = int(rng.choice([0, 0, 1, 1, 2, 3]))
    glassy = kind == "tower" and rng.uniform() < 0.6
    share_u, share_v = (
        (rng.uniform(0.8, 0.94), rng.uniform(0.7, 0.93))
        if glassy
        else (rng.uniform(0.25, 0.65), rng.uniform(0.35, 0.66))
    )
    cells = max(1, round(width / rng.uniform(1.6, 4.2)))
    lit = rng.uniform(0.1, 0.55) if is_dark else 0.0
    facade = mats.add(
        Kind.FACADE, wall, np.clip(trim, 5, 250), scale=storey_m, p=(width / cells, share_u, share_v),
        emission=lit, offset=rng.uniform(-0.4, 0.6), rough=texture + rng.uniform(0.1, 0.55),
    )  # fmt: skip
    shop_wall = wall if rng.uniform() < 0.5 else np.ones(3) * rng.uniform(30, 220)
    shop = mats.add(
        Kind.SHOP, shop_wall, rng.uniform(20, 220) * rng.normal(1, 0.12, 3),
        rough=texture + rng.uniform(0.1, 0.5),
        p=(rng.uniform(2.5, 5), rng.uniform(0.2, 0.9), rng.uniform(2.4, 3.1)),
        emission=rng.uniform(0.2, 0.8) if is_dark else rng.uniform(0, 0.08),
    )  # fmt: skip
    roof_colour = (
        np.array([150, 76, 56]) * rng.uniform(0.5, 1.2)
        if rng.uniform() < 0.55
        else np.ones(3) * rng.uniform(45, 130)
    )
    roof = mats.add(Kind.ROOF, roof_colour, roof_colour * 0.8, scale=rng.uniform(0.25, 0.5), rough=0.3)
    board = mats.add(
        Kind.LETTERS,
        rng.uniform(10, 250, 3),
        rng.uniform(10, 250, 3),
        scale=0.35,
        emission=rng.uniform(0.3, 1.2) if is_dark else 0.0,
    )
    table = [facade, shop, roof, mats.add(Kind.PLAIN, np.clip(trim, 5, 250), scale=2.0, rough=0.2), board]
    mesh = buildings.building(kind, width, deep, storeys, storey_m, rng)
    world.place(mesh, table, (x, y, 0.0), yaw=yaw, label="building")


def add_lamp_post(world: World, x: float, y: float, yaw: float, is_dark: bool, ground: float = 0.0) -> None:
    """A street lamp whose arm points to the left of `yaw`."""
    rng, mats = world.rng, world.materials
    warm = np.array([1.0, rng.uniform(0.6, 0.95), rng.uniform(0.3, 0.85)])
    metal = mats.add(Kind.PLAIN, np.ones(3) * rng.uniform(25, 150) * rng.normal(1, 0.03, 3), gloss=0.1)
    lamp = mats.add(Kind.LAMP, 250 * warm, emission=14.0 if is_dark else 0.0, gloss=0.2)
    variant = int(rng.integers(9))
    scale = rng.uniform(0.7, 1.3)
    world.place(
        furniture.lamp_post(variant), [metal, lamp], (x, y, ground), yaw=yaw, scale=scale, label="pole"
    )
    if is_dark:
        reach = 0.0 if variant % 3 == 2 else 1.75 * scale
        power = warm * rng.uniform(1.5, 4.0)
        world.lamps.append(
            (
                x - np.sin(yaw) * reach,
                y + np.cos(yaw) * reach,
                ground + furniture.LAMP_HEIGHT_M * scale,
                *power,
                26.0,
                0,
                0,
                -1,
                0.0,
            )
        )


def add_traffic_light(world: World, x: float, y: float, yaw: float, ground: float = 0.0) -> None:
    """A traffic light facing along `yaw`."""
    rng, mats = world.rng, world.materials
    metal = mats.add(Kind.PLAIN, np.ones(3) * rng.uniform(20, 140))
    case = mats.add(Kind.PLAIN, np.ones(3) * rng.uniform(12, 50) if rng.uniform() < 0.8 else (200, 160, 30))
    variant, on = int(rng.integers(4)), int(rng.integers(3))
    colours = ((255, 40, 30), (255, 180, 30), (60, 255, 130))
    lamps = [
        mats.add(Kind.LAMP, np.array(colours[k]) * (1 if k == on else 0.2), emission=5.0 if k == on else 0.0)
        for k in range(3)
    ]
    world.place(furniture.traffic_light_pole(variant), [metal], (x, y, ground), yaw=yaw, label="pole")
    name = ("red", "yellow", "green")[on]
    table = [case, case, case, case, *lamps]
    world.place(
        furniture.traffic_light_head(variant),
        table,
        (x, y, ground),
        yaw=yaw,
        label="traffic light",
        facts=Facts("traffic light", name),
    )


def add_sign(world: World, x: float, y: float, yaw: float, ground: float = 0.0) -> None:
    """A traffic sign facing along `yaw`."""
    rng, mats = world.rng, world.materials
    schemes = (
        ("white", "red"),
        ("red", "white"),
        ("blue", "white"),
        ("yellow", "black"),
        ("green", "white"),
        ("white", "black"),
    )
    face, border = schemes[rng.integers(len(schemes))]
    metal = mats.add(Kind.PLAIN, np.ones(3) * rng.uniform(80, 170))
    table = [metal, metal, mats.add(Kind.PLAIN, mats.named(face)), mats.add(Kind.PLAIN, mats.named(border))]
    world.place(furniture.sign_post(), table, (x, y, ground), yaw=yaw, label="pole")
    plate = furniture.sign_plate(int(rng.integers(20)))
    world.place(
        plate,
        table,
        (x, y, ground),
        yaw=yaw,
        label="sign",
        facts=Facts("sign", face if face != "white" else border),
    )


THING_KINDS = ("bin", "bench", "bollard", "cone", "hydrant", "cabinet", "planter", "stall")
HELDOUT_THINGS = ("planter", "stall")


def add_thing(world: World, x: float, y: float, yaw: float, ground: float = 0.0) -> None:
    """Street furniture."""
    rng, mats = world.rng, world.materials
    kind = pick(world, THING_KINDS, HELDOUT_THINGS)
    fixed = {"cone": ("orange", "white"), "hydrant": (str(rng.choice(["red", "yellow"])), "grey")}
    options = ["green", "grey", "black", "blue", "brown", "red", "yellow"]
    colour, other = fixed.get(
        kind, (str(rng.choice(options)), str(rng.choice(["black", "grey", "white", "green"])))
    )
    table = [
        mats.add(Kind.PLAIN, mats.named(colour), rough=0.15, scale=0.5),
        mats.add(Kind.PLAIN, (200, 200, 200)),
    ]
    table += [
        table[0],
        mats.add(
            Kind.LEAF if kind == "planter" else Kind.PLAIN,
            mats.named("green" if kind == "planter" else other),
        ),
    ]
    world.place(
        furniture.thing(kind, int(rng.integers(8))),
        table,
        (x, y, ground),
        yaw=yaw,
        label="object",
        facts=Facts("object", colour, kind=kind),
    )


def add_fence(
    world: World,
    x: float,
    y: float,
    yaw: float,
    length_m: float,
    ground: float = 0.0,
    variant: int | None = None,
) -> None:
    """A fence, guard rail or wall that starts at (x, y) and runs along `yaw`."""
    rng, mats = world.rng, world.materials
    colour = (
        np.ones(3) * rng.uniform(50, 200)
        if rng.uniform() < 0.6
        else np.array([120, 90, 60]) * rng.uniform(0.6, 1.4)
    )
    material = mats.add(Kind.PLAIN, colour, rough=0.3, scale=1.5)
    mesh = furniture.fence(int(rng.integers(12)) if variant is None else variant)
    for piece in range(max(1, int(length_m / 4.0))):
        along = piece * 4.0 + 2.0
        world.place(
            mesh,
            [material],
            (x + np.cos(yaw) * along, y + np.sin(yaw) * along, ground),
            yaw=yaw,
            label="wall",
        )


def add_far_trees(world: World, x: float, y: float, yaw: float) -> None:
    """A clump of distant trees, about 40 m wide."""
    rng, mats = world.rng, world.materials
    green = np.array([rng.uniform(40, 90), rng.uniform(65, 110), rng.uniform(25, 60)])
    material = mats.add(Kind.LEAF, green, green * 0.6)
    world.place(
        plants.clump(int(rng.integers(8))),
        [material],
        (x, y, -0.5),
        yaw=yaw,
        scale=(1, 1, rng.uniform(0.6, 1.5)),
        label="vegetation",
    )


def _place_building(
    world: World, asset: Asset, scale: float, x: float, y: float, yaw: float, width: float, deep: float
) -> None:
    """A building from a file, in the place of a procedural one."""
    rng, mats = world.rng, world.materials
    spans = scale * np.ptp(asset.mesh.points.reshape(-1, 3), axis=0)
    scale *= min(1.0, width / float(spans[0]), 1.3 * deep / float(spans[1]))
    table = []
    for role, given in zip(asset.roles, asset.colours, strict=True):
        own = np.clip(np.asarray(given) * rng.uniform(0.7, 1.6), 10, 245)
        free = rng.uniform(60, 220) * rng.normal(1, 0.1, 3)
        match role:
            case "glass":
                table.append(mats.add(Kind.GLASS, (30, 34, 38), gloss=0.9))
            case "brick":
                table.append(
                    mats.add(
                        Kind.FACADE,
                        np.array([150, 84, 64]) * rng.uniform(0.7, 1.3),
                        p=(1e6, 0, 0),
                        scale=1e6,
                        rough=1.3,
                    )
                )
            case "body":
                table.append(
                    mats.add(
                        Kind.FACADE,
                        np.clip(free, 20, 240),
                        p=(1e6, 0, 0),
                        scale=1e6,
                        offset=1e5,
                        rough=float(rng.integers(4)) + 0.3,
                    )
                )
            case _:
                table.append(
                    mats.add(
                        Kind.PLAIN,
                        own if rng.uniform() < 0.5 else np.clip(free, 10, 245),
                        rough=0.2,
                        scale=2.0,
                    )
                )
    middle = (
        np.array([np.cos(yaw), np.sin(yaw)]) * width / 2 + np.array([-np.sin(yaw), np.cos(yaw)]) * deep / 2
    )
    world.place(
        asset.mesh, table, (x + middle[0], y + middle[1], 0.0), yaw=yaw, scale=scale, label="building"
    )


def add_skyline(world: World, light: Light) -> None:
    """A far ring of trees and buildings that hides the edge of the land."""
    rng = world.rng
    leafy = rng.uniform(0.2, 0.95)
    for angle in np.linspace(-np.pi, np.pi, 52)[:-1]:
        reach = rng.uniform(215, 300)
        x, y = reach * np.cos(angle), reach * np.sin(angle)
        if rng.uniform() < leafy:
            add_far_trees(world, x, y, angle + np.pi / 2)
        else:
            add_building(
                world,
                x,
                y,
                angle + np.pi / 2,
                rng.uniform(15, 40),
                15,
                int(rng.integers(2, 14)),
                light.is_dark,
                "block",
            )
