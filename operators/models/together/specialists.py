"""A ready-made router: for each task a model that was made for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from plantain.operators.errors import UsageError
from plantain.operators.models.together.base import Parts
from plantain.operators.models.together.catalogue import SPECIALISTS
from plantain.operators.models.together.inner import Choice
from plantain.operators.models.together.router import Route, Router, Routes


@dataclass(frozen=True, kw_only=True)
class SpecialistRoutes(Routes):
    """Of the specialists.

    Attributes:
        tasks: Those that will be asked; models for others are not loaded.
        routes: As of a router; they go before the ready-made ones.
        rest: As of a router.

    Raises:
        UsageError: If one cannot be read.
    """

    tasks: Sequence[str] = tuple(SPECIALISTS)

    def __post_init__(self) -> None:
        wrong = [task for task in self.tasks if task not in SPECIALISTS]
        if isinstance(self.tasks, str) or wrong:
            raise UsageError(f"tasks must be a list of {', '.join(SPECIALISTS)}, not '{self.tasks}'")
        Routes.__post_init__(self)

    @cached_property
    def read(self) -> list[Route]:
        """The routes that were given, and the ready-made ones of the other tasks."""
        given = super().read
        taken = {route.task for route in given if route.words == "*"}
        ready = [task for task in SPECIALISTS if task in self.tasks and task not in taken]
        return [*given, *(Route(task, "*", Choice(SPECIALISTS[task], {})) for task in ready)]


class Specialists(Router):
    """See the module."""

    name = "specialists"
    parts_type: ClassVar[type[Parts]] = SpecialistRoutes
