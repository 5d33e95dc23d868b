"""Classes and instances of a closed list: semantic, instance and panoptic checkpoints of the library alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from plantain.operators.answers.masks.value import Masks
from plantain.operators.models.specialists.base import Answers, Asked, Parts, Picture
from plantain.operators.models.specialists.detection import boxes_of
from plantain.operators.models.specialists.kept import KeptLevels
from plantain.operators.models.specialists.labels import Labelled
from plantain.operators.models.specialists.regions import numbered
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Value

_READERS = {
    Task.SEMANTIC: "post_process_semantic_segmentation",
    Task.INSTANCES: "post_process_instance_segmentation",
    Task.DETECT: "post_process_object_detection",
}
"""What a processor must be able to read for a task to be answered."""

_ONEFORMER_TASKS = {Task.SEMANTIC: "semantic", Task.INSTANCES: "instance"}


class Segmenter(Labelled):
    """A checkpoint that was taught a list of classes: SegFormer, Mask2Former, OneFormer, EoMT, RF-DETR and their like.

    Args:
        parts: The checkpoint's.
        threshold: Surest that a region must be, in [0, 1]; the library's own if left out.
    """

    tasks = tuple(_READERS)

    def __init__(self, parts: Parts, *, threshold: float | None = None) -> None:
        super().__init__(parts)
        self._surest = {} if threshold is None else {"threshold": float(threshold)}
        self._told: KeptLevels | None = None  # of a network that is told its task
        if parts.network.config.model_type == "oneformer":
            self._told = parts.network.model.pixel_level_module = KeptLevels(
                parts.network.model.pixel_level_module
            )

    def refusal(self, prompt: Prompt) -> str:
        """What this checkpoint's library cannot read of it, and classes that it does not know."""
        able = [task for task, reader in _READERS.items() if self._can(task, reader)]
        if prompt.task not in able:
            return f"model {self.name} has no answer to '{prompt}': it answers {', '.join(able)}"
        return super().refusal(prompt)

    def look(self, pictures: Sequence[Picture], asked: Asked) -> Answers:
        """Each task's outputs are read once for each picture, however many classes are asked about."""
        sizes = [picture.size_hw for picture in pictures]
        tasks = dict.fromkeys(prompt.task for prompts in asked for prompt in prompts)
        outputs = self._outputs(pictures, list(tasks))
        read = {task: self._read(task, outputs[task], sizes) for task in tasks}
        return [
            [self._value(read[prompt.task][k], prompt, pictures[k]) for prompt in prompts]
            for k, prompts in enumerate(asked)
        ]

    def _can(self, task: Task, reader: str) -> bool:
        """Detections need boxes, which networks that only paint masks do not give."""
        has_boxes = task is not Task.DETECT or self.parts.network.config.model_type == "rf_detr"
        return has_boxes and callable(getattr(self.parts.processor, reader, None))

    def _outputs(self, pictures: Sequence[Picture], tasks: Sequence[Task]) -> dict[Task, Any]:
        """The network's outputs for each task: the same for all, where it is not told which."""
        pixels = [picture.pixels for picture in pictures]
        if self._told is None:
            outputs = self.forward(**self.parts.processor(images=pixels, return_tensors="pt"))
            return dict.fromkeys(tasks, outputs)
        told = [_ONEFORMER_TASKS[task] for task in tasks for _ in pixels]
        inputs = self.parts.processor(images=pixels, task_inputs=told, return_tensors="pt")
        rows = inputs.pop("task_inputs").split(len(pixels))
        try:
            return {
                task: self.forward(**inputs, task_inputs=part) for task, part in zip(tasks, rows, strict=True)
            }
        finally:
            self._told.forget()

    def _read(self, task: Task, outputs: Any, sizes: list[tuple[int, int]]) -> list[Any]:
        reader = getattr(self.parts.processor, _READERS[task])
        if task is Task.SEMANTIC:
            return list(reader(outputs, target_sizes=sizes, return_segmentation_scores=True))
        # Some processors gather instances on the CPU, wherever the masks are.
        return list(reader(_on_cpu(outputs), target_sizes=sizes, **self._surest))

    def _value(self, found: Any, prompt: Prompt, picture: Picture) -> Value:
        index_of = self.labels.index_of(prompt.classes)
        if prompt.task is Task.DETECT:
            return boxes_of(found, prompt.classes, index_of, picture)
        if prompt.task is Task.SEMANTIC:
            return classes_of(found.segmentation, found.segmentation_scores, prompt.classes, index_of)
        return _instances(found["segmentation"], found["segments_info"], prompt.classes, index_of)


def classes_of(labels: Tensor, scores: Tensor, classes: Sequence[str], index_of: Mapping[int, int]) -> Masks:
    """The regions of the asked classes, each with its mean probability where it is.

    Args:
        labels: (H, W) class numbers.
        scores: (C, H, W) of every class: logits, or sums of probabilities.
        classes: What was asked.
        index_of: Place in `classes` by class number.
    """
    places = torch.zeros_like(labels)
    for number, k in index_of.items():
        places[labels == number] = k + 1
    is_probability = bool(scores.min() >= 0)
    sure = (scores / scores.sum(0).clamp_min(1) if is_probability else scores.softmax(0)).amax(0)
    means = [
        float(sure[places == k + 1].mean()) if bool((places == k + 1).any()) else 0.0
        for k in range(len(classes))
    ]
    return numbered(places, classes, means)


def _instances(
    segmentation: Tensor,
    segments: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    index_of: Mapping[int, int],
) -> Masks:
    """The segments of the asked classes; -1 in the map is nothing."""
    kept = [each for each in segments if int(each["label_id"]) in index_of]
    places = torch.zeros(segmentation.shape, dtype=torch.int64, device=segmentation.device)
    for k, each in enumerate(kept):
        places[segmentation == each["id"]] = k + 1
    names = [classes[index_of[int(each["label_id"])]] for each in kept]
    return numbered(places, names, [float(each["score"]) for each in kept])


def _on_cpu(outputs: Any) -> Any:
    for name, each in outputs.items():
        if isinstance(each, Tensor):
            outputs[name] = each.cpu()
    return outputs
