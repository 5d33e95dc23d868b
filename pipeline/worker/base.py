"""What every worker does: times its operator, and makes a reply of whatever that says or raises."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

import structlog

from plantain.operators.errors import PlantainError
from plantain.operators.redaction import sentence_of
from plantain.operators.render.looks import Picture
from plantain.operators.segments import Backlog
from plantain.operators.types import Failure, Header, Request, Result
from plantain.pipeline.calls import Call, Note, Refusal, Reply, StreamError
from plantain.pipeline.graph import Stage

log = structlog.get_logger()

Laps = list[tuple[str, float]]


class Observer(Protocol):
    """Is told of each call in the worker that did it, where the payloads are at hand. Must not raise."""

    def __call__(self, call: Call, outputs: Sequence[Any], reply: Reply) -> None:
        """A call is done; its inputs are `call.headers`."""
        ...

    def close(self) -> None:
        """The worker ends."""
        ...


class Operator(Protocol):
    """What a worker runs.

    Attributes:
        laps: What the last calls were made of, as (part, seconds); whoever reads it clears it.
    """

    laps: Laps

    def close(self) -> None:
        """Gives back all that it holds."""
        ...


Op = TypeVar("Op", bound=Operator)


class StageWorker(ABC, Generic[Op]):
    """One running copy of a stage's operator.

    Args:
        stage: What to run.
        sleep: How to wait before a retry.
    """

    def __init__(self, stage: Stage, sleep: Callable[[float], None]) -> None:
        self.stage = stage
        self.sleep = sleep
        self.operator: Op = stage.make()
        self.failed: list[Refusal] = []
        self.costs: list[tuple[Header, float]] = []
        self.pictures: list[Picture] = []
        self.backlogs: tuple[Backlog, ...] = ()
        self._observer: Observer | None = None if stage.observe is None else stage.observe()

    def run(self, call: Call, payloads: Sequence[Sequence[Any]]) -> tuple[Reply, list[Any]]:
        """Does one call; whatever an operator raises becomes part of the reply.

        Args:
            call: What to do.
            payloads: Those of each item, in the order of `call.headers`.

        Returns:
            The reply, and the payloads that go on or are fetched by whoever looks at them.
        """
        begin = time.perf_counter()
        self.failed = []
        self.costs = []
        self.operator.laps.clear()
        self.pictures = []
        self.backlogs = ()
        outputs, notes = self.do(call, payloads)
        busy_s = time.perf_counter() - begin
        headers = tuple(output.header for output in outputs)
        reply = Reply(
            headers,
            tuple(notes),
            tuple(self.failed),
            busy_s,
            tuple(self.operator.laps),
            time.time_ns(),
            tuple(self.costs),
            tuple(replace(picture, jpeg=b"") for picture in self.pictures),
            self.backlogs,
        )
        if self._observer is not None:
            self._observer(call, outputs, reply)
        return reply, [*outputs, *(picture.jpeg for picture in self.pictures)]

    @abstractmethod
    def do(
        self, call: Call, payloads: Sequence[Sequence[Any]]
    ) -> tuple[Sequence[Request | Result], list[Note]]:
        """What goes on, and what the engine must know."""

    def close(self) -> None:
        """Closes the operator; what it raises comes too late to matter."""
        if self._observer is not None:
            self._observer.close()
        try:
            self.operator.close()
        except Exception as error:  # noqa: BLE001 - the others must be closed, too
            log.warning("close", stage=self.stage.name, error=sentence_of(error))

    def about_stream(self, call: Call, work: Callable[[], Note | None]) -> list[Note]:
        """What an operator says to something about a stream; what it raises ends the stream."""
        try:
            note = work()
        except Exception as error:  # noqa: BLE001 - a user's operator may raise anything; it ends this stream only
            return [StreamError(call.stream_id, self.stage.name, sentence_of(error))]
        return [] if note is None else [note]

    def behind_stream(self, call: Call, work: Callable[[], None]) -> list[Note]:
        """As `about_stream`, of one that is over: what an operator raises is worth a line and no more."""
        for error in self.about_stream(call, work):
            log.warning("close", stage=self.stage.name, stream=call.stream_id, error=error)
        return []

    def failure_of(self, error: Exception) -> Failure:
        """What became of an item whose operator raised."""
        return Failure(
            self.stage.name, sentence_of(error), isinstance(error, PlantainError) and error.retryable
        )

    def note_failed(self, header: Header, error: str) -> None:
        """Every prompt of an item failed here."""
        self.failed += [Refusal(header, prompt, error) for prompt in header.prompts or ("",)]
