"""Layouts: what kind of place a scene shows, and where the camera stands in it."""

from __future__ import annotations

from plantain.operators.scenes import places, rooms, streets
from plantain.operators.scenes.camera import Camera
from plantain.operators.scenes.light import Light
from plantain.operators.scenes.world import World

HELDOUT_LAYOUTS = ("suburb", "roundabout plaza")
_SHARES = {
    "street": 0.29,
    "junction": 0.16,
    "highway": 0.12,
    "car park": 0.12,
    "pavement": 0.14,
    "square": 0.12,
    "room": 0.05,
}


def fill(world: World, light: Light) -> tuple[str, Camera]:
    """Put a random place into the world; gives the kind of place and the camera that looks at it."""
    rng = world.rng
    if world.split == "heldout" and rng.uniform() < 0.35:
        layout = str(rng.choice(HELDOUT_LAYOUTS))
    else:
        layout = str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
    match layout:
        case "car park":
            return layout, places.car_park(world, light)
        case "square" | "roundabout plaza":
            return layout, places.square(world, light, paved=layout == "square")
        case "room" if not light.rain:
            return layout, rooms.room(world, light)
        case "highway":
            return layout, places.highway(world, light)
        case _:
            return layout, streets.street(world, light, layout)
