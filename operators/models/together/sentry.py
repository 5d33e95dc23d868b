"""Who sees whether something is there: a model that says how likely it is, one that speaks, or one that finds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Literal

from plantain.operators.answers import kind_of
from plantain.operators.answers.text.value import Text
from plantain.operators.errors import PlantainError
from plantain.operators.models.base import Answer, ModelSpec
from plantain.operators.models.drawn import failure_of
from plantain.operators.models.presence import Likelihood, Presence, is_there, read
from plantain.operators.models.together.inner import Asked, Inner
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Failure, Value

How = Literal["ask", "find"]


def how_of(spec: ModelSpec) -> How:
    """The way that suits a model: those that speak and find nothing are asked."""
    return "ask" if Task.ASK in spec.tasks and Task.INSTANCES not in spec.tasks else "find"


def sentry_of(inner: Inner, how: How) -> Sentry:
    """A model as a sentry."""
    if how == "find":
        return Finding(inner)
    return Telling(inner, inner.model) if isinstance(inner.model, Presence) else Speaking(inner)


class Sentry(ABC):
    """Looks whether what prompts ask for is there.

    Args:
        inner: The model.
    """

    def __init__(self, inner: Inner) -> None:
        self.inner = inner

    @abstractmethod
    def look(self, asked: Asked) -> dict[int, Answer]:
        """A `Likelihood` or a Failure for each prompt that is asked, by its place."""

    def question(self, prompt: Prompt) -> str:
        """Equal for prompts that are about the same thing."""
        return phrase_of(prompt)


class Finding(Sentry):
    """Is asked the prompt itself: what it finds is there."""

    def look(self, asked: Asked) -> dict[int, Answer]:
        """See Sentry."""
        found = self.inner.ask(asked)
        return {k: self._meaning(answer, asked.prompts[k]) for k, answer in found.items()}

    def question(self, prompt: Prompt) -> str:
        """The prompt."""
        return str(prompt)

    def _meaning(self, answer: Answer, prompt: Prompt) -> Answer:
        kind = kind_of(prompt)
        if not isinstance(answer.value, kind.value):  # a Failure, or nothing that the prompt asks for
            return answer
        return replace(answer, value=Likelihood(0.0 if kind.is_empty(answer.value) else 1.0))


class Speaking(Sentry):
    """Is asked for a letter."""

    def look(self, asked: Asked) -> dict[int, Answer]:
        """See Sentry."""
        questions = [Prompt(Task.ASK, text=is_there(phrase_of(each)), codec="text") for each in asked.prompts]
        said = self.inner.ask(replace(asked, prompts=questions))
        return {k: replace(answer, value=self._meaning(answer.value)) for k, answer in said.items()}

    def _meaning(self, value: Value | Failure) -> Value | Failure:
        if not isinstance(value, Text):
            return value
        try:
            return Likelihood(read(value.text, self.inner.name))
        except PlantainError as error:
            return failure_of(error)


class Telling(Sentry):
    """Says how likely it is.

    Args:
        inner: The model.
        model: The same, as one that can say so.
    """

    def __init__(self, inner: Inner, model: Presence) -> None:
        super().__init__(inner)
        self._model = model

    def look(self, asked: Asked) -> dict[int, Answer]:
        """See Sentry."""
        if not asked.places:
            return {}
        phrases = [phrase_of(asked.prompts[k]) for k in asked.places]
        try:
            answers = self._model.presence(asked.frames, [asked.image_of[k] for k in asked.places], phrases)
        except Exception as error:  # noqa: BLE001 - a user's model may raise anything; it fails its own prompts only
            answers = [Answer(failure_of(error))] * len(phrases)
        return {k: self.inner.signed(answer) for k, answer in zip(asked.places, answers, strict=True)}


def phrase_of(prompt: Prompt) -> str:
    """What may be there, in words."""
    return " or ".join(prompt.classes) or prompt.text
