"""What all combinations are: backends inside one, of which together as much can be said as of each."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.answers.masks.value import Masks
from plantain.operators.errors import UsageError
from plantain.operators.models import BACKENDS
from plantain.operators.models.base import Answer, ModelSpec
from plantain.operators.models.together.inner import Choice, Inner, load_all
from plantain.operators.models.together.memory import Memory
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Frame, Value


class Parts(ABC):
    """What a combination can be told, checked."""

    @property
    @abstractmethod
    def choices(self) -> list[Choice]:
        """Its backends."""

    @property
    @abstractmethod
    def rules(self) -> list[Any]:
        """What else decides the answers, as JSON takes it."""


P = TypeVar("P", bound=Parts)


class Together(ABC, Generic[P]):
    """Backends that answer as one.

    It raises nothing: what is wrong with one of them fails the prompts that it was asked.

    Args:
        options: Of the combination's `Parts`.

    Attributes:
        name: Of the combination.
        parts_type: What it can be told.
        parts: What it was told.
        inner: Its backends, in the order of `parts.choices`.
        memory: What it found about streams a moment ago, where it keeps that.
    """

    name: ClassVar[str]
    parts_type: ClassVar[type[Parts]]
    memory: Memory[Any] | None = None

    def __init__(self, **options: Any) -> None:
        self.parts: P = self.parts_type(**options)  # type: ignore[assignment]  # as the subclass says
        self.inner: list[Inner] = load_all(self.parts.choices)
        told = json.dumps([self.parts.rules, [inner.fingerprint for inner in self.inner]])
        self.fingerprint = f"{self.name}-{hashlib.blake2b(told.encode(), digest_size=8).hexdigest()}"

    @classmethod
    def spec_for(cls, options: Mapping[str, Any]) -> ModelSpec:
        """What can be said about them together.

        Raises:
            UsageError: If an option is not possible, of one of them, too.
        """
        return combined(cls.name, [choice.spec for choice in cls.parts_type(**options).choices])

    @abstractmethod
    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        """One answer for each prompt; see Answering."""

    def forget(self, stream_id: str) -> None:
        """Forgets what is kept about a stream."""
        for inner in self.inner:
            inner.forget(stream_id)
        if self.memory is not None:
            self.memory.forget(stream_id)

    def close(self) -> None:
        """Gives back what they hold."""
        for inner in self.inner:
            inner.close()


def plus(answer: Answer, before: Answer) -> Answer:
    """An answer with the time and the money of what was asked first."""
    return replace(
        answer,
        model_ms=answer.model_ms + before.model_ms,
        codec_ms=answer.codec_ms + before.codec_ms,
        cost_usd=answer.cost_usd + before.cost_usd,
    )


def nothing(frame: Frame, prompt: Prompt) -> Value:
    """The answer to a prompt whose thing is not there."""
    scores = np.zeros(0, np.float32)
    if prompt.task is Task.DETECT:
        return Boxes(np.zeros((0, 4), np.float32), (), scores)
    fit = frame.info.fit
    return Masks(np.zeros((fit.height, fit.width), np.uint16), (), scores, 0.0)


def between(name: str, value: object, least: float, most: float) -> None:
    """Refuses an option that is no number within bounds.

    Raises:
        UsageError: With the bounds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise UsageError(f"{name} is '{value}': it must be a number from {least:g} to {most:g}")


def combined(name: str, specs: Sequence[ModelSpec]) -> ModelSpec:
    """What can be said about backends together; the largest canvas is that of all.

    Args:
        name: Of the combination.
        specs: Of its backends.
    """
    own = BACKENDS[name]
    largest = max(specs, key=lambda spec: spec.model_hw[0] * spec.model_hw[1])
    is_hosted = any(spec.is_hosted for spec in specs)
    is_paid = any(spec.is_paid for spec in specs)
    return ModelSpec(
        summary=own.summary,
        tasks=tuple(dict.fromkeys(task for spec in specs for task in spec.tasks)),
        licence="; ".join(dict.fromkeys(spec.licence for spec in specs)),
        needs=tuple(dict.fromkeys(module for spec in specs for module in spec.needs)),
        needs_lens=any(spec.needs_lens for spec in specs),
        model_hw=largest.model_hw,
        fit=largest.fit if len({spec.fit for spec in specs}) == 1 else "letterbox",
        handful=0 if is_hosted else min(spec.handful for spec in specs),
        keeps_streams=any(spec.keeps_streams for spec in specs),
        warms_up=any(spec.warms_up for spec in specs) and not is_paid,
        is_paid=is_paid,
        is_hosted=is_hosted,
    )
