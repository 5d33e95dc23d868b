"""TIPSv2-DPT: depth, surface directions and classes from one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plantain.operators.models.specialists.base import Answers, Asked, Picture
from plantain.operators.models.specialists.depth import depth_of, normals_of
from plantain.operators.models.specialists.labels import Labelled
from plantain.operators.models.specialists.segmentation import classes_of
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Value


class DensePredictor(Labelled):
    """Reads each of the three maps only where it is asked for."""

    tasks = (Task.DEPTH, Task.NORMALS, Task.SEMANTIC)

    def look(self, pictures: Sequence[Picture], asked: Asked) -> Answers:
        """One pass for all pictures and tasks."""
        sizes = [picture.size_hw for picture in pictures]
        processor, tasks = self.parts.processor, {prompt.task for prompts in asked for prompt in prompts}
        inputs = processor(images=[picture.pixels for picture in pictures], return_tensors="pt")
        outputs = self.forward(**inputs)
        depths: list[Value] = []
        normals: list[Value] = []
        classes: list[Any] = []
        if Task.DEPTH in tasks:
            read = processor.post_process_depth_estimation(outputs, target_sizes=sizes)
            depths = [depth_of(each["predicted_depth"]) for each in read]
        if Task.NORMALS in tasks:
            read = processor.post_process_normal_estimation(outputs, target_sizes=sizes)
            normals = [normals_of(each["normals"]) for each in read]
        if Task.SEMANTIC in tasks:
            classes = processor.post_process_semantic_segmentation(
                outputs, target_sizes=sizes, return_segmentation_scores=True
            )

        def value(k: int, prompt: Prompt) -> Value:
            if prompt.task is Task.SEMANTIC:
                return classes_of(
                    classes[k].segmentation,
                    classes[k].segmentation_scores,
                    prompt.classes,
                    self.labels.index_of(prompt.classes),
                )
            return depths[k] if prompt.task is Task.DEPTH else normals[k]

        return [[value(k, prompt) for prompt in prompts] for k, prompts in enumerate(asked)]
