"""Dense maps as self-describing images, and back: what the `raster` columns of a table hold.

| format | file | a sample means |
|---|---|---|
| `png-depth-u16` | 16 bit gray PNG | metres = sample / scale; 0 = no value |
| `png-labels-u8`, `png-labels-u16` | 8 or 16 bit gray PNG | the label; 0 = background |
| `png-normals-u8` | 8 bit RGB PNG | n = 2 * sample / 255 - 1; (0, 0, 0) = none |
| `png-rgb-u8` | 8 bit RGB PNG | the colour itself |

Normals are in the camera frame of `NormalMap`: +x right, +y up, +z to the viewer. Unlike in drawings, x is
not flipped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers import pixels, png
from plantain.operators.answers.base import Raster
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.normals.codec import samples_of
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.compiled import compiled
from plantain.operators.errors import CodecError

DEPTH_U16 = "png-depth-u16"
LABELS_U8 = "png-labels-u8"
LABELS_U16 = "png-labels-u16"
NORMALS_U8 = "png-normals-u8"
RGB_U8 = "png-rgb-u8"

DEPTH_SCALE = 256.0
"""Samples a metre, as in KITTI: 4 mm steps up to 256 m. Maps that reach farther halve it until they fit."""


def pack_depth(depth: DepthMap) -> Raster:
    """Depth in metres as `png-depth-u16`, off by at most half a step of its scale.

    The scale is `DEPTH_SCALE`, or a half, quarter, ... of it, so that 65535 / scale covers the farthest valid
    pixel. A valid depth nearer than half a step becomes one step, because 0 is taken.

    Raises:
        CodecError: If the maps differ in size or have no pixel.
    """
    pixels.expect_pair("depth map", depth.depth_m, depth.valid)
    metres = pixels.frozen(depth.depth_m.astype(np.float32, copy=False))
    valid = pixels.frozen(depth.valid)
    scale = DEPTH_SCALE
    farthest_m = _farthest(metres, valid)
    while farthest_m * scale > np.iinfo(np.uint16).max:
        scale /= 2
    samples = np.empty(depth.valid.shape, np.uint16)
    _to_samples(metres, valid, scale, samples.reshape(-1))
    return Raster(DEPTH_U16, scale, png.write(samples))


def pack_labels(labels: NDArray[np.uint16]) -> Raster:
    """A label map (H, W) as `png-labels-u8` when its highest label is at most 255, else `png-labels-u16`.

    Raises:
        CodecError: If `labels` is not (H, W) uint16, or has no pixel.
    """
    if labels.ndim != 2 or labels.dtype != np.uint16:
        raise CodecError(f"a label map must be (H, W) uint16, not {labels.shape} {labels.dtype}")
    if labels.max(initial=0) <= np.iinfo(np.uint8).max:
        return Raster(LABELS_U8, 1.0, png.write(labels.astype(np.uint8)))
    return Raster(LABELS_U16, 1.0, png.write(labels))


def pack_normals(normals: NormalMap) -> Raster:
    """Unit normals as `png-normals-u8`, each component within 1/255.

    Raises:
        CodecError: If the maps differ in size or have no pixel.
    """
    # A unit vector never rounds to (0, 0, 0).
    return Raster(NORMALS_U8, 1.0, png.write(samples_of(normals, sign_x=1.0, invalid=0)))


def pack_rgb(rgb: NDArray[np.uint8]) -> Raster:
    """A picture (H, W, 3) as `png-rgb-u8`.

    Raises:
        CodecError: If it is of another form, or has no pixel.
    """
    return Raster(RGB_U8, 1.0, png.write(np.ascontiguousarray(rgb)))


def unpack(
    raster_format: str, scale: float, data: bytes
) -> NDArray[np.float32] | NDArray[np.uint16] | NDArray[np.uint8]:
    """The map that one of the functions above packed.

    Returns:
        Metres (H, W) float32, 0 where there is none; labels (H, W) uint16; unit normals (H, W, 3) float32,
        0 where there is none; or colours (H, W, 3) uint8.

    Raises:
        CodecError: If the format is unknown, the file damaged or of another kind, or the scale not above 0.
    """
    kinds = {
        DEPTH_U16: (2, "uint16"),
        LABELS_U8: (2, "uint8"),
        LABELS_U16: (2, "uint16"),
        NORMALS_U8: (3, "uint8"),
        RGB_U8: (3, "uint8"),
    }
    if raster_format not in kinds:
        raise CodecError(f"raster format '{raster_format}' is unknown: use one of {', '.join(kinds)}")
    samples = png.read(data)
    if (samples.ndim, samples.dtype.name) != kinds[raster_format]:
        raise CodecError(f"'{raster_format}' does not hold {samples.shape} {samples.dtype}")
    if raster_format == DEPTH_U16:
        if not scale > 0:
            raise CodecError(f"the scale of '{raster_format}' must be above 0, not {scale}")
        return samples.astype(np.float32) / np.float32(scale)
    if raster_format == NORMALS_U8:
        vectors = np.empty(samples.shape, np.float32)
        _to_vectors(pixels.flat(samples.astype(np.uint8, copy=False)), vectors.reshape(-1))
        return vectors
    if raster_format == RGB_U8:
        return samples.astype(np.uint8, copy=False)
    return samples.astype(np.uint16)


@compiled()
def _farthest(metres: NDArray[np.float32], valid: NDArray[np.bool_]) -> float:
    """The largest finite valid depth (N,), 0 if there is none."""
    farthest = 0.0
    for i in range(len(metres)):
        if valid[i] and np.isfinite(metres[i]):
            farthest = max(farthest, np.float64(metres[i]))
    return farthest


@compiled()
def _to_samples(
    metres: NDArray[np.float32], valid: NDArray[np.bool_], scale: float, samples: NDArray[np.uint16]
) -> None:
    """Fills `samples` (N,) of depths (N,)."""
    for i in range(len(metres)):
        samples[i] = 0
        if valid[i] and np.isfinite(metres[i]):
            samples[i] = max(1, min(65535, int(np.float64(metres[i]) * scale + 0.5)))


@compiled()
def _to_vectors(samples: NDArray[np.uint8], vectors: NDArray[np.float32]) -> None:
    """Fills `vectors` (3 N,) with unit vectors, 0 for samples (3 N,) that are all 0."""
    for i in range(len(samples) // 3):
        red, green, blue = (
            np.int32(samples[3 * i]),
            np.int32(samples[3 * i + 1]),
            np.int32(samples[3 * i + 2]),
        )
        x, y, z = np.int32(2 * red - 255), np.int32(2 * green - 255), np.int32(2 * blue - 255)
        length_sq = np.int32(np.int32(x * x) + np.int32(y * y) + np.int32(z * z))
        scale = np.float32(1.0) / np.sqrt(np.float32(length_sq)) if red | green | blue else np.float32(0.0)
        vectors[3 * i] = np.float32(x) * scale
        vectors[3 * i + 1] = np.float32(y) * scale
        vectors[3 * i + 2] = np.float32(z) * scale
