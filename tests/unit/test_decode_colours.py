"""Colours of video survive every matrix, range and tag."""

from __future__ import annotations

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from plantain.operators.decode import PictureConverter

MATRICES = {
    Colorspace.ITU601: (0.299, 0.114),
    Colorspace.ITU709: (0.2126, 0.0722),
    Colorspace.BT2020: (0.2627, 0.0593),
}
TAGS = {Colorspace.ITU601: 6, Colorspace.ITU709: 1, Colorspace.BT2020: 9}


def flat(
    rgb: tuple[int, int, int],
    matrix: Colorspace,
    is_full: bool,
    pix_fmt: str,
    size: tuple[int, int] = (320, 240),
) -> av.VideoFrame:
    """A frame of one colour, converted by the textbook formula; its tags are left to the caller."""
    red, green, blue = (value / 255 for value in rgb)
    of_red, of_blue = MATRICES[matrix]
    luma = of_red * red + (1 - of_red - of_blue) * green + of_blue * blue
    chroma = (blue - luma) / 2 / (1 - of_blue), (red - luma) / 2 / (1 - of_red)
    if is_full:
        samples = [luma * 255, *(value * 255 + 128 for value in chroma)]
    else:
        samples = [16 + luma * 219, *(value * 224 + 128 for value in chroma)]
    frame = av.VideoFrame(*size, pix_fmt)
    for plane, sample in zip(frame.planes, samples, strict=True):
        wide = "10le" in pix_fmt
        value = np.clip(round(sample * (4 if wide else 1)), 0, 1023 if wide else 255)
        plane.update(
            np.full(plane.buffer_size // (2 if wide else 1), value, np.uint16 if wide else np.uint8).tobytes()
        )
    return frame


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("rgb", [(200, 60, 30), (255, 255, 255), (0, 0, 0), (20, 200, 40), (128, 128, 128)])
def test_colours_survive_every_matrix_and_range(
    rgb: tuple[int, int, int], matrix: Colorspace, is_full: bool, pix_fmt: str
) -> None:
    frame = flat(rgb, matrix, is_full, pix_fmt)
    frame.colorspace = TAGS[matrix]
    frame.color_range = ColorRange.JPEG if is_full else ColorRange.MPEG
    image = PictureConverter((96, 128), "stretch").canvas(frame)
    assert np.abs(image.reshape(-1, 3).astype(int) - rgb).max() <= 3


@pytest.mark.parametrize(
    ("size", "matrix"),
    [((640, 480), Colorspace.ITU601), ((1280, 720), Colorspace.ITU709), ((1920, 1080), Colorspace.ITU709)],
)
def test_colours_without_a_tag_follow_the_size(size: tuple[int, int], matrix: Colorspace) -> None:
    frame = flat((200, 60, 30), matrix, False, "yuv420p", size)
    image = PictureConverter((96, 128), "stretch").canvas(frame)
    assert np.abs(image.reshape(-1, 3).astype(int) - (200, 60, 30)).max() <= 3


def test_yuvj_is_full_range_without_a_tag() -> None:
    image = PictureConverter((96, 128), "stretch").canvas(
        flat((250, 250, 250), Colorspace.ITU601, True, "yuvj420p")
    )
    assert np.abs(image.astype(int) - 250).max() <= 2
