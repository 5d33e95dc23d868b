"""Pictures from files: what is decoded of them, and that nobody sees the difference."""

import io

import numpy as np
import pytest
from PIL import Image

from plantain.operators.geometry import Letterbox
from plantain.operators.sources.images import picture_of
from plantain.operators.sources.sequence import Picture
from plantain.operators.streams import View


def street(height: int, width: int) -> Image.Image:
    """Slopes and edges of both directions, in three different channels."""
    y, x = np.mgrid[0:height, 0:width] / (height, width)[0]
    tones = (127 + 100 * np.sin(9 * x), 255 * (y < 0.4 * x + 0.2), 60 + 120 * y)
    return Image.fromarray(np.stack(tones, axis=-1).clip(0, 255).astype(np.uint8))


def opened(image: Image.Image, kind: str = "JPEG", **options: object) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Image.open(buffer)


def canvas(picture: Picture, view: View) -> np.ndarray:
    fit = Letterbox.fit(picture.source_hw, view.model_hw, view.fit)
    return np.asarray(picture.image.resize((fit.width, fit.height), Image.Resampling.BOX)).astype(int)


@pytest.mark.parametrize(
    ("source_hw", "view", "decoded_hw"),
    [
        ((448, 768), View((224, 384)), (224, 384)),  # just what is needed
        ((1080, 1920), View((224, 384)), (540, 960)),  # a quarter would be 1.25 times what is needed
        ((3000, 4000), View((224, 384)), (750, 1000)),
        ((3000, 4000), View((224, 384), "stretch"), (750, 1000)),
        ((448, 768), View((224, 384), picture_long_side=1280), (448, 768)),  # it is also shown
        ((2160, 3840), View((224, 384), picture_long_side=640), (1080, 1920)),
        ((300, 400), View((224, 384)), (300, 400)),
        ((100, 100), View((224, 384)), (100, 100)),
    ],
)
def test_no_more_of_a_jpeg_is_decoded_than_is_shown(source_hw, view, decoded_hw):
    picture = picture_of(opened(street(*source_hw), quality=95), view)
    assert (picture.image.height, picture.image.width) == decoded_hw
    assert picture.source_hw == source_hw
    whole = canvas(Picture.whole(street(*source_hw)), view)
    assert np.abs(canvas(picture, view) - whole).mean() < 2.0


def test_a_turned_jpeg_is_measured_as_it_is_displayed():
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    upright = street(1600, 400)
    lying = upright.rotate(90, expand=True)
    picture = picture_of(opened(lying, quality=95, exif=exif), View((200, 50)))
    assert picture.source_hw == (1600, 400)
    assert (picture.image.height, picture.image.width) == (200, 50)
    assert (
        np.abs(np.asarray(picture.image).astype(int) - canvas(Picture.whole(upright), View((200, 50)))).mean()
        < 2.0
    )


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_other_formats_are_decoded_whole(kind):
    picture = picture_of(opened(street(448, 768), kind), View((224, 384)))
    assert (picture.image.height, picture.image.width) == (448, 768)
    assert picture.source_hw == (448, 768)


def test_grey_and_cmyk_jpegs_become_rgb():
    for mode in ("L", "CMYK"):
        picture = picture_of(opened(street(896, 1536).convert(mode)), View((224, 384)))
        assert picture.image.mode == "RGB"
        assert picture.image.size == (384, 224)
