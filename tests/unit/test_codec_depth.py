"""Depth against the published decoder over every colour there is, and at the points that matter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hilbertmap import cubewalk, transform
from matplotlib import colormaps
from numpy.typing import NDArray

from plantain.operators.answers import codec_for
from plantain.operators.answers.depth import codec as depth
from plantain.operators.answers.depth import cube
from plantain.operators.answers.depth.colormaps import colormap
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.errors import CodecError
from plantain.operators.prompts import CURVES, Prompt

MAPS = ("cube", "plasma", "inferno", "viridis", "gray")


def planes() -> Iterator[NDArray[np.uint8]]:
    """All 2^24 colours, as 256 drawings of 256 x 256."""
    plane = np.empty((256, 256, 3), np.uint8)
    plane[..., 1] = np.arange(256)[:, None]
    plane[..., 2] = np.arange(256)
    for red in range(256):
        plane[..., 0] = red
        yield plane


def decode(drawing: NDArray[np.uint8], written: str = "depth") -> DepthMap:
    prompt = Prompt.parse(written)
    value = codec_for(prompt).decode(drawing, prompt)
    assert isinstance(value, DepthMap)
    return value


def pixel(*colours: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.array([colours], np.uint8)


def test_every_colour_means_what_the_published_decoder_says() -> None:
    compared = 0
    for plane in planes():
        f = cubewalk.project(plane / 255.0)
        position, _ = cube.positions(plane)
        np.testing.assert_allclose(position, f * cube.LAST, atol=1e-6, rtol=0)
        is_finite = position < cube.LAST
        for name, curve in CURVES.items():
            ours = decode(plane, f"depth[curve={name}]")
            theirs = transform.normalized_to_depth(np.where(is_finite, f, 0.0), curve.lam, curve.c)
            assert not (ours.valid & ~is_finite).any()
            np.testing.assert_allclose(ours.depth_m[ours.valid], theirs[ours.valid], rtol=1e-5, atol=0)
            metres = depth.metres_of(curve, cube.LAST + 1)[position]
            np.testing.assert_allclose(metres[is_finite], theirs[is_finite], rtol=1e-5, atol=0)
            compared += int(is_finite.sum())
    assert compared > 2 * 16_000_000


def test_the_corners_are_at_the_distances_of_the_paper() -> None:
    value = decode(pixel(*cube.CORNERS))
    np.testing.assert_allclose(value.depth_m[0], [0, 0.801, 1.832, 3.229, 5.275, 8.708, 16.458, 0], atol=5e-4)
    np.testing.assert_array_equal(value.valid[0], [True] * 7 + [False])
    assert value.off_palette == 0.0


def test_white_is_infinitely_far_and_not_off_the_path() -> None:
    value = decode(pixel((255, 255, 255), (250, 255, 251)))
    np.testing.assert_array_equal(value.valid, [[False, False]])
    np.testing.assert_array_equal(value.depth_m, [[0.0, 0.0]])
    assert value.off_palette == 0.0


def test_a_colour_more_than_16_levels_off_the_path_has_no_depth() -> None:
    value = decode(pixel((100, 16, 0), (100, 17, 0), (100, 12, 12), (128, 128, 128)))
    np.testing.assert_array_equal(value.valid, [[True, False, False, False]])
    np.testing.assert_array_equal(value.depth_m[~value.valid], 0)
    assert value.off_palette == 0.75


def test_the_path_turns_one_channel_by_one_level_a_step() -> None:
    path = depth.drawing_table("cube").astype(int)
    assert path.shape == (1786, 3)
    np.testing.assert_array_equal(np.abs(np.diff(path, axis=0)).sum(axis=1), 1)
    expected = cubewalk.walk(np.arange(1786) / 1785)
    np.testing.assert_allclose(path / 255.0, expected, atol=1e-9)


@pytest.mark.parametrize("name", ["plasma", "inferno", "viridis"])
def test_the_colour_maps_are_the_published_ones(name: str) -> None:
    published = np.array(colormaps[name](np.arange(256)))[:, :3] * 255
    np.testing.assert_allclose(colormap(name), published, atol=0.5)


@pytest.mark.parametrize("name", ["plasma", "inferno", "viridis", "gray"])
def test_the_nearest_colour_of_a_map_is_found_for_all_colours(name: str) -> None:
    table = depth.drawing_table(name).astype(np.float32)
    metres = depth.metres_of(CURVES["paper"], 256)
    seen = 0
    for red, plane in enumerate(planes()):
        if red % 51:  # every 51st red, with all greens and blues
            continue
        value = decode(plane, f"depth[colormap={name}]")
        pixels = plane.reshape(-1, 3).astype(np.float32)
        # (p - c)^2 = p^2 + (c^2 - 2 pc), all of them whole numbers below 2^24, which float32 holds.
        distances_sq = (table**2).sum(axis=1) - 2 * pixels @ table.T
        index = distances_sq.argmin(axis=1)  # the first of those that are as near
        best = (pixels**2).sum(axis=1) + distances_sq[np.arange(len(pixels)), index]
        valid = (best <= depth.MAX_DISTANCE**2) & (index < 255)
        np.testing.assert_array_equal(value.valid.ravel(), valid)
        np.testing.assert_array_equal(value.depth_m.ravel(), np.where(valid, metres[index], 0))
        assert value.off_palette == pytest.approx((best > depth.MAX_DISTANCE**2).mean())
        seen += len(pixels)
    assert seen == 6 * 65536


@pytest.mark.parametrize("name", MAPS)
def test_no_colour_gives_a_number_that_is_none(name: str) -> None:
    for plane in planes():
        value = decode(plane, f"depth[colormap={name};curve=street]")
        assert np.isfinite(value.depth_m).all()
        assert (value.depth_m >= 0).all()
        assert (value.depth_m[~value.valid] == 0).all()


@pytest.mark.parametrize("name", MAPS)
def test_what_is_far_stays_valid_and_what_is_no_number_does_not(name: str) -> None:
    prompt = Prompt.parse(f"depth[colormap={name}]")
    metres = np.array([[1e9, 3e38, np.inf, np.nan, -1.0, 5.0]], np.float32)
    valid = np.array([[True, True, True, True, True, False]])
    drawing = codec_for(prompt).encode(DepthMap(metres, valid, 0.0), prompt)
    np.testing.assert_array_equal(drawing[0, 2], depth.drawing_table(name)[-1])
    again = codec_for(prompt).decode(drawing, prompt)
    assert isinstance(again, DepthMap)
    np.testing.assert_array_equal(again.valid, [[True, True, False, False, True, False]])
    assert again.depth_m[0, 4] == 0.0


def test_maps_of_different_size_are_refused() -> None:
    prompt = Prompt.parse("depth")
    value = DepthMap(np.zeros((2, 3), np.float32), np.zeros((3, 2), np.bool_), 0.0)
    with pytest.raises(CodecError, match=r"not \(2, 3\) and \(3, 2\)"):
        codec_for(prompt).encode(value, prompt)
