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
from plantain.operators.colours import RGB, to_hex
from plantain.operators.errors import PlantainError
from plantain.operators.prompts import Prompt, Task
from plantain.operators.render.drawing import draw_answer
from plantain.operators.render.shades import depth_scale, object_colour
from plantain.operators.sources import open_source, source_for
from plantain.operators.streams import StreamSpec, View
from plantain.operators.types import DepthMap, Failure, Masks, NormalMap, Position, Prediction, Result

Pixels = NDArray[np.uint8]

QUALITY = 80
# Files can be read again for their pictures; cameras and other machines are left alone.
_READABLE = ("file", "images", "synthetic")
_MAX_OBJECTS = 8
_SPHERE_PX = 64


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
    title = prompt.text or str(prompt.task)
    if prompt.task is Task.REFER:
        title = f"\u201c{prompt.classes[0]}\u201d"
    elif prompt.task is Task.INSTANCES:
        title = f"{prompt.classes[0]}, each apart"
    match value:
        case Failure():
            return title, f"{value.stage} failed: {value.error}"
        case DepthMap():
            known = value.depth_m[value.valid]
            if not known.size:
                return title, "nothing at a finite distance"
            return title, f"median {np.median(known):.1f} m, nearest {known.min():.1f} m"
        case NormalMap():
            return title, f"known for {value.valid.mean():.0%} of the picture"
        case Masks() if prompt.task is Task.REFER:
            return title, _found(value)
        case Masks() if prompt.codec == "instances":
            return title, f"{len(value.names)} found"
        case Masks():
            return title, f"{len(value.names)} of {len(prompt.classes)} classes in view"
        case _:
            return title, ""


def _found(masks: Masks) -> str:
    """A referred region in words."""
    if not masks.names:
        return "not in this frame"
    share = f"{(masks.labels > 0).mean():.1%} of the picture"
    distance = masks.distances_m[0] if masks.distances_m else None
    return share if distance is None else f"{distance:.1f} m away, {share}"


def _key(prediction: Prediction) -> str:
    """How to read a drawing: classes, objects, metres or directions."""
    match prediction.value:
        case Masks() as masks if prediction.prompt.task is Task.SEMANTIC:
            return _class_key(prediction.prompt, masks)
        case Masks() as masks if prediction.prompt.codec == "instances":
            return _object_key(masks)
        case DepthMap():
            return _depth_key(prediction.prompt)
        case NormalMap():
            return _normals_key()
        case _:
            return ""


def _class_key(prompt: Prompt, masks: Masks) -> str:
    palette = dict(zip(prompt.classes, prompt.palette, strict=True))
    shares = np.bincount(masks.labels.ravel(), minlength=len(masks.names) + 1)[1:] / masks.labels.size
    order = np.argsort(-shares, kind="stable")
    return _chips([(masks.names[k], palette[masks.names[k]], _percent(float(shares[k]))) for k in order])


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "<1%"


def _object_key(masks: Masks) -> str:
    areas = np.bincount(masks.labels.ravel(), minlength=len(masks.names) + 1)[1:]
    chips: list[tuple[str, RGB | None, str]] = []
    for k in np.argsort(-areas, kind="stable")[:_MAX_OBJECTS]:
        identity = masks.track_ids[k] if masks.track_ids else None
        distance = masks.distances_m[k] if masks.distances_m else None
        name = masks.names[k] if identity is None else f"#{identity}"
        chips.append((name, object_colour(masks, int(k)), "" if distance is None else f"{distance:.1f} m"))
    if len(masks.names) > _MAX_OBJECTS:
        chips.append((f"and {len(masks.names) - _MAX_OBJECTS} more", None, ""))
    return _chips(chips)


def _depth_key(prompt: Prompt) -> str:
    """A bar from the camera to infinity, with metres where they stand on the prompt's own scale."""
    colours, ticks = depth_scale(prompt.curve, 24)
    gradient = ",".join(to_hex((int(r), int(g), int(b))) for r, g, b in colours)
    shown = {metres: place for metres, place in ticks.items() if 0.05 < place < 0.97}
    labels, last = "", -1.0
    for metres, place in shown.items():
        if place - last >= 0.12:
            labels += f'<span style="left:{place:.1%}">{number_of(metres)}&nbsp;m</span>'
            last = place
    return (
        f'<div class="scale"><i style="background:linear-gradient(90deg,{gradient})"></i>'
        f'<div aria-hidden="true">{labels}</div></div>'
    )


def _normals_key() -> str:
    """A ball drawn as the map would draw it, seen from the camera."""
    side = np.linspace(-1.05, 1.05, _SPHERE_PX, dtype=np.float32)
    x, y = np.meshgrid(side, -side)
    rest = 1 - x**2 - y**2
    ball = np.stack([x, y, np.sqrt(np.maximum(rest, 0))], axis=-1)
    shade = np.zeros((_SPHERE_PX, _SPHERE_PX, 4), np.uint8)
    shade[..., :3] = (ball * 127.5 + 127.5).clip(0, 255)
    shade[..., 3] = (np.clip(rest * _SPHERE_PX / 4, 0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Picture.fromarray(shade).save(buffer, "PNG", optimize=True)
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return (
        f'<div class="ball"><img src="{source}" width="48" height="48" alt="A ball drawn as the map would">'
        "<span>A ball in these colours: pink faces right, green faces up, blue faces the camera.</span></div>"
    )


def _chips(chips: Collection[tuple[str, RGB | None, str]]) -> str:
    items = []
    for name, colour, said in chips:
        swatch = "" if colour is None else f'<i class="swatch" style="background:{to_hex(colour)}"></i>'
        items.append(f"<li>{swatch}{escape(name)}{f' <b>{escape(said)}</b>' if said else ''}</li>")
    return f'<ul class="legend">{"".join(items)}</ul>'


def _jpeg(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Picture.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
