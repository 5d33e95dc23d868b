"""What all endpoints share: the configuration, the engine, and how they wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, TypeVar

from fastapi import Depends
from starlette.requests import HTTPConnection, Request

from plantain.deploy.service.problems import RETRY_AFTER_S, HttpError
from plantain.deploy.service.schemas import Mistake
from plantain.deploy.transport import Transport
from plantain.operators.errors import PromptError
from plantain.operators.prompts import Prompt
from plantain.operators.streams import View
from plantain.pipeline.commands import Command
from plantain.pipeline.config import PipelineConfig
from plantain.pipeline.video import PICTURE_LONG_SIDE, view_of

if TYPE_CHECKING:
    from plantain.deploy.service.security import Guard, Slot

T = TypeVar("T")

# Nobody reads it; the log and the tests do.
CLIENT_LEFT = 408


class Service:
    """The state of one HTTP process.

    Args:
        config: What runs, and what requests may do.
        engine: The way to it.
        guard: Knows the token.

    Attributes:
        view: What the model sees of a picture.
        is_closing: Set when the process ends; views that stay open end with it.
    """

    def __init__(self, config: PipelineConfig, engine: Transport, guard: Guard) -> None:
        self.config = config
        self.limits = config.serve
        self.engine = engine
        self.guard = guard
        self.view = replace(view_of(config), picture_long_side=None)
        self.is_closing = asyncio.Event()

    @property
    def view_with_picture(self) -> View:
        """The same, with a picture to draw on."""
        return replace(self.view, picture_long_side=PICTURE_LONG_SIDE)

    def close(self) -> None:
        """Ends what stays open."""
        self.is_closing.set()

    def prompts_of(self, tasks: Sequence[str], field: str = "tasks") -> tuple[Prompt, ...]:
        """The prompts that a request names.

        Raises:
            HttpError: 422 with each that cannot be read.
        """
        if len(tasks) > self.limits.max_prompts:
            raise HttpError(422, f"{field}: at most {self.limits.max_prompts} of them, not {len(tasks)}")
        prompts: list[Prompt] = []
        mistakes = []
        for number, task in enumerate(tasks):
            if len(task) > self.limits.max_text:
                text = f"this is longer than {self.limits.max_text} characters"
                mistakes.append(Mistake(field=f"{field}.{number}", detail=text))
                continue
            try:
                prompt = Prompt.parse(task)
            except PromptError as error:
                mistakes.append(Mistake(field=f"{field}.{number}", detail=str(error)))
                continue
            if prompt in prompts:
                mistakes.append(Mistake(field=f"{field}.{number}", detail=f"'{task}' is asked twice"))
            prompts.append(prompt)
        if mistakes:
            raise HttpError(422, f"{mistakes[0].field}: {mistakes[0].detail}", mistakes=tuple(mistakes))
        return tuple(prompts)

    async def do(self, request: Request, command: Command[T]) -> T:
        """What the engine answers; see `patiently`."""
        return await self.patiently(request, self.engine.do(command, self.limits.timeout_s))

    async def patiently(self, request: Request, work: Awaitable[T]) -> T:
        """What `work` gives; takes it back if the client leaves or the time is over.

        Args:
            request: Whose body has been read.
            work: What is waited for.

        Raises:
            HttpError: 503 if it took too long.
        """
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(_has_left(request))
        try:
            await asyncio.wait(
                {task, gone}, timeout=self.limits.timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if task.done():
                return task.result()
            if gone.done():
                raise HttpError(CLIENT_LEFT, "the client has left")
            raise HttpError(
                503,
                f"no answer within {self.limits.timeout_s:g} s: try again later, or ask for less",
                retry_after_s=RETRY_AFTER_S,
            )
        finally:
            task.cancel()
            gone.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)


async def _has_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def service_of(connection: HTTPConnection) -> Service:
    """The service that a connection came to."""
    service: Service = connection.app.state.service
    return service


def slot_of(connection: HTTPConnection) -> Slot:
    """What the request holds of the service."""
    slot: Slot = connection.scope["plantain.slot"]
    return slot


async def _the_service(connection: HTTPConnection) -> Service:
    """As a coroutine, since FastAPI sends other functions through a thread."""
    return service_of(connection)


TheService = Annotated[Service, Depends(_the_service)]
