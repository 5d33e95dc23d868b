"""Carries out what is said to a run, between two turns of its engine.

    any thread  --submit(command)-->  inbox  --serve(engine), in the engine's loop-->  engine
                <------ Future ------ answer <--  answers, pictures, events

So the engine stays pure, and nothing that another thread does can come in the middle of a turn. What is done to streams
is in `roster.py`, what is asked in `questions.py`, what is looked at in `views.py`, what happened in `notes.py`.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar, assert_never, cast

import structlog

from plantain.operators.errors import PlantainError, UsageError
from plantain.operators.health import HealthEvent
from plantain.operators.render.looks import Picture
from plantain.operators.types import Event
from plantain.pipeline import commands
from plantain.pipeline.checkpoint import Checkpoints
from plantain.pipeline.commands import TIMEOUT_S, Add, Command, EngineDownError, Remove, no_answer
from plantain.pipeline.config import PipelineConfig
from plantain.pipeline.definitions import Definitions
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.engine.stream import Stream
from plantain.pipeline.engine.streams import UnknownStreamError
from plantain.pipeline.executor import Executor, then
from plantain.pipeline.notes import Notes
from plantain.pipeline.questions import Questions
from plantain.pipeline.roster import Roster
from plantain.pipeline.said import Said, settle
from plantain.pipeline.status import StreamStatus, status_of
from plantain.pipeline.video import targets_of
from plantain.pipeline.views import Views

# Before the run has begun, its model is still being loaded.
START_TIMEOUT_S = 300.0
MAX_STREAMS = 1000

A = TypeVar("A")

log = structlog.get_logger()


class Control:
    """The handle on a pipeline; thread-safe. Made first, then handed to `runner.run(..., control=control)`.

    A run with a control goes on until `stop`, also without streams. When it has ended, another may begin with the same
    control, and the streams as they are wanted by then.

    Args:
        config: What is run; streams that are added are asked its common prompts unless they name their own.
        max_streams: No more than this at a time.
        is_lasting: Whether the run goes on when every stream has ended.
        definitions: The streams as they are wanted; the configuration's if left out.
        keep: Stores them for ever; called aside, before a command that changed them is answered.

    Attributes:
        definitions: The streams as they are wanted now.
        notes: What happened to them.
        has_run: Whether a run has begun.
    """

    def __init__(
        self,
        config: PipelineConfig,
        *,
        max_streams: int = MAX_STREAMS,
        is_lasting: bool = True,
        definitions: Definitions | None = None,
        keep: Callable[[Definitions], None] | None = None,
    ) -> None:
        self._config = config
        self.is_lasting = is_lasting
        self.definitions = Definitions.of(config) if definitions is None else definitions
        self.notes = Notes()
        self.has_run = False
        self._has_begun = threading.Event()  # or could not
        self._is_stopped = threading.Event()
        self._lock = threading.Lock()
        self._inbox: queue.SimpleQueue[Said | Callable[[Engine], None]] = queue.SimpleQueue()
        self._executor: Executor | None = None  # of the run that is under way
        self._clock: Callable[[], float] = time.monotonic
        self._is_over = False
        # What follows is touched by the engine's loop only, and between two runs by nobody.
        self._roster = Roster(config, self.definitions, keep, max_streams)
        self._questions: Questions | None = None
        self._views = Views()
        self._open: list[Said] = []

    # -- for everybody -------------------------------------------------------------------------------------

    def do(self, command: Command[A], timeout_s: float = TIMEOUT_S) -> A:
        """Says something and waits for the answer; a run that has not begun yet is waited for.

        Args:
            command: What is said.
            timeout_s: How long to wait, on top of what the command itself may wait for.

        Raises:
            EngineDownError: If the run has ended, or takes too long.
            PlantainError: What the command raises.
        """
        self._has_begun.wait(START_TIMEOUT_S)
        future = self.submit(command, timeout_s)
        try:
            return future.result(command.patience_s(timeout_s))
        except FutureTimeoutError as error:
            future.cancel()
            raise no_answer(command.patience_s(timeout_s)) from error

    def submit(self, command: Command[A], timeout_s: float = TIMEOUT_S) -> Future[A]:
        """Says something; the future has the answer, or fails as `do` does. Cancel it to take the command back.

        Args:
            command: What is said.
            timeout_s: It is not begun later than this.
        """
        future: Future[A] = Future()
        said = Said(command, future, time.monotonic() + timeout_s)
        if isinstance(command, Add):
            try:
                said.command = replace(command, stream=self._config.named_one(command.stream))
            except PlantainError as error:
                future.set_exception(error)
                return future
        future.add_done_callback(self._on_done)
        self._post(said)
        return future

    def show(self, look: Callable[[Engine], None]) -> None:
        """Shows the engine in its loop, at its next turn, which begins at once; returns before."""
        self._post(look)

    def stop(self) -> None:
        """Lets the run drain and end; returns at once."""
        self._is_stopped.set()
        self._awake()

    @property
    def is_ready(self) -> bool:
        """Whether a run is under way: every worker, and the model, is there."""
        return self._executor is not None

    @property
    def is_stopped(self) -> bool:
        """Whether the run is to end."""
        return self._is_stopped.is_set()

    @property
    def holds_run(self) -> bool:
        """Whether the run goes on, even if there is nothing to do just now."""
        return self.is_lasting and not self.is_stopped

    # -- for the runner ------------------------------------------------------------------------------------

    def attach(
        self, engine: Engine, executor: Executor, checkpoints: Checkpoints | None, clock: Callable[[], float]
    ) -> None:
        """A run begins."""
        self._clock = clock
        self._questions = Questions(executor, targets_of(self._config))
        self._roster.begin(engine, checkpoints)
        with self._lock:
            self._executor, self._is_over, self.has_run = executor, False, True
        self._has_begun.set()

    def serve(self, engine: Engine) -> None:
        """Does what was said since the last turn, and answers what can be answered by now."""
        with suppress(queue.Empty):
            while True:
                said = self._inbox.get_nowait()
                if isinstance(said, Said):
                    self._take(said, engine)
                else:
                    said(engine)
        while engine.queries.answers and self._questions is not None:
            if (answered := self._questions.answer(engine.queries.answers.popleft())) is not None:
                settle(*answered)
        while engine.flow.pictures:
            self._views.take(*engine.flow.pictures.popleft())
        now = time.monotonic()
        self._views.tend(engine, now)
        for said in list(self._open):
            self._look_at(said, engine, now)
        engine.swapped.clear()  # whoever wanted to know has left

    def rest_s(self) -> float:
        """`serve` is to be called again after so many seconds, even if nothing happens."""
        now = time.monotonic()
        return min((said.until_s for said in self._open if said.until_s > now), default=float("inf")) - now

    def tell(self, event: HealthEvent | Event) -> None:
        """Something has happened to a stream."""
        self.notes.add(event)

    def forget(self, stream: Stream) -> None:
        """A stream is gone."""
        self._roster.forget(status_of(stream, self._clock()))
        self._views.forget(stream.stream_id)

    def detach(self) -> None:
        """The run has ended: whoever still waits is told so."""
        with self._lock:
            self._executor, self._is_over = None, True
        self._has_begun.set()
        self._roster.end()
        with suppress(queue.Empty):
            while True:
                if isinstance(said := self._inbox.get_nowait(), Said):
                    settle(said.future, _over())
        waiting = [] if self._questions is None else self._questions.end()
        for future in (*waiting, *(said.future for said in self._open)):
            settle(future, _over())
        self._open.clear()
        self._views.close()

    # -- how it is done ------------------------------------------------------------------------------------

    def _post(self, said: Said | Callable[[Engine], None]) -> None:
        """Has the loop see to something, unless there is none any more."""
        with self._lock:
            if not (is_over := self._is_over):
                self._inbox.put(said)
        if is_over and isinstance(said, Said):
            settle(said.future, _over())
        self._awake()

    def _awake(self) -> None:
        """Has the loop begin its next turn."""
        with self._lock:
            if self._executor is not None:
                self._executor.wake()

    def _on_done(self, future: Future[Any]) -> None:
        if future.cancelled():
            self._post(lambda engine: self._give_up(future, engine))

    def _give_up(self, future: Future[Any], engine: Engine) -> None:
        """Nobody wants an answer any more."""
        self._open = [said for said in self._open if said.future is not future]
        if self._questions is not None:
            self._questions.give_up(future, engine)

    def _take(self, said: Said, engine: Engine) -> None:
        """Begins what was said, unless nobody waits for it any more."""
        if isinstance(said.command, Add) and said.start is not None:
            self._roster.give_up(said.command)
        if said.future.cancelled():
            return
        try:
            if time.monotonic() > said.deadline_s:
                raise EngineDownError("nobody waited for this any more, so it was not done")
            self._begin(said, engine)
        except PlantainError as error:
            settle(said.future, error)
        except Exception as error:
            log.exception("command")
            settle(said.future, PlantainError(f"{type(error).__name__}: {error}"))

    def _status(self, stream: Stream, engine: Engine) -> StreamStatus:
        return status_of(stream, self._clock(), engine.backlogs.behind(stream), str(engine.deletions))

    def _begin(self, said: Said, engine: Engine) -> None:
        """Does what was said; it is answered at once, or in a later turn."""
        said.until_s = time.monotonic() + said.command.patience_s(0.0)
        match command := cast("commands.AnyCommand", said.command):
            case commands.Streams():
                settle(said.future, [self._status(stream, engine) for stream in engine.streams.values()])
            case commands.Status(stream_id):
                if (stream := engine.streams.get(stream_id)) is None:
                    raise UnknownStreamError(f"there is no stream '{stream_id}'")
                settle(said.future, self._status(stream, engine))
            case Add() if said.start is not None:
                said.stream = self._roster.add(command, said.start.result(), engine)
                self._keep(said)
            case Add():
                said.start = self._roster.expect(command, engine)
                if said.start is not None:
                    said.start.add_done_callback(lambda _: self._post(said))
                else:
                    said.stream, said.is_new = engine.streams[str(command.stream.id)], False
                    self._keep(said)
            case commands.Change() | commands.Pause() | commands.Resume():
                said.stream = self._roster.change(command, engine)
                self._keep(said)
            case Remove(stream_id) if stream_id in self._roster.gone and stream_id not in engine.streams:
                settle(said.future, self._roster.gone[stream_id])
            case Remove():
                said.stream = self._roster.remove(command, engine)
                self.forget(said.stream)  # also if this run ends before it is drained
                self._keep(said)
            case commands.Ask() | commands.AskStream():
                assert self._questions is not None
                self._questions.ask(command, said.future, engine, self._clock())
            case commands.Watch() | commands.Listen():
                self._open.append(said)
            case commands.Swap():
                engine.swap_model(command.options, command.model and f"infer-{command.model}")
                self._open.append(said)
            case commands.Ready():
                settle(said.future, commands.Readiness())
            case commands.Figures():
                raise UsageError("only a service gives its figures so; a run has --metrics")
            case _:
                assert_never(command)

    def _keep(self, said: Said) -> None:
        """Has a change answered once it is kept, and the stream has come to rest if that is waited for."""
        if (kept := self._roster.keep()) is not None:
            said.kept = kept
            kept.add_done_callback(lambda _: self._awake())
        self._open.append(said)

    def _look_at(self, said: Said, engine: Engine, now: float) -> None:
        """Answers what waits for something, if that is there by now or the wait is over."""
        is_over = now >= said.until_s
        answer: object
        match said.command:
            case commands.Listen(after=after):
                answer = self.notes.after(after)
                is_there = bool(answer)
            case commands.Watch() as watch:
                shown = self._views.newer(watch, engine, now)
                is_there = bool(shown)
                answer = self._files_of(shown) if is_there or is_over else None
            case commands.Swap():
                is_there = bool(engine.swapped)
                answer = engine.swapped.popleft() if is_there else no_answer(said.command.wait_s)
            case command:
                assert said.stream is not None
                if said.kept is not None and not said.kept.done():
                    return
                status = status_of(said.stream, self._clock())
                is_there = self._roster.is_at_rest(command, said.stream, engine)
                answer = commands.Added(status, said.is_new) if isinstance(command, Add) else status
                if said.kept is not None and (error := said.kept.exception()) is not None:
                    answer, is_there = error, True
        if is_there or is_over:
            self._open.remove(said)
            settle(said.future, answer)

    def _files_of(self, shown: list[tuple[Picture, Any]]) -> Future[list[Picture]]:
        """Pictures with their files."""
        assert self._executor is not None
        pictures = [picture for picture, _ in shown]
        fetched = self._executor.fetch([handle for _, handle in shown])
        return then(
            fetched,
            lambda files: [replace(each, jpeg=file) for each, file in zip(pictures, files, strict=True)],
        )


def _over() -> EngineDownError:
    return EngineDownError("the run has ended")
