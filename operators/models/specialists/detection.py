"""Boxes of a closed list of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.models.specialists.base import Answers, Asked, Parts, Picture
from plantain.operators.models.specialists.labels import Labelled
from plantain.operators.prompts import Task


class Detector(Labelled):
    """A checkpoint of the library's object detection: RF-DETR, RT-DETR, D-FINE, DETR and their like.

    Args:
        parts: The checkpoint's.
        threshold: Surest that a box must be, in [0, 1].
    """

    tasks = (Task.DETECT,)

    def __init__(self, parts: Parts, *, threshold: float = 0.5) -> None:
        super().__init__(parts)
        self._threshold = float(threshold)

    def look(self, pictures: Sequence[Picture], asked: Asked) -> Answers:
        """Boxes once for each picture, of every class."""
        sizes = [picture.size_hw for picture in pictures]
        inputs = self.parts.processor(images=[picture.pixels for picture in pictures], return_tensors="pt")
        found = self.parts.processor.post_process_object_detection(
            self.forward(**inputs), threshold=self._threshold, target_sizes=sizes
        )
        return [
            [
                boxes_of(each, prompt.classes, self.labels.index_of(prompt.classes), picture)
                for prompt in prompts
            ]
            for each, prompts, picture in zip(found, asked, pictures, strict=True)
        ]


def boxes_of(
    found: Mapping[str, Any], classes: Sequence[str], index_of: Mapping[int, int], picture: Picture
) -> Boxes:
    """What a library found, of the asked classes, in source pixels and cut at the picture's edges.

    Args:
        found: `boxes` (N, 4) in pixels of the picture, `scores` (N,) and `labels` (N,) class numbers.
        classes: What was asked.
        index_of: Place in `classes` by class number.
        picture: Where it was found.
    """
    numbers = [int(number) for number in found["labels"]]
    kept = [k for k, number in enumerate(numbers) if number in index_of]
    height, width = picture.size_hw
    boxes = found["boxes"].float().cpu().numpy()[kept].reshape(-1, 4)
    boxes = boxes.clip(0, np.array([width, height, width, height], np.float32)).astype(np.float32)
    scores = found["scores"].float().cpu().numpy()[kept].astype(np.float32)
    names = tuple(classes[index_of[numbers[k]]] for k in kept)
    return Boxes(picture.info.fit.to_source(boxes), names, scores)
