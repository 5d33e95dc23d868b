"""Streets between buildings: lanes, junctions, kerbs, traffic, people, and the cameras there."""

from __future__ import annotations

import numpy as np

from plantain.operators.scenes import catalogue, ground, surroundings
from plantain.operators.scenes.camera import Camera
from plantain.operators.scenes.light import Light
from plantain.operators.scenes.world import World


def street(world: World, light: Light, layout: str) -> Camera:
    """A street along +x, with side streets and a crossing at a junction."""
    rng, dark = world.rng, light.is_dark
    lanes, lane_m = int(rng.choice([1, 1, 2, 3])), rng.uniform(2.8, 3.6)
    parking = rng.uniform() < 0.55
    half = lanes * lane_m + (2.3 if parking else 0.4)
    walk = rng.uniform(1.8, 5.0)
    drives_left = rng.uniform() < 0.3
    side_half = rng.uniform(3.2, 7.5)
    junctions = (
        [rng.uniform(14, 34)]
        if layout == "junction"
        else ([rng.uniform(25, 90)] if rng.uniform() < 0.6 else [])
    )
    if rng.uniform() < 0.4:
        junctions.append((junctions[-1] if junctions else 40.0) + rng.uniform(50, 90))
    road, pave = ground.asphalt(world), ground.paving(world)
    lawn = ground.grass(world) if rng.uniform() < 0.7 else pave
    ground.add_land(world)
    ground.add_road(world, road, 90, 0, 0, 420, half)
    edges = [-120.0] + [e for j in junctions for e in (j - side_half, j + side_half)] + [300.0]
    for x in junctions:
        ground.add_road(world, road, x, 0, np.pi / 2, 300, side_half)
        _junction_paint(world, x, half, side_half)
        for side in (-1, 1):
            if rng.uniform() < 0.75:
                surroundings.add_traffic_light(
                    world,
                    x - side * (side_half + 0.7),
                    -side * (half + 0.7),
                    np.pi if side > 0 else 0.0,
                    ground.KERB_M,
                )
    stretches = list(zip(edges[::2], edges[1::2], strict=True))
    setback = rng.uniform(4, 11) if layout == "suburb" else max(0.0, rng.uniform(-3, 5))
    for start, end in stretches:
        _lane_paint(world, start, end, lanes, lane_m, parking)
        for side in (-1, 1):
            inner = half if side > 0 else -half - 80
            ground.add_block(world, start, inner, end, inner + 80, pave, lawn, walk if lawn != pave else 0.0)
            _frontage(world, light, start, end, side, half + walk + setback, layout)
            _kerbside(world, light, start, end, side, half, walk)
    _traffic(world, light, lanes, lane_m, half, parking, drives_left, junctions)
    for x in junctions:
        for _ in range(rng.integers(0, 4)):
            y = rng.uniform(8, 60) * rng.choice([-1, 1])
            offset = side_half / 2 * (1 if y > 0 else -1)
            if world.is_free(x + offset, y, 3.0):
                catalogue.add_vehicle(
                    world, "car", x + offset, y, np.pi / 2 * (-1 if y > 0 else 1), 0.0, is_dark=dark
                )
    _walkers(world, half, walk, int(rng.integers(4, 22)))
    surroundings.add_skyline(world, light)
    return _street_camera(world, layout, half, walk, lanes, lane_m, drives_left, junctions)


def _street_camera(
    world: World,
    layout: str,
    half: float,
    walk: float,
    lanes: int,
    lane_m: float,
    drives_left: bool,
    junctions: list[float],
) -> Camera:
    """Dashcam, pole, window or a person's eye."""
    rng = world.rng
    style = "walker" if layout == "pavement" else str(rng.choice(["dashcam", "pole"], p=[0.5, 0.5]))
    roll = float(rng.normal(0, 0.02))
    fov = float(rng.uniform(45, 105))
    side = 1 if rng.uniform() < 0.5 else -1
    if style == "dashcam":
        y = float(lane_m * (rng.integers(lanes) + 0.5)) * (1 if drives_left else -1)
        world.taken.append((0.0, y, 3.0))
        speed = float(rng.choice([0.0, rng.uniform(3, 13)]))
        return Camera(
            (0.0, y, rng.uniform(1.15, 2.2)),
            rng.normal(0, 0.06),
            rng.normal(-0.03, 0.05),
            roll,
            fov,
            speed,
            0.0,
        )
    if style == "walker":
        y = side * float(half + walk * rng.uniform(0.1, 0.8))
        yaw = rng.normal(0, 0.35) - side * rng.uniform(0, 0.5)
        height = rng.uniform(1.3, 3.4)
        return Camera((0.0, y, height), yaw, rng.normal(-0.06, 0.07) - (height - 1.3) * 0.1, roll, fov)
    height = rng.uniform(3.2, 9.0)
    x = junctions[0] - rng.uniform(8, 18) if layout == "junction" else 0.0
    pitch = -rng.uniform(0.08, 0.16) - (height - 3) * rng.uniform(0.02, 0.08)
    return Camera(
        (x, side * (half + rng.uniform(-0.5, 1.2)), height), -side * rng.uniform(0.0, 0.9), pitch, roll, fov
    )


def _lane_paint(world: World, start: float, end: float, lanes: int, lane_m: float, parking: bool) -> None:
    """Centre line, lane lines and edge lines of one stretch."""
    rng = world.rng
    length, middle = end - start, (start + end) / 2
    white = tuple(np.ones(3) * rng.uniform(0.5, 0.85))
    centre = (0.75, 0.55, 0.1) if rng.uniform() < 0.3 else white
    style = rng.integers(4)
    if style == 1:
        for y in (-0.14, 0.14):
            ground.add_marking(world, middle, y, 0, length, 0.12, tone=centre)
    elif style:
        ground.add_marking(
            world,
            middle,
            0,
            0,
            length,
            0.14,
            period=0.0 if style == 2 else rng.uniform(4, 10),
            share=0.5,
            tone=centre,
        )
    period = rng.uniform(5, 12)
    for lane in range(1, lanes):
        for side in (-1, 1):
            ground.add_marking(
                world,
                middle,
                side * lane * lane_m,
                0,
                length,
                0.13,
                period=period,
                share=rng.uniform(0.3, 0.5),
                tone=white,
            )
    if parking or rng.uniform() < 0.4:
        for side in (-1, 1):
            ground.add_marking(
                world,
                middle,
                side * lanes * lane_m,
                0,
                length,
                0.12,
                period=6.0 if parking else 0,
                share=0.92,
                tone=white,
            )


def _junction_paint(world: World, x: float, half: float, side_half: float) -> None:
    """Zebra crossings and stop lines around a junction."""
    rng = world.rng
    white = tuple(np.ones(3) * rng.uniform(0.55, 0.85))
    wide, period = rng.uniform(2.5, 4.0), rng.uniform(0.9, 1.3)
    for side in (-1, 1):
        at = x + side * (side_half + 0.6 + wide / 2)
        if rng.uniform() < 0.8:
            ground.add_marking(
                world,
                at,
                0,
                np.pi / 2,
                2 * half - 0.4,
                wide,
                period=period,
                share=0.5,
                crossing=True,
                tone=white,
            )
            stop = at + side * (wide / 2 + 1.2)
            ground.add_marking(world, stop, side * half / 2, np.pi / 2, half - 0.5, 0.35, tone=white)
        if rng.uniform() < 0.7:
            y = side * (half + 0.6 + wide / 2)
            ground.add_marking(
                world, x, y, 0, 2 * side_half - 0.4, wide, period=period, share=0.5, crossing=True, tone=white
            )


def _frontage(
    world: World, light: Light, start: float, end: float, side: int, line: float, layout: str
) -> None:
    """Buildings, gardens or trees along one side of a stretch, with gaps."""
    rng = world.rng
    style = (
        "houses"
        if layout == "suburb"
        else str(rng.choice(["blocks", "terrace", "mixed", "park", "towers"], p=[0.26, 0.18, 0.3, 0.16, 0.1]))
    )
    x = max(start, -30.0) + rng.uniform(0, 3)
    while x < min(end, 170.0) - 6:
        gap = style == "park" or (style in ("mixed", "houses") and rng.uniform() < 0.3)
        if gap:
            for _ in range(rng.integers(1, 4)):
                tx, ty = x + rng.uniform(0, 8), side * (line + rng.uniform(0, 14))
                surroundings.add_tree(
                    world, tx, ty, np.hypot(tx, ty), ground.KERB_M, small=rng.uniform() < 0.3
                )
            x += rng.uniform(5, 10)
            continue
        kind = {"terrace": "terrace", "houses": "house"}.get(style)
        if style == "towers" and rng.uniform() < 0.6:
            kind = "tower"
        width = min(
            {"house": rng.uniform(8, 13), "terrace": rng.uniform(6, 10)}.get(kind or "", rng.uniform(9, 28)),
            end - x - 0.5,
        )
        if width < 5:
            break
        storeys = {
            "house": int(rng.integers(1, 3)),
            "terrace": int(rng.integers(2, 5)),
            "tower": int(rng.integers(8, 22)),
        }.get(kind or "", int(rng.integers(2, 8)))
        deep = rng.uniform(9, 16)
        y = line + rng.uniform(0, 0.8 if style in ("blocks", "terrace") else 3)
        if world.split == "train" and kind is None:
            kind = str(rng.choice(["block", "block", "tower", "house", "terrace"]))
        if side > 0:
            surroundings.add_building(world, x, y, 0.0, width, deep, storeys, light.is_dark, kind)
        else:
            surroundings.add_building(world, x + width, -y, np.pi, width, deep, storeys, light.is_dark, kind)
        if rng.uniform() < 0.25:
            surroundings.add_building(
                world,
                x,
                side * (line + 34),
                0.0 if side > 0 else np.pi,
                width,
                14,
                int(rng.integers(6, 16)),
                light.is_dark,
            )
        x += width + (
            rng.uniform(2, 7)
            if style in ("houses", "mixed")
            else 0.0
            if style == "terrace"
            else rng.uniform(0, 2.5)
        )
    if rng.uniform() < 0.25 and line > 5:
        surroundings.add_fence(
            world,
            max(start, -30.0),
            side * (line - 0.4),
            0.0,
            min(end, 90.0) - max(start, -30.0),
            ground.KERB_M,
        )


def _kerbside(
    world: World, light: Light, start: float, end: float, side: int, half: float, walk: float
) -> None:
    """Lamp posts, trees, signs and street furniture on the pavement's edge."""
    rng = world.rng
    base, kerb = side * (half + 0.6), ground.KERB_M
    turn = 0.0 if side < 0 else np.pi
    first, last = max(start, -20.0) + 1, min(end, 130.0) - 1
    spacing = rng.uniform(16, 35)
    for x in np.arange(first + rng.uniform(0, spacing), last, spacing):
        if world.is_free(x, base, 0.4):
            surroundings.add_lamp_post(world, x, base, turn, light.is_dark, kerb)
    if rng.uniform() < 0.65:
        spacing = rng.uniform(6, 16)
        for x in np.arange(first + rng.uniform(0, spacing), last, spacing):
            if world.is_free(x, base + side * 0.3, 0.5):
                surroundings.add_tree(world, x, base + side * 0.3, abs(x), kerb)
    if rng.uniform() < 0.45 and last > first:
        _bicycle_stand(
            world, rng.uniform(first, first + 0.1 + min(25.0, last - first)), base + side * 0.8, side
        )
    for _ in range(rng.integers(0, 7) if last > first else 0):
        x = rng.uniform(first, max(first + 0.1, min(last, first + 40.0)))
        if world.is_free(x, base, 0.5):
            if rng.uniform() < 0.5:
                surroundings.add_sign(world, x, base, np.pi if rng.uniform() < 0.7 else 0.0, kerb)
            else:
                surroundings.add_thing(
                    world, x, base + side * rng.uniform(0, walk * 0.6), rng.choice([0, np.pi / 2]) * 1.0, kerb
                )


def _bicycle_stand(world: World, x: float, y: float, side: int) -> None:
    """A few parked bicycles or motorcycles on the pavement."""
    rng = world.rng
    label = "bicycle" if rng.uniform() < 0.75 else "motorcycle"
    yaw = -side * np.pi / 2 + rng.normal(0, 0.1)
    for place in range(rng.integers(1, 7)):
        at = x + place * (0.65 if label == "bicycle" else 0.95)
        if world.is_free(at, y, 0.3):
            catalogue.add_vehicle(world, label, at, y, yaw + rng.normal(0, 0.08), ground=ground.KERB_M)


def _traffic(
    world: World,
    light: Light,
    lanes: int,
    lane_m: float,
    half: float,
    parking: bool,
    drives_left: bool,
    junctions: list[float],
) -> None:
    """Vehicles in the lanes and at the kerb."""
    rng = world.rng
    density = rng.uniform(0.15, 1.0)
    for direction in (-1, 1):
        for lane in range(lanes):
            side = direction if drives_left else -direction
            y = side * lane_m * (lane + 0.5)
            speed = 0.0 if rng.uniform() < 0.25 else rng.uniform(3, 14)
            x = rng.uniform(4, 16)
            while x < 110:
                label = str(
                    rng.choice(
                        ["car", "van", "truck", "bus", "motorcycle", "bicycle"],
                        p=[0.6, 0.1, 0.07, 0.06, 0.08, 0.09],
                    )
                )
                room = {"bus": 7.5, "truck": 6.5}.get(label, 3.2)
                x += room
                if rng.uniform() < density and world.is_free(x, y, room * 0.55):
                    wobble = rng.normal(0, 0.02)
                    catalogue.add_vehicle(
                        world,
                        label,
                        x,
                        y + rng.normal(0, 0.2),
                        wobble + (0 if direction > 0 else np.pi),
                        speed,
                        is_dark=light.is_dark,
                    )
                x += room + rng.uniform(2, 22)
    if not parking:
        return
    for side in (-1, 1):
        x, filled = rng.uniform(-12, 4), rng.uniform(0.2, 1.0)
        while x < 90:
            clear = all(abs(x - j) > 12 for j in junctions)
            if clear and rng.uniform() < filled and world.is_free(x, side * (half - 1.1), 2.6):
                label = str(rng.choice(["car", "van", "truck", "motorcycle"], p=[0.84, 0.1, 0.03, 0.03]))
                catalogue.add_vehicle(
                    world, label, x, side * (half - 1.1), (0 if side < 0 else np.pi) + rng.normal(0, 0.03)
                )
            x += rng.uniform(5.6, 7.0)


def _walkers(world: World, half: float, walk: float, count: int) -> None:
    """People and dogs on both pavements, some on the road."""
    rng = world.rng
    for _ in range(count):
        x = 2.5 + rng.exponential(14)
        side = rng.choice([-1, 1])
        y, base = side * (half + rng.uniform(0.4, walk)), ground.KERB_M
        yaw = rng.choice([0.0, np.pi]) + rng.normal(0, 0.1)
        speed = rng.uniform(0.8, 1.7) if rng.uniform() < 0.7 else 0.0
        if rng.uniform() < 0.12:
            y, base, yaw = rng.uniform(-half, half), 0.0, rng.choice([-1, 1]) * np.pi / 2
        if speed == 0.0:
            yaw = rng.uniform(0, 2 * np.pi)
        if world.is_free(x, y, 0.45):
            catalogue.add_person(world, x, y, yaw, speed, base)
            if rng.uniform() < 0.25 and world.is_free(x, y + 0.8, 0.3):
                catalogue.add_person(world, x, y + 0.8, yaw, speed, base)
            elif rng.uniform() < 0.1 and world.is_free(x + 0.9, y + 0.5, 0.4):
                catalogue.add_animal(world, x + 0.9, y + 0.5, yaw, speed, base)
