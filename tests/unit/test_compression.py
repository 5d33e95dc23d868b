import numpy as np
import pytest

from plantain.operators.decode.compression import compressed
from plantain.operators.errors import SourceError
from plantain.operators.models.plantain.training.views import disturbed
from plantain.operators.scenes import Scene


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return Scene(5, size_hw=(96, 160)).render(1.0).image


def error(picture: np.ndarray, shown: np.ndarray) -> float:
    return float(np.abs(shown.astype(int) - picture).mean())


def test_the_last_picture_comes_back_where_it_was(picture):
    aside = np.roll(picture, (3, 2), (0, 1))
    shown = compressed([aside, picture], 20)
    assert shown.shape == picture.shape
    assert shown.dtype == np.uint8
    assert error(picture, shown) < 6 < error(aside, shown)


def test_fewer_bits_lose_more(picture):
    losses = [error(picture, compressed([picture], crf)) for crf in (16, 28, 40)]
    assert losses == sorted(losses)
    assert losses[2] > 1.3 * losses[0]


def test_sides_that_video_cannot_have_are_named(picture):
    with pytest.raises(SourceError, match="compressed"):
        compressed([picture[:95, :159]], 20)


def test_pictures_of_any_size_can_be_disturbed(picture):
    for seed in range(12):
        assert disturbed(picture[:95], np.random.default_rng(seed)).shape == (95, 160, 3)
        assert disturbed(picture, np.random.default_rng(seed)).shape == picture.shape
