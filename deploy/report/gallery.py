"""Example frames of a report: the picture, every answer drawn, and what it says in words."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Collection, Sequence
from dataclasses import replace
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from plantain.deploy.report.charts import number_of
from plantain.operators.answers import kind_of
from plantain.operators.answers.sketch import Chip, Scale
from plantain.operators.colours import to_hex
from plantain.operators.errors import PlantainError
from plantain.operators.render.drawing import draw_answer
from plantain.operators.segments import Position
from plantain.operators.sources import open_source, source_for
from plantain.operators.streams import StreamSpec, View
from plantain.operators.types import Failure, Prediction, Result

Pixels = NDArray[np.uint8]

QUALITY = 80
# Files can be read again for their pictures; cameras and other machines are left alone.
_READABLE = ("file", "images", "synthetic")


def choose(frames: NDArray[np.int64], objects_in: NDArray[np.float64], count: int) -> list[int]:
    """Frame indexes to show: the fullest frame of each of `count` equal parts of the stream.

    Args:
        frames: (N,) frame indexes, sorted.
        objects_in: (N,) how many objects were found in each.
        count: How many.
    """
    chosen = []
    for part in np.array_split(np.arange(len(frames)), min(count, len(frames))):
        middle = part[len(part) // 2]
        fullest = part[np.argmax(objects_in[part])]
        is_fuller = objects_in[fullest] > objects_in[middle]
        chosen.append(int(frames[fullest if is_fuller else middle]))
    return chosen


def with_pictures(results: Sequence[Result], url: str, long_side: int) -> list[Result]:
    """The results with their frames' pictures, where the source can be read again; the others as they are."""
    return [_with_picture(result, url, long_side) for result in results]


def moment(result: Result, anchor: str, width: int, *, is_first: bool) -> str:
    """A frame and all its answers: a grid of figures for the first, a strip to scroll for the others.

    Args:
        result: With `info.picture` where it is known.
        anchor: Unique in the page; figures grow to the whole window at `#anchor-N`.
        width: Of the pictures, pixels.
        is_first: Whether there is room for words.
    """
    height = round(width * result.info.fit.source_hw[0] / result.info.fit.source_hw[1])
    figures = []
    if result.info.picture is not None:
        picture = Picture.fromarray(result.info.picture).resize((width, height), Picture.Resampling.BILINEAR)
        figures.append(
            _figure(np.asarray(picture), f"{anchor}-0", anchor, "input", "what the camera saw", "")
        )
    for number, prediction in enumerate(result.predictions, start=1):
        drawn = draw_answer(prediction, result.info, (height, width))
        title, said = _words(prediction)
        key = _key(prediction) if is_first else ""
        figures.append(_figure(drawn, f"{anchor}-{number}", anchor, title, said, key))
    time_s = result.info.time_s
    when = f"frame {result.header.frame_index}" + ("" if time_s is None else f", {time_s:.2f} s")
    layout = 'class="grid"' if is_first else f'class="strip" tabindex="0" role="group" aria-label="{when}"'
    shown = f"<div {layout}>{''.join(figures)}</div>"
    return f'<section class="moment" id="{anchor}"><h4>{when}</h4>{shown}</section>'


def _with_picture(result: Result, url: str, long_side: int) -> Result:
    header = result.header
    spec = StreamSpec(header.stream_id, url)
    view = View((16, 16), picture_long_side=long_side)
    with contextlib.suppress(PlantainError, OSError):
        if not url or source_for(spec) not in _READABLE or url.startswith(("http://", "https://")):
            return result
        source = open_source(spec, view, Position(header.frame_index, result.info.pts))
        try:
            frames = source.read(1)
        finally:
            source.close()
        # Another file may have taken its place, or options that are not known here chose the stream in it.
        is_same = [(frame.header.frame_index, frame.info.pts) for frame in frames] == [
            (header.frame_index, result.info.pts)
        ]
        if is_same and frames[0].info.fit.source_hw == result.info.fit.source_hw:
            return replace(result, info=replace(result.info, picture=frames[0].info.picture))
    return result


def _figure(pixels: Pixels, name: str, back: str, title: str, said: str, key: str) -> str:
    """A picture with its caption; its link shows it as large as the window."""
    return (
        f'<figure id="{name}"><a class="grow" href="#{name}" aria-label="{escape(title)}, larger">'
        f"{picture(pixels, f'{title}: {said}')}</a>"
        f'<a class="shrink" href="#{back}" aria-label="close">close</a>'
        f"<figcaption><b>{escape(title)}</b> <span>{escape(said)}</span>{key}</figcaption></figure>"
    )


def picture(pixels: Pixels, alt: str) -> str:
    """An image element that holds its picture."""
    height, width = pixels.shape[:2]
    return f'<img src="{_jpeg(pixels)}" width="{width}" height="{height}" alt="{escape(alt)}">'


def _words(prediction: Prediction) -> tuple[str, str]:
    """What was asked, and the answer in a few words."""
    prompt, value = prediction.prompt, prediction.value
    kind = kind_of(prompt)
    if isinstance(value, Failure):
        return kind.title(prompt), f"{value.stage} failed: {value.error}"
    return kind.title(prompt), kind.words(prompt, value)


def _key(prediction: Prediction) -> str:
    """How to read a drawing: classes, things, metres or a sample."""
    if isinstance(prediction.value, Failure):
        return ""
    key = kind_of(prediction.prompt).key(prediction.prompt, prediction.value, 24)
    parts = []
    if key.chips:
        parts.append(_chips(key.chips))
    if key.scale is not None:
        parts.append(_scale(key.scale))
    if key.sample is not None:
        parts.append(_sample(key.sample, key.said))
    return "".join(parts)


def _scale(scale: Scale) -> str:
    """A bar from the camera to infinity, with metres where they stand on the prompt's own scale."""
    gradient = ",".join(to_hex((int(r), int(g), int(b))) for r, g, b in scale.colours)
    shown = {metres: place for metres, place in scale.ticks.items() if 0.05 < place < 0.97}
    labels, last = "", -1.0
    for metres, place in shown.items():
        if place - last >= 0.12:
            labels += f'<span style="left:{place:.1%}">{number_of(metres)}&nbsp;m</span>'
            last = place
    return (
        f'<div class="scale"><i style="background:linear-gradient(90deg,{gradient})"></i>'
        f'<div aria-hidden="true">{labels}</div></div>'
    )


def _sample(pixels: Pixels, said: str) -> str:
    """Something well known, drawn as the answer draws it."""
    buffer = io.BytesIO()
    Picture.fromarray(pixels).save(buffer, "PNG", optimize=True)
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return (
        f'<div class="ball"><img src="{source}" width="48" height="48" alt="A ball drawn as the map would">'
        f"<span>{escape(said)}</span></div>"
    )


def _chips(chips: Collection[Chip]) -> str:
    items = []
    for chip in chips:
        swatch = (
            "" if chip.colour is None else f'<i class="swatch" style="background:{to_hex(chip.colour)}"></i>'
        )
        said = f" <b>{escape(chip.said)}</b>" if chip.said else ""
        items.append(f"<li>{swatch}{escape(chip.name)}{said}</li>")
    return f'<ul class="legend">{"".join(items)}</ul>'


def _jpeg(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Picture.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
