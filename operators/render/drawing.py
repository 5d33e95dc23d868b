"""Results as pictures: masks over the frame, and a tile for each dense map."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageEnhance

from plantain.operators.colours import RGB
from plantain.operators.geometry import Letterbox
from plantain.operators.prompts import Task
from plantain.operators.render.layout import Layout, Tile, has_tile
from plantain.operators.render.lettering import caption, font_of, headline, tag
from plantain.operators.render.shades import (
    BACKDROP,
    REFERRED,
    Pixels,
    class_colour,
    depth_colours,
    object_colour,
)
from plantain.operators.types import DepthMap, FrameInfo, Image, Masks, NormalMap, Prediction, Result

# Share of 255 that a region's colour has over the frame, and the brightness of what a referred region is not.
OBJECT_STRENGTH = 100
REFERRED_STRENGTH = 80
DIMMED = 0.55

S = TypeVar("S", bound=np.generic)


def draw(result: Result, layout: Layout) -> Pixels:
    """A frame with everything that was answered about it.

    Args:
        result: With `info.picture`; without it, the answers are drawn on a plain ground.
        layout: Made for the result's prompts.

    Returns:
        (layout.height, layout.width, 3) uint8 RGB.
    """
    canvas = Picture.new("RGB", (layout.width, layout.height), BACKDROP)
    on_frame = [prediction for prediction in result.predictions if not has_tile(prediction.prompt)]
    in_tiles = [prediction for prediction in result.predictions if has_tile(prediction.prompt)]
    if not on_frame:  # nothing else to see on the frame: show the classes on it too
        on_frame = [p for p in in_tiles if p.prompt.task is Task.SEMANTIC][:1]
    regions = [
        _Regions(prediction, result.info.fit, layout.main)
        for prediction in on_frame
        if isinstance(prediction.value, Masks) and prediction.value.names
    ]
    main = _background(result.info, layout.main)
    for region in regions:
        region.tint(main, is_alone=len(regions) == 1)
    canvas.paste(main, (layout.main.left, layout.main.top))
    pen = ImageDraw.Draw(canvas)
    for region in regions:
        region.label(pen)
    for prediction, tile in zip(in_tiles, layout.tiles, strict=True):
        canvas.paste(_dense(prediction, result.info, tile), (tile.left, tile.top))
        caption(pen, prediction, tile)
    headline(pen, result, layout)
    return np.asarray(canvas)


def draw_answer(prediction: Prediction, info: FrameInfo, size_hw: tuple[int, int]) -> Pixels:
    """One answer alone, without a caption: regions over the frame's picture, or a dense map.

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
    if isinstance(prediction.value, Masks) and prediction.value.names:
        regions = _Regions(prediction, info.fit, tile)
        regions.tint(drawing, is_alone=True)
        regions.label(ImageDraw.Draw(drawing), is_brief=True)
    return np.asarray(drawing)


def enlarge(values: NDArray[S], size_hw: tuple[int, int]) -> NDArray[S]:
    """An array (h, w, ...) at another size, each pixel from the one its centre lies in."""
    enlarged: NDArray[S] = values.take(_sources(size_hw[1], values.shape[1]), axis=1)
    return enlarged.take(_sources(size_hw[0], values.shape[0]), axis=0)


def _sources(num_shown: int, num_given: int) -> NDArray[np.int64]:
    """For each of `num_shown` pixels in a row, which of `num_given` pixels its centre lies in."""
    return ((2 * np.arange(num_shown) + 1) * num_given) // (2 * num_shown)


class _Regions:
    """The masks of one prompt on the frame."""

    def __init__(self, prediction: Prediction, fit: Letterbox, tile: Tile) -> None:
        masks = prediction.value
        assert isinstance(masks, Masks)
        self._prompt = prediction.prompt
        self._masks = masks
        self._tile = tile
        self._model_labels = _on_picture(masks.labels, fit)
        # A byte for each pixel is enough to tell neighbours apart, and much faster to colour.
        few = np.where(self._model_labels > 0, (self._model_labels - 1) % 255 + 1, 0).astype(np.uint8)
        self._labels = enlarge(few, (tile.height, tile.width))
        self._colours = [self._colour(number) for number in range(len(masks.names))]

    def tint(self, frame: Picture.Image, *, is_alone: bool) -> None:
        """Colours and outlines the regions; around a referred one that is alone, dims the rest."""
        is_referred = self._prompt.task is Task.REFER
        if is_referred and is_alone and self._labels.any():
            outside = Picture.fromarray((self._labels == 0).astype(np.uint8) * 255)
            frame.paste(ImageEnhance.Brightness(frame).enhance(DIMMED), mask=outside)
        coloured = Picture.fromarray(self._labels, "P")
        coloured.putpalette([value for colour in (BACKDROP, *self._colours[:255]) for value in colour])
        strength = np.full(256, REFERRED_STRENGTH if is_referred else OBJECT_STRENGTH, np.uint8)
        strength[0] = 0
        alpha = strength.take(self._labels)
        alpha[_edges(self._labels)] = 255
        frame.paste(coloured.convert("RGB"), mask=Picture.fromarray(alpha))

    def label(self, pen: ImageDraw.ImageDraw, *, is_brief: bool = False) -> None:
        """Boxes, and names on them; in brief without the class or the expression, which a caption says."""
        from plantain.operators.answers.masks.regions import (
            boxes_of,
        )  # compiled loops, which a plan of the pipeline must not load

        if self._prompt.task is Task.SEMANTIC:
            return
        tile = self._tile
        boxes, areas = boxes_of(self._model_labels, len(self._colours))
        columns = _sources(tile.width, self._model_labels.shape[1])
        rows = _sources(tile.height, self._model_labels.shape[0])
        font = font_of(max(13, round(tile.height / 46)))
        line = max(1, round(tile.height / 480))
        for number in np.argsort(-areas, kind="stable"):  # small things last, on top
            if areas[number] == 0:
                continue
            x1, x2 = (int(edge) for edge in np.searchsorted(columns, boxes[number, [0, 2]]))
            y1, y2 = (int(edge) for edge in np.searchsorted(rows, boxes[number, [1, 3]]))
            corner = (tile.left + x1, tile.top + y1)
            pen.rectangle(
                (*corner, tile.left + x2 - 1, tile.top + y2 - 1), outline=self._colours[number], width=line
            )
            tag(pen, self._words(number, is_brief=is_brief), corner, self._colours[number], font, tile)

    def _colour(self, number: int) -> RGB:
        if self._prompt.task is Task.REFER:
            return REFERRED
        if self._prompt.task is Task.SEMANTIC:
            return class_colour(self._prompt, self._masks.names[number])
        return object_colour(self._masks, number)

    def _words(self, number: int, *, is_brief: bool) -> str:
        identity = self._masks.track_ids[number] if self._masks.track_ids else None
        distance = self._masks.distances_m[number] if self._masks.distances_m else None
        known = [
            "" if identity is None else f"#{identity}",
            "" if distance is None else f"{distance:.{0 if distance >= 10 else 1}f} m",
        ]
        words = " ".join(filter(None, known))
        name = self._masks.names[number]
        return words or name if is_brief else f"{name} {words}".strip()


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
    """A dense answer as a picture at the size of a tile."""
    size_hw = (tile.height, tile.width)
    match prediction.value:
        case DepthMap() as depth:
            colours = depth_colours(_on_picture(depth.depth_m, info.fit), prediction.prompt.curve)
            colours[~_on_picture(depth.valid, info.fit)] = BACKDROP
            return Picture.fromarray(enlarge(colours, size_hw))
        case NormalMap() as normals:
            colours = (_on_picture(normals.normals, info.fit) * 127.5 + 127.5).astype(np.uint8)
            colours[~_on_picture(normals.valid, info.fit)] = BACKDROP
            return Picture.fromarray(enlarge(colours, size_hw))
        case Masks() as masks:
            palette = [class_colour(prediction.prompt, name) for name in masks.names]
            colours = np.array([BACKDROP, *palette], np.uint8)[_on_picture(masks.labels, info.fit)]
            return Picture.blend(_background(info, tile), Picture.fromarray(enlarge(colours, size_hw)), 0.72)
        case Image() as image:
            return _smooth(np.ascontiguousarray(_on_picture(image.rgb, info.fit)), tile)
        case _:
            return Picture.new("RGB", (tile.width, tile.height), BACKDROP)


def _on_picture(values: NDArray[S], fit: Letterbox) -> NDArray[S]:
    """The part of a model-sized array that shows the picture; what is cropped already stays as it is."""
    if values.shape[:2] != fit.model_hw:
        return values
    return values[fit.top : fit.top + fit.height, fit.left : fit.left + fit.width]


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
