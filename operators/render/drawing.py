"""Results as pictures: what lies on the frame, and a tile for each dense answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageEnhance

from plantain.operators.answers import kind_of
from plantain.operators.answers.grids import enlarge
from plantain.operators.answers.sketch import InTile, Mark, OnFrame, Pixels, Regions
from plantain.operators.colours import BACKDROP
from plantain.operators.render.layout import Layout, Tile, has_tile
from plantain.operators.render.lettering import caption, font_of, headline, tag, write_lines
from plantain.operators.types import Failure, FrameInfo, Prediction, Result

# Brightness of what is not meant, around a referred region.
DIMMED = 0.55


def draw(result: Result, layout: Layout) -> Pixels:
    """A frame with everything that was answered about it.

    Args:
        result: With `info.picture`; without it, the answers are drawn on a plain ground.
        layout: Made for the result's prompts.

    Returns:
        (layout.height, layout.width, 3) uint8 RGB.
    """
    info = result.info
    canvas = Picture.new("RGB", (layout.width, layout.height), BACKDROP)
    in_tiles = [prediction for prediction in result.predictions if has_tile(prediction.prompt)]
    shown = [_on_frame(each, info) for each in result.predictions if not has_tile(each.prompt)]
    if not shown:  # nothing else to see on the frame: show the first regions that there are, too
        dense = (_on_frame(each, info) for each in in_tiles)
        shown = [next((each for each in dense if each is not None), None)]
    over = [each for each in shown if each is not None]
    main = _background(info, layout.main)
    for each in over:
        if each.regions is not None:
            _tint(main, each.regions, is_alone=len(over) == 1)
    canvas.paste(main, (layout.main.left, layout.main.top))
    pen = ImageDraw.Draw(canvas)
    for each in over:
        _label(pen, each.marks, info, layout.main)
    for prediction, tile in zip(in_tiles, layout.tiles, strict=True):
        canvas.paste(_dense(prediction, info, tile), (tile.left, tile.top))
        caption(pen, prediction, tile)
    headline(pen, result, layout)
    return np.asarray(canvas)


def draw_answer(prediction: Prediction, info: FrameInfo, size_hw: tuple[int, int]) -> Pixels:
    """One answer alone, without a caption: on the frame's picture, or what fills its tile.

    Args:
        prediction: The answer; a Failure gives a plain picture.
        info: The frame's, with `picture` where it is known.
        size_hw: Height and width of the drawing, pixels.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    tile = Tile(0, 0, size_hw[1], size_hw[0])
    if has_tile(prediction.prompt):
        return np.asarray(_dense(prediction, info, tile))
    drawing = _background(info, tile)
    over = _on_frame(prediction, info)
    if over is not None:
        if over.regions is not None:
            _tint(drawing, over.regions, is_alone=True)
        _label(ImageDraw.Draw(drawing), over.marks, info, tile, is_brief=True)
    return np.asarray(drawing)


def _on_frame(prediction: Prediction, info: FrameInfo) -> OnFrame | None:
    if isinstance(prediction.value, Failure):
        return None
    return kind_of(prediction.prompt).on_frame(prediction.prompt, prediction.value, info.fit)


def _tint(frame: Picture.Image, regions: Regions, *, is_alone: bool) -> None:
    """Colours and outlines regions; around a spotlight that is alone, dims the rest."""
    # A byte for each pixel is enough to tell neighbours apart, and much faster to colour.
    few = np.where(regions.labels > 0, (regions.labels - 1) % 255 + 1, 0).astype(np.uint8)
    labels = enlarge(few, (frame.height, frame.width))
    if regions.is_spotlight and is_alone and labels.any():
        outside = Picture.fromarray((labels == 0).astype(np.uint8) * 255)
        frame.paste(ImageEnhance.Brightness(frame).enhance(DIMMED), mask=outside)
    coloured = Picture.fromarray(labels, "P")
    coloured.putpalette([value for colour in (BACKDROP, *regions.colours[:255]) for value in colour])
    strength = np.full(256, regions.strength, np.uint8)
    strength[0] = 0
    alpha = strength.take(labels)
    alpha[_edges(labels)] = 255
    frame.paste(coloured.convert("RGB"), mask=Picture.fromarray(alpha))


def _label(
    pen: ImageDraw.ImageDraw, marks: tuple[Mark, ...], info: FrameInfo, tile: Tile, *, is_brief: bool = False
) -> None:
    """Boxes, and names on them; in brief without what a caption says."""
    height, width = info.fit.source_hw
    font = font_of(max(13, round(tile.height / 46)))
    line = max(1, round(tile.height / 480))
    for mark in marks:
        x1, x2 = (tile.left + round(mark.xyxy[k] * tile.width / width) for k in (0, 2))
        y1, y2 = (tile.top + round(mark.xyxy[k] * tile.height / height) for k in (1, 3))
        pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=mark.colour, width=line)
        words = mark.words or mark.name if is_brief else f"{mark.name} {mark.words}".strip()
        tag(pen, words, (x1, y1), mark.colour, font, tile)


def _background(info: FrameInfo, tile: Tile) -> Picture.Image:
    """The frame's picture at the size of a tile."""
    if info.picture is None:
        return Picture.new("RGB", (tile.width, tile.height), BACKDROP)
    return _smooth(info.picture, tile)


def _smooth(picture: Pixels, tile: Tile) -> Picture.Image:
    """A picture at the size of a tile, interpolated."""
    whole = Picture.fromarray(picture)
    if whole.size == (tile.width, tile.height):
        return whole
    return whole.resize((tile.width, tile.height), Picture.Resampling.BILINEAR, reducing_gap=2.0)


def _dense(prediction: Prediction, info: FrameInfo, tile: Tile) -> Picture.Image:
    """What fills the tile of an answer, at its size."""
    shown = InTile()
    if not isinstance(prediction.value, Failure):
        shown = kind_of(prediction.prompt).in_tile(prediction.prompt, prediction.value)
    if shown.picture is None:
        filled = Picture.new("RGB", (tile.width, tile.height), BACKDROP)
    elif shown.is_smooth:
        filled = _smooth(shown.picture, tile)
    else:
        filled = Picture.fromarray(enlarge(shown.picture, (tile.height, tile.width)))
    if shown.cover < 1:
        filled = Picture.blend(_background(info, tile), filled, shown.cover)
    if shown.text:
        font = font_of(max(12, round(tile.height / 22)))
        write_lines(ImageDraw.Draw(filled), shown.text, Tile(0, 0, tile.width, tile.height), font)
    return filled


def _edges(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The rim of each region, inside it."""
    reach = max(1, round(labels.shape[0] / 400))
    rim = np.zeros(labels.shape, np.bool_)
    for step in range(1, reach + 1):
        down = labels[step:] != labels[:-step]
        right = labels[:, step:] != labels[:, :-step]
        rim[step:] |= down
        rim[:-step] |= down
        rim[:, step:] |= right
        rim[:, :-step] |= right
    return rim & (labels > 0)
