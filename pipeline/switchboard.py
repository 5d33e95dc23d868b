"""Where commands and queries of other threads meet the engine's loop, and what comes of them goes back."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog

from plantain.operators.errors import PlantainError, WorkerDiedError
from plantain.operators.render.looks import Look, Picture
from plantain.operators.types import Header, HealthEvent, Result
from plantain.pipeline.checkpoint import Checkpoints
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.engine.queries import Answer, frames_of
from plantain.pipeline.executor import Executor

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(slots=True)
class _Waiting:
    """A command that is under way: `look` gives its answer once there is one."""

    look: Callable[[], Any | None]
    future: Future[Any]


@dataclass(slots=True)
class Asked:
    """A query on its way: whose frames it is about, as its answers shall name them."""

    future: Future[Any]
    headers: tuple[Header, ...] = ()
    stream_id: str = ""


class Switchboard:
    """One run's; `post` and `awake` may be called from any thread, the rest by the engine's loop only.

    Attributes:
        executor, checkpoints, clock: Of the run, once it has begun.
        is_ready: Set when the run has begun, or is over.
        is_over: The run has ended.
        asked: Queries that wait for an answer, by their name.
        looks: What is looked at, by stream and viewer.
        listeners: Who hears of events.
    """

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[tuple[Callable[[Engine], Any], Future[Any]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._wake: Callable[[], None] | None = None
        self._waiting: list[_Waiting] = []
        self.executor: Executor | None = None
        self.checkpoints: Checkpoints | None = None
        self.clock: Callable[[], float] = time.monotonic
        self.is_ready = threading.Event()
        self.is_over = False
        self.asked: dict[str, Asked] = {}
        self.looks: dict[str, dict[int, tuple[Look, Callable[[Picture], None]]]] = {}
        self.listeners: dict[int, Callable[[HealthEvent], None]] = {}

    def attach(self, executor: Executor, checkpoints: Checkpoints | None, clock: Callable[[], float]) -> None:
        """The run begins."""
        self.executor, self.checkpoints, self.clock = executor, checkpoints, clock
        with self._lock:
            self._wake = executor.wake
        self.is_ready.set()

    def serve(self, engine: Engine) -> None:
        """Does what was asked for since the last turn, and passes on what has come of it."""
        while True:
            try:
                work, future = self._inbox.get_nowait()
            except queue.Empty:
                break
            self._do(engine, work, future)
        while engine.answers:
            self._answer(engine.answers.popleft())
        while engine.pictures:
            self._show(engine.pictures.popleft())
        for waiting in list(self._waiting):
            if (answer := waiting.look()) is not None:
                self._waiting.remove(waiting)
                _resolve(waiting.future, answer)

    def tell(self, event: HealthEvent) -> None:
        """Passes an event on to those who listen."""
        for listener in list(self.listeners.values()):
            _call_safely(listener, event)

    def detach(self) -> None:
        """The run has ended: whoever still waits is told so."""
        with self._lock:
            self.is_over, self._wake = True, None
        self.is_ready.set()
        while True:
            try:
                _, future = self._inbox.get_nowait()
            except queue.Empty:
                break
            _reject(future, _over())
        for waiting in self._waiting:
            _reject(waiting.future, _over())
        for asked in list(self.asked.values()):
            _reject(asked.future, _over())
        self._waiting.clear()
        self.asked.clear()

    def post(self, work: Callable[[Engine], Any]) -> Future[Any]:
        """Has the loop do something at its next turn."""
        future: Future[Any] = Future()
        with self._lock:
            if self.is_over:
                future.set_exception(_over())
                return future
            self._inbox.put((work, future))
        self.awake()
        return future

    def awake(self) -> None:
        """Has the loop begin its next turn."""
        with self._lock:
            if self._wake is not None:
                self._wake()

    def _do(self, engine: Engine, work: Callable[[Engine], Any], future: Future[Any]) -> None:
        try:
            answer = work(engine)
        except PlantainError as error:
            _reject(future, error)
            return
        except Exception as error:
            log.exception("command")
            _reject(future, PlantainError(f"{type(error).__name__}: {error}"))
            return
        if callable(answer):
            self._waiting.append(_Waiting(answer, future))
        else:
            _resolve(future, answer)

    def ask(self, query_id: str, work: Callable[[Engine, Asked], None], asked: Asked) -> Future[Any]:
        """Posts a query; its future is cancelled through the engine."""
        posted = self.post(lambda engine: work(engine, asked))

        def on_posted(done: Future[Any]) -> None:
            if not done.cancelled() and (error := done.exception()) is not None:
                _reject(asked.future, error)

        def on_done(done: Future[Any]) -> None:
            if done.cancelled():
                self.post(lambda engine: self._cancel(engine, query_id))

        posted.add_done_callback(on_posted)
        asked.future.add_done_callback(on_done)
        return asked.future

    def _cancel(self, engine: Engine, query_id: str) -> None:
        self.asked.pop(query_id, None)
        engine.cancel(query_id)

    def _answer(self, answer: Answer) -> None:
        """Fetches the results of a query and gives them to whoever asked."""
        asked = self.asked.pop(answer.query_id, None)
        if asked is None or asked.future.cancelled():
            return
        if answer.error is not None:
            _reject(asked.future, answer.error)
            return
        assert self.executor is not None
        try:
            results: list[Result] = frames_of(self.executor.get(answer.handles))
        except WorkerDiedError as error:
            _reject(asked.future, error)
            return
        if asked.stream_id:
            (result,) = results
            _resolve(asked.future, replace(result, header=replace(result.header, stream_id=asked.stream_id)))
            return
        named = [
            replace(result, header=replace(result.header, **_identity(header)))
            for result, header in zip(results, asked.headers, strict=True)
        ]
        _resolve(asked.future, named)

    def _show(self, picture: Picture) -> None:
        for look, on_picture in list(self.looks.get(picture.stream_id, {}).values()):
            if (look.prompt, look.long_side, look.fps) == (picture.prompt, picture.long_side, picture.fps):
                _call_safely(on_picture, picture)

    def watch(self, engine: Engine, stream_id: str) -> None:
        """Tells the engine what is looked at now."""
        looks = dict.fromkeys(look for look, _ in self.looks.get(stream_id, {}).values())
        if not looks:
            self.looks.pop(stream_id, None)
        engine.watch(stream_id, list(looks))


class NoAnswerError(PlantainError):
    """The loop took too long."""


def result_of(future: Future[T], timeout_s: float) -> T:
    """What a command came to.

    Raises:
        NoAnswerError: If that takes too long.
        PlantainError: If it was refused.
    """
    try:
        return future.result(timeout_s)
    except FutureTimeoutError as error:
        future.cancel()
        raise NoAnswerError(
            f"the pipeline has not answered within {timeout_s:g} s; it may be busy"
        ) from error


def _identity(header: Header) -> dict[str, Any]:
    return {"stream_id": header.stream_id, "epoch": header.epoch, "frame_index": header.frame_index}


def _resolve(future: Future[Any], answer: Any) -> None:
    if future.set_running_or_notify_cancel():
        future.set_result(answer)


def _reject(future: Future[Any], error: BaseException) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)


def _call_safely(listener: Callable[[T], None], value: T) -> None:
    with contextlib.suppress(Exception):  # whoever listens must not be able to end the run
        listener(value)


def _over() -> PlantainError:
    return PlantainError("the run has ended")
