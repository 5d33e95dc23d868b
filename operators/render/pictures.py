"""Annotated JPEGs of single frames, for whoever is looking at a stream just now."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence

from PIL import Image as PillowImage

from plantain.operators.render.drawing import draw, draw_answer
from plantain.operators.render.layout import layout_for
from plantain.operators.render.looks import Look, Picture
from plantain.operators.types import Result

QUALITY = 75


class Artist:
    """Draws the newest results of streams that are watched, no more often than anybody looks."""

    def __init__(self) -> None:
        self._looks: dict[str, dict[Look, float]] = {}

    def watch(self, stream_id: str, looks: Sequence[Look]) -> None:
        """From now on, draws this of a stream; nothing if `looks` is empty."""
        if not looks:
            self._looks.pop(stream_id, None)
            return
        known = self._looks.get(stream_id, {})
        self._looks[stream_id] = {look: known.get(look, float("-inf")) for look in looks}

    def draw(self, results: Sequence[Result]) -> list[Picture]:
        """Pictures of the newest of `results`, which are one stream's, where they are due; the others are let go."""
        looks = self._looks.get(results[-1].header.stream_id) if results else None
        if not looks:
            return []
        now = time.monotonic()
        pictures = []
        for look, last in looks.items():
            if now - last < 1 / look.fps:
                continue
            result = next((each for each in reversed(results) if _shows(each, look)), None)
            if result is not None:
                looks[look] = now
                pictures.append(picture_of(result, look))
        return pictures


def picture_of(result: Result, look: Look) -> Picture:
    """A result as a JPEG."""
    info = result.info
    if look.prompt:
        prediction = next(each for each in result.predictions if str(each.prompt) == look.prompt)
        height, width = info.fit.source_hw
        scale = look.long_side / max(height, width)
        size_hw = (max(2, round(height * scale)), max(2, round(width * scale)))
        image = PillowImage.fromarray(draw_answer(prediction, info, size_hw))
    else:
        image = PillowImage.fromarray(draw(result, layout_for(result)))
        image.thumbnail((look.long_side, look.long_side))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    latency_ms = None
    if info.captured_ns is not None and info.captured_by != "file":
        latency_ms = (time.time_ns() - info.captured_ns) / 1e6
    return Picture(look, info.time_s, latency_ms, jpeg=file.getvalue())


def _shows(result: Result, look: Look) -> bool:
    return any(not look.prompt or str(each.prompt) == look.prompt for each in result.predictions)
