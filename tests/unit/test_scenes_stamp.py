import io

import numpy as np
import pytest
from PIL import Image

from plantain.operators.scenes import read_stamp, stamp


def picture(width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (width * 9 // 16, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("width", [96, 384, 640, 1920])
@pytest.mark.parametrize(("seed", "index"), [(0, 0), (1, 25), (2**32 - 1, 2**20 - 1)])
def test_a_mark_is_read_back(width: int, seed: int, index: int) -> None:
    assert read_stamp(stamp(picture(width), seed, index)) == (seed, index)


def test_the_given_picture_is_not_changed() -> None:
    image = picture(96)
    before = image.copy()
    stamp(image, 1, 2)
    assert np.array_equal(image, before)


def test_a_picture_without_a_mark_says_nothing() -> None:
    assert read_stamp(picture(384)) is None
    assert read_stamp(np.zeros((216, 384, 3), np.uint8)) is None
    assert read_stamp(np.zeros((4, 4, 3), np.uint8)) is None


def test_a_damaged_mark_says_nothing() -> None:
    marked = stamp(picture(384), 12345, 678)
    marked[8:16, 8:16] = 255 - marked[8:16, 8:16]
    assert read_stamp(marked) is None


def test_a_mark_survives_strong_compression() -> None:
    stream = io.BytesIO()
    Image.fromarray(stamp(picture(384), 12345, 678)).save(stream, "JPEG", quality=25)
    with Image.open(stream) as decoded:
        assert read_stamp(np.asarray(decoded.convert("RGB"))) == (12345, 678)
