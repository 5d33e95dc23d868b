"""Rendered scenes on disk: one file per frame, written by processes of their own while training reads.

    <folder>/<slot>.npz     image u8, depth f16 (inf: sky), normals i8 (127: 1), class_map u8, instance_map
    u8, meta, hfov_deg, setting

Slots are reused from the oldest, so the folder's size is bounded and its content keeps changing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from plantain.operators.scenes import Scene, SceneFrame, Setting, referring

ZOOMED, MAX_ZOOM = 0.4, 3.0
"""Share of the frames that are seen through a longer lens than the scene's, and how much longer at most: street
cameras have from 20 to 100 degrees."""

RAISED = 0.5
"""Share of the scenes whose standing camera hangs as high as those of traffic."""

NUM_EXPRESSIONS = 16
"""Referring expressions kept per frame."""

MAX_SHARE = 0.97
"""A frame with a larger share of one class (a camera inside a tree) teaches nothing."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A rendered frame as training reads it.

    Attributes:
        image: (H, W, 3) uint8.
        depth_m: (H, W) float16 metres, inf for the sky.
        normals: (H, W, 3) int8, 127 is one.
        class_map: (H, W) uint8.
        instance_map: (H, W) uint8, 0 where there is no thing; at most 255 things.
        expressions: Words and the instances they mean.
        hfov_deg: Horizontal field of view, degrees.
        setting: Of the scene.
    """

    image: NDArray[np.uint8]
    depth_m: NDArray[np.float16]
    normals: NDArray[np.int8]
    class_map: NDArray[np.uint8]
    instance_map: NDArray[np.uint8]
    expressions: tuple[tuple[str, frozenset[int]], ...]
    hfov_deg: float
    setting: Setting


def store(path: Path, frame: SceneFrame, hfov_deg: float, setting: Setting, rng: np.random.Generator) -> None:
    """Writes a frame; readers see the old file or the new one, never half of one."""
    ids = np.unique(frame.instance_map)
    ids = ids[ids > 0][:255]
    table = np.zeros(int(frame.instance_map.max()) + 1, np.uint8)
    table[ids] = np.arange(1, len(ids) + 1)
    renamed = {int(old): int(table[old]) for old in ids}
    said = referring(frame, rng)
    order = rng.permutation(len(said))[:NUM_EXPRESSIONS]
    meta = [
        [said[index][0], sorted(renamed[each] for each in said[index][1] if each in renamed)]
        for index in order
    ]
    waiting = path.with_suffix(".tmp.npz")
    np.savez(
        waiting,
        image=frame.image,
        depth_m=frame.depth_m.astype(np.float16),
        normals=np.round(frame.normals * 127).astype(np.int8),
        class_map=frame.class_map,
        instance_map=table[frame.instance_map],
        meta=_packed(meta),
        hfov_deg=np.float32(hfov_deg),
        setting=_packed(asdict(setting)),
    )
    waiting.replace(path)


def load(path: Path) -> Shot:
    """Reads what `store` wrote."""
    with np.load(path) as held:
        meta, setting = (json.loads(held[name].tobytes()) for name in ("meta", "setting"))
        return Shot(
            held["image"],
            held["depth_m"],
            held["normals"],
            held["class_map"],
            held["instance_map"],
            tuple((words, frozenset(ids)) for words, ids in meta),
            float(held["hfov_deg"]),
            Setting(**setting),
        )


def _packed(value: object) -> NDArray[np.uint8]:
    """JSON as bytes."""
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def files(folder: Path | None) -> list[Path]:
    """The finished files of a folder; none of no folder."""
    if folder is None:
        return []
    return sorted(path for path in folder.glob("*.npz") if ".tmp" not in path.name)


def classes_of(path: Path) -> NDArray[np.uint8]:
    """The class ids that a stored frame shows, without reading the rest of it."""
    with np.load(path) as held:
        ids: NDArray[np.uint8] = np.unique(held["class_map"][::2, ::2])
        return ids


def render(
    folder: Path,
    first_seed: int,
    num_scenes: int,
    split: Literal["train", "heldout"],
    capacity: int,
    assets: Path | None = None,
    size_hw: tuple[int, int] = (224, 384),
    shots_per_scene: int = 3,
) -> int:
    """Renders `num_scenes` scenes from `first_seed` on, some moments of each, into slots of `folder`.

    Cameras of the split "train" are more various than those of the scenes; those of "heldout" stay as they are.

    Returns:
        Frames written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for seed in range(first_seed, first_seed + num_scenes):
        rng = np.random.default_rng([seed, 7])
        is_various = split == "train"
        is_raised = is_various and bool(rng.random() < RAISED)
        scene = Scene(seed, split=split, assets=assets, size_hw=size_hw, is_raised=is_raised)
        camera = scene.camera
        for shot in range(shots_per_scene):
            slot = (seed * shots_per_scene + shot) % capacity
            if is_various and rng.random() < ZOOMED:
                scene.camera = camera.zoomed(float(MAX_ZOOM ** rng.random()))
            else:
                scene.camera = camera
            frame = scene.render(float(rng.uniform(0.0, 12.0)))
            if np.bincount(frame.class_map.ravel()).max() > MAX_SHARE * frame.class_map.size:
                continue
            store(folder / f"{slot:06d}.npz", frame, scene.camera.fov_deg, scene.setting, rng)
            written += 1
    return written


@contextmanager
def rendering(folder: Path, assets: Path | None) -> Iterator[None]:
    """Meanwhile a process of its own renders scene after scene into a folder."""
    command = [sys.executable, "-m", __name__, str(folder), "--first-seed", "0", "--num-scenes", "1000000"]
    if assets is not None:
        command += ["--assets", str(assets)]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def main() -> None:
    """Entry of the rendering processes that `train` starts."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first-seed", type=int, required=True)
    parser.add_argument("--num-scenes", type=int, required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--capacity", type=int, default=6000)
    parser.add_argument("--assets", type=Path, default=None)
    options = parser.parse_args()
    render(
        options.folder,
        options.first_seed,
        options.num_scenes,
        options.split,
        options.capacity,
        options.assets,
    )


if __name__ == "__main__":
    main()
