"""Words in a drawn frame: headline, captions, scales, legends and tags."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from PIL import ImageDraw, ImageFont

from plantain.operators.answers import kind_of
from plantain.operators.answers.sketch import Chip, Scale
from plantain.operators.colours import BACKDROP, HIGHLIGHT, RGB
from plantain.operators.render.layout import Layout, Tile, has_tile
from plantain.operators.types import Failure, Prediction, Result

INK: RGB = (236, 239, 244)
FAINT: RGB = (150, 158, 172)
# A scale has room for so many lines of text, or is left out: a picture may be a hundred times as wide as it is high.
LEAST_LINES = 3


def caption(pen: ImageDraw.ImageDraw, prediction: Prediction, tile: Tile) -> None:
    """What a tile shows, on it: its name, a scale or a legend, or why it is empty."""
    font = font_of(max(12, round(tile.height / 22)))
    prompt = prediction.prompt
    title = prompt.text or str(prompt.task)
    tag(pen, title, (tile.left, tile.top), BACKDROP, font, tile, ink=INK)
    if isinstance(prediction.value, Failure):
        write_lines(pen, f"{prediction.value.stage} failed: {prediction.value.error}", tile, font)
        return
    size = height_of(font_of(max(11, round(tile.height / 26))))
    length = tile.height - 2 * size - 3 * max(4, size // 2)
    key = kind_of(prompt).key(prompt, None, max(0, length))
    if key.scale is not None and length >= LEAST_LINES * size:
        _scale(pen, key.scale, tile)
    if key.chips:
        _legend(pen, key.chips, tile)


def _scale(pen: ImageDraw.ImageDraw, scale: Scale, tile: Tile) -> None:
    """A bar of depth colours with metres, at the right edge of a tile."""
    font = font_of(max(11, round(tile.height / 26)))
    size = height_of(font)
    bar_w, pad = max(8, tile.width // 40), max(4, size // 2)
    text_w = round(font.getlength("100 m"))
    right, top = tile.left + tile.width - pad, tile.top + 2 * size + pad
    length = len(scale.colours)
    left = right - bar_w
    pen.rectangle((left - text_w - 2 * pad, top - pad, right + pad, top + length + pad), fill=BACKDROP)
    for row, colour in enumerate(scale.colours):
        pen.line((left, top + row, right, top + row), fill=tuple(int(value) for value in colour))
    last = -size * 2.0
    for metres, share in scale.ticks.items():
        place = share * (length - 1)
        if place - last < size * 1.2:
            continue
        last = place
        pen.line((left - 3, top + place, left, top + place), fill=INK)
        pen.text((left - pad, top + place), f"{metres} m", font=font, fill=INK, anchor="rm")


def _legend(pen: ImageDraw.ImageDraw, chips: Sequence[Chip], tile: Tile) -> None:
    """Names and their colours along the bottom of a tile, in as many lines as they need."""
    font = font_of(max(11, round(tile.height / 26)))
    size = height_of(font)
    pad = max(4, size // 2)
    lines: list[list[tuple[Chip, float]]] = [[]]
    used = 0.0
    for chip in chips:
        width = size + pad + font.getlength(chip.name) + 2 * pad
        if used + width > tile.width - pad and lines[-1]:
            lines.append([])
            used = 0.0
        lines[-1].append((chip, used))
        used += width
    line_h = round(size * 1.5)
    top = tile.top + tile.height - line_h * len(lines)
    pen.rectangle((tile.left, top, tile.left + tile.width - 1, tile.top + tile.height - 1), fill=BACKDROP)
    for number, line in enumerate(lines):
        middle = top + number * line_h + line_h / 2
        for chip, offset in line:
            left = tile.left + pad + offset
            pen.rectangle((left, middle - size / 2, left + size, middle + size / 2), fill=chip.colour)
            pen.text((left + size + pad, middle), chip.name, font=font, fill=INK, anchor="lm")


def headline(pen: ImageDraw.ImageDraw, result: Result, layout: Layout) -> None:
    """Stream, time and what was asked, above everything."""
    font = font_of(round(layout.header * 0.55))
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
        else:
            words = f"{words} {kind_of(prediction.prompt).tally(prediction.value)}".rstrip()
        if left + font.getlength(words) > layout.width - pad:
            break
        pen.text((left, middle), words, font=font, fill=HIGHLIGHT, anchor="lm")
        left += font.getlength(words) + 2 * pad


def _clock(time_s: float) -> str:
    minutes, seconds = divmod(time_s, 60)
    return f"{int(minutes):02d}:{seconds:05.2f}"


def write_lines(pen: ImageDraw.ImageDraw, text: str, tile: Tile, font: ImageFont.FreeTypeFont) -> None:
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


def tag(
    pen: ImageDraw.ImageDraw,
    words: str,
    corner: tuple[int, int],
    ground: RGB,
    font: ImageFont.FreeTypeFont,
    within: Tile,
    ink: RGB | None = None,
) -> None:
    """Words on a plate whose lower left is at a corner of a box, or inside the box where there is no room."""
    pad = max(3, height_of(font) // 4)
    width = round(font.getlength(words)) + 2 * pad
    height = height_of(font) + 2 * pad
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
def font_of(size: int) -> ImageFont.FreeTypeFont:
    """The font at a size in pixels."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def height_of(font: ImageFont.FreeTypeFont) -> int:
    """Pixels from the top of a capital to below a `g`."""
    return round(font.size)
