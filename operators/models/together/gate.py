"""Asks a dear model only where a cheap one sees something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from plantain.operators.errors import ModelError, UsageError
from plantain.operators.models.base import Answer
from plantain.operators.models.drawn import failure_of
from plantain.operators.models.presence import Likelihood
from plantain.operators.models.together.base import Parts, Together, between, nothing, plus
from plantain.operators.models.together.inner import Asked, Choice
from plantain.operators.models.together.memory import Memory
from plantain.operators.models.together.sentry import How, how_of, sentry_of
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Failure, Frame

GATED = (Task.INSTANCES, Task.REFER, Task.DETECT)
"""What may be there or not; all other prompts go through."""


@dataclass(frozen=True, kw_only=True)
class GateParts(Parts):
    """Of a gate.

    Attributes:
        model: The dear one.
        presence: The cheap one, the sentry.
        how: `ask` it whether something is there, or have it `find` what the dear one is to find; left out, by what it
            can do.
        threshold: What is there is at least so likely.
        every_s: About the same thing it is not asked again for so long, in the stream's own time, seconds.

    Raises:
        UsageError: If one is not possible.
    """

    model: Any
    presence: Any
    how: How | None = None
    threshold: float = 0.5
    every_s: float = 0.0

    def __post_init__(self) -> None:
        if self.how not in (None, "ask", "find"):
            raise UsageError(f"how is '{self.how}': write ask or find, or leave it out")
        between("threshold", self.threshold, 0.0, 1.0)
        between("every_s", self.every_s, 0.0, 86_400.0)
        _ = self.choices

    @property
    def choices(self) -> list[Choice]:
        """The dear one and the cheap one."""
        return [Choice.of(self.model, "model"), Choice.of(self.presence, "presence")]

    @property
    def rules(self) -> list[Any]:
        """When the gate opens."""
        return [self.way, self.threshold, self.every_s]

    @property
    def way(self) -> How:
        """How the sentry looks."""
        return self.how or how_of(self.choices[1].spec)


class Gate(Together[GateParts]):
    """Where nothing is there the answer is empty. A sentry that fails, fails the prompt: no money is spent on a guess.

    Args:
        options: Those of `GateParts`.
    """

    name = "gate"
    parts_type: ClassVar[type[Parts]] = GateParts

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._model, self._sentry = self.inner[0], sentry_of(self.inner[1], self.parts.way)
        self.memory: Memory[Likelihood] = Memory(self.parts.every_s)

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        """One answer for each prompt; see Answering."""
        seen = self._look(frames, image_of, prompts)
        told = {
            k: answer
            if isinstance(answer.value, Failure)
            else replace(answer, value=nothing(frames[image_of[k]], prompts[k]))
            for k, answer in seen.items()
            if not self._is_there(answer)
        }
        asked = [k for k in range(len(prompts)) if k not in told]
        for k, answer in self._model.ask(Asked(frames, image_of, prompts, asked)).items():
            told[k] = plus(answer, seen[k]) if k in seen else answer
        return [told[k] for k in range(len(prompts))]

    def _is_there(self, answer: Answer) -> bool:
        return isinstance(answer.value, Likelihood) and answer.value.of_presence >= self.parts.threshold

    def _look(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> dict[int, Answer]:
        """What the sentry says to each prompt that is gated; about one thing in a frame it is asked once."""
        about = {
            k: (image_of[k], self._sentry.question(prompt))
            for k, prompt in enumerate(prompts)
            if prompt.task in GATED
        }
        first = {thing: k for k, thing in reversed(about.items())}
        known = {
            k: self._sentry.inner.signed(Answer(likelihood))
            for (frame, question), k in first.items()
            if (likelihood := self.memory.get(frames[frame], question)) is not None
        }
        asked = [k for k in sorted(first.values()) if k not in known]
        looked = self._sentry.look(Asked(frames, image_of, prompts, asked))
        for k, answer in looked.items():
            if isinstance(answer.value, Likelihood):
                self.memory.put(frames[image_of[k]], about[k][1], answer.value)
            elif not isinstance(answer.value, Failure):
                said = f"{answer.model} does not say whether '{prompts[k]}' is there: name another model as presence"
                looked[k] = replace(answer, value=failure_of(ModelError(said)))
        told = known | looked
        return {
            k: told[k] if k in told else replace(told[first[thing]], cost_usd=0.0, model_ms=0.0, codec_ms=0.0)
            for k, thing in about.items()
        }
