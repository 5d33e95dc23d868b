"""Results as pictures: masks over the frame, and a tile for each dense map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageEnhance, ImageFont

from operators.codecs.colormaps import colormap
from operators.colours import RGB
from operators.geometry import Letterbox, boxes_of
from operators.prompts import DepthCurve, Prompt, Task
from operators.types import DepthMap, Failure, FrameInfo, Image, Masks, NormalMap, Prediction, Result

# A smaller picture is enlarged, so that labels are legible on it.
MIN_LONG_SIDE = 960
MAX_ROWS = 3

BACKDROP: RGB = (18, 20, 26)
INK: RGB = (236, 239, 244)
FAINT: RGB = (150, 158, 172)
# Objects: bright on asphalt and foliage, well apart, stable for a track as its id picks the colour.
OBJECT_COLOURS: tuple[RGB, ...] = (
    (255, 99, 72),
    (46, 196, 255),
    (255, 200, 40),
    (140, 233, 90),
    (214, 120, 255),
    (255, 140, 190),
    (60, 230, 190),
    (255, 160, 60),
    (120, 150, 255),
    (220, 230, 80),
)
REFERRED: RGB = (255, 214, 10)
DEPTH_TICKS_M = (1, 2, 5, 10, 20, 50, 100)

# Share of 255 that a region's colour has over the frame, and the brightness of what a referred region is not.
OBJECT_STRENGTH = 100
REFERRED_STRENGTH = 80
DIMMED = 0.55

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
S = TypeVar("S", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Tile:
    """Where one picture stands in the drawn frame, pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything stands; the same for all frames of a stream.

    The frame with its objects is on the left under a line of text, dense answers are tiles at its right.

    Attributes:
        width, height: Of the drawn frame, even numbers of pixels.
        main: The frame.
        tiles: One for each prompt with a dense answer, in the order of the prompts.
        header: Height of the line of text.
    """

    width: int
    height: int
    main: Tile
    tiles: tuple[Tile, ...]
    header: int

    @classmethod
    def of(cls, picture_hw: tuple[int, int], num_tiles: int) -> Layout:
        """The layout for pictures of a size and a number of tiles."""
        scale = max(1.0, MIN_LONG_SIDE / max(picture_hw))
        height, width = (round(side * scale) for side in picture_hw)
        header = max(28, round(height / 22))
        gap = 4
        tiles = []
        right = width
        if num_tiles:
            columns = -(-num_tiles // MAX_ROWS)
            rows = -(-num_tiles // columns)
            tile_h = (height - gap * (rows - 1)) // rows
            tile_w = round(tile_h * width / height)
            for number in range(num_tiles):
                column, row = divmod(number, rows)
                left = width + gap + column * (tile_w + gap)
                tiles.append(Tile(left, header + row * (tile_h + gap), tile_w, tile_h))
                right = left + tile_w
        return cls(
            right + right % 2,
            header + height + (header + height) % 2,
            Tile(0, header, width, height),
            tuple(tiles),
            header,
        )


def has_tile(prompt: Prompt) -> bool:
    """Whether the answer to a prompt gets a tile of its own; the others are drawn on the frame."""
    return not (prompt.task in (Task.INSTANCES, Task.REFER) or prompt.codec == "instances")


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
        _caption(pen, prediction, tile)
    _headline(pen, result, layout)
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
        if self._prompt.task is Task.SEMANTIC:
            return
        tile = self._tile
        boxes, areas = boxes_of(self._model_labels, len(self._colours))
        columns = _sources(tile.width, self._model_labels.shape[1])
        rows = _sources(tile.height, self._model_labels.shape[0])
        font = _font(max(13, round(tile.height / 46)))
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
            _tag(pen, self._words(number, is_brief=is_brief), corner, self._colours[number], font, tile)

    def _colour(self, number: int) -> RGB:
        if self._prompt.task is Task.REFER:
            return REFERRED
        if self._prompt.task is Task.SEMANTIC:
            return _class_colour(self._prompt, self._masks.names[number])
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
            colours = _depth_colours(_on_picture(depth.depth_m, info.fit), prediction.prompt.curve)
            colours[~_on_picture(depth.valid, info.fit)] = BACKDROP
            return Picture.fromarray(enlarge(colours, size_hw))
        case NormalMap() as normals:
            colours = (_on_picture(normals.normals, info.fit) * 127.5 + 127.5).astype(np.uint8)
            colours[~_on_picture(normals.valid, info.fit)] = BACKDROP
            return Picture.fromarray(enlarge(colours, size_hw))
        case Masks() as masks:
            palette = [_class_colour(prediction.prompt, name) for name in masks.names]
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


def object_colour(masks: Masks, number: int) -> RGB:
    """The colour in which object `number` of an instance prompt is drawn; a track keeps its own."""
    identity = masks.track_ids[number] if masks.track_ids else None
    return OBJECT_COLOURS[(number if identity is None else identity) % len(OBJECT_COLOURS)]


def depth_scale(curve: DepthCurve, length: int) -> tuple[Pixels, dict[int, float]]:
    """The colours of depth from the camera to infinity, and where in [0, 1) round distances stand.

    Args:
        curve: The prompt's.
        length: How many colours.

    Returns:
        (length, 3) uint8 RGB, and the place of each of `DEPTH_TICKS_M`.
    """
    colours = colormap("inferno")[_shade(np.linspace(0, 1, length, dtype=np.float32))]
    places = _place_on_scale(np.array(DEPTH_TICKS_M, np.float32), curve)
    return colours, dict(zip(DEPTH_TICKS_M, places.tolist(), strict=True))


def _class_colour(prompt: Prompt, name: str) -> RGB:
    """The colour that the prompt gives a class."""
    return (
        prompt.palette[prompt.classes.index(name)] if name in prompt.classes and prompt.palette else REFERRED
    )


def _place_on_scale(depth_m: Floats, curve: DepthCurve) -> Floats:
    """0 at the camera, 1 at infinity, by the prompt's own curve: the scale is the same in every frame."""
    return (1 - (1 - depth_m / (curve.lam * curve.c)) ** (curve.lam + 1)).astype(np.float32)


def _depth_colours(depth_m: Floats, curve: DepthCurve) -> Pixels:
    """Near is bright, far is dark."""
    place = _place_on_scale(depth_m, curve)
    return colormap("inferno")[_shade(place)]


def _shade(place: Floats) -> NDArray[np.uint8]:
    """Which colour of the map stands for a place on the scale; its darkest are left to the backdrop."""
    return (250 - place * 225).astype(np.uint8)


def _caption(pen: ImageDraw.ImageDraw, prediction: Prediction, tile: Tile) -> None:
    """What a tile shows, on it: its name, a scale or a legend, or why it is empty."""
    font = _font(max(12, round(tile.height / 22)))
    prompt = prediction.prompt
    title = prompt.text or str(prompt.task)
    _tag(pen, title, (tile.left, tile.top), BACKDROP, font, tile, ink=INK)
    if isinstance(prediction.value, Failure):
        _write_lines(pen, f"{prediction.value.stage} failed: {prediction.value.error}", tile, font)
    elif isinstance(prediction.value, DepthMap):
        _scale(pen, prompt.curve, tile)
    elif isinstance(prediction.value, Masks):
        _legend(pen, prompt, tile)


def _scale(pen: ImageDraw.ImageDraw, curve: DepthCurve, tile: Tile) -> None:
    """A bar of depth colours with metres, at the right edge of a tile."""
    font = _font(max(11, round(tile.height / 26)))
    size = _height(font)
    bar_w, pad = max(8, tile.width // 40), max(4, size // 2)
    text_w = round(font.getlength("100 m"))
    right, top = tile.left + tile.width - pad, tile.top + 2 * size + pad
    length = tile.height - 2 * size - 3 * pad
    left = right - bar_w
    pen.rectangle((left - text_w - 2 * pad, top - pad, right + pad, top + length + pad), fill=BACKDROP)
    colours, ticks = depth_scale(curve, length)
    for row, colour in enumerate(colours):
        pen.line((left, top + row, right, top + row), fill=tuple(int(value) for value in colour))
    last = -size * 2.0
    for metres, share in ticks.items():
        place = share * (length - 1)
        if place - last < size * 1.2:
            continue
        last = place
        pen.line((left - 3, top + place, left, top + place), fill=INK)
        pen.text((left - pad, top + place), f"{metres} m", font=font, fill=INK, anchor="rm")


def _legend(pen: ImageDraw.ImageDraw, prompt: Prompt, tile: Tile) -> None:
    """Classes and their colours along the bottom of a tile, in as many lines as they need."""
    font = _font(max(11, round(tile.height / 26)))
    size = _height(font)
    pad = max(4, size // 2)
    lines: list[list[tuple[str, RGB, float]]] = [[]]
    used = 0.0
    for name, colour in zip(prompt.classes, prompt.palette, strict=False):
        width = size + pad + font.getlength(name) + 2 * pad
        if used + width > tile.width - pad and lines[-1]:
            lines.append([])
            used = 0.0
        lines[-1].append((name, colour, used))
        used += width
    line_h = round(size * 1.5)
    top = tile.top + tile.height - line_h * len(lines)
    pen.rectangle((tile.left, top, tile.left + tile.width - 1, tile.top + tile.height - 1), fill=BACKDROP)
    for number, line in enumerate(lines):
        middle = top + number * line_h + line_h / 2
        for name, colour, offset in line:
            left = tile.left + pad + offset
            pen.rectangle((left, middle - size / 2, left + size, middle + size / 2), fill=colour)
            pen.text((left + size + pad, middle), name, font=font, fill=INK, anchor="lm")


def _headline(pen: ImageDraw.ImageDraw, result: Result, layout: Layout) -> None:
    """Stream, time and what was asked, above everything."""
    font = _font(round(layout.header * 0.55))
    middle, pad = layout.header / 2, layout.header * 0.4
    header, time_s = result.header, result.info.time_s
    when = f"frame {header.frame_index}" + ("" if time_s is None else f"   {_clock(time_s)}")
    pen.text((pad, middle), header.stream_id, font=font, fill=INK, anchor="lm")
    left = pad + font.getlength(header.stream_id) + 2 * pad
    pen.text((left, middle), when, font=font, fill=FAINT, anchor="lm")
    left += font.getlength(when) + 3 * pad
    for prediction in result.predictions:
        if has_tile(prediction.prompt):
            continue
        words = ", ".join(prediction.prompt.classes) or prediction.prompt.text
        if isinstance(prediction.value, Failure):
            words += f" ({prediction.value.stage} failed)"
        elif isinstance(prediction.value, Masks):
            words += f" ({len(prediction.value.names)})" if prediction.prompt.task is Task.INSTANCES else ""
        if left + font.getlength(words) > layout.width - pad:
            break
        pen.text((left, middle), words, font=font, fill=REFERRED, anchor="lm")
        left += font.getlength(words) + 2 * pad


def _clock(time_s: float) -> str:
    minutes, seconds = divmod(time_s, 60)
    return f"{int(minutes):02d}:{seconds:05.2f}"


def _write_lines(pen: ImageDraw.ImageDraw, text: str, tile: Tile, font: ImageFont.FreeTypeFont) -> None:
    """Text in the middle of a tile, broken into lines."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > tile.width * 0.9 and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    middle = (tile.left + tile.width / 2, tile.top + tile.height / 2)
    pen.multiline_text(middle, "\n".join(lines), font=font, fill=FAINT, anchor="mm", align="center")


def _tag(
    pen: ImageDraw.ImageDraw,
    words: str,
    corner: tuple[int, int],
    ground: RGB,
    font: ImageFont.FreeTypeFont,
    within: Tile,
    ink: RGB | None = None,
) -> None:
    """Words on a plate whose lower left is at a corner of a box, or inside the box where there is no room."""
    pad = max(3, _height(font) // 4)
    width = round(font.getlength(words)) + 2 * pad
    height = _height(font) + 2 * pad
    left = min(max(corner[0], within.left), max(within.left, within.left + within.width - width))
    top = corner[1] - height if corner[1] - height >= within.top else corner[1]
    pen.rectangle((left, top, left + width - 1, top + height - 1), fill=ground)
    red, green, blue = ground
    is_light = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    pen.text(
        (left + pad, top + height / 2),
        words,
        font=font,
        fill=ink or ((0, 0, 0) if is_light else INK),
        anchor="lm",
    )


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _height(font: ImageFont.FreeTypeFont) -> int:
    """Pixels from the top of a capital to below a `g`."""
    return round(font.size)


def layout_for(result: Result) -> Layout:
    """The layout of a stream whose frames are asked what `result` was asked."""
    info = result.info
    picture_hw = info.fit.source_hw if info.picture is None else info.picture.shape[:2]
    prompts: Sequence[Prompt] = [prediction.prompt for prediction in result.predictions]
    return Layout.of((picture_hw[0], picture_hw[1]), sum(has_tile(prompt) for prompt in prompts))
