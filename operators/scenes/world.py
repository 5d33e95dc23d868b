"""A world being filled: meshes with materials at places, and what is known about each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from plantain.operators.scenes.assets import Asset, Shelf
from plantain.operators.scenes.materials import Materials
from plantain.operators.scenes.mesh import Floats, Mesh, Vector, move
from plantain.operators.vocabulary import CLASS_ID, CLASSES

CLEARANCE_M = {
    "vegetation": 4.0,
    "building": 2.0,
    "pole": 1.5,
    "truck": 3.0,
    "bus": 3.0,
    "van": 2.5,
    "car": 2.0,
}
"""Least distance from the lens to what stands still."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What captions say about a thing; `length_m` decides which one is the largest of a class."""

    label: str
    colour: str = ""
    length_m: float = 1.0
    moving: bool = False
    upper: str = ""
    lower: str = ""
    kind: str = ""
    carries: str = ""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Triangles ready to be drawn: corners and normals (T, 3, 3), material and owner (T,)."""

    points: Floats
    normals: Floats
    material: NDArray[np.int32]
    owner: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.material)

    def write(self, other: Geometry, start: int) -> None:
        """Copy another geometry into this one's arrays."""
        end = start + len(other)
        self.points[start:end], self.normals[start:end] = other.points, other.normals
        self.material[start:end], self.owner[start:end] = other.material, other.owner

    def where(self, kept: NDArray[np.bool_]) -> Geometry:
        """Some of the triangles."""
        return Geometry(self.points[kept], self.normals[kept], self.material[kept], self.owner[kept])

    def first(self, count: int) -> Geometry:
        """A view of the first triangles."""
        return Geometry(self.points[:count], self.normals[:count], self.material[:count], self.owner[:count])


@dataclass(slots=True)
class Actor:
    """Something that moves: `pose` gives its mesh for a phase in [0, 1) that repeats every `cycle_m`."""

    pose: Callable[[float], Mesh]
    materials: NDArray[np.int32]
    owner: int
    at: Floats
    yaw: float
    scale: Floats
    speed_mps: float
    cycle_m: float
    start: float


@dataclass(slots=True)
class World:
    """Everything that a layout puts in place; `place` is the only way in."""

    rng: np.random.Generator
    split: str
    materials: Materials
    shelf: Shelf | None = None
    statics: list[Geometry] = field(default_factory=list)
    actors: list[Actor] = field(default_factory=list)
    owners: list[tuple[float, ...]] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    instances: list[int] = field(default_factory=list)
    facts: dict[int, Facts] = field(default_factory=dict)
    decals: list[tuple[float, ...]] = field(default_factory=list)
    lamps: list[tuple[float, ...]] = field(default_factory=list)
    headlights: list[int] = field(default_factory=list)
    taken: list[tuple[float, float, float]] = field(default_factory=list)
    unshadowing: list[int] = field(default_factory=list)

    def place(
        self,
        mesh: Mesh | Callable[[float], Mesh],
        materials: Sequence[int],
        at: Vector,
        *,
        yaw: float = 0.0,
        scale: float | Sequence[float] = 1.0,
        label: str,
        facts: Facts | None = None,
        instance: int | None = None,
        speed_mps: float = 0.0,
        cycle_m: float = 1.4,
    ) -> int:
        """Put a mesh (or the poses of one that moves) into the world.

        Args:
            mesh: Looks along +x; a function gives the poses of a cycle for a phase in [0, 1).
            materials: One for each slot of the mesh.
            at: Metres.
            yaw: Heading, radians from +x towards +y.
            scale: Factor, or one for each axis.
            label: Class name.
            facts: Given for things that get an instance id.
            instance: An instance id to share (a traffic light's parts), instead of a new one.
            speed_mps: Along the heading.
            cycle_m: Way after which the poses repeat.

        Returns:
            The instance id, 0 for what has none.
        """
        owner = len(self.owners)
        place = np.asarray(at, np.float32)
        factor = np.broadcast_to(np.asarray(scale, np.float32), (3,)).copy()
        slots = np.asarray(materials, np.int32)
        number = instance or 0
        if facts is not None:
            number = len(self.facts) + 1
            self.facts[number] = replace(facts, moving=speed_mps != 0.0)
        self.owners.append(
            (float(place[0]), float(place[1]), float(place[2]), float(np.cos(yaw)), float(np.sin(yaw)))
        )
        self.classes.append(CLASS_ID[label])
        self.instances.append(number)
        if speed_mps:
            start = float(self.rng.uniform(0, cycle_m))
            pose = (lambda _: mesh) if isinstance(mesh, Mesh) else mesh
            self.actors.append(Actor(pose, slots, owner, place, yaw, factor, speed_mps, cycle_m, start))
        else:
            still = (mesh if isinstance(mesh, Mesh) else mesh(0.0)).moved(
                place, yaw=yaw, scale=factor.tolist()
            )
            owners = np.full(len(still), owner, np.int32)
            self.statics.append(Geometry(still.points, still.normals, slots[still.slots], owners))
        return number

    def asset(self, kind: str, share: float) -> tuple[Asset, float] | None:
        """With a probability, an asset of a kind and its scale; None to build a procedural one."""
        if self.shelf is None or self.rng.uniform() >= share:
            return None
        return self.shelf.pick(kind, self.rng)

    def is_free(self, x: float, y: float, radius: float) -> bool:
        """Whether a disc on the ground is clear; claims it when it is."""
        for ox, oy, other in self.taken:
            if (ox - x) ** 2 + (oy - y) ** 2 < (radius + other) ** 2:
                return False
        self.taken.append((x, y, radius))
        return True

    def clear_view(self, eye: NDArray[np.float64]) -> None:
        """Take away what stands in front of the lens or around the camera."""
        lens = eye.astype(np.float32)
        kept = []
        for piece in self.statics:
            label = CLASSES[self.classes[int(piece.owner[0])]]
            if label not in ("road", "terrain", "pavement"):
                away = piece.points.reshape(-1, 3) - lens
                near = float(np.sqrt((away * away).sum(1).min()))
                low, high = away.min(0), away.max(0)
                is_around = bool((low < 0.3).all() and (high > -0.3).all())
                if near < CLEARANCE_M.get(label, 1.0) or (is_around and label != "wall"):
                    continue
            kept.append(piece)
        self.statics = kept
        self.actors = [
            actor for actor in self.actors if np.hypot(*(actor.at[:2] - lens[:2])) > 2.0 or lens[2] > 5
        ]

    def static_geometry(self) -> Geometry:
        """All that stands still, in one piece."""
        return _joined(self.statics)

    def moving_geometry(self, time_s: float, owners: NDArray[np.float32]) -> Geometry:
        """All that moves, where it is at a time; also writes the places into `owners` (O, 5)."""
        pieces = []
        for actor in self.actors:
            way = actor.speed_mps * time_s
            offset = actor.at + np.array([np.cos(actor.yaw) * way, np.sin(actor.yaw) * way, 0.0], np.float32)
            mesh = actor.pose((actor.start + way) / actor.cycle_m % 1.0)
            sx, sy, sz = (float(value) for value in actor.scale)
            points, normals = move(
                mesh.points,
                mesh.normals,
                sx,
                sy,
                sz,
                math.cos(actor.yaw),
                math.sin(actor.yaw),
                *map(float, offset),
            )
            owners[actor.owner, :3] = offset
            pieces.append(
                Geometry(
                    points, normals, actor.materials[mesh.slots], np.full(len(mesh), actor.owner, np.int32)
                )
            )
        return _joined(pieces)


def _joined(pieces: Sequence[Geometry]) -> Geometry:
    """One geometry of many, possibly none."""
    if not pieces:
        none = np.zeros((0, 3, 3), np.float32)
        return Geometry(none, none, np.zeros(0, np.int32), np.zeros(0, np.int32))
    return Geometry(
        np.concatenate([piece.points for piece in pieces]).astype(np.float32, copy=False),
        np.concatenate([piece.normals for piece in pieces]).astype(np.float32, copy=False),
        np.concatenate([piece.material for piece in pieces]),
        np.concatenate([piece.owner for piece in pieces]),
    )


def pick(world: World, options: Sequence[str], heldout: Sequence[str]) -> str:
    """A family that the world's split may use; half of the held-out split's picks are held-out ones."""
    if world.split == "train":
        options = [each for each in options if each not in heldout]
    elif world.rng.uniform() < 0.5:
        options = list(heldout)
    return str(options[int(world.rng.integers(len(options)))])
