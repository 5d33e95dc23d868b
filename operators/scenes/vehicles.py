"""Cars, vans, lorries, buses and two-wheelers as lofted bodies with wheels, lamps and glass."""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np

from plantain.operators.scenes.mesh import Floats, Mesh, box, ellipsoid, join, surface, tube

# Material slots of every vehicle.
PAINT, GLASS, TYRE, RIM, DARK, HEADLAMP, TAILLAMP, PLATE, SECOND = range(9)

# Fractions of the length, from the front: where the windscreen begins, where the roof begins and ends, where
# the rear window ends. Fractions of the height: nose, end of the bonnet, boot.
CAR_SHAPES: dict[str, tuple[float, float, float, float, float, float, float]] = {
    "sedan": (0.28, 0.42, 0.70, 0.86, 0.50, 0.63, 0.66),
    "hatchback": (0.24, 0.40, 0.84, 0.96, 0.50, 0.62, 0.64),
    "wagon": (0.26, 0.40, 0.88, 0.98, 0.49, 0.61, 0.63),
    "suv": (0.24, 0.36, 0.90, 0.98, 0.54, 0.62, 0.62),
    "minivan": (0.14, 0.34, 0.92, 0.98, 0.46, 0.56, 0.56),
    "coupe": (0.34, 0.50, 0.68, 0.92, 0.50, 0.66, 0.70),
    "pickup": (0.26, 0.38, 0.55, 0.58, 0.54, 0.62, 0.60),
}
HELDOUT_CARS = ("coupe", "pickup")


@lru_cache(maxsize=256)
def car(shape: str, variant: int) -> Mesh:
    """A car of one of `CAR_SHAPES`, about 3.6-5 m long, wheels on z = 0, looking along +x."""
    rng = np.random.default_rng((11, variant, *map(ord, shape)))
    length = rng.uniform(3.6, 4.4) if shape == "hatchback" else rng.uniform(4.3, 5.1)
    width = rng.uniform(1.68, 1.95)
    tall = {"suv": (1.62, 1.85), "minivan": (1.65, 1.85), "pickup": (1.7, 1.9), "coupe": (1.25, 1.38)}
    height = rng.uniform(*tall.get(shape, (1.42, 1.56)))
    windscreen, roof, roof_end, window_end, nose, cowl, boot = np.asarray(CAR_SHAPES[shape]) + rng.uniform(
        -0.02, 0.02, 7
    )
    clear = rng.uniform(0.16, 0.24) + (0.06 if shape in ("suv", "pickup") else 0.0)
    return _car_body(
        length,
        width,
        height,
        clear,
        (windscreen, roof, roof_end, min(window_end, 0.985)),
        (nose, cowl, boot),
        rng,
    )


@lru_cache(maxsize=64)
def van(variant: int) -> Mesh:
    """A delivery or passenger van, 4.8-6.2 m long."""
    rng = np.random.default_rng((12, variant))
    length, width, height = rng.uniform(4.8, 6.2), rng.uniform(1.9, 2.1), rng.uniform(1.95, 2.7)
    stations = (rng.uniform(0.08, 0.16), rng.uniform(0.22, 0.3), 0.975, 0.985)
    glazed = rng.uniform() < 0.4
    return _car_body(
        length, width, height, 0.2, stations, (0.38, 0.5, 0.52), rng, glazed_to=1.0 if glazed else 0.42
    )


@lru_cache(maxsize=64)
def bus(variant: int) -> Mesh:
    """A city bus or coach, 9-12.5 m long."""
    rng = np.random.default_rng((13, variant))
    length, width, height = rng.uniform(9.0, 12.5), rng.uniform(2.4, 2.55), rng.uniform(2.8, 3.3)
    parts = [box((length, width, height - 0.35), (0, 0, 0.35 + (height - 0.35) / 2), PAINT)]
    sill, top = rng.uniform(0.95, 1.4), height - rng.uniform(0.35, 0.6)
    middle, tall = (sill + top) / 2, top - sill
    panes = rng.integers(5, 9)
    step = (length - 0.5) / panes
    for side in (-1, 1):
        for pane in range(panes):
            x = -length / 2 + 0.25 + step * (pane + 0.5)
            parts.append(box((step * 0.93, 0.03, tall), (x, side * width / 2, middle), GLASS))
        parts.append(box((length * 0.98, 0.02, 0.2), (0, side * width / 2, sill - 0.35), SECOND))
    door = (1.15, 0.035, top - 0.45)
    doors_x = (length * 0.28 - 0.3, -length * 0.05)
    parts += [box(door, (x, -width / 2, 0.45 + door[2] / 2), GLASS) for x in doors_x]
    parts.append(box((0.03, width * 0.92, top - 0.85), (length / 2, 0, 0.85 + (top - 0.85) / 2), GLASS))
    parts.append(
        box(
            (0.04, width * 0.6, 0.26),
            (length / 2, 0, height - 0.2),
            HEADLAMP if rng.uniform() < 0.3 else DARK,
        )
    )
    parts.append(box((0.03, width * 0.8, tall * 0.7), (-length / 2, 0, middle + 0.1), GLASS))
    parts.append(box((length * 0.3, width * 0.7, 0.2), (-length * 0.2, 0, height + 0.1), PAINT))
    parts.append(box((length * 0.98, width * 0.96, 0.25), (0, 0, 0.35), DARK))
    parts += _lamps(length, width, 0.75, 0.18)
    parts += _wheels((length * 0.3, -length * 0.28), width, 0.48)
    return join(parts)


@lru_cache(maxsize=64)
def truck(variant: int) -> Mesh:
    """A rigid lorry with a box, a tipper or a tank, 6-11 m long."""
    rng = np.random.default_rng((14, variant))
    length, width, height = rng.uniform(6.0, 11.0), rng.uniform(2.2, 2.5), rng.uniform(2.8, 3.7)
    cab, front = rng.uniform(1.6, 2.1), length / 2
    cab_height = min(rng.uniform(2.2, 2.9), height)
    body = box(
        (cab, width * 0.97, cab_height - 0.5),
        (front - cab / 2, 0, 0.5 + (cab_height - 0.5) / 2),
        PAINT,
        taper=0.95,
    )
    parts = [body, box((length * 0.97, width * 0.5, 0.25), (0, 0, 0.75), DARK)]
    window = (cab_height * 0.3, cab_height * 0.74)
    parts.append(box((0.1, width * 0.85, window[0]), (front - 0.03, 0, window[1]), GLASS))
    parts.append(box((cab * 0.5, width * 0.985, window[0]), (front - cab * 0.4, 0, window[1]), GLASS))
    parts.append(box((0.05, width * 0.7, 0.45), (front + 0.01, 0, 0.95), DARK))
    parts.append(box((0.15, width * 0.99, 0.25), (front, 0, 0.5), SECOND))
    load, kind = length - cab - 0.25, rng.integers(3)
    x, floor = -length / 2 + load / 2, 1.0
    if kind == 0:
        parts.append(box((load, width, height - floor), (x, 0, (height + floor) / 2), SECOND))
    elif kind == 1:
        parts.append(box((load, width, 1.0), (x, 0, floor + 0.5), SECOND, taper=1.03, top_slot=DARK))
    else:
        tank = tube((x - load / 2, 0, 2.0), (x + load / 2, 0, 2.0), (0.95, 1.0, 1.0, 0.95), SECOND, sides=14)
        parts += [tank, box((load, 0.8, 0.3), (x, 0, floor), DARK)]
    parts += _lamps(length, width, 0.7, 0.16)
    parts += _wheels((front - cab * 0.55, -length * 0.28, -length * 0.28 - 1.1), width, 0.48)
    return join(parts)


@lru_cache(maxsize=64)
def bicycle(variant: int) -> Mesh:
    """A bicycle, about 1.75 m long; PAINT is the frame."""
    rng = np.random.default_rng((15, variant))
    radius, base = rng.uniform(0.31, 0.36), rng.uniform(0.5, 0.55)
    parts = []
    for x in (-base, base):
        parts += [
            _ring(radius, 0.028, (x, 0, radius), TYRE),
            tube((x, -0.04, radius), (x, 0.04, radius), (0.05,) * 2, RIM),
        ]
        for angle in np.arange(6) * np.pi / 6:
            offset = radius * np.array([np.cos(angle), 0, np.sin(angle)])
            hub = np.array([x, 0, radius])
            parts.append(tube(hub - offset, hub + offset, (0.006, 0.006), RIM, sides=3, capped=False))
    crank, seat, head = (-0.05, 0, radius - 0.03), (-0.2, 0, 0.85), (base - 0.15, 0, 0.85)
    bars = [
        (crank, seat),
        (crank, head),
        (seat, head),
        (crank, (-base, 0, radius)),
        (seat, (-base, 0, radius)),
    ]
    bars += [(head, (base, 0, radius)), (head, (base - 0.2, 0, 1.02))]
    parts += [tube(a, b, (0.022, 0.022), PAINT, sides=6) for a, b in bars]
    parts.append(tube((base - 0.2, -0.28, 1.03), (base - 0.2, 0.28, 1.03), (0.018, 0.018), DARK, sides=5))
    parts.append(box((0.26, 0.14, 0.07), (-0.22, 0, 0.9), DARK))
    return join(parts)


@lru_cache(maxsize=64)
def motorcycle(variant: int) -> Mesh:
    """A motorcycle or scooter, about 2 m long."""
    rng = np.random.default_rng((16, variant))
    radius, base = rng.uniform(0.24, 0.32), rng.uniform(0.62, 0.72)
    parts = []
    for x in (-base, base):
        parts += [
            _ring(radius, 0.07, (x, 0, radius), TYRE),
            tube((x, -0.05, radius), (x, 0.05, radius), (radius * 0.6,) * 2, RIM),
        ]
    parts.append(ellipsoid((0.34, 0.17, 0.2), (0.12, 0, 0.8), PAINT))
    parts.append(ellipsoid((0.36, 0.16, 0.1), (-0.42, 0, 0.82), DARK))
    parts.append(ellipsoid((0.26, 0.13, 0.16), (-0.75, 0, 0.8), PAINT))
    parts.append(box((0.5, 0.26, 0.4), (0.0, 0, 0.45), DARK, taper=0.8))
    parts += [
        tube((base, y, radius), (base - 0.28, y, 1.02), (0.03, 0.03), RIM, sides=6) for y in (-0.09, 0.09)
    ]
    parts.append(tube((base - 0.32, -0.38, 1.05), (base - 0.32, 0.38, 1.05), (0.02, 0.02), DARK, sides=6))
    parts.append(ellipsoid((0.1, 0.1, 0.11), (base - 0.14, 0, 0.92), HEADLAMP))
    if rng.uniform() < 0.5:
        parts.append(box((0.05, 0.5, 0.7), (base - 0.22, 0, 0.7), PAINT, taper=0.7))
    parts.append(box((0.04, 0.14, 0.06), (-base - 0.28, 0, 0.78), TAILLAMP))
    return join(parts)


def _car_body(
    length: float,
    width: float,
    height: float,
    clear: float,
    stations: tuple[float, float, float, float],
    heights: tuple[float, float, float],
    rng: np.random.Generator,
    glazed_to: float = 1.0,
) -> Mesh:
    """Loft a body through cross sections from the nose to the tail, then add wheels, lamps and mirrors."""
    windscreen, roof, roof_end, window_end = stations
    nose, cowl, boot = (fraction * height for fraction in heights)
    pillars = np.linspace(roof, roof_end, 3 if roof_end - roof < 0.4 else 4)
    marks = [(0.0, 0), (0.015, 0), (0.05, 0), (windscreen, 0)]
    for first, second in itertools.pairwise(pillars):
        marks += [(first, 1), (first + 0.012, 1), (second - 0.012, 1)]
    marks += [(roof_end, 1), (window_end, 0), ((window_end + 0.99) / 2, 0), (0.985, 0), (1.0, 0)]
    along = np.array([mark for mark, _ in marks])
    has_roof = np.array([flag for _, flag in marks], bool)
    belt = np.interp(
        along,
        [0, 0.02, 0.06, windscreen, window_end, 0.98, 1],
        [nose * 0.8, nose * 0.93, nose, cowl, boot, boot * 0.97, boot * 0.88],
    )
    crown = np.interp(
        along, [roof, (roof + roof_end) / 2, roof_end], [height * 0.975, height, height * 0.975]
    )
    top = np.where(has_roof, crown, belt + 0.035)
    plump = np.interp(along, [0, 0.02, 0.12, 0.5, 0.9, 0.98, 1], [0.80, 0.88, 0.97, 1.0, 0.98, 0.92, 0.86])
    half = width / 2 * plump
    roof_half = np.where(has_roof, half * rng.uniform(0.74, 0.84), half * 0.86)
    middle = clear + (belt - clear) * 0.52
    columns = [
        (half * 0.86, np.full_like(along, clear)),
        (half * 0.97, np.full_like(along, clear + 0.1)),
        (half, middle),
        (half * 0.975, belt),
        (roof_half, top - np.where(has_roof, 0.05, 0.012)),
        (roof_half * 0.85, top),
    ]
    x = (0.5 - along) * length
    left = [np.stack([x, y, z], -1) for y, z in columns]
    right = [np.stack([x, -y, z], -1) for y, z in reversed(columns)]
    grid = np.stack([*left, *right], axis=1)
    caps = [np.repeat(grid[end].mean(0)[None], grid.shape[1], 0) for end in (0, -1)]
    grid = np.concatenate([caps[0][None], grid, caps[1][None]])
    slots = _car_slots(has_roof, along, grid.shape[1] - 1, glazed_to)
    parts = [surface(grid[:, ::-1], slots[:, ::-1])]
    parts.append(box((length * 0.92, width * 0.8, 0.16), (0, 0, clear + 0.04), DARK))
    radius = rng.uniform(0.29, 0.35) * (1.1 if height > 1.65 else 1.0)
    parts += _wheels((length * 0.31, -length * 0.3), width, radius)
    parts += _lamps(length, width * 0.92, nose * 0.78, rng.uniform(0.1, 0.16))
    for side in (-1, 1):
        parts.append(
            ellipsoid(
                (0.08, 0.1, 0.07),
                ((0.5 - windscreen - 0.06) * length, side * (width / 2 + 0.08), cowl + 0.05),
                PAINT,
            )
        )
        parts.append(
            box(
                (length * 0.36, 0.02, 0.03),
                (-length * 0.06, side * (width / 2 - 0.004), middle.mean() + 0.1),
                DARK if rng.uniform() < 0.5 else PAINT,
            )
        )
    parts.append(box((0.05, width * 0.55, nose * 0.18), (length / 2, 0, nose * 0.62), DARK))
    parts.append(box((0.07, width * 0.8, 0.1), (length / 2 - 0.02, 0, clear + 0.12), DARK))
    for end in (-1, 1):
        parts.append(box((0.03, 0.5, 0.12), (end * (length / 2 + 0.01), 0, clear + 0.28), PLATE))
    return join(parts)


def _car_slots(has_roof: np.ndarray, along: Floats, columns: int, glazed_to: float) -> np.ndarray:
    """(stations + 1, columns) material slots of the lofted skin."""
    slots = np.full((len(along) + 1, columns), PAINT, np.int16)
    slots[:, [0, columns - 1]] = DARK
    middle = (columns - 1) // 2
    for station in range(len(along) - 1):
        both, either = has_roof[station] and has_roof[station + 1], has_roof[station] or has_roof[station + 1]
        is_pillar = along[station + 1] - along[station] < 0.02
        if both and not is_pillar and along[station + 1] <= glazed_to + 0.05:
            slots[station + 1, [3, columns - 4]] = GLASS
        if either and not both:
            rear = has_roof[station]
            if not rear or glazed_to > 0.9 or along[station] < 0.9:
                slots[station + 1, middle - 1 : middle + 2] = GLASS
                slots[station + 1, [3, columns - 4]] = GLASS if not rear else PAINT
    return slots


def _wheels(positions: tuple[float, ...], width: float, radius: float) -> list[Mesh]:
    """A pair of wheels with dark arches at each position along x."""
    parts = []
    for x in positions:
        for side in (-1, 1):
            outer = side * (width / 2 + 0.012)
            inner = side * (width / 2 - 0.22)
            parts.append(tube((x, inner, radius), (x, outer, radius), (radius, radius), TYRE, sides=14))
            parts.append(
                tube(
                    (x, inner, radius), (x, outer + side * 0.008, radius), (radius * 0.62,) * 2, RIM, sides=10
                )
            )
            parts.append(
                tube(
                    (x, inner, radius * 1.08),
                    (x, side * (width / 2 + 0.003), radius * 1.08),
                    (radius * 1.17,) * 2,
                    DARK,
                    sides=14,
                )
            )
    return parts


def _lamps(length: float, width: float, z: float, tall: float) -> list[Mesh]:
    """Head and tail lamps at the corners."""
    parts = []
    for side in (-1, 1):
        parts.append(box((0.16, width * 0.18, tall), (length / 2 - 0.06, side * width * 0.37, z), HEADLAMP))
        parts.append(
            box(
                (0.12, width * 0.13, tall * 1.3), (-length / 2 + 0.05, side * width * 0.4, z + 0.12), TAILLAMP
            )
        )
    return parts


def _ring(radius: float, thickness: float, centre: tuple[float, float, float], slot: int) -> Mesh:
    """A tyre standing in the x-z plane."""
    around = np.linspace(0, 2 * np.pi, 17)[:, None]
    inside = np.linspace(0, 2 * np.pi, 6)[None]
    reach = radius - thickness + thickness * np.cos(inside)
    grid = np.stack(
        [reach * np.cos(around), thickness * np.sin(inside) + 0 * around, reach * np.sin(around)], -1
    )
    return surface((grid + np.asarray(centre)).astype(np.float32), slot, closed=True)
