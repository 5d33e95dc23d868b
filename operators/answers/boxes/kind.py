"""Boxes as a kind of answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantain.operators import colours
from plantain.operators.answers import things
from plantain.operators.answers.base import NUM_OBJECTS, Boxes4, Kind, Row, Thing
from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.answers.sketch import Key, Mark, OnFrame
from plantain.operators.geometry import Letterbox
from plantain.operators.prompts import Prompt

# Share of a box, each way around its middle, whose depth stands for the thing: its rims show what is behind.
MIDDLE = 0.5


class Detections(Kind[Boxes]):
    """A box for each thing."""

    value = Boxes
    has_things = True
    takes_metres = True
    frame_columns = (NUM_OBJECTS,)

    def summary(self, value: Boxes) -> Row:
        """How many there are."""
        return {"num_objects": len(value.names)}

    def objects(self, value: Boxes, fit: Letterbox, size_hw: tuple[int, int]) -> list[Row]:
        """A row for each box, without a mask."""
        del fit, size_hw
        areas = (value.xyxy[:, 2:] - value.xyxy[:, :2]).prod(axis=1)
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

    def is_empty(self, value: Boxes) -> bool:
        """Whether nothing was found."""
        return not value.names

    def title(self, prompt: Prompt) -> str:
        """The classes."""
        return ", ".join(prompt.classes)

    def words(self, prompt: Prompt, value: Boxes) -> str:  # noqa: ARG002
        """How many there are."""
        return f"{len(value.names)} found"

    def tally(self, value: Boxes) -> str:
        """How many there are."""
        return f"({len(value.names)})"

    def has_tile(self, prompt: Prompt) -> bool:  # noqa: ARG002
        """Boxes are drawn on the frame."""
        return False

    def on_frame(self, prompt: Prompt, value: Boxes, fit: Letterbox) -> OnFrame | None:
        """The boxes, small ones last."""
        del prompt, fit
        marks = []
        for k in self._by_size(value):
            identity = value.track_ids[k] if value.track_ids else None
            x1, y1, x2, y2 = value.xyxy[k].tolist()
            words = things.words_of(k, value.track_ids, value.distances_m)
            marks.append(Mark((x1, y1, x2, y2), colours.of_object(k, identity), value.names[k], words))
        return OnFrame(marks=tuple(marks)) if marks else None

    def key(self, prompt: Prompt, value: Boxes | None, length: int) -> Key:  # noqa: ARG002
        """The largest things."""
        if value is None:
            return Key()
        return Key(things.chips_of(value.names, self._by_size(value), value.track_ids, value.distances_m))

    def places(self, value: Boxes, fit: Letterbox) -> Boxes4:
        """The boxes."""
        del fit
        return value.xyxy

    def things(self, value: Boxes) -> list[Thing]:
        """What is known of each."""
        return things.things_of(value.names, value.track_ids, value.distances_m)

    def with_tracks(self, value: Boxes, track_ids: tuple[int | None, ...]) -> Boxes:
        """The boxes with the identity of each."""
        return replace(value, track_ids=track_ids)

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

    @staticmethod
    def _by_size(value: Boxes) -> list[int]:
        """Numbers of the boxes, the largest first."""
        areas = (value.xyxy[:, 2:] - value.xyxy[:, :2]).prod(axis=1)
        order: list[int] = np.argsort(-areas, kind="stable").tolist()
        return order
