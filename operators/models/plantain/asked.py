"""What prompts mean to the network: which of its tasks, which phrases; and what is worked on together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plantain.operators.models.plantain import HANDFUL
from plantain.operators.models.plantain.expressions import Expression, parsed
from plantain.operators.prompts import Prompt, Task


@dataclass(frozen=True, slots=True)
class Question:
    """What the network is asked at once.

    Attributes:
        word: One of `fields.TASKS`.
        phrases: Which are asked about.
    """

    word: str
    phrases: tuple[str, ...]

    @property
    def head(self) -> str:
        """What is read for it, see `Sight.decode`."""
        return "masks" if self.word in ("semantic", "refer") else self.word


def task_of(prompt: Prompt) -> str:
    """Which task word a prompt about a picture means."""
    if prompt.task is Task.PROMPT:
        return prompt.codec
    return prompt.task.value


def expression_of(prompt: Prompt) -> Expression | None:
    """What a prompt that refers to a thing says of it; None for any other."""
    if prompt.task is not Task.REFER or len(prompt.classes) != 1:
        return None
    return parsed(prompt.classes[0])


def questions_of(prompt: Prompt) -> tuple[Question, ...]:
    """What the network is asked for a prompt: one question, or all that it takes to choose a thing."""
    expression = expression_of(prompt)
    if expression is not None:
        return tuple(Question(word, (phrase,) if phrase else ()) for word, phrase in expression.asked)
    if prompt.task is Task.PROMPT:
        return (Question(prompt.codec, (prompt.text,) if prompt.codec == "instances" else ()),)
    return (Question(prompt.task.value, prompt.classes),)


def handfuls(of_frame: Mapping[int, Sequence[int]], rows: Mapping[int, int], threads: int) -> list[list[int]]:
    """Frames that are encoded together, each with as many questions as the others; at least one for each thread.

    Args:
        of_frame: The prompts of each frame.
        rows: How many questions each prompt is.
        threads: That wait for work.
    """
    size = min(HANDFUL, -(-len(of_frame) // threads))
    alike: dict[int, list[int]] = {}
    for frame, indices in of_frame.items():
        alike.setdefault(sum(rows[index] for index in indices), []).append(frame)
    return [
        frames[first : first + size] for frames in alike.values() for first in range(0, len(frames), size)
    ]


def groups(questions: Sequence[Question]) -> list[list[int]]:
    """The indices of questions that are decoded together: with many phrases, with one, with none."""
    shapes: dict[int, list[int]] = {}
    for index, question in enumerate(questions):
        shapes.setdefault(min(len(question.phrases), 2), []).append(index)
    return list(shapes.values())
