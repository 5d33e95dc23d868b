"""Who answers what: a backend for each task, or for prompts of a pattern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, ClassVar

from plantain.operators.errors import UsageError
from plantain.operators.models.base import Answer
from plantain.operators.models.together.base import Parts, Together
from plantain.operators.models.together.inner import Asked, Choice
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Failure, Frame

_TASKS = {str(task): task for task in Task}


@dataclass(frozen=True)
class Route:
    """Which prompts go to a backend.

    Attributes:
        task: Theirs.
        words: A pattern (`*`, `?`) of what stands after the task's colon; `*` for anything.
        choice: The backend.
    """

    task: Task
    words: str
    choice: Choice

    @classmethod
    def of(cls, written: object, choice: object) -> Route:
        """The route that a user wrote: `depth`, or `refer:*bus*`.

        Raises:
            UsageError: If there is no such task, or no backend.
        """
        name, colon, words = str(written).partition(":")
        task = _TASKS.get(name.strip())
        if task is None:
            raise UsageError(f"routes: '{written}' is no task: use {', '.join(Task)}, or such as refer:*bus*")
        return cls(task, words.strip() if colon else "*", Choice.of(choice, f"routes.{written}"))

    def takes(self, prompt: Prompt) -> bool:
        """Whether a prompt goes there."""
        body = ",".join(prompt.classes) or prompt.text
        return prompt.task is self.task and fnmatchcase(body.lower(), self.words.lower())


@dataclass(frozen=True, kw_only=True)
class Routes(Parts):
    """Of a router.

    Attributes:
        routes: Backends by the prompts that they answer, the first that fits.
        rest: Who answers all others; None for nobody.

    Raises:
        UsageError: If there is none, or one cannot be read.
    """

    routes: Mapping[str, Any] | None = None
    rest: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.routes or {}, Mapping):
            raise UsageError("routes must be a mapping such as {depth: embedded, refer: gemini-image}")
        if not self.choices:
            raise UsageError(
                "a router needs routes, such as {depth: embedded, refer: gemini-image}, or a rest"
            )

    @cached_property
    def read(self) -> list[Route]:
        """The routes in their order."""
        return [Route.of(written, choice) for written, choice in (self.routes or {}).items()]

    @cached_property
    def remaining(self) -> Choice | None:
        """Who answers what no route takes."""
        return None if self.rest is None else Choice.of(self.rest, "rest")

    @property
    def choices(self) -> list[Choice]:
        """Each backend once, however many routes lead there."""
        all_of_them = [route.choice for route in self.read] + [each for each in [self.remaining] if each]
        return list({choice.key: choice for choice in all_of_them}.values())

    @property
    def rules(self) -> list[Any]:
        """Where each route leads."""
        places = self.places
        last = None if self.remaining is None else places[self.remaining.key]
        return [[[route.task, route.words, places[route.choice.key]] for route in self.read], last]

    @property
    def places(self) -> dict[str, int]:
        """Place of each backend among `choices`, by its key."""
        return {choice.key: k for k, choice in enumerate(self.choices)}

    def choice_for(self, prompt: Prompt) -> Choice | None:
        """Who answers a prompt; None for nobody."""
        return next((route.choice for route in self.read if route.takes(prompt)), self.remaining)


class Router(Together[Routes]):
    """Asks each backend once, for all prompts that are its own, with the frames that they are about.

    Args:
        options: Those of `Routes`.
    """

    name = "router"
    parts_type: ClassVar[type[Parts]] = Routes

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        """One answer for each prompt; see Answering."""
        place_of = self.parts.places
        told: dict[int, Answer] = {}
        places: dict[int, list[int]] = {}
        for k, prompt in enumerate(prompts):
            choice = self.parts.choice_for(prompt)
            if choice is None:
                said = f"nobody answers '{prompt}': give the router a route for {prompt.task}, or a rest"
                told[k] = Answer(Failure("infer", said, retryable=False))
            else:
                places.setdefault(place_of[choice.key], []).append(k)
        for inner, asked in places.items():
            told |= self.inner[inner].ask(Asked(frames, image_of, prompts, asked))
        return [told[k] for k in range(len(prompts))]
