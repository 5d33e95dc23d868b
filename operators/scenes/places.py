"""Open places: highways, car parks, squares, and the cameras there."""

from __future__ import annotations

import numpy as np

from plantain.operators.scenes import catalogue, ground, surroundings
from plantain.operators.scenes.camera import Camera
from plantain.operators.scenes.light import Light
from plantain.operators.scenes.world import World


def highway(world: World, light: Light) -> Camera:
    """A dual carriageway between guard rails, trees and fields."""
    rng = world.rng
    lanes, lane_m, median = int(rng.integers(2, 5)), rng.uniform(3.4, 3.8), rng.uniform(1.0, 5.0)
    shoulder = rng.uniform(0.6, 3.0)
    wide = lanes * lane_m + 2 * shoulder
    road = ground.asphalt(world)
    lawn = ground.add_land(world, "grass" if rng.uniform() < 0.75 else "gravel")
    drives_left = rng.uniform() < 0.3
    for side in (-1, 1):
        centre = side * (median / 2 + wide / 2)
        ground.add_road(world, road, 130, centre, 0, 500, wide / 2)
        white = tuple(np.ones(3) * rng.uniform(0.55, 0.85))
        for lane in range(lanes + 1):
            y = centre - lanes * lane_m / 2 + lane * lane_m
            solid = lane in (0, lanes)
            ground.add_marking(
                world,
                130,
                y,
                0,
                500,
                0.15,
                period=0.0 if solid else rng.uniform(8, 15),
                share=0.4,
                tone=white,
            )
        speed = 0.0 if rng.uniform() < 0.1 else rng.uniform(12, 32)
        direction = side if drives_left else -side
        density = rng.uniform(0.2, 0.9)
        for lane in range(lanes):
            y = centre - lanes * lane_m / 2 + (lane + 0.5) * lane_m
            x = rng.uniform(5, 20)
            while x < 160:
                label = str(
                    rng.choice(["car", "van", "truck", "bus", "motorcycle"], p=[0.68, 0.1, 0.15, 0.04, 0.03])
                )
                room = 8.0 if label in ("truck", "bus") else 3.5
                x += room
                if rng.uniform() < density and world.is_free(x, y, room * 0.55):
                    catalogue.add_vehicle(
                        world, label, x, y, 0 if direction > 0 else np.pi, speed, is_dark=light.is_dark
                    )
                x += room + rng.uniform(4, 35)
        edge = side * (median / 2 + wide + rng.uniform(0.5, 1.5))
        if rng.uniform() < 0.7:
            surroundings.add_fence(world, -10, edge, 0, 150, -0.05, variant=1 if rng.uniform() < 0.7 else 0)
        for x in np.arange(rng.uniform(0, 9), 220, rng.uniform(6, 22)):
            if rng.uniform() < 0.7:
                y = edge + side * rng.uniform(4, 22)
                surroundings.add_tree(
                    world, x, y, max(26.0, np.hypot(x, y)), -0.05, small=rng.uniform() < 0.25
                )
        if rng.uniform() < 0.5:
            for x in np.arange(10, 130, rng.uniform(25, 40)):
                surroundings.add_lamp_post(
                    world, x, edge + side * 0.6, 0 if side < 0 else np.pi, light.is_dark, -0.05
                )
        if rng.uniform() < 0.45:
            ground.add_bank(world, edge + side * 2.5, side, lawn)
        if rng.uniform() < 0.6:
            surroundings.add_sign(world, rng.uniform(10, 40), edge + side * 0.8, np.pi, -0.05)
    if median > 1.2:
        surroundings.add_fence(world, -10, 0, 0, 160, -0.05, variant=int(rng.integers(2)))
    surroundings.add_skyline(world, light)
    roll, fov = float(rng.normal(0, 0.015)), float(rng.uniform(42, 95))
    if rng.uniform() < 0.5:
        y = (median / 2 + shoulder + lane_m * (rng.integers(lanes) + 0.5)) * (1 if drives_left else -1)
        return Camera(
            (0, y, rng.uniform(1.2, 2.4)),
            rng.normal(0, 0.04),
            rng.normal(-0.03, 0.04),
            roll,
            fov,
            rng.uniform(10, 28),
            0.0,
        )
    height = rng.uniform(5.5, 9.0)
    return Camera(
        (-6, rng.uniform(-wide, wide), height), rng.normal(0, 0.15), -rng.uniform(0.1, 0.5), roll, fov
    )


def car_park(world: World, light: Light) -> Camera:
    """Rows of bays seen from a mast, a building behind."""
    rng = world.rng
    road = ground.asphalt(world)
    ground.add_land(world)
    ground.add_road(world, road, 30, 0, 0, 130, 50)
    rows, bay, deep = int(rng.integers(2, 6)), rng.uniform(2.4, 2.9), rng.uniform(4.8, 5.4)
    white = tuple(np.ones(3) * rng.uniform(0.5, 0.85))
    filled = rng.uniform(0.25, 0.9)
    angle = 0.0 if rng.uniform() < 0.7 else rng.uniform(-0.4, 0.4)
    x = rng.uniform(5, 9)
    for row in range(rows):
        bays = int(rng.integers(8, 22))
        y0 = -bays * bay / 2 + rng.uniform(-6, 6)
        for k in range(bays + 1):
            ground.add_marking(world, x, y0 + k * bay, angle, deep, 0.11, tone=white)
            if k < bays and rng.uniform() < filled:
                label = str(rng.choice(["car", "van", "motorcycle", "truck"], p=[0.85, 0.1, 0.03, 0.02]))
                way = angle + (np.pi if rng.uniform() < 0.5 else 0) + rng.normal(0, 0.03)
                if label == "truck" and deep < 6:
                    label = "car"
                catalogue.add_vehicle(world, label, x + rng.normal(0, 0.2), y0 + (k + 0.5) * bay, way)
        x += deep + (rng.uniform(5.5, 7) if row % 2 == 0 else rng.uniform(0.3, 1.2))
        if row % 2 == 0 and rng.uniform() < 0.7:
            side = rng.choice([-1, 1])
            y = rng.uniform(-15, 15)
            catalogue.add_vehicle(
                world,
                "car",
                x - 4.8,
                y,
                side * np.pi / 2,
                rng.uniform(1, 4) * rng.integers(2),
                is_dark=light.is_dark,
            )
    pave = ground.paving(world)
    ground.add_block(world, x + 4, -60, x + 40, 60, pave, ground.grass(world), rng.uniform(2, 4))
    back = x + 4 + rng.uniform(4, 9)
    y = 55.0
    while y > -55:
        width = rng.uniform(12, 35)
        if rng.uniform() < 0.7:
            surroundings.add_building(
                world,
                back,
                y,
                -np.pi / 2,
                width,
                14,
                int(rng.integers(1, 6)),
                light.is_dark,
                "block" if world.split == "train" else None,
            )
        else:
            surroundings.add_tree(world, back + 3, y - 4, back, ground.KERB_M)
        y -= width + rng.uniform(0, 8)
    for _ in range(rng.integers(0, 10)):
        px, py = rng.uniform(3, x), rng.uniform(-16, 16)
        if all(abs(px - o[0]) > 2.8 or abs(py - o[1]) > 1.6 for o in world.owners):
            moves = rng.uniform() < 0.7
            catalogue.add_person(world, px, py, rng.uniform(0, 6.28), 1.2 if moves else 0.0)
    for _ in range(rng.integers(0, 5)):
        px, py = rng.uniform(3, x), rng.uniform(-20, 20)
        if all(abs(px - o[0]) > 3 or abs(py - o[1]) > 2 for o in world.owners):
            if rng.uniform() < 0.5:
                surroundings.add_lamp_post(world, px, py, rng.uniform(0, 6), light.is_dark)
            else:
                surroundings.add_tree(world, px, py, px)
    surroundings.add_skyline(world, light)
    height = rng.uniform(3.5, 9.0)
    if rng.uniform() < 0.3:
        # nearly straight down, from a mast in the middle
        height, pitch = rng.uniform(5.5, 12.0), -rng.uniform(0.8, 1.4)
        at = (rng.uniform(-3, 12), rng.uniform(-10, 10), height)
        return Camera(at, rng.uniform(-np.pi, np.pi), pitch, rng.normal(0, 0.03), rng.uniform(45, 80))
    return Camera(
        (-4, rng.uniform(-10, 10), height),
        rng.normal(0, 0.35),
        -rng.uniform(0.22, 0.75),
        rng.normal(0, 0.02),
        rng.uniform(50, 105),
    )


def square(world: World, light: Light, paved: bool) -> Camera:
    """A paved square or a park with people near the camera."""
    rng = world.rng
    ground.add_land(world)
    pave = ground.paving(world)
    ground.add_block(
        world, -60, -60, 80, 60, pave, ground.grass(world) if not paved else pave, 0.0 if paved else 26.0
    )
    base = ground.KERB_M
    far = rng.uniform(18, 45)
    ring = [
        (far, 45.0, -np.pi / 2, 90.0),
        (-30.0, far * 0.8, 0.0, far + 30),
        (far, -far * 0.8, np.pi, far + 30),
    ]
    for x, y, yaw, length in ring:
        along = 0.0
        while along < length - 8:
            width = rng.uniform(8, 24)
            if rng.uniform() < 0.85:
                kind = str(rng.choice(["block", "terrace", "tower"])) if world.split == "train" else None
                storeys = int(rng.integers(2, 8))
                surroundings.add_building(
                    world,
                    x + np.cos(yaw) * along,
                    y + np.sin(yaw) * along,
                    yaw,
                    width,
                    12,
                    storeys,
                    light.is_dark,
                    kind,
                )
            along += width + rng.uniform(0, 3)
    for _ in range(rng.integers(0, 12)):
        x, y = rng.uniform(4, far - 3), rng.uniform(-far * 0.7, far * 0.7)
        if world.is_free(x, y, 0.8):
            surroundings.add_tree(world, x, y, x, base, small=rng.uniform() < 0.15)
    for _ in range(rng.integers(2, 10)):
        x, y = rng.uniform(3, far - 2), rng.uniform(-15, 15)
        if world.is_free(x, y, 1.2):
            if rng.uniform() < 0.3:
                surroundings.add_lamp_post(world, x, y, rng.uniform(0, 6), light.is_dark, base)
            else:
                surroundings.add_thing(world, x, y, rng.uniform(0, 6.28), base)
    for _ in range(rng.integers(8, 45)):
        x = 2.2 + rng.exponential(9)
        y = rng.normal(0, 0.35 * x + 1.5)
        if x < far - 1 and world.is_free(x, y, 0.5):
            speed = rng.uniform(0.7, 1.6) if rng.uniform() < 0.6 else 0.0
            catalogue.add_person(world, x, y, rng.uniform(0, 6.28), speed, base)
    for _ in range(rng.integers(0, 4)):
        x, y = rng.uniform(4, far - 4), rng.uniform(-12, 12)
        if world.is_free(x, y, 2.0):
            label = str(rng.choice(["bicycle", "motorcycle", "van", "car"], p=[0.5, 0.15, 0.2, 0.15]))
            catalogue.add_vehicle(
                world,
                label,
                x,
                y,
                rng.uniform(0, 6.28),
                3.0 if label == "bicycle" and rng.uniform() < 0.5 else 0.0,
                base,
            )
    for _ in range(rng.integers(0, 3)):
        x, y = rng.uniform(3, 12), rng.uniform(-5, 5)
        if world.is_free(x, y, 0.7):
            catalogue.add_animal(world, x, y, rng.uniform(0, 6.28), 1.0 if rng.uniform() < 0.5 else 0.0, base)
    surroundings.add_skyline(world, light)
    height = rng.uniform(1.3, 6.5)
    pitch = rng.normal(-0.03, 0.05) - max(0.0, height - 1.6) * rng.uniform(0.03, 0.1)
    return Camera((0, 0, height), rng.normal(0, 0.3), pitch, rng.normal(0, 0.025), rng.uniform(42, 100))
