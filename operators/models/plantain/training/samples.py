"""Training samples: augmented frames, questions about them, and the answers at half resolution."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plantain.operators.models.plantain import lens
from plantain.operators.models.plantain.text import Vocabulary
from plantain.operators.models.plantain.training import questions
from plantain.operators.models.plantain.training.questions import IGNORE, MAX_PHRASES
from plantain.operators.models.plantain.training.shards import Shot
from plantain.operators.models.plantain.training.views import random_placement, view_of, widening

TAUGHT = ("semantic", "instances", "refer", "depth", "normals", "everything")
"""Kinds of answers that a sample may have; the last one is "every class and object of the frame"."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame with one question of each kind; maps are (H/2, W/2) unless said.

    Attributes:
        image: (H, W, 3) uint8.
        inside: Whether a pixel belongs to the picture, not to bars around it.
        taught: (len(TAUGHT),) bool, which of the answers below are known; the others are blank.
        log_depth: float32, NaN for the sky and where unknown.
        log_focal: Of the camera (`lens`), NaN where unknown.
        normals: (H/2, W/2, 3) float32, 0 where unknown.
        class_map: uint8, IGNORE where unknown.
        phrases, answers: The classes asked for, and int32 bits of what each pixel's answer may be: bit 0 background,
            bit k phrase k; no bit where the pixel teaches nothing.
        trust: float32, how much a pixel's answer counts, against others of its class.
        thing, things: The countable class asked for, and whether a pixel belongs to it.
        is_told: bool, where it is known whether a pixel belongs to `thing`.
        is_apart: bool, where it is known which pixels are one object as well.
        thing_trust: float32, how much a pixel counts in what is told of `thing`.
        centre, offset: Heat of object centres in [0, 1], and (H/2, W/2, 2) full-resolution pixels to one's
            own.
        all_centre, all_offset: The same of all countable things, (H/4, W/4).
        expression, region: The referring expression, and whether a pixel belongs to what it means.
        region_trust: How much that counts.
    """

    image: NDArray[np.uint8]
    inside: NDArray[np.bool_]
    taught: NDArray[np.bool_]
    log_depth: NDArray[np.float32]
    log_focal: float
    normals: NDArray[np.float32]
    class_map: NDArray[np.uint8]
    phrases: tuple[str, ...]
    answers: NDArray[np.int32]
    trust: NDArray[np.float32]
    thing: str
    things: NDArray[np.bool_]
    is_told: NDArray[np.bool_]
    is_apart: NDArray[np.bool_]
    thing_trust: NDArray[np.float32]
    centre: NDArray[np.float32]
    offset: NDArray[np.float32]
    all_centre: NDArray[np.float32]
    all_offset: NDArray[np.float32]
    expression: str
    region: NDArray[np.bool_]
    region_trust: float


def sample(shot: Shot, size_hw: tuple[int, int], rng: np.random.Generator, augmented: bool = True) -> Sample:
    """One question of each kind about a frame, the frame resized to `size_hw` and, if wanted, disturbed."""
    is_mirrored = augmented and bool(rng.random() < 0.5)
    placement = random_placement(shot.image.shape[1], size_hw, rng if augmented else None)
    view = view_of(shot.image, size_hw, placement, is_mirrored, rng if augmented else None)
    inside, grid = view.inside, view.grid
    class_map = np.where(inside, shot.class_map[grid], IGNORE).astype(np.uint8)
    instance_map = np.where(inside, shot.instance_map[grid], 0)
    depth_m = shot.depth_m[grid].astype(np.float32)
    normals = shot.normals[grid].astype(np.float32) * np.float32(1 / 127)
    phrases, table = questions.semantic(rng)
    thing, covers = questions.thing(set(np.unique(class_map).tolist()) - {0, IGNORE}, rng)
    things = covers[class_map] & (class_map != IGNORE)
    centre, offset = centres_of(np.where(things, instance_map, 0), 2)
    all_centre, all_offset = centres_of(instance_map[::2, ::2], 4)
    expression, ids = _expression(shot, rng)
    return Sample(
        view.image,
        inside,
        np.ones(len(TAUGHT), np.bool_),
        log_depth_of(depth_m, inside & np.isfinite(depth_m) & (depth_m > 0)),
        lens.log_focal(shot.hfov_deg, widening(placement, shot.image.shape[1], size_hw[1])),
        view.directions(normals),
        class_map,
        phrases,
        questions.bits(table)[class_map],
        np.ones(inside.shape, np.float32),
        thing,
        things,
        inside,
        inside,
        np.ones(inside.shape, np.float32),
        centre,
        offset,
        all_centre,
        all_offset,
        questions.mirrored(expression) if is_mirrored else expression,
        np.isin(instance_map, sorted(ids)) if ids else np.zeros(instance_map.shape, np.bool_),
        1.0,
    )


def log_depth_of(depth_m: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Logarithm of metres, NaN where they are not known."""
    return np.where(known, np.log(np.clip(depth_m, 0.2, 1000.0)), np.nan).astype(np.float32)


def centres_of(
    ids: NDArray[np.uint8], pixels_per_cell: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Heat of centres, and full-resolution offsets to them, of the objects in `ids`."""
    height, width = ids.shape
    heat = np.zeros((height, width), np.float32)
    offset = np.zeros((height, width, 2), np.float32)
    rows, columns = np.nonzero(ids)
    which = ids[rows, columns].astype(np.intp)
    area = np.bincount(which, minlength=256)
    mean_y = np.bincount(which, rows, 256) / np.maximum(area, 1)
    mean_x = np.bincount(which, columns, 256) / np.maximum(area, 1)
    offset[rows, columns, 0] = (mean_x[which] - columns) * pixels_per_cell
    offset[rows, columns, 1] = (mean_y[which] - rows) * pixels_per_cell
    for each in np.nonzero(area)[0]:
        sigma = float(np.clip(0.14 * np.sqrt(area[each]), 1.0, 6.0))
        reach = int(3 * sigma) + 1
        cy, cx = round(mean_y[each]), round(mean_x[each])
        y0, y1 = max(0, cy - reach), min(height, cy + reach + 1)
        x0, x1 = max(0, cx - reach), min(width, cx + reach + 1)
        dy, dx = np.arange(y0, y1) - cy, np.arange(x0, x1) - cx
        bump = np.exp(-(dy[:, None] ** 2 + dx[None] ** 2) / (2 * sigma**2))
        np.maximum(heat[y0:y1, x0:x1], bump.astype(np.float32), out=heat[y0:y1, x0:x1])
    return heat, offset


def _expression(shot: Shot, rng: np.random.Generator) -> tuple[str, frozenset[int]]:
    """A referring expression about the frame, three in four of them with something that they mean."""
    if not shot.expressions:
        return "person", frozenset()
    meaning = [pair for pair in shot.expressions if pair[1]]
    empty = [pair for pair in shot.expressions if not pair[1]]
    pool = meaning if meaning and (not empty or rng.random() < 0.75) else empty
    return pool[int(rng.integers(len(pool)))]


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """Samples side by side; see Sample. Phrases are rows of `ids` (P, MAX_WORDS), told by their index."""

    images: Tensor
    inside: Tensor
    taught: Tensor
    log_depth: Tensor
    log_focal: Tensor
    normals: Tensor
    class_map: Tensor
    answers: Tensor
    trust: Tensor
    things: Tensor
    is_told: Tensor
    is_apart: Tensor
    thing_trust: Tensor
    centre: Tensor
    offset: Tensor
    all_centre: Tensor
    all_offset: Tensor
    region: Tensor
    region_trust: Tensor
    ids: Tensor
    semantic_phrases: Tensor
    semantic_keep: Tensor
    single_phrases: Tensor

    def of(self, rows: Tensor) -> TrainingBatch:
        """The samples `rows` (M,); phrases stay as they are."""
        parts = ((each.name, getattr(self, each.name)) for each in fields(self))
        return TrainingBatch(**{name: part if name == "ids" else part[rows] for name, part in parts})


def collate(samples: list[Sample], vocabulary: Vocabulary) -> TrainingBatch:
    """A batch; each different phrase is encoded once, however often it is asked.

    Shapes are rounded up, because every new one costs the CPU's matrix library a compilation.
    """
    rows: dict[str, int] = {"": 0}
    asked = torch.zeros(len(samples), MAX_PHRASES, dtype=torch.int64)
    keep = torch.zeros(len(samples), MAX_PHRASES, dtype=torch.bool)
    for index, each in enumerate(samples):
        for place, phrase in enumerate(each.phrases):
            asked[index, place] = rows.setdefault(phrase, len(rows))
        keep[index, : len(each.phrases)] = True
    single = [
        [rows.setdefault(each.thing, len(rows)), rows.setdefault(each.expression, len(rows))]
        for each in samples
    ]
    padding = [""] * (-len(rows) % 64)
    return TrainingBatch(
        images=torch.from_numpy(np.stack([each.image for each in samples])).permute(0, 3, 1, 2),
        inside=torch.from_numpy(np.stack([each.inside for each in samples])),
        taught=torch.from_numpy(np.stack([each.taught for each in samples])),
        log_depth=torch.from_numpy(np.stack([each.log_depth for each in samples])),
        log_focal=torch.tensor([each.log_focal for each in samples], dtype=torch.float32),
        normals=torch.from_numpy(np.stack([each.normals for each in samples])).permute(0, 3, 1, 2),
        class_map=torch.from_numpy(np.stack([each.class_map for each in samples])),
        answers=torch.from_numpy(np.stack([each.answers for each in samples])),
        trust=torch.from_numpy(np.stack([each.trust for each in samples])),
        things=torch.from_numpy(np.stack([each.things for each in samples])),
        is_told=torch.from_numpy(np.stack([each.is_told for each in samples])),
        is_apart=torch.from_numpy(np.stack([each.is_apart for each in samples])),
        thing_trust=torch.from_numpy(np.stack([each.thing_trust for each in samples])),
        centre=torch.from_numpy(np.stack([each.centre for each in samples])),
        offset=torch.from_numpy(np.stack([each.offset for each in samples])).permute(0, 3, 1, 2),
        all_centre=torch.from_numpy(np.stack([each.all_centre for each in samples])),
        all_offset=torch.from_numpy(np.stack([each.all_offset for each in samples])).permute(0, 3, 1, 2),
        region=torch.from_numpy(np.stack([each.region for each in samples])),
        region_trust=torch.tensor([each.region_trust for each in samples], dtype=torch.float32),
        ids=vocabulary.tensor([*rows, *padding]),
        semantic_phrases=asked,
        semantic_keep=keep,
        single_phrases=torch.tensor(single),
    )
