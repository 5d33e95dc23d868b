"""Maps as files: they come back, and other tools can read them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as PillowImage

from plantain.operators.answers import png, rasters
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.errors import CodecError


def depth_map(farthest_m: float) -> DepthMap:
    metres = np.linspace(0.0, farthest_m, 35 * 21).reshape(35, 21).astype(np.float32)
    valid = np.ones(metres.shape, np.bool_)
    valid[::5] = False
    metres[::5] = 0
    return DepthMap(metres, valid, 0.0)


@pytest.mark.parametrize(
    ("farthest_m", "scale"), [(0.0, 256), (80, 256), (255.99, 256), (256.5, 128), (1031, 32), (1e6, 2**-4)]
)
def test_depth_comes_back_within_half_a_step_whatever_its_range(farthest_m: float, scale: float) -> None:
    depth = depth_map(farthest_m)
    raster = rasters.pack_depth(depth)
    assert (raster.format, raster.scale) == ("png-depth-u16", scale)
    metres = rasters.unpack(*raster)
    np.testing.assert_array_equal(metres > 0, depth.valid)
    tolerance = 0.5 / scale * (1 + 1e-6) + 1e-6 * farthest_m
    near = depth.depth_m < 0.5 / scale
    np.testing.assert_allclose(metres[~near], depth.depth_m[~near], atol=tolerance, rtol=0)
    assert (metres[near & depth.valid] == 1 / scale).all()  # because 0 means no value


def test_depth_that_is_no_number_is_no_value() -> None:
    depth = DepthMap(np.array([[np.inf, np.nan, -3.0, 7.0]], np.float32), np.ones((1, 4), np.bool_), 0.0)
    raster = rasters.pack_depth(depth)
    assert raster.scale == 256
    np.testing.assert_array_equal(rasters.unpack(*raster), [[0, 0, 1 / 256, 7]])


@pytest.mark.parametrize(
    ("highest", "name"), [(0, "png-labels-u8"), (255, "png-labels-u8"), (256, "png-labels-u16")]
)
def test_labels_come_back(highest: int, name: str) -> None:
    labels = (np.arange(33 * 17).reshape(33, 17) % (highest + 1)).astype(np.uint16)
    raster = rasters.pack_labels(labels)
    assert raster.format == name
    again = rasters.unpack(*raster)
    assert again.dtype == np.uint16
    np.testing.assert_array_equal(again, labels)


def test_normals_come_back_in_the_same_frame() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 30, 3))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    valid = rng.random((40, 30)) < 0.8
    vectors[~valid] = 0
    raster = rasters.pack_normals(NormalMap(vectors.astype(np.float32), valid, 0.0))
    assert raster.format == "png-normals-u8"
    again = rasters.unpack(*raster)
    np.testing.assert_allclose(again, vectors, atol=0.009)
    np.testing.assert_allclose(np.linalg.norm(again, axis=2), valid, atol=1e-6)
    samples = np.asarray(PillowImage.open(io.BytesIO(raster.data)))
    np.testing.assert_array_equal((samples == 0).all(axis=2), ~valid)
    np.testing.assert_allclose(samples[valid] / 127.5 - 1, vectors[valid], atol=0.005)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).integers(0, 256, (19, 23), dtype=np.uint8),
        np.random.default_rng(1).integers(0, 65536, (19, 23), dtype=np.uint16),
        np.random.default_rng(2).integers(0, 256, (19, 23, 3), dtype=np.uint8),
        np.full((1, 1), 7, np.uint8),
        np.full((1, 1), 700, np.uint16),
        np.full((5, 1, 3), 7, np.uint8),
    ],
)
def test_another_reader_sees_the_same_samples(values: np.ndarray) -> None:
    data = png.write(values)
    with PillowImage.open(io.BytesIO(data)) as image:
        image.load()
        np.testing.assert_array_equal(np.asarray(image), values)
    np.testing.assert_array_equal(png.read(data), values)
    assert png.read(data).dtype == values.dtype


def test_what_another_tool_compressed_again_is_read() -> None:
    raster = rasters.pack_depth(depth_map(80))
    again = io.BytesIO()
    with PillowImage.open(io.BytesIO(raster.data)) as image:
        image.save(again, "PNG", optimize=True)
    np.testing.assert_array_equal(
        rasters.unpack(raster.format, raster.scale, again.getvalue()), rasters.unpack(*raster)
    )


def test_damaged_files_are_refused() -> None:
    data = rasters.pack_depth(depth_map(80)).data
    broken = bytearray(data)
    broken[20] ^= 255
    for bad in (b"", b"hello", data[:60], data[: len(data) // 2], bytes(broken)):
        with pytest.raises(CodecError, match="not a readable PNG"):
            rasters.unpack("png-depth-u16", 256.0, bad)


def test_files_that_are_not_what_their_format_says_are_refused() -> None:
    labels = rasters.pack_labels(np.ones((2, 3), np.uint16)).data
    with pytest.raises(CodecError, match="'png-depth-u16' does not hold"):
        rasters.unpack("png-depth-u16", 256.0, labels)
    with pytest.raises(CodecError, match="raster format 'jpeg' is unknown: use one of png-depth-u16"):
        rasters.unpack("jpeg", 1.0, labels)
    with pytest.raises(CodecError, match="scale of 'png-depth-u16' must be above 0, not 0"):
        rasters.unpack("png-depth-u16", 0.0, rasters.pack_depth(depth_map(8)).data)
    palette = io.BytesIO()
    PillowImage.new("P", (2, 2)).save(palette, "PNG")
    with pytest.raises(CodecError, match="not of mode P"):
        rasters.unpack("png-labels-u8", 1.0, palette.getvalue())


def test_maps_that_no_file_can_hold_are_refused() -> None:
    with pytest.raises(CodecError, match=r"must be \(H, W\) uint16"):
        rasters.pack_labels(np.zeros((2, 2), np.uint8))  # type: ignore[arg-type]
    with pytest.raises(CodecError, match="at least one pixel"):
        rasters.pack_labels(np.zeros((0, 2), np.uint16))
