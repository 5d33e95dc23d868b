"""Run lengths, byte for byte those of pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco

from plantain.operators.answers.grids import enlarge
from plantain.operators.answers.masks.rle import decode_region, encode_regions
from plantain.operators.errors import CodecError


def by_pycocotools(labels: NDArray[np.uint16], count: int) -> list[str]:
    return [
        coco.encode(np.asfortranarray(labels == k, np.uint8))["counts"].decode() for k in range(1, count + 1)
    ]


def street(size_hw: tuple[int, int], count: int) -> NDArray[np.uint16]:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]]
    labels = np.zeros(size_hw, np.uint16)
    for k in range(count):
        y, x = rng.uniform(0, size_hw[0]), rng.uniform(0, size_hw[1])
        half_h, half_w = rng.uniform(10, 90, 2)
        labels[((rows - y) / half_h) ** 2 + ((columns - x) / half_w) ** 2 < 1] = k + 1
    return labels


@pytest.mark.parametrize(
    "labels",
    [
        street((720, 1280), 30),
        np.zeros((3, 4), np.uint16),
        np.ones((3, 4), np.uint16),
        np.eye(5, dtype=np.uint16),
        np.array([[30]], np.uint16),
        np.array([[0, 30]], np.uint16),
        np.array([[30], [0]], np.uint16),
        np.random.default_rng(1).integers(0, 31, (61, 47), dtype=np.uint16),
        np.zeros((0, 7), np.uint16),
    ],
    ids=["street", "empty", "full", "diagonal", "pixel", "end", "start", "noise", "nothing"],
)
def test_bytes_are_those_of_pycocotools_and_come_back(labels: NDArray[np.uint16]) -> None:
    counts = encode_regions(labels, 30)
    assert counts == by_pycocotools(labels, 30)
    for k, text in enumerate(counts, 1):
        np.testing.assert_array_equal(decode_region(text, labels.shape), labels == k)
        np.testing.assert_array_equal(decode_region(text.encode(), labels.shape), labels == k)


def test_memory_layout_does_not_matter() -> None:
    labels = street((90, 120), 5)
    expected = encode_regions(labels, 5)
    wide = np.zeros((90, 240), np.uint16)
    wide[:, ::2] = labels
    for same in (np.asfortranarray(labels), wide[:, ::2]):
        assert encode_regions(same, 5) == expected


@pytest.mark.parametrize("counts", ["", "5", "k", "999999", "0", "\x7f", "é", "ooooooooooooooooooo", "<n"])
def test_damaged_counts_are_refused(counts: str) -> None:
    with pytest.raises(CodecError, match="do not describe a mask of 3 x 4 pixels"):
        decode_region(counts, (3, 4))


def test_label_maps_of_another_form_are_refused() -> None:
    with pytest.raises(CodecError, match=r"must be \(H, W\) uint16, not \(2, 2\) int64"):
        encode_regions(np.zeros((2, 2), np.int64), 1)  # type: ignore[arg-type]
    with pytest.raises(CodecError, match="holds label 3, but only 2 regions"):
        encode_regions(np.full((2, 2), 3, np.uint16), 2)


@pytest.mark.parametrize("seed", range(40))
def test_on_any_grid_the_counts_are_those_that_pycocotools_gives_the_enlarged_map(seed: int) -> None:
    rng = np.random.default_rng(seed)
    (height, width), count = rng.integers(1, 20, 2), int(rng.integers(1, 5))
    size_hw = (int(rng.integers(1, 50)), int(rng.integers(1, 50)))
    labels = rng.integers(0, count + 1, (height, width)).astype(np.uint16)
    grid = enlarge(labels, size_hw)
    found = encode_regions(labels, count, size_hw)
    assert found == by_pycocotools(grid, count)
    for number, counts in enumerate(found, start=1):
        assert np.array_equal(decode_region(counts, size_hw), grid == number)
