"""Meshes from files: brought to real size, z up and looking along +x, few enough triangles, parts with roles.

The folder has vehicles/, people/, nature/, buildings/ and street/, each with GLB files.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from plantain.operators.errors import UsageError
from plantain.operators.scenes.mesh import CREASE_COS, Floats, Mesh

MAX_TRIANGLES = 3000

# Kind -> file name patterns, real size in metres ("unit": metres of one file unit), which extent that is.
# Files whose windows are no part of their own, whose people spread their arms, or that mix classes stay out.
_KINDS: dict[str, tuple[tuple[str, ...], tuple[float, float], str]] = {
    "car": (("vehicles/realistic_*", "vehicles/public_taxi*"), (3.9, 4.9), "length"),
    "van": (("vehicles/public_ambulance*",), (5.0, 6.0), "length"),
    "bus": (("vehicles/public_bus*", "vehicles/public_schoolbus*"), (8.5, 12.0), "length"),
    "bicycle": (("vehicles/public_*bicycle*",), (1.65, 1.85), "length"),
    "person": (
        ("people/male_male_[!s]*", "people/male_male_standing*", "people/female_*[!d]"),
        (0.0046, 0.0049),
        "unit",
    ),
    "tree": (("nature/np_*tree*", "nature/np_willow*", "nature/tree*"), (5.0, 11.0), "height"),
    "bush": (("nature/bush*", "nature/np_bush*"), (0.7, 1.6), "height"),
    "animal": (("nature/animal_husky*", "nature/animal_shiba*"), (0.55, 0.8), "height"),
    "rock": (("nature/rock*",), (0.4, 1.2), "height"),
    "cone": (("street/public_trafficcone*",), (0.5, 0.9), "height"),
    "lamp post": (("street/streetlight*",), (5.0, 8.0), "height"),
    "building": (
        ("buildings/*story*_mat*", "buildings/aug*house*", "buildings/jan_2019_building*small*"),
        (6.0, 13.0),
        "height",
    ),
}

HELDOUT_FILES = frozenset(
    {
        "realistic_suv", "realistic_sportscar2", "public_schoolbus", "public_squareframebicycle",
        "male_male_standing_hips", "female_female_walking", "female_female_standing_hips", "np_birchtree_2",
        "np_birchtree_5", "np_commontree_3", "np_willow_4", "tree3", "bush2", "animal_shibainu",
        "2story_columns_mat", "3story_small_mat", "1story_roundroof_mat", "aug_2017_house4",
        "streetlight_triple",
    }
)  # fmt: skip
"""Files, by their stems, that training never sees."""

_ROLES: tuple[tuple[str, str], ...] = (
    ("window", "glass"),
    ("glass", "glass"),
    ("taillight", "tail lamp"),
    ("light", "lamp"),
    ("wheel", "tyre"),
    ("tire", "tyre"),
    ("tyre", "tyre"),
    ("black", "dark"),
    ("skin", "skin"),
    ("face", "skin"),
    ("hair", "hair"),
    ("shirt", "upper"),
    ("dress", "upper"),
    ("pants", "lower"),
    ("shoe", "shoes"),
    ("leaves", "leaf"),
    ("leaf", "leaf"),
    ("green", "leaf"),
    ("white", "white"),
    ("wood", "wood"),
    ("tree", "wood"),
    ("brick", "brick"),
    ("roof", "roof"),
)


@dataclass(frozen=True, slots=True)
class Asset:
    """A mesh from a file.

    Attributes:
        name: The file's stem.
        mesh: z up, on z = 0, centred, longest side along x, in the file's own units times `unit`.
        roles: What each slot is: "body", "glass", "tyre", "skin", "leaf", ..., "other".
        colours: sRGB that the file gives each slot.
    """

    name: str
    mesh: Mesh
    roles: tuple[str, ...]
    colours: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The assets of a folder that one split may use; files are read when first picked.

    Attributes:
        folder: Where they are.
        split: "train" leaves out `HELDOUT_FILES`, "heldout" prefers them.
    """

    folder: Path
    split: str

    def pick(self, kind: str, rng: np.random.Generator) -> tuple[Asset, float] | None:
        """A random asset of a kind and the factor that gives it a real size; None where there is none."""
        files = _files(self.folder, kind)
        own = [file for file in files if (file.stem in HELDOUT_FILES) == (self.split == "heldout")]
        if not own:
            return None
        asset = _load(own[int(rng.integers(len(own)))], kind == "person")
        if asset is None:
            return None
        _, (low, high), extent = _KINDS[kind]
        size = float(rng.uniform(low, high))
        if extent == "unit":
            return asset, size
        spans = np.ptp(asset.mesh.points.reshape(-1, 3), axis=0)
        return asset, size / float(spans[0] if extent == "length" else spans[2])


def open_shelf(folder: Path, split: str) -> Shelf:
    """The shelf of a folder.

    Raises:
        UsageError: If there is no such folder or trimesh is not installed.
    """
    if not folder.is_dir():
        raise UsageError(
            f"asset folder '{folder}' does not exist: name a folder with vehicles/, people/, nature/, ..."
        )
    if find_spec("trimesh") is None:
        raise UsageError("meshes need trimesh: install plantain[train]")
    return Shelf(folder, split)


@lru_cache(maxsize=64)
def _files(folder: Path, kind: str) -> tuple[Path, ...]:
    """Files of a kind, sorted."""
    found = {path for pattern in _KINDS[kind][0] for path in folder.glob(pattern + ".glb")}
    return tuple(sorted(path for path in found if not (kind == "person" and "sitting" in path.stem)))


@lru_cache(maxsize=256)
def _load(path: Path, is_person: bool) -> Asset | None:
    """Read one file; None when it stays too heavy."""
    import trimesh  # optional, see open_shelf

    points, normals, slots = [], [], []
    names: list[str] = []
    colours: list[tuple[float, float, float]] = []
    part: Any  # trimesh names only the base class of what it loads
    for part in trimesh.load_scene(path).dump():
        material = getattr(part.visual, "material", None)
        name = str(getattr(material, "name", "") or "")
        if name not in names:
            names.append(name)
            factor = getattr(material, "baseColorFactor", None)
            colour = np.asarray(factor if factor is not None else (200, 200, 200), np.float64)[:3]
            # the files' colours are linear: brought to what is seen
            red, green, blue = (float(c) for c in 255 * (colour / 255) ** (1 / 2.2))
            colours.append((red, green, blue))
        corners = np.asarray(part.vertices, np.float32)[part.faces]
        points.append(corners)
        normals.append(np.asarray(part.vertex_normals, np.float32)[part.faces])
        slots.append(np.full(len(corners), names.index(name), np.int16))
    all_points, all_normals = np.concatenate(points), np.concatenate(normals)
    all_slots = np.concatenate(slots)
    if not path.stem.startswith("realistic_"):
        turn = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32)
        all_points, all_normals = all_points @ turn, all_normals @ turn
    spans = np.ptp(all_points.reshape(-1, 3), axis=0)
    if spans[1] > spans[0] or is_person:
        quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
        all_points, all_normals = all_points @ quarter, all_normals @ quarter
    low, high = all_points.reshape(-1, 3).min(0), all_points.reshape(-1, 3).max(0)
    all_points -= np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]], np.float32)
    thin = _decimated(all_points, float((high - low).max()))
    if thin is None:
        return None
    kept, moved = thin
    mesh = Mesh(moved, _creased(moved, all_normals[kept]), all_slots[kept])
    return Asset(path.stem, mesh, _roles(names, mesh), tuple(colours))


def _decimated(points: Floats, size: float) -> tuple[np.ndarray, Floats] | None:
    """Which triangles stay, and their corners, after corners that are near each other became one."""
    everything = np.arange(len(points))
    if len(points) <= MAX_TRIANGLES:
        return everything, points
    for cells in (160, 110, 80, 60, 44):
        step = size / cells
        snapped = np.round(points / step) * step
        edges = np.cross(snapped[:, 1] - snapped[:, 0], snapped[:, 2] - snapped[:, 0])
        kept = np.flatnonzero((edges * edges).sum(1) > (1e-4 * step * step) ** 2)
        _, first = np.unique(
            np.sort(snapped[kept].reshape(-1, 9).round(4), axis=1), axis=0, return_index=True
        )
        kept = kept[np.sort(first)]
        if len(kept) <= MAX_TRIANGLES:
            return kept, np.ascontiguousarray(snapped[kept], np.float32)
    return None


def _creased(points: Floats, normals: Floats) -> Floats:
    """Vertex normals, replaced by the face's own where they differ by more than the crease angle."""
    face = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    face /= np.linalg.norm(face, axis=1, keepdims=True) + 1e-12
    smooth = (normals * face[:, None]).sum(-1, keepdims=True) > CREASE_COS
    return np.ascontiguousarray(np.where(smooth, normals, face[:, None]), np.float32)


def _roles(names: list[str], mesh: Mesh) -> tuple[str, ...]:
    """What each material is, from its name; the largest of the rest is the body."""
    roles = [next((role for word, role in _ROLES if word in name.lower()), "other") for name in names]
    edges = np.cross(mesh.points[:, 1] - mesh.points[:, 0], mesh.points[:, 2] - mesh.points[:, 0])
    area = np.bincount(mesh.slots, np.linalg.norm(edges, axis=1), len(names))
    rest = [slot for slot, role in enumerate(roles) if role in ("other", "white")]
    if rest:
        roles[max(rest, key=lambda slot: float(area[slot]))] = "body"
    return tuple(roles)
