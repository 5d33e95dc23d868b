"""How steady answers are from frame to frame, which needs no labels: what stands still should not change.

Two consecutive frames are compared on their still pixels, those whose brightness hardly changed; there every
change of an answer is the model's. Objects are compared wherever they overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.masks.regions import overlaps
from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Failure, Value

STILL_LEVELS = 6
"""Largest change of a pixel's brightness (of 255) that counts as still: about the noise of a camera at dusk."""

SAME_IOU = 0.3
"""Overlap from which two masks of consecutive frames are the same object."""

Pixels = NDArray[np.uint8]
Counts = Mapping[str, tuple[float, float]]


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

    counts: Counts

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
        values = before.values[place], after.values[place]
        if prompt.codec in _CHANGES and not any(isinstance(value, Failure) for value in values):
            drawn = [each.drawings[place] for each in (before, after) if each.drawings]
            change += Change(_CHANGES[prompt.codec](*values, _Seen(prompt, still, drawn)))
    return change


class _Seen(NamedTuple):
    """What is known beside two answers: the prompt, the still pixels (H, W), and how both were drawn, if they were."""

    prompt: Prompt
    still: NDArray[np.bool_]
    drawn: Sequence[Pixels]


def _classes(first: Masks, second: Masks, seen: _Seen) -> Counts:
    """Still pixels whose class changed; of what is no class, nothing."""
    if seen.prompt.task is not Task.SEMANTIC:
        return {}
    before, after = (each.numbered_as(seen.prompt.classes) for each in (first, second))
    return {"class_flicker": (float((before != after)[seen.still].sum()), float(seen.still.sum()))}


def _distances(first: DepthMap, second: DepthMap, seen: _Seen) -> Counts:
    both = seen.still & first.valid & second.valid
    gap = np.abs(np.log(second.depth_m[both] / first.depth_m[both]))
    return {"depth_flicker": (float(np.expm1(gap).sum()), float(both.sum()))}


def _turns(first: NormalMap, second: NormalMap, seen: _Seen) -> Counts:
    both = seen.still & first.valid & second.valid
    cosine = (first.normals[both] * second.normals[both]).sum(axis=-1)
    turn = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return {"normals_flicker_deg": (float(turn.sum()), float(both.sum()))}


def _objects(first: Masks, second: Masks, seen: _Seen) -> Counts:
    """Objects without a partner, and, in drawings of both, objects whose partner has another colour."""
    num_first, num_second = len(first.names), len(second.names)
    if not num_first:
        return {}
    _, iou = overlaps(first.labels, num_first, second.labels, num_second)
    lost = switched = 0
    for number in range(num_first):
        partner = int(iou[number].argmax()) if num_second else 0
        if not num_second or iou[number, partner] < SAME_IOU:
            lost += 1
            continue
        colours = [
            np.median(picture[labels == label], axis=0)
            for picture, labels, label in zip(
                seen.drawn, (first.labels, second.labels), (number + 1, partner + 1), strict=False
            )
        ]
        switched += int(len(colours) == 2 and not np.array_equal(*colours))
    kept = num_first - lost if seen.drawn else 0
    return {
        "objects_lost": (float(lost), float(num_first)),
        "colour_switches": (float(switched), float(kept)),
    }


_CHANGES: dict[str, Callable[[Any, Any, _Seen], Counts]] = {
    "masks": _classes,
    "instances": _objects,
    "depth": _distances,
    "normals": _turns,
}
"""What is counted of two answers of each kind."""
