"""What prompts mean to the network: which of its tasks, which phrases; and what is worked on together."""

from __future__ import annotations

from collections.abc import Sequence

from plantain.operators.models.plantain import HANDFUL
from plantain.operators.prompts import Prompt, Task


def task_of(prompt: Prompt) -> str:
    """Which task word a prompt about a picture means."""
    if prompt.task is Task.PROMPT:
        return prompt.codec
    return prompt.task.value


def phrases_of(prompt: Prompt) -> tuple[str, ...]:
    """Which phrases it asks about."""
    if prompt.task is Task.PROMPT:
        return (prompt.text,) if prompt.codec == "instances" else ()
    return prompt.classes


def handfuls(of_frame: dict[int, list[int]], threads: int) -> list[list[int]]:
    """Frames that are encoded together, each with as many prompts as the others; at least one for each thread."""
    size = min(HANDFUL, -(-len(of_frame) // threads))
    alike: dict[int, list[int]] = {}
    for frame, indices in of_frame.items():
        alike.setdefault(len(indices), []).append(frame)
    return [
        frames[first : first + size] for frames in alike.values() for first in range(0, len(frames), size)
    ]


def groups(prompts: Sequence[Prompt], seen: Sequence[int]) -> list[list[int]]:
    """The indices `seen` of prompts that are decoded together: with many phrases, with one, with none."""
    shapes: dict[int, list[int]] = {}
    for index in seen:
        count = len(phrases_of(prompts[index]))
        shapes.setdefault(min(count, 2), []).append(index)
    return list(shapes.values())
