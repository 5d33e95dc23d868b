"""How well a model agrees with the answers of lessons: the figures of `evaluate` on a user's own frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.geometry import Letterbox
from plantain.operators.models.base import ModelBackend
from plantain.operators.models.plantain.evaluation import metrics
from plantain.operators.models.plantain.evaluation.evaluate import BOXES, Question, drawn_sums
from plantain.operators.models.plantain.training import lessons
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Value


def agreement(
    backend: ModelBackend, folder: Path, size_hw: tuple[int, int] = (224, 384), max_lessons: int = 200
) -> dict[str, Any]:
    """Every metric of `metrics.METRICS` and `BOXES` with its interval, the teacher's answers being what is true.

    Args:
        backend: Who is asked what the teacher was asked.
        folder: Lessons.
        size_hw: Canvas that the lessons' pictures were made for.
        max_lessons: At most so many, evenly spread.
    """
    paths = sorted(folder.glob("*.npz"))
    paths = paths[:: max(1, -(-len(paths) // max_lessons))]
    names: dict[str, None] = {}
    for path in paths:
        for prompt, _ in lessons.load(path).answers:
            names.update(dict.fromkeys(prompt.classes if prompt.task is Task.SEMANTIC else ()))
    sums = []
    for path in paths:
        lesson = lessons.load(path)
        fit = Letterbox.fit(lesson.image.shape[:2], size_hw)
        asked = [each for prompt, value in lesson.answers for each in _questions(prompt, value)]
        drawn = backend.render(
            fit.place(lesson.image)[None], [0] * len(asked), [question.prompt for question in asked]
        )
        sums.append(drawn_sums(asked, np.stack([fit.crop(each) for each in drawn]), tuple(names)))
    return dict(metrics.summary(sums, measured=metrics.METRICS | BOXES))


def _questions(prompt: Prompt, value: Value) -> list[Question]:
    """What the student is asked to be compared with an answer: of boxes, each class by itself, as it draws them."""
    if not isinstance(value, Boxes):
        return [Question(prompt, value)]
    found = []
    for name in prompt.classes:
        own = [k for k, each in enumerate(value.names) if each == name]
        boxes = Boxes(value.xyxy[own], (name,) * len(own), value.scores[own])
        found.append(Question(Prompt(Task.INSTANCES, (name,), codec="instances"), boxes))
    return found
