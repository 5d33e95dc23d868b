"""Backends that do as they are told, and note what they are asked; named by their path, as a user's are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar

from plantain.operators.answers.text.value import Text
from plantain.operators.models.base import Answer, ModelSpec
from plantain.operators.models.fake import FakeModel
from plantain.operators.models.presence import Likelihood
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Failure, Frame

HERE = __name__
CALLS: defaultdict[str, list[tuple[list[int], list[str]]]] = defaultdict(list)
"""By the name of who was asked: the frames of each call, and the prompts."""
CLOSED: list[str] = []
FORGOTTEN: list[tuple[str, str]] = []


def named(cls: type, **options: object) -> dict[str, object]:
    """How a configuration writes one."""
    return {"name": f"{HERE}:{cls.__name__}", "options": options}


def clear() -> None:
    """Begins a test."""
    CALLS.clear()
    CLOSED.clear()
    FORGOTTEN.clear()


class Noted:
    """Answers as the fake model does, for a price.

    Args:
        called: Its name.
        usd: For each answer.
        breaks_on: Frames that it raises on.
    """

    spec: ClassVar[ModelSpec] = ModelSpec(tasks=(Task.INSTANCES, Task.DEPTH, Task.REFER), model_hw=(64, 96))

    def __init__(self, called: str = "noted", usd: float = 0.0, breaks_on: Sequence[int] = ()) -> None:
        self.name, self.fingerprint = called, f"{called}-1"
        self._usd, self._breaks_on = usd, {*breaks_on}
        self._fake = FakeModel()

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        numbers = [frame.header.frame_index for frame in frames]
        CALLS[self.name].append((numbers, [str(prompt) for prompt in prompts]))
        if self._breaks_on & {*numbers}:
            raise MemoryError("out of memory")
        return [
            Answer(told.value, model_ms=1.0, cost_usd=self._usd)
            for told in self._fake.answer(frames, image_of, prompts)
        ]

    def forget(self, stream_id: str) -> None:
        FORGOTTEN.append((self.name, stream_id))

    def close(self) -> None:
        CLOSED.append(self.name)


class Paid(Noted):
    """Costs money, and says so."""

    spec = ModelSpec(tasks=(Task.INSTANCES, Task.DEPTH, Task.REFER), model_hw=(64, 96), is_paid=True)


class Speaking:
    """Says what it is told to say.

    Args:
        says: Its answer to everything; by frame index where it is several.
        called: Its name.
        usd: For each answer.
    """

    spec: ClassVar[ModelSpec] = ModelSpec(tasks=(Task.ASK,), model_hw=(64, 96))

    def __init__(self, says: str | Sequence[str] = "A", called: str = "speaking", usd: float = 0.0) -> None:
        self.name, self.fingerprint = called, f"{called}-1"
        self._says, self._usd = says, usd

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        numbers = [frame.header.frame_index for frame in frames]
        CALLS[self.name].append((numbers, [str(prompt) for prompt in prompts]))
        return [Answer(self._value(numbers[k]), model_ms=2.0, cost_usd=self._usd) for k in image_of]

    def close(self) -> None:
        CLOSED.append(self.name)

    def _value(self, number: int) -> Text | Failure:
        said = self._says if isinstance(self._says, str) else self._says[number]
        return Failure("infer", "it is asleep", retryable=True) if said == "FAIL" else Text(said)


class Telling(Speaking):
    """Says how likely something is."""

    def presence(
        self, frames: Sequence[Frame], image_of: Sequence[int], phrases: Sequence[str]
    ) -> list[Answer]:
        CALLS[self.name].append(([frame.header.frame_index for frame in frames], list(phrases)))
        numbers = [frames[k].header.frame_index for k in image_of]
        return [Answer(Likelihood(float(self._says[number])), cost_usd=self._usd) for number in numbers]
