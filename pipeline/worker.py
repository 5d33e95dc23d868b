"""The only caller of operators: times them, and keeps one bad item from spoiling the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, Protocol

import structlog

from plantain.operators.errors import PlantainError, sentence_of
from plantain.operators.retry import retry
from plantain.operators.types import Failure, Header, Result
from plantain.pipeline.graph import Kind, Stage

log = structlog.get_logger()

Verb = Literal[
    "hello",
    "open",
    "change",
    "ease",
    "watch",
    "read",
    "poll",
    "peek",
    "run",
    "fail",
    "swap",
    "tell",
    "finish",
    "close",
]
"""What a worker can be told.

hello: Nothing is to be done but to be there.
open, finish, close: A stream begins where its Start says, ends, is forgotten.
change, ease, watch: Something else is asked of its next frames; less, under overload; pictures of it are wanted.
read, poll: Frames of one stream; of several cameras, as soon as one of them has some.
peek: A stream's newest frame, for a query.
run, fail: Items are worked on, or announced as failed.
swap: The model is replaced by one made with other options.
tell: A stream's sinks hear of an event.
"""


@dataclass(frozen=True, slots=True)
class Call:
    """One piece of work for one worker.

    Attributes:
        ticket: The engine's name for it.
        stage, worker: Who does it.
        verb: What is to be done; `run` and `fail` are about items, `poll` about several streams, `swap` about none.
        stream_id: The stream, where it is about one.
        generation: The stream's restart that it belongs to, where it is about one.
        headers, handles: The items, and the executor's references to their payloads.
        waits_ms: How long each item waited, milliseconds; of `poll`, how long it may wait for the first frame.
        argument: `open`, `change`: a Start. `read`, `poll`: (stream, generation, number of frames) for each stream.
            `peek`: the query's name and its prompts. `ease`: an Ease. `watch`: what to draw. `fail`: a Failure.
            `swap`: the model's options. `tell`: a HealthEvent. `finish`: whether the stream is complete.
    """

    ticket: int
    stage: str
    worker: int
    verb: Verb
    stream_id: str = ""
    generation: int = 0
    headers: tuple[Header, ...] = ()
    handles: tuple[Any, ...] = ()
    waits_ms: tuple[float, ...] = ()
    argument: Any = None


@dataclass(frozen=True, slots=True)
class StreamError:
    """A stream that cannot go on in this stage.

    Attributes:
        stream_id: The stream.
        stage: Where it broke.
        error: One sentence, without secrets.
    """

    stream_id: str
    stage: str
    error: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call came to.

    Attributes:
        headers: Of the payloads that go on to the next stage, in their order.
        notes: What the engine must know: StreamInfo, ReadState, Durable, Picture, StreamError.
        failed: Those of `headers` whose items failed in this call, and why.
        busy_s: Time spent in the operator, seconds.
        laps: What that time was made of, as (part, seconds); empty if the operator does not say.
        ended_ns: When it was done by the worker's wall clock, ns since 1970 UTC.
    """

    headers: tuple[Header, ...] = ()
    notes: tuple[Any, ...] = ()
    failed: tuple[tuple[Header, str], ...] = ()
    busy_s: float = 0.0
    laps: tuple[tuple[str, float], ...] = ()
    ended_ns: int = 0


class Observer(Protocol):
    """Is told of each call in the worker that did it, where the payloads are at hand. Must not raise."""

    def __call__(self, call: Call, outputs: Sequence[Any], reply: Reply) -> None:
        """A call is done; its inputs are `call.headers`."""
        ...

    def close(self) -> None:
        """The worker ends."""
        ...


class StageWorker:
    """One running copy of a stage's operator.

    Args:
        stage: What to run; its operator is made here.
        sleep: How to wait before a retry.
    """

    def __init__(self, stage: Stage, sleep: Callable[[float], None] = time.sleep) -> None:
        self._stage = stage
        self._sleep = sleep
        self._operator = stage.make()
        self._laps: list[tuple[str, float]] = getattr(self._operator, "laps", [])
        self._broken: set[str] = set()  # streams that failed here, and have not been closed or opened again
        self._observer: Observer | None = None if stage.observe is None else stage.observe()

    def run(self, call: Call, payloads: Sequence[Any]) -> tuple[Reply, list[Any]]:
        """Does one call; whatever an operator raises becomes part of the reply.

        Args:
            call: What to do.
            payloads: The items, in the order of `call.headers`.

        Returns:
            The reply, and the payloads that go on.
        """
        start = time.perf_counter()
        outputs: list[Any] = []
        notes: list[Any] = []
        self._failed: list[tuple[Header, str]] = []
        self._laps.clear()
        if call.verb == "run":
            if self._stage.kind is Kind.PARALLEL:
                outputs = self._run_parallel(payloads, call.waits_ms)
            else:
                outputs, notes = self._run_streams(payloads)
        elif call.verb == "fail":
            outputs = [self._operator.fail(payload, call.argument) for payload in payloads]
            self._failed.extend((header, call.argument.error) for header in call.headers)
        else:
            try:
                outputs, notes = self._about_stream(call)
            except Exception as error:  # noqa: BLE001 - a user's operator may raise anything; it ends this stream only
                notes = [StreamError(call.stream_id, self._stage.name, sentence_of(error))]
        busy_s = time.perf_counter() - start
        headers = tuple(output.header for output in outputs)
        laps = tuple(self._laps)
        reply = Reply(headers, tuple(notes), tuple(self._failed), busy_s, laps, time.time_ns())
        if self._observer is not None:
            self._observer(call, outputs, reply)
        return reply, outputs

    def close(self) -> None:
        """Closes the operator; what it raises comes too late to matter."""
        if self._observer is not None:
            self._observer.close()
        try:
            self._operator.close()
        except Exception as error:  # noqa: BLE001 - the others must be closed, too
            log.warning("close", stage=self._stage.name, error=sentence_of(error))

    def _about_stream(self, call: Call) -> tuple[list[Any], list[Any]]:
        operator = self._operator
        if call.verb in ("open", "close"):
            self._broken.discard(call.stream_id)
        match call.verb:
            case "open":
                note = operator.open(call.argument)
            case "hello":
                note = None
            case "change":
                note = operator.change(call.argument)
            case "ease":
                note = operator.ease(call.stream_id, call.argument)
            case "read":
                ((_, _, max_frames),) = call.argument
                items = self._retry(lambda: operator(call.stream_id, max_frames))
                return items, [operator.state(call.stream_id)]
            case "poll":
                return self._poll(call)
            case "peek":
                return operator.peek(call.stream_id, *call.argument), []
            case "watch":
                note = operator.watch(call.stream_id, call.argument)
            case "swap":
                note = operator.swap(call.argument)
            case "tell":
                note = operator.tell(call.argument)
            case "finish":
                note = operator.finish(call.stream_id, is_complete=call.argument)
            case _:
                self._close_stream(call.stream_id)
                note = None
        return [], [] if note is None else [note]

    def _poll(self, call: Call) -> tuple[list[Any], list[Any]]:
        """New frames of several cameras; one that fails does not touch the others."""
        operator = self._operator
        operator.wait([stream_id for stream_id, _, _ in call.argument], call.waits_ms[0] / 1e3)
        items: list[Any] = []
        notes: list[Any] = []
        for stream_id, _, max_frames in call.argument:
            try:
                items += operator(stream_id, max_frames)
                notes.append(operator.state(stream_id))
            except Exception as error:  # noqa: BLE001 - a user's source may raise anything; it ends this stream only
                notes.append(StreamError(stream_id, self._stage.name, sentence_of(error)))
        return items, notes

    def _close_stream(self, stream_id: str) -> None:
        """Closes one stream; all its frames have been read, so an error is worth a line and no more."""
        try:
            self._operator.close(stream_id)
        except Exception as error:  # noqa: BLE001 - a user's source may raise anything
            log.warning("close", stage=self._stage.name, stream=stream_id, error=sentence_of(error))

    def _run_parallel(self, items: Sequence[Any], waits_ms: Sequence[float]) -> list[Any]:
        """One output for each item; a batch that fails is halved until the bad items stand alone."""
        try:
            outputs = self._retry(lambda: self._operator(items, waits_ms))
            if len(outputs) != len(items):
                raise PlantainError(
                    f"stage {self._stage.name} gave {len(outputs)} outputs for {len(items)} inputs"
                )
        except Exception as error:  # noqa: BLE001 - a user's backend may raise anything; it fails its own items only
            failure = self._failure(error)
            if len(items) == 1 or failure.retryable:  # a busy model is busy for every half, too
                self._failed.extend((item.header, failure.error) for item in items)
                return [self._operator.fail(item, failure) for item in items]
            half = len(items) // 2
            return self._run_parallel(items[:half], waits_ms[:half]) + self._run_parallel(
                items[half:], waits_ms[half:]
            )
        for output in outputs:
            if (
                isinstance(output, Result) and output.failure is not None
            ):  # one prompt's, which it told by itself
                self._failed.append((output.header, output.failure.error))
        return list(outputs)

    def _run_streams(self, items: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Outputs and notes of each stream's run of items; a stream that fails does not touch the others.

        What is still on its way here when a stream fails comes to nothing: an operator never sees items behind a gap.
        """
        outputs: list[Any] = []
        notes: list[Any] = []
        for stream_id, group in groupby(items, lambda item: item.header.stream_id):
            batch = list(group)
            if stream_id in self._broken:
                continue
            try:
                for output in self._run_stream(stream_id, batch):
                    (outputs if hasattr(output, "header") else notes).append(output)
            except Exception as error:  # noqa: BLE001 - a user's sink may raise anything; it ends this stream only
                self._broken.add(stream_id)
                notes.append(StreamError(stream_id, self._stage.name, sentence_of(error)))
        return outputs, notes

    def _run_stream(self, stream_id: str, batch: list[Any]) -> Iterable[Any]:
        """A stateful operator's outputs; where it can be set back, a failing item is announced and the rest go on.

        Where it cannot, what it has given before an error stands.
        """
        operator = self._operator
        if not hasattr(operator, "snapshot"):
            outputs: Iterable[Any] = operator(batch)
            return outputs
        before = operator.snapshot(stream_id)
        try:
            return list(operator(batch))
        except Exception as error:  # noqa: BLE001 - a user's operator may raise anything; it fails its own items only
            operator.restore(stream_id, before)
            if len(batch) == 1:
                failure = self._failure(error)
                self._failed.append((batch[0].header, failure.error))
                return [operator.fail(batch[0], failure)]
            return [output for item in batch for output in self._run_stream(stream_id, [item])]

    def _retry(self, work: Callable[[], Any]) -> Any:
        return retry(work, self._stage.name, self._sleep)

    def _failure(self, error: Exception) -> Failure:
        retryable = isinstance(error, PlantainError) and error.retryable
        return Failure(self._stage.name, sentence_of(error), retryable)
