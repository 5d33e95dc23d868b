"""Boxes as a kind of answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantain.operators import colours
from plantain.operators.answers import things
from plantain.operators.answers.base import NUM_OBJECTS, Boxes4, Row
from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.answers.sketch import Mark, OnFrame
from plantain.operators.geometry import Letterbox
from plantain.operators.prompts import Prompt

# Share of a box, each way around its middle, whose depth stands for the thing: its rims show what is behind.
MIDDLE = 0.5


class Detections(things.Things[Boxes]):
    """A box for each thing."""

    value = Boxes
    takes_metres = True
    frame_columns = (NUM_OBJECTS,)

    def summary(self, value: Boxes) -> Row:
        """How many there are."""
        return {"num_objects": len(value.names)}

    def objects(self, value: Boxes, fit: Letterbox, size_hw: tuple[int, int]) -> list[Row]:
        """A row for each box, without a mask."""
        del fit, size_hw
        areas = self.sizes(value)
        return [
            {
                "label": value.names[k],
                "score": float(value.scores[k]),
                "track_id": value.track_ids[k] if value.track_ids else None,
                **dict(zip(("x1", "y1", "x2", "y2"), value.xyxy[k].tolist(), strict=True)),
                "area_px": float(areas[k]),
                "distance_m": value.distances_m[k] if value.distances_m else None,
            }
            for k in range(len(value.names))
        ]

    def read(self, row: Row, objects: Sequence[Row], raster: NDArray[Any] | None) -> Boxes:
        """From the rows of its things."""
        del row, raster
        edges = [[each[name] for name in ("x1", "y1", "x2", "y2")] for each in objects]
        return Boxes(
            np.array(edges, np.float32).reshape(-1, 4),
            tuple(each["label"] for each in objects),
            np.array([each["score"] for each in objects], np.float32),
            tuple(each["track_id"] for each in objects),
            tuple(each["distance_m"] for each in objects),
        )

    def sizes(self, value: Boxes) -> NDArray[np.float32]:
        """Areas in source pixels."""
        areas: NDArray[np.float32] = (value.xyxy[:, 2:] - value.xyxy[:, :2]).prod(axis=1)
        return areas

    def is_empty(self, value: Boxes) -> bool:
        """Whether nothing was found."""
        return not value.names

    def title(self, prompt: Prompt) -> str:
        """The classes."""
        return ", ".join(prompt.classes)

    def on_frame(self, prompt: Prompt, value: Boxes, fit: Letterbox) -> OnFrame | None:
        """The boxes, small ones last."""
        del prompt, fit
        marks = []
        for k in self.by_size(value):
            identity = value.track_ids[k] if value.track_ids else None
            x1, y1, x2, y2 = value.xyxy[k].tolist()
            words = things.words_of(value, k)
            marks.append(Mark((x1, y1, x2, y2), colours.of_object(k, identity), value.names[k], words))
        return OnFrame(marks=tuple(marks)) if marks else None

    def places(self, value: Boxes, fit: Letterbox) -> Boxes4:
        """The boxes."""
        del fit
        return value.xyxy

    def at_least(self, value: Boxes, score: float) -> Boxes:
        """The boxes that are so sure."""
        kept = np.flatnonzero(value.scores >= score)
        told = things.some(value, kept)
        return replace(value, xyxy=value.xyxy[kept], scores=value.scores[kept], **told)

    def with_distances(
        self, value: Boxes, depth_m: NDArray[np.float32], valid: NDArray[np.bool_], fit: Letterbox
    ) -> Boxes:
        """The median in the middle of each box."""
        if not value.names:
            return value
        height, width = fit.source_hw
        scale = np.array([depth_m.shape[1] / width, depth_m.shape[0] / height])
        centres = (value.xyxy[:, :2] + value.xyxy[:, 2:]) / 2 * scale
        halves = (value.xyxy[:, 2:] - value.xyxy[:, :2]) / 2 * scale * MIDDLE
        first = np.floor(centres - halves).clip(0).astype(int)
        last = np.maximum(first + 1, np.ceil(centres + halves).astype(int))
        distances = []
        for (x1, y1), (x2, y2) in zip(first.tolist(), last.tolist(), strict=True):
            known = depth_m[y1:y2, x1:x2][valid[y1:y2, x1:x2]]
            distances.append(float(np.median(known)) if known.size else None)
        return replace(value, distances_m=tuple(distances))
