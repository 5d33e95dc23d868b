"""How well a model agrees with the answers of lessons: the figures of `evaluate` on a user's own frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from plantain.operators.geometry import Letterbox
from plantain.operators.models.base import ModelBackend
from plantain.operators.models.plantain.evaluation import metrics
from plantain.operators.models.plantain.evaluation.evaluate import Question, drawn_sums
from plantain.operators.models.plantain.training import lessons
from plantain.operators.prompts import Task


def agreement(
    backend: ModelBackend, folder: Path, size_hw: tuple[int, int] = (224, 384), max_lessons: int = 200
) -> dict[str, Any]:
    """Every metric of `metrics.METRICS` with its interval, the teacher's answers being what is true.

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
        asked = [Question(prompt, value) for prompt, value in lesson.answers]
        drawn = backend.render(
            fit.place(lesson.image)[None], [0] * len(asked), [question.prompt for question in asked]
        )
        sums.append(drawn_sums(asked, np.stack([fit.crop(each) for each in drawn]), tuple(names)))
    return dict(metrics.summary(sums))
