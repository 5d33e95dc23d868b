"""What may be done to a running pipeline: its streams, questions between them, its model.

Every method posts a command that the engine's loop carries out between two turns, and waits for the answer:

    another thread  --Control.add(...)-->  inbox  --Control.serve(engine), in the loop-->  engine
                    <------ Future ------                                             <--  answers, pictures, events

So the engine stays pure, and nothing that another thread does can come in the middle of a turn.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar

from plantain.operators.errors import PlantainError, UsageError
from plantain.operators.plan import requests_of
from plantain.operators.prompts import Prompt
from plantain.operators.render.looks import Look, Picture
from plantain.operators.types import Frame, HealthEvent, Result
from plantain.pipeline.checkpoint import Checkpoints
from plantain.pipeline.config import PipelineConfig, StreamConfig
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.engine.queries import MARK
from plantain.pipeline.engine.stream import ENDED, Phase
from plantain.pipeline.engine.streams import UnknownStreamError
from plantain.pipeline.executor import Executor
from plantain.pipeline.status import StreamStatus, status_of
from plantain.pipeline.switchboard import Asked, NoAnswerError, Switchboard, result_of
from plantain.pipeline.video import made_of, start_of, targets_of

__all__ = ["Control", "Picture", "StreamStatus", "UnknownStreamError"]

# A command that has to wait for a stream to be drained says how far it is after this long.
DRAIN_TIMEOUT_S = 30.0
# Loading weights on a busy machine.
SWAP_TIMEOUT_S = 300.0
TIMEOUT_S = 10.0
# Before the run has begun, its model is still being loaded.
START_TIMEOUT_S = 300.0
MAX_STREAMS = 1000

T = TypeVar("T")


class Control:
    """The handle on a running pipeline; thread-safe. Made first, then handed to `runner.run(..., control=control)`.

    A run with a control goes on until `stop`, also without streams.

    Args:
        config: What is run; streams that are added are asked its common prompts unless they name their own.
        max_streams: No more than this at a time.
        is_lasting: Whether the run goes on when every stream has ended.
    """

    def __init__(
        self, config: PipelineConfig, *, max_streams: int = MAX_STREAMS, is_lasting: bool = True
    ) -> None:
        self._config = config
        self.is_lasting = is_lasting
        self._max_streams = max_streams
        self._is_stopped = threading.Event()
        self._numbers = itertools.count(1)
        self._configs: dict[str, StreamConfig] = {}  # touched by the engine's loop only
        self._configs.update({str(stream.id): stream for stream in config.named()})
        self._board = Switchboard()

    # -- streams -------------------------------------------------------------------------------------------

    def add(self, stream: StreamConfig, *, timeout_s: float = TIMEOUT_S) -> StreamStatus:
        """Adds a stream, which goes on where an earlier one of its name is durable; a camera begins a new epoch.

        Raises:
            UsageError: If its name is taken, nothing is asked of it, there are too many, or the output folder holds
                results of a file of this name that was asked something else.
        """
        named = self._config.named_one(stream)
        self._board.is_ready.wait(START_TIMEOUT_S)  # only then it is known what is durable
        start = start_of(self._config, named, self._board.checkpoints)

        def work(engine: Engine) -> StreamStatus:
            if len(engine.streams) >= self._max_streams:
                raise UsageError(f"there are {self._max_streams} streams already, the most that are allowed")
            if self._board.checkpoints is not None and not start.is_live:
                self._board.checkpoints.admit(start.spec.stream_id, made_of(self._config, named))
            added = engine.add(start)
            self._configs[added.stream_id] = named
            return status_of(added, self._board.clock())

        return self._call(work, timeout_s)

    def change(self, stream_id: str, changes: Mapping[str, Any]) -> StreamStatus:
        """Goes on with other settings: keys of StreamConfig, but for `id`, `url` and `source`.

        Raises:
            UsageError: If one is unknown or makes no sense.
            UnknownStreamError: If there is no such stream.
        """
        fixed = sorted({"id", "url", "source"} & {*changes})
        if fixed:
            raise UsageError(f"{', '.join(fixed)} of a stream cannot be changed; remove it and add another")

        def work(engine: Engine) -> StreamStatus:
            engine.find(stream_id)
            changed = self._configs[stream_id].changed(changes)
            stream = engine.change(start_of(self._config, changed, None))
            self._configs[stream_id] = changed
            return status_of(stream, self._board.clock())

        return self._call(work)

    def pause(self, stream_id: str) -> StreamStatus:
        """Stores what is in flight, closes the source and waits for `resume`.

        Raises:
            UnknownStreamError: If there is no such stream.
            UsageError: If it has ended.
        """

        def work(engine: Engine) -> Callable[[], StreamStatus | None]:
            stream = engine.pause(stream_id)

            def look() -> StreamStatus | None:
                is_there = (
                    stream.phase is Phase.PAUSED or stream.phase in ENDED or stream.then is not Phase.PAUSED
                )
                return status_of(stream, self._board.clock()) if is_there else None

            return look

        return self._call_and_wait(work, DRAIN_TIMEOUT_S, lambda: self.status(stream_id))

    def resume(self, stream_id: str) -> StreamStatus:
        """Lets a paused stream go on, and one that failed try again.

        Raises:
            UnknownStreamError: If there is no such stream.
            UsageError: If it is done.
        """
        return self._call(lambda engine: status_of(engine.resume(stream_id), self._board.clock()))

    def remove(self, stream_id: str, *, drain: bool = True) -> StreamStatus:
        """Ends a stream and forgets it; what is stored stays. Without `drain`, what is in flight is dropped.

        Returns:
            Its last status.

        Raises:
            UnknownStreamError: If there is no such stream.
        """

        def work(engine: Engine) -> Callable[[], StreamStatus | None]:
            stream = engine.remove(stream_id, drain=drain)
            self._board.looks.pop(stream_id, None)

            def look() -> StreamStatus | None:
                if engine.streams.get(stream_id) is stream:
                    return None
                return status_of(stream, self._board.clock())

            return look

        return self._call_and_wait(work, DRAIN_TIMEOUT_S)

    def streams(self) -> list[StreamStatus]:
        """Every stream, all at one moment."""

        def work(engine: Engine) -> list[StreamStatus]:
            now = self._board.clock()
            return [status_of(stream, now) for stream in engine.streams.values() if not stream.is_leaving]

        return self._call(work)

    def status(self, stream_id: str) -> StreamStatus:
        """One stream.

        Raises:
            UnknownStreamError: If there is none of this name.
        """
        return self._call(lambda engine: status_of(engine.find(stream_id), self._board.clock()))

    def config_of(self, stream_id: str) -> StreamConfig:
        """A stream's settings.

        Raises:
            UnknownStreamError: If there is none of this name.
        """

        def work(engine: Engine) -> StreamConfig:
            engine.find(stream_id)
            return self._configs[stream_id]

        return self._call(work)

    # -- questions -----------------------------------------------------------------------------------------

    def ask(self, frames: Sequence[Frame], prompts: Sequence[Prompt]) -> Future[list[Result]]:
        """Asks frames from anywhere, in the next batch and before those of streams.

        Args:
            frames: At the size of some canvas; at least one.
            prompts: What is asked of each; at least one.

        Returns:
            A result for each frame; where the model refused, its predictions are Failures. Fails with a PlantainError
            (ModelBusyError if too many frames wait); `cancel` takes back what was not given to the model yet.
        """
        if not frames or not prompts:
            raise UsageError("a query needs at least one frame and one prompt")
        query_id = f"{MARK}{next(self._numbers)}"
        requests = [
            replace(each, header=replace(each.header, stream_id=query_id, epoch=0, frame_index=place))
            for place, frame in enumerate(frames)
            for each in requests_of(frame, tuple(prompts), {}, targets_of(self._config))
        ]

        def work(engine: Engine, asked: Asked) -> None:
            assert self._board.executor is not None
            handles = self._board.executor.put(requests)
            engine.ask(query_id, [request.header for request in requests], handles, self._board.clock())
            self._board.asked[query_id] = asked

        return self._board.ask(query_id, work, Asked(Future(), tuple(frame.header for frame in frames)))

    def ask_stream(self, stream_id: str, prompts: Sequence[Prompt]) -> Future[Result]:
        """Asks the newest frame of a stream, which is looked at as one of the stream all the same.

        Returns:
            Its result. Fails with a PlantainError: UnknownStreamError; SourceError where the stream is paused, has
            ended or has had no frame yet.
        """
        if not prompts:
            raise UsageError("a query needs at least one prompt")
        query_id = f"{MARK}{next(self._numbers)}"

        def work(engine: Engine, asked: Asked) -> None:
            engine.ask_stream(query_id, stream_id, tuple(prompts), self._board.clock())
            self._board.asked[query_id] = asked

        return self._board.ask(query_id, work, Asked(Future(), stream_id=stream_id))

    # -- looking on ----------------------------------------------------------------------------------------

    def listen(self, on_event: Callable[[HealthEvent], None]) -> Callable[[], None]:
        """Hears of every change of health and of everything that is done to a stream.

        Args:
            on_event: Called in the engine's loop; must return at once.

        Returns:
            Call it to stop listening.
        """
        number = next(self._numbers)
        self._call(lambda _: self._board.listeners.update({number: on_event}))

        def end() -> None:
            self._board.post(lambda _: self._board.listeners.pop(number, None))

        return end

    def view(
        self,
        stream_id: str,
        prompt: str,
        on_picture: Callable[[Picture], None],
        *,
        fps: float = 5.0,
        long_side: int = 640,
    ) -> Callable[[], None]:
        """Annotated JPEGs of a stream, drawn where its sinks are, and only while somebody looks.

        Args:
            stream_id: The stream.
            prompt: The answer to show; empty for all of them.
            on_picture: Called in the engine's loop; must return at once.
            fps: At most so many pictures per second; results in between are not drawn.
            long_side: Of the pictures, pixels.

        Returns:
            Call it to stop looking.

        Raises:
            UnknownStreamError: If there is no such stream.
            UsageError: If it is not asked this prompt, or nothing could be seen.
        """
        if not fps > 0 or not 16 <= long_side <= 4096:
            raise UsageError(
                f"a view needs fps above 0 and a long side from 16 to 4096, not {fps} and {long_side}"
            )
        number = next(self._numbers)
        look = Look(prompt, fps, long_side)

        def begin(engine: Engine) -> None:
            stream = engine.find(stream_id)
            if prompt and prompt not in stream.prompts:
                raise UsageError(f"stream '{stream_id}' is not asked '{prompt}'")
            self._board.looks.setdefault(stream_id, {})[number] = (look, on_picture)
            self._board.watch(engine, stream_id)

        def end_in_loop(engine: Engine) -> None:
            if self._board.looks.get(stream_id, {}).pop(number, None) is not None:
                self._board.watch(engine, stream_id)

        def end() -> None:
            self._board.post(end_in_loop)

        self._call(begin)
        return end

    def show(self, look: Callable[[Engine], None]) -> None:
        """Shows the engine in its loop, at its next turn, which begins at once; returns before."""
        self._board.post(look)

    # -- the model and the run -----------------------------------------------------------------------------

    def swap_model(self, options: Mapping[str, Any]) -> None:
        """Loads other weights into every copy of the model, one after the other, between two batches.

        Args:
            options: Of the backend, as in the configuration.

        Raises:
            PlantainError: If a copy could not load them; all then keep what they had.
        """

        def work(engine: Engine) -> Callable[[], list[PlantainError | None] | None]:
            engine.swap_model(options)
            return lambda: [engine.swapped.popleft()] if engine.swapped else None

        (error,) = self._call_and_wait(work, SWAP_TIMEOUT_S)
        if error is not None:
            raise error

    def stop(self) -> None:
        """Lets the run drain and end; returns at once."""
        self._is_stopped.set()
        self._board.awake()

    @property
    def is_ready(self) -> bool:
        """Whether the run has begun: every worker, and the model, is there."""
        return self._board.is_ready.is_set() and not self._board.is_over

    @property
    def is_stopped(self) -> bool:
        """Whether the run is to end."""
        return self._is_stopped.is_set()

    @property
    def holds_run(self) -> bool:
        """Whether the run goes on, even if there is nothing to do just now."""
        return self.is_lasting and not self.is_stopped

    # -- for the runner ------------------------------------------------------------------------------------

    def attach(self, executor: Executor, checkpoints: Checkpoints | None, clock: Callable[[], float]) -> None:
        """The run begins."""
        self._board.attach(executor, checkpoints, clock)

    def serve(self, engine: Engine) -> None:
        """Does what was asked for since the last turn, and passes on what has come of it."""
        self._board.serve(engine)

    def tell(self, event: HealthEvent) -> None:
        """Passes an event on to those who listen."""
        self._board.tell(event)

    def forget(self, stream_id: str, engine: Engine) -> None:
        """A stream is gone, unless there is another of its name by now."""
        if stream_id not in engine.streams:
            self._configs.pop(stream_id, None)

    def detach(self) -> None:
        """The run has ended: whoever still waits is told so."""
        self._board.detach()

    # -- how it is done ------------------------------------------------------------------------------------

    def _call(self, work: Callable[[Engine], T], timeout_s: float = TIMEOUT_S) -> T:
        """Has the loop do something and waits for what comes of it."""
        future: Future[T] = self._board.post(work)
        self._board.is_ready.wait(START_TIMEOUT_S)
        return result_of(future, timeout_s)

    def _call_and_wait(
        self,
        work: Callable[[Engine], Callable[[], T | None]],
        timeout_s: float,
        or_else: Callable[[], T] | None = None,
    ) -> T:
        """Has the loop begin something and look after it until something has come of it."""
        try:
            future: Future[T] = self._board.post(work)
            self._board.is_ready.wait(START_TIMEOUT_S)
            return result_of(future, timeout_s)
        except NoAnswerError:
            if or_else is None:
                raise
            return or_else()
