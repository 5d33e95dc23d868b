"""Questions on their way through an engine: from frames to requests, and from results back to whoever asked."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

from plantain.operators.errors import PlantainError, UsageError
from plantain.operators.plan import Target, requests_of
from plantain.operators.types import Header, Result
from plantain.pipeline.calls import MARK
from plantain.pipeline.commands import Ask, AskStream
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.engine.queries import Answer, frames_of
from plantain.pipeline.executor import Executor, then


class Questions:
    """Those of one run; touched by the engine's loop only.

    Args:
        executor: Where workers live.
        targets: The pools of models; frames that are given are asked of the first.
    """

    def __init__(self, executor: Executor, targets: tuple[Target, ...]) -> None:
        self._executor = executor
        self._targets = targets
        self._numbers = itertools.count(1)
        self._asked: dict[str, tuple[Ask | AskStream, Future[list[Result]]]] = {}

    def ask(self, command: Ask | AskStream, future: Future[list[Result]], engine: Engine, now: float) -> None:
        """Puts a question to the engine; `future` will have the answer.

        Args:
            command: The question.
            future: For its answer.
            engine: Of the run.
            now: The engine's clock.

        Raises:
            PlantainError: See the commands.
        """
        prompts = tuple(command.prompts)
        if not prompts or (isinstance(command, Ask) and not command.frames):
            raise UsageError("a query needs at least one frame and one prompt")
        query_id = f"{MARK}{next(self._numbers)}"
        if isinstance(command, AskStream):
            engine.ask_stream(query_id, command.stream_id, prompts, now)
        else:
            requests = [
                replace(each, header=replace(each.header, stream_id=query_id, epoch=0, frame_index=place))
                for place, frame in enumerate(command.frames)
                for each in requests_of(frame, prompts, {}, self._targets)
            ]
            handles = self._executor.put(requests)
            engine.queries.ask(query_id, [request.header for request in requests], handles, now)
        self._asked[query_id] = command, future

    def answer(
        self, answer: Answer
    ) -> tuple[Future[list[Result]], Future[list[Result]] | PlantainError] | None:
        """Who asked, and what their question comes to; None if they have left."""
        if (asked := self._asked.pop(answer.query_id, None)) is None:
            return None
        command, future = asked
        if answer.error is not None:
            return future, answer.error
        fetched = self._executor.fetch(answer.handles)
        return future, then(fetched, lambda parts: _named(frames_of(parts), command))

    def give_up(self, future: Future[list[Result]], engine: Engine) -> None:
        """Nobody waits for an answer any more."""
        for query_id in [name for name, (_, asked) in self._asked.items() if asked is future]:
            del self._asked[query_id]
            engine.queries.cancel(query_id)

    def end(self) -> list[Future[list[Result]]]:
        """The run has ended: who still waits."""
        waiting = [future for _, future in self._asked.values()]
        self._asked.clear()
        return waiting


def _named(results: Sequence[Result], command: Ask | AskStream) -> list[Result]:
    """Results under the names of the frames that they are about."""
    if isinstance(command, AskStream):
        headers = [replace(result.header, stream_id=command.stream_id) for result in results]
    else:
        headers = [
            _like(result.header, frame.header) for result, frame in zip(results, command.frames, strict=True)
        ]
    return [replace(result, header=header) for result, header in zip(results, headers, strict=True)]


def _like(header: Header, own: Header) -> Header:
    return replace(header, stream_id=own.stream_id, epoch=own.epoch, frame_index=own.frame_index)
