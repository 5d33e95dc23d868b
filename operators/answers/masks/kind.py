"""Masks as a kind of answer: classes and referred regions, and instances."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from plantain.operators import colours
from plantain.operators.answers import things
from plantain.operators.answers.base import (
    NUM_OBJECTS,
    OFF_PALETTE,
    Boxes4,
    Column,
    Kind,
    Picture,
    Raster,
    Row,
)
from plantain.operators.answers.codec import Codec
from plantain.operators.answers.grids import enlarge
from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.sketch import Chip, InTile, Key, Mark, OnFrame, Regions
from plantain.operators.colours import RGB
from plantain.operators.geometry import Letterbox
from plantain.operators.prompts import Prompt, Task

# Share of 255 that a region's colour has over the frame, and how much of the frame a tile of classes hides.
OBJECT_STRENGTH = 100
REFERRED_STRENGTH = 80
COVER = 0.72

# Compiled loops (regions, rle, rasters, the codecs) are imported where they are used: a plan of the pipeline, which
# asks kinds for tiles, must not load them.


class ClassMasks(Kind[Masks]):
    """A region for each class, or the one that an expression means."""

    value = Masks
    takes_metres = True
    frame_columns = (NUM_OBJECTS, OFF_PALETTE)
    object_columns = (
        Column("rle_h", "int32", "height of the mask's grid, pixels: the picture's own; null for boxes"),
        Column("rle_w", "int32", "width of the mask's grid, pixels"),
        Column("rle_counts", "string", "the mask as COCO compressed run lengths on that grid"),
    )

    @cached_property
    def codec(self) -> Codec:
        """Colours of the prompt's legend."""
        from plantain.operators.answers.masks.semantic import MasksCodec

        return MasksCodec()

    def summary(self, value: Masks) -> Row:
        """How many regions there are, and how well they were drawn."""
        return {"num_objects": len(value.names), "off_palette": value.off_palette}

    def objects(self, value: Masks, fit: Letterbox, size_hw: tuple[int, int]) -> list[Row]:
        """A row for each region."""
        from plantain.operators.answers.masks.regions import boxes_of
        from plantain.operators.answers.masks.rle import encode_regions

        count = len(value.names)
        if count == 0:
            return []
        boxes, areas = boxes_of(value.labels, count)
        edges = fit.to_source(boxes).tolist()
        counts = encode_regions(value.labels, count, size_hw)
        return [
            {
                "label": value.names[k],
                "score": float(value.scores[k]),
                "track_id": value.track_ids[k] if value.track_ids else None,
                "x1": edges[k][0],
                "y1": edges[k][1],
                "x2": edges[k][2],
                "y2": edges[k][3],
                "area_px": float(areas[k]) * fit.area_scale,
                "distance_m": value.distances_m[k] if value.distances_m else None,
                "rle_h": size_hw[0],
                "rle_w": size_hw[1],
                "rle_counts": counts[k],
            }
            for k in range(count)
        ]

    def raster(self, value: Masks) -> Raster:
        """The label map."""
        from plantain.operators.answers.rasters import pack_labels

        return pack_labels(np.ascontiguousarray(value.labels))

    def read(self, row: Row, objects: Sequence[Row], raster: NDArray[Any] | None) -> Masks:
        """From the label map, or from run lengths where no maps were stored."""
        from plantain.operators.answers.masks.rle import decode_region

        if raster is not None:
            labels = raster.astype(np.uint16, copy=False)
        else:
            size_hw = (objects[0]["rle_h"], objects[0]["rle_w"]) if objects else (row["height"], row["width"])
            labels = np.zeros(size_hw, np.uint16)
            for number, each in enumerate(objects, start=1):
                labels[decode_region(each["rle_counts"], size_hw)] = number
        return Masks(
            labels,
            tuple(each["label"] for each in objects),
            np.array([each["score"] for each in objects], np.float32),
            row["off_palette"],
            tuple(each["track_id"] for each in objects),
            tuple(each["distance_m"] for each in objects),
        )

    def sized(self, value: Masks, size_hw: tuple[int, int]) -> Masks:
        """The regions on another grid."""
        return replace(value, labels=enlarge(value.labels, size_hw))

    def size_hw(self, value: Masks) -> tuple[int, int]:
        """Of the label map."""
        return value.labels.shape[0], value.labels.shape[1]

    def array(self, value: Masks) -> NDArray[np.uint16]:
        """The label map."""
        return value.labels

    def picture(self, prompt: Prompt, value: Masks) -> Picture | None:
        """A palette image: indexes are the regions' numbers, 0 background; colours can be looked at."""
        if len(value.names) > np.iinfo(np.uint8).max:
            return super().picture(prompt, value)
        palette = [colours.BLACK, *(self._colour(prompt, value, k) for k in range(len(value.names)))]
        picture = Pillow.fromarray(np.ascontiguousarray(value.labels.astype(np.uint8)), "P")
        picture.putpalette([sample for colour in palette for sample in colour])
        file = io.BytesIO()
        picture.save(file, "PNG", compress_level=1)
        return Picture(file.getvalue(), {"Format": "png-labels-u8", "Labels": json.dumps(value.names)})

    def is_empty(self, value: Masks) -> bool:
        """Whether no region has a pixel."""
        return not (value.names and bool(np.any(value.labels)))

    def title(self, prompt: Prompt) -> str:
        """The expression, or the task."""
        return f"\u201c{prompt.classes[0]}\u201d" if prompt.task is Task.REFER else super().title(prompt)

    def words(self, prompt: Prompt, value: Masks) -> str:
        """How many classes are in view; how large and how far a referred region is."""
        if prompt.task is not Task.REFER:
            return f"{len(value.names)} of {len(prompt.classes)} classes in view"
        if not value.names:
            return "not in this frame"
        share = f"{(value.labels > 0).mean():.1%} of the picture"
        distance = value.distances_m[0] if value.distances_m else None
        return share if distance is None else f"{distance:.1f} m away, {share}"

    def has_tile(self, prompt: Prompt) -> bool:
        """Classes cover the whole picture; a referred region is drawn on the frame."""
        return prompt.task is not Task.REFER

    def on_frame(self, prompt: Prompt, value: Masks, fit: Letterbox) -> OnFrame | None:
        """The regions; around a referred one that is alone, the rest is dimmed."""
        if not value.names:
            return None
        is_referred = prompt.task is Task.REFER
        strength = REFERRED_STRENGTH if is_referred else OBJECT_STRENGTH
        palette = tuple(self._colour(prompt, value, k) for k in range(len(value.names)))
        marks = () if self.has_tile(prompt) else self._marks(value, palette, fit)
        return OnFrame(Regions(value.labels, palette, strength, is_referred), marks)

    def in_tile(self, prompt: Prompt, value: Masks) -> InTile:
        """Every pixel in the colour of its class, over the frame."""
        palette = [self._colour(prompt, value, k) for k in range(len(value.names))]
        picture = np.array([colours.BACKDROP, *palette], np.uint8)[value.labels]
        return InTile(picture, cover=COVER)

    def key(self, prompt: Prompt, value: Masks | None, length: int) -> Key:  # noqa: ARG002
        """The classes, the largest first; of a referred region nothing needs to be said."""
        if value is None:
            return Key(tuple(Chip(name, class_colour(prompt, name)) for name in prompt.classes))
        if not self.has_tile(prompt):
            return Key()
        shares = _areas(value) / max(1, value.labels.size)
        chips = [
            Chip(value.names[k], class_colour(prompt, value.names[k]), _percent(float(shares[k])))
            for k in np.argsort(-shares, kind="stable")
        ]
        return Key(tuple(chips))

    def at_least(self, value: Masks, score: float) -> Masks:
        """The regions that are so sure, numbered anew."""
        kept = np.flatnonzero(value.scores >= score)
        if len(kept) == len(value.names):
            return value
        number = np.zeros(len(value.names) + 1, np.uint16)
        number[kept + 1] = np.arange(1, len(kept) + 1)
        told = things.some(value, kept)
        return replace(value, labels=number[value.labels], scores=value.scores[kept], **told)

    def with_distances(
        self, value: Masks, depth_m: NDArray[np.float32], valid: NDArray[np.bool_], fit: Letterbox
    ) -> Masks:
        """The median of each region."""
        from plantain.operators.answers.masks.regions import medians_of

        del fit
        if not value.names:
            return value
        if depth_m.shape != value.labels.shape:  # from a model with a canvas of its own
            depth_m = enlarge(depth_m, self.size_hw(value))
            valid = enlarge(valid, self.size_hw(value))
        return replace(value, distances_m=tuple(medians_of(value.labels, depth_m, valid, len(value.names))))

    def _marks(self, value: Masks, palette: tuple[RGB, ...], fit: Letterbox) -> tuple[Mark, ...]:
        """A box for each region, small ones last."""
        from plantain.operators.answers.masks.regions import boxes_of

        boxes, areas = boxes_of(value.labels, len(value.names))
        edges = fit.to_source(boxes).tolist()
        return tuple(
            Mark(
                (edges[k][0], edges[k][1], edges[k][2], edges[k][3]),
                palette[k],
                value.names[k],
                things.words_of(value, int(k)),
            )
            for k in np.argsort(-areas, kind="stable")
            if areas[k]
        )

    def _colour(self, prompt: Prompt, value: Masks, number: int) -> RGB:
        """Of region `number` on the frame and in a palette."""
        if prompt.task is Task.REFER:
            return colours.HIGHLIGHT
        return class_colour(prompt, value.names[number])


class Instances(things.Things[Masks], ClassMasks):
    """A region for each single thing."""

    @cached_property
    def codec(self) -> Codec:
        """Any colours, one for each thing."""
        from plantain.operators.answers.masks.instances import InstancesCodec

        return InstancesCodec()

    def title(self, prompt: Prompt) -> str:
        """The class."""
        return f"{prompt.classes[0]}, each apart" if prompt.classes else super().title(prompt)

    def sizes(self, value: Masks) -> NDArray[np.int64]:
        """Pixels."""
        return _areas(value)

    def places(self, value: Masks, fit: Letterbox) -> Boxes4:
        """The tight box of each."""
        from plantain.operators.answers.masks.regions import boxes_of

        return fit.to_source(boxes_of(value.labels, len(value.names))[0])

    def _colour(self, prompt: Prompt, value: Masks, number: int) -> RGB:  # noqa: ARG002
        return colours.of_object(number, value.track_ids[number] if value.track_ids else None)


def class_colour(prompt: Prompt, name: str) -> RGB:
    """The colour that the prompt gives a class."""
    if name in prompt.classes and prompt.palette:
        return prompt.palette[prompt.classes.index(name)]
    return colours.HIGHLIGHT


def _areas(value: Masks) -> NDArray[np.int64]:
    """(N,) pixels of each region."""
    return np.bincount(value.labels.ravel(), minlength=len(value.names) + 1)[1:]


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "<1%"
