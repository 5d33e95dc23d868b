"""The only caller of operators: times them, and keeps one bad item from spoiling the others."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Protocol

import structlog

from plantain.operators.errors import PlantainError
from plantain.operators.following import Follower
from plantain.operators.prompts import Prompt
from plantain.operators.redaction import sentence_of
from plantain.operators.render.looks import Look, Picture
from plantain.operators.retry import in_halves, retry
from plantain.operators.segments import Backlog, Barrier, Durable
from plantain.operators.streams import Ease, ReadState, Start, StreamInfo
from plantain.operators.types import Event, Failure, Header, Request, Result, joined
from plantain.pipeline.calls import (
    MARK,
    Call,
    Change,
    Close,
    Cut,
    Fail,
    Finish,
    Note,
    Open,
    Peek,
    Poll,
    Read,
    Refusal,
    Relieve,
    Reply,
    Run,
    StreamError,
    Swap,
    Tell,
    Watch,
    Weigh,
)
from plantain.pipeline.graph import Kind, Stage

log = structlog.get_logger()

Laps = list[tuple[str, float]]
Output = Result | Durable | Event | Picture


class Reader(Protocol):
    """An operator that makes items (`pipeline.reader.PlannedReader`).

    Attributes:
        laps: What the last calls were made of, as (part, seconds); whoever reads it clears it.
    """

    laps: Laps

    def open(self, start: Start) -> StreamInfo:
        """A stream is to be read from where it starts."""
        ...

    def change(self, start: Start) -> None:
        """Something else is asked of its next frames."""
        ...

    def ease(self, stream_id: str, ease: Ease) -> None:
        """Less is asked of its next frames, or all again."""
        ...

    def watch(self, stream_id: str, looks: Sequence[Look]) -> None:
        """Pictures of it are wanted, or none any more."""
        ...

    def wait(self, stream_ids: Sequence[str], timeout_s: float) -> None:
        """Sleeps until one of several streams has something."""
        ...

    def read(self, stream_id: str, max_frames: int) -> Sequence[Request | Result]:
        """Its next items."""
        ...

    def peek(self, stream_id: str, query_id: str, prompts: tuple[Prompt, ...]) -> Sequence[Request]:
        """Its newest frame, as a query asks it."""
        ...

    def state(self, stream_id: str) -> ReadState:
        """How far reading it has come."""
        ...

    def close(self, stream_id: str | None = None) -> None:
        """Closes one stream, or all."""
        ...


class Answerer(Protocol):
    """An operator that gives one result for each request (`operators.infer.Infer`).

    Attributes:
        laps: As of readers.
    """

    laps: Laps

    def __call__(self, requests: Sequence[Request], waits_ms: Sequence[float] = ()) -> Sequence[Result]:
        """Results in the order of the requests."""
        ...

    def fail(self, request: Request, failure: Failure) -> Result:
        """The result that announces that a request failed."""
        ...

    def swap(self, options: Mapping[str, Any] | None) -> None:
        """Answers with other weights from now on."""
        ...

    def forget(self, stream_id: str) -> None:
        """Forgets what is kept about a stream."""
        ...

    def close(self) -> None:
        """Gives back what it holds."""
        ...


class Observer(Protocol):
    """Is told of each call in the worker that did it, where the payloads are at hand. Must not raise."""

    def __call__(self, call: Call, outputs: Sequence[Any], reply: Reply) -> None:
        """A call is done; its inputs are `call.headers`."""
        ...

    def close(self) -> None:
        """The worker ends."""
        ...


class StageWorker(ABC):
    """One running copy of a stage's operator.

    Args:
        stage: What to run.
        sleep: How to wait before a retry.
    """

    def __init__(self, stage: Stage, sleep: Callable[[float], None]) -> None:
        self.stage = stage
        self.sleep = sleep
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
        laps = self.laps()
        laps.clear()
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
            tuple(laps),
            time.time_ns(),
            tuple(self.costs),
            tuple(replace(picture, jpeg=b"") for picture in self.pictures),
            self.backlogs,
        )
        if self._observer is not None:
            self._observer(call, outputs, reply)
        return reply, [*outputs, *(picture.jpeg for picture in self.pictures)]

    @abstractmethod
    def do(self, call: Call, payloads: Sequence[Sequence[Any]]) -> tuple[list[Any], list[Note]]:
        """What goes on, and what the engine must know."""

    @abstractmethod
    def laps(self) -> Laps:
        """The operator's own."""

    @abstractmethod
    def end(self) -> None:
        """Closes the operator."""

    def close(self) -> None:
        """Closes the operator; what it raises comes too late to matter."""
        if self._observer is not None:
            self._observer.close()
        try:
            self.end()
        except Exception as error:  # noqa: BLE001 - the others must be closed, too
            log.warning("close", stage=self.stage.name, error=sentence_of(error))

    def about_stream(self, call: Call, work: Callable[[], Note | None]) -> list[Note]:
        """What an operator says to something about a stream; what it raises ends the stream."""
        try:
            note = work()
        except Exception as error:  # noqa: BLE001 - a user's operator may raise anything; it ends this stream only
            return [StreamError(call.stream_id, self.stage.name, sentence_of(error))]
        return [] if note is None else [note]

    def failure_of(self, error: Exception) -> Failure:
        """What became of an item whose operator raised."""
        return Failure(
            self.stage.name, sentence_of(error), isinstance(error, PlantainError) and error.retryable
        )

    def note_failed(self, header: Header, error: str) -> None:
        """Every prompt of an item failed here."""
        self.failed += [Refusal(header, prompt, error) for prompt in header.prompts or ("",)]


class ReaderWorker(StageWorker):
    """A worker of the source stage."""

    def __init__(self, stage: Stage, sleep: Callable[[float], None]) -> None:
        super().__init__(stage, sleep)
        self._reader: Reader = stage.make()

    def laps(self) -> Laps:
        """The operator's own."""
        return self._reader.laps

    def end(self) -> None:
        """Closes every stream."""
        self._reader.close()

    def do(self, call: Call, payloads: Sequence[Sequence[Any]]) -> tuple[list[Any], list[Note]]:
        """Reads, or is told something about a stream."""
        del payloads
        reader, stream_id = self._reader, call.stream_id
        items: list[Any] = []
        match call.work:
            case Poll(wanted, wait_s):
                reader.wait([each.stream_id for each in wanted], wait_s)
                notes = [
                    note for each in wanted for note in self._read(each.stream_id, each.max_frames, items)
                ]
            case Read(wanted):
                notes = self._read(stream_id, wanted.max_frames, items)
            case Peek(query_id, prompts):
                notes = self.about_stream(
                    call, lambda: items.extend(reader.peek(stream_id, query_id, prompts))
                )
            case Open(start):
                notes = self.about_stream(call, lambda: reader.open(start))
            case Change(start):
                notes = self.about_stream(call, lambda: reader.change(start))
            case Relieve(ease):
                notes = self.about_stream(call, lambda: reader.ease(stream_id, ease))
            case Watch(looks):
                notes = self.about_stream(call, lambda: reader.watch(stream_id, looks))
            case Close():
                notes = []
                closed = self.about_stream(call, lambda: reader.close(stream_id))
                for error in closed:  # all its frames have been read: worth a line and no more
                    log.warning("close", stage=self.stage.name, stream=stream_id, error=error)
            case _:
                notes = []
        return items, notes

    def _read(self, stream_id: str, max_frames: int, items: list[Any]) -> list[Note]:
        """Adds the next items of a stream; one that fails does not touch the others."""
        try:
            items += retry(lambda: self._reader.read(stream_id, max_frames), self.stage.name, self.sleep)
            return [self._reader.state(stream_id)]
        except Exception as error:  # noqa: BLE001 - a user's source may raise anything; it ends this stream only
            return [StreamError(stream_id, self.stage.name, sentence_of(error))]


class PoolWorker(StageWorker):
    """A worker of a pool of models."""

    def __init__(self, stage: Stage, sleep: Callable[[float], None]) -> None:
        super().__init__(stage, sleep)
        self._answerer: Answerer = stage.make()

    def laps(self) -> Laps:
        """The operator's own."""
        return self._answerer.laps

    def end(self) -> None:
        """Gives back the model."""
        self._answerer.close()

    def do(self, call: Call, payloads: Sequence[Sequence[Any]]) -> tuple[list[Any], list[Note]]:
        """Answers, or is told something about the model or a stream."""
        requests = [parts[0] for parts in payloads]
        match call.work:
            case Run() if self.stage.kind is Kind.PARALLEL:
                return self._answer(requests, call.waits_ms), []
            case Run():  # a model that keeps something about streams sees one at a time
                return self._answer_streams(list(zip(requests, call.waits_ms, strict=True))), []
            case Fail(failure):
                for header in call.headers:
                    self.note_failed(header, failure.error)
                return [self._answerer.fail(request, failure) for request in requests], []
            case Swap(options):
                return [], self.about_stream(call, lambda: self._answerer.swap(options))
            case Open() | Close() | Finish():
                return [], self.about_stream(call, lambda: self._answerer.forget(call.stream_id))
            case _:
                return [], []

    def _answer_streams(self, asked: list[tuple[Any, float]]) -> list[Any]:
        """Outputs of each stream's run of items; what a query showed is forgotten at once."""
        outputs: list[Any] = []
        for stream_id, group in groupby(asked, lambda pair: pair[0].header.stream_id):
            items, waits_ms = zip(*group, strict=True)
            outputs += self._answer(items, waits_ms)
            if stream_id.startswith(MARK):
                self._answerer.forget(stream_id)
        return outputs

    def _answer(self, items: Sequence[Any], waits_ms: Sequence[float]) -> list[Any]:
        """One output for each item; a batch that fails is halved until the bad items stand alone."""
        waited = waits_ms or [0.0] * len(items)
        return in_halves(self._ask, list(zip(items, waited, strict=True)), self._announce) if items else []

    def _ask(self, asked: Sequence[tuple[Any, float]]) -> list[Any]:
        """What the model says to items, each with the time that it waited."""
        items, waits_ms = zip(*asked, strict=True)
        try:
            outputs = retry(lambda: self._answerer(items, waits_ms), self.stage.name, self.sleep)
        except Exception:
            if self.stage.kind is not Kind.PARALLEL:
                self._answerer.forget(items[0].header.stream_id)
            raise
        if len(outputs) != len(items):
            raise PlantainError(
                f"stage {self.stage.name} gave {len(outputs)} outputs for {len(items)} inputs"
            )
        for output in outputs:
            self.failed += [Refusal(output.header, prompt, why.error) for prompt, why in output.failures]
            if output.cost_usd:
                self.costs.append((output.header, output.cost_usd))
        return list(outputs)

    def _announce(self, asked: Sequence[tuple[Any, float]], error: Exception) -> list[Any]:
        """Items that failed, said to be so."""
        failure = self.failure_of(error)
        for item, _ in asked:
            self.note_failed(item.header, failure.error)
        return [self._answerer.fail(item, failure) for item, _ in asked]


class FollowerWorker(StageWorker):
    """A worker of a stage that follows streams."""

    def __init__(self, stage: Stage, sleep: Callable[[float], None]) -> None:
        super().__init__(stage, sleep)
        self._follower: Follower = stage.make()
        self._broken: set[str] = set()  # streams that failed here, and have not been closed or opened again

    def laps(self) -> Laps:
        """The operator's own."""
        return self._follower.laps

    def end(self) -> None:
        """Closes all that it has."""
        self._follower.close()

    def do(self, call: Call, payloads: Sequence[Sequence[Any]]) -> tuple[list[Any], list[Note]]:
        """Works on items, or is told something about a stream."""
        follower, stream_id = self._follower, call.stream_id
        match call.work:
            case Run():
                whole = [joined(header, parts) for header, parts in zip(call.headers, payloads, strict=True)]
                return self._follow_all(whole)
            case Open(start):
                self._broken.discard(stream_id)
                return [], self.about_stream(call, lambda: follower.open(start))
            case Change(start):
                return [], self.about_stream(call, lambda: follower.change(start))
            case Cut(barriers):
                return [], self._cut([each for each in barriers if each.stream_id not in self._broken])
            case Watch(looks):
                return [], self.about_stream(call, lambda: follower.watch(stream_id, looks))
            case Tell(event):
                return [], self.about_stream(call, lambda: follower.tell(event))
            case Finish(promise):
                return [], self.about_stream(call, lambda: follower.finish(stream_id, promise))
            case Weigh():
                self.backlogs = tuple(follower.backlogs())
                return [], []
            case Close():
                self._broken.discard(stream_id)
                for error in self.about_stream(call, lambda: follower.close(stream_id)):
                    log.warning("close", stage=self.stage.name, stream=stream_id, error=error)
                return [], []
            case _:
                return [], []

    def _cut(self, barriers: list[Barrier]) -> list[Note]:
        """What has come of barriers; where that fails, all their streams end."""
        try:
            return list(self._follower.cut(barriers)) if barriers else []
        except Exception as error:  # noqa: BLE001 - a user's sink may raise anything
            said = sentence_of(error)
            return [StreamError(barrier.stream_id, self.stage.name, said) for barrier in barriers]

    def _follow_all(self, items: Sequence[Result]) -> tuple[list[Any], list[Note]]:
        """Outputs and notes of each stream's run of items; a stream that fails does not touch the others.

        What is still on its way here when a stream fails comes to nothing: an operator never sees items behind a gap.
        """
        outputs: list[Any] = []
        notes: list[Note] = []
        for stream_id, group in groupby(items, lambda item: item.header.stream_id):
            batch = list(group)
            if stream_id in self._broken:
                continue
            try:
                for output in self._follow(stream_id, batch):
                    if isinstance(output, Result):
                        outputs.append(output)
                    elif isinstance(output, Picture):
                        self.pictures.append(output)
                    else:
                        notes.append(output)
            except Exception as error:  # noqa: BLE001 - a user's sink may raise anything; it ends this stream only
                self._broken.add(stream_id)
                notes.append(StreamError(stream_id, self.stage.name, sentence_of(error)))
        return outputs, notes

    def _follow(self, stream_id: str, batch: list[Result]) -> Iterator[Output]:
        """An operator's outputs; where it can be set back, a failing item is announced and the rest go on."""
        follower = self._follower
        if not follower.undoes:
            yield from follower(batch)
            return
        before = follower.snapshot(stream_id)
        try:
            outputs = list(follower(batch))
        except Exception as error:  # noqa: BLE001 - a user's operator may raise anything; it fails its own items only
            follower.restore(stream_id, before)
            if len(batch) > 1:
                outputs = [output for item in batch for output in self._follow(stream_id, [item])]
            else:
                failure = self.failure_of(error)
                self.note_failed(batch[0].header, failure.error)
                outputs = [follower.fail(batch[0], failure)]
        yield from outputs


def worker_of(stage: Stage, sleep: Callable[[float], None] = time.sleep) -> StageWorker:
    """A running copy of a stage; its operator is made here.

    Args:
        stage: What to run.
        sleep: How to wait before a retry.
    """
    if stage.kind is Kind.SOURCE:
        return ReaderWorker(stage, sleep)
    return PoolWorker(stage, sleep) if stage.is_pool else FollowerWorker(stage, sleep)
