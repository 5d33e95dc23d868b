"""How long the codecs take: one JSON line a figure, medians of warm calls on one thread.

Each decoder is timed on a drawing as generators make them (smooth, blurred at borders, with spatially
correlated noise of about 4 levels) and on uniformly random colours, the worst case, which has no target.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from plantain.operators import colours
from plantain.operators.answers import codec_for, rasters
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.masks.rle import encode_regions
from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.prompts import Prompt

SIZE_HW = (1080, 1920)
REPEATS = 15


def main() -> None:
    """Prints every figure."""
    for figure in figures():
        sys.stdout.write(json.dumps(figure) + "\n")


def figures(repeats: int = REPEATS) -> Iterator[dict[str, object]]:
    """Every figure as `figure, value, unit, target, reached` and, for drawings, `off_palette`."""
    rng = np.random.default_rng(0)
    chance = rng.integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
    for name, written, target_ms, clean in _cases(rng):
        prompt = Prompt.parse(written)
        codec = codec_for(prompt)
        drawing = _as_drawn(clean, rng)
        for suffix, rgb, limit in (("", drawing, target_ms), ("_random", chance, None)):
            value_ms = _median_ms(partial(codec.decode, rgb, prompt), repeats)
            off = codec.decode(rgb, prompt).off_palette
            yield _figure(f"{name}_decode{suffix}_ms", value_ms, limit) | {"off_palette": round(off, 4)}
    labels = _objects(rng, (720, 1280), 30)
    yield _figure("rle_720p_30_regions_ms", _median_ms(lambda: encode_regions(labels, 30), repeats), 3.0)
    depth, normals = _scene(rng, (256, 256))
    yield _figure("pack_depth_256_ms", _median_ms(lambda: rasters.pack_depth(depth), repeats), 1.5)
    yield _figure("pack_normals_256_ms", _median_ms(lambda: rasters.pack_normals(normals), repeats), None)
    small = _objects(rng, (256, 256), 30)
    yield _figure("pack_labels_256_ms", _median_ms(lambda: rasters.pack_labels(small), repeats), None)


def _cases(rng: np.random.Generator) -> Iterator[tuple[str, str, float, NDArray[np.uint8]]]:
    """Name, prompt, target in milliseconds and clean drawing of each decoder."""
    depth, normals = _scene(rng, SIZE_HW)
    for name, written, target_ms in (
        ("depth", "depth", 15.0),
        ("depth_street", "depth[curve=street]", 15.0),
        ("depth_plasma", "depth[colormap=plasma]", 40.0),
        ("depth_inferno", "depth[colormap=inferno]", 40.0),
        ("depth_viridis", "depth[colormap=viridis]", 40.0),
        ("depth_gray", "depth[colormap=gray]", 40.0),
    ):
        prompt = Prompt.parse(written)
        yield name, written, target_ms, codec_for(prompt).encode(depth, prompt)
    prompt = Prompt.parse("normals")
    yield "normals", "normals", 25.0, codec_for(prompt).encode(normals, prompt)
    written = "semantic:" + ",".join(f"class {k}" for k in range(20))
    prompt = Prompt.parse(written)
    labels = _objects(rng, SIZE_HW, 60) % 21
    masks = Masks(labels.astype(np.uint16), prompt.classes, np.ones(20, np.float32), 0.0)
    yield "palette20", written, 25.0, codec_for(prompt).encode(masks, prompt)
    palette = np.array([colours.BLACK, *colours.spread(30)], np.uint8)
    yield "instances30", "instances:car", 150.0, palette[_objects(rng, SIZE_HW, 30)]


def _scene(rng: np.random.Generator, size_hw: tuple[int, int]) -> tuple[DepthMap, NormalMap]:
    """A bumpy street of 3 to 80 m under a sky."""
    height = size_hw[0]
    down = np.linspace(0, 1, height)[:, None]
    bumps = gaussian_filter(rng.normal(0, 1, size_hw), 12) * 40
    metres = np.clip(3 + 77 * (1 - down) ** 3 + bumps, 0.5, 200).astype(np.float32)
    valid = np.broadcast_to(down > 0.2, size_hw).copy()
    slope_y, slope_x = np.gradient(bumps)
    vectors = np.stack([-slope_x, slope_y, np.ones(size_hw)], axis=2)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    return DepthMap(metres * valid, valid, 0.0), NormalMap(vectors.astype(np.float32), valid, 0.0)


def _objects(rng: np.random.Generator, size_hw: tuple[int, int], count: int) -> NDArray[np.uint16]:
    """A label map (H, W) of ellipses that hide one another."""
    height, width = size_hw
    rows, columns = np.mgrid[:height, :width]
    labels = np.zeros(size_hw, np.uint16)
    for k in range(count):
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        half_h, half_w = rng.uniform(0.03, 0.2, 2) * height
        labels[((rows - y) / half_h) ** 2 + ((columns - x) / half_w) ** 2 < 1] = k + 1
    return labels


def _as_drawn(clean: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A clean drawing with the soft borders and the noise of a generator."""
    soft = gaussian_filter(clean.astype(np.float32), (0.7, 0.7, 0))
    soft += 20 * gaussian_filter(rng.normal(0, 1, clean.shape).astype(np.float32), (1.5, 1.5, 0))
    soft += rng.normal(0, 1, clean.shape).astype(np.float32)
    return np.clip(np.rint(soft), 0, 255).astype(np.uint8)


def _median_ms(call: Callable[[], object], repeats: int) -> float:
    """The median time of a call in milliseconds, after one that compiles and fills caches."""
    call()
    times_ms = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times_ms.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times_ms))


def _figure(name: str, value_ms: float, target_ms: float | None) -> dict[str, object]:
    """One line of the report; a figure without a target is neither reached nor missed."""
    reached = None if target_ms is None else value_ms <= target_ms
    return {
        "figure": name,
        "value": round(value_ms, 3),
        "unit": "ms",
        "target": target_ms,
        "reached": reached,
    }


if __name__ == "__main__":
    main()
