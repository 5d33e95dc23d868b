"""How steady answers are from frame to frame, which needs no labels: what stands still should not change.

Two consecutive frames are compared on their still pixels, those whose brightness hardly changed; there every
change of an answer is the model's. Objects are compared wherever they overlap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Failure, Value

STILL_LEVELS = 6
"""Largest change of a pixel's brightness (of 255) that counts as still: about the noise of a camera at dusk."""

SAME_IOU = 0.3
"""Overlap from which two masks of consecutive frames are the same object."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Answered:
    """A frame and what was answered about it.

    Attributes:
        picture: (H, W, 3) uint8 RGB.
        prompts, values: Of each answer: what was asked, and what was said.
        drawings: How each was drawn (H, W, 3); empty of a model that does not draw.
    """

    picture: Pixels
    prompts: Sequence[Prompt]
    drawings: Sequence[Pixels]
    values: Sequence[Value | Failure]


@dataclass(frozen=True, slots=True)
class Change:
    """Sums over a pair of frames, or over many; `+` adds them up.

    Attributes:
        counts: Name -> (sum, number of what was summed).
    """

    counts: Mapping[str, tuple[float, float]]

    def __add__(self, other: Change) -> Change:
        names = {**self.counts, **other.counts}
        both = {
            name: (self.counts.get(name, (0.0, 0.0)), other.counts.get(name, (0.0, 0.0))) for name in names
        }
        return Change({name: (a[0] + b[0], a[1] + b[1]) for name, (a, b) in both.items()})

    def means(self) -> dict[str, float]:
        """Each measure's mean; those that were never taken are left out."""
        return {name: total / count for name, (total, count) in self.counts.items() if count > 0}


def between(before: Answered, after: Answered) -> Change:
    """How the answers changed from one frame to the next.

    Returns:
        Sums under these names:
        `still`: share of still pixels;
        `class_flicker`: share of still pixels whose class changed;
        `depth_flicker`: mean change of a still pixel's distance, as a share of it;
        `normals_flicker_deg`: mean turn of a still pixel's surface, degrees;
        `objects_lost`: share of objects that have no partner in the next frame;
        `colour_switches`: share of objects with a partner whose colour changed, where they are drawn.
    """
    light = [each.picture.astype(np.int16).sum(axis=2) // 3 for each in (before, after)]
    still = np.abs(light[1] - light[0]) < STILL_LEVELS
    change = Change({"still": (float(still.sum()), float(still.size))})
    for place, prompt in enumerate(before.prompts):
        match before.values[place], after.values[place]:
            case Masks() as first, Masks() as second if prompt.task is Task.SEMANTIC:
                changed = _classes(first, prompt) != _classes(second, prompt)
                change += Change({"class_flicker": (float(changed[still].sum()), float(still.sum()))})
            case Masks() as first, Masks() as second if prompt.codec == "instances":
                drawn = [each.drawings[place] for each in (before, after) if each.drawings]
                change += _objects(first, second, drawn)
            case DepthMap() as first, DepthMap() as second:
                both = still & first.valid & second.valid
                gap = np.abs(np.log(second.depth_m[both] / first.depth_m[both]))
                change += Change({"depth_flicker": (float(np.expm1(gap).sum()), float(both.sum()))})
            case NormalMap() as first, NormalMap() as second:
                both = still & first.valid & second.valid
                cosine = (first.normals[both] * second.normals[both]).sum(axis=-1)
                turn = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
                change += Change({"normals_flicker_deg": (float(turn.sum()), float(both.sum()))})
    return change


def _classes(masks: Masks, prompt: Prompt) -> NDArray[np.int64]:
    """Index of each pixel's class in the prompt, -1 for none."""
    table = np.array([-1, *(prompt.classes.index(name) for name in masks.names)])
    classes: NDArray[np.int64] = table[masks.labels]
    return classes


def _objects(first: Masks, second: Masks, drawn: Sequence[Pixels]) -> Change:
    """Objects without a partner, and, in drawings of both, objects whose partner has another colour."""
    num_first, num_second = len(first.names), len(second.names)
    if not num_first:
        return Change({})
    flat = first.labels.ravel().astype(np.int64) * (num_second + 1) + second.labels.ravel()
    overlap = np.bincount(flat, minlength=(num_first + 1) * (num_second + 1)).reshape(num_first + 1, -1)
    areas = overlap.sum(axis=1)[1:, None] + overlap.sum(axis=0)[None, 1:]
    iou = overlap[1:, 1:] / np.maximum(1, areas - overlap[1:, 1:])
    lost = switched = 0
    for number in range(num_first):
        partner = int(iou[number].argmax()) if num_second else 0
        if not num_second or iou[number, partner] < SAME_IOU:
            lost += 1
            continue
        colours = [
            np.median(picture[labels == label], axis=0)
            for picture, labels, label in zip(
                drawn, (first.labels, second.labels), (number + 1, partner + 1), strict=False
            )
        ]
        switched += int(len(colours) == 2 and not np.array_equal(*colours))
    kept = num_first - lost if drawn else 0
    return Change(
        {"objects_lost": (float(lost), float(num_first)), "colour_switches": (float(switched), float(kept))}
    )
