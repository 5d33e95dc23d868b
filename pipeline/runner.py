"""The loop that drives an engine until the job ends."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

import structlog

from plantain.operators.health import HealthEvent, HealthState
from plantain.operators.segments import Backlog
from plantain.operators.streams import Start
from plantain.pipeline.calls import Scaling
from plantain.pipeline.checkpoint import Checkpoints
from plantain.pipeline.control import Control
from plantain.pipeline.deletions import Deletions
from plantain.pipeline.engine.books import Book
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.engine.stream import Phase, Stream
from plantain.pipeline.executor import Executor
from plantain.pipeline.graph import Graph
from plantain.pipeline.journal import tell_health, tell_recording
from plantain.pipeline.saver import Saver
from plantain.pipeline.status import doing

log = structlog.get_logger()

# The engine is looked at this often even if nothing happens, so that signals and progress are never late; seldom if
# there is nothing to make progress, in a service without streams (0.2 % of a core -> 0.1).
MAX_WAIT_S = 0.2
IDLE_WAIT_S = 2.0
PROGRESS_EVERY_S = 0.5

# After a turn longer than this the engine pauses so many times as long, up to so long, seconds.
LONG_TURN_S, PAUSE = 1e-3, 4
LONGEST_PAUSE_S = 20e-3
# A run that is told to stop drains for this share of its time, and closes its workers in what is left.
DRAIN_SHARE = 0.7
STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    Attributes:
        streams: Every stream as the engine left it.
        is_interrupted: It was told to stop.
        wall_s: Time from the first call to the last, seconds.
        busy_s: Time that each stage's operators have worked, seconds.
        num_removed: Streams that were taken away while it ran.
        removed: Where their frames went, all together.
        left: What the sinks keep on disk for the next start.
        num_left: Streams that were still at work when time was up.
    """

    streams: tuple[Stream, ...]
    is_interrupted: bool
    wall_s: float
    busy_s: dict[str, float]
    num_removed: int = 0
    removed: Book = field(default_factory=Book)
    left: tuple[Backlog, ...] = ()
    num_left: int = 0

    @property
    def failed(self) -> tuple[Stream, ...]:
        """Streams that did not reach their end, with the reason in `error`."""
        return tuple(stream for stream in self.streams if stream.phase is Phase.FAILED)

    @property
    def exit_code(self) -> int:
        """0 done, 1 some streams failed, 130 interrupted after a clean drain."""
        if self.is_interrupted:
            return 130
        return 1 if self.failed else 0


def run(
    graph: Graph,
    executor: Executor,
    starts: Iterable[Start],
    *,
    checkpoints: Checkpoints | None = None,
    control: Control | None = None,
    on_progress: Callable[[Engine], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    stop_timeout_s: float = STOP_TIMEOUT_S,
    deletions: Deletions | None = None,
) -> Outcome:
    """Runs streams through a graph to their end; with a control, until that is told to stop.

    SIGINT and SIGTERM drain once; a second one ends the process as it would without us. What is not drained in time is
    left where it is durable.

    Args:
        graph: The stages.
        executor: Where workers live; started and closed here.
        starts: The streams.
        checkpoints: Where to store what is durable; None to keep nothing.
        control: Through which other threads manage streams and ask questions meanwhile.
        on_progress: Called now and then, and at the end.
        clock: Seconds, monotonic.
        stop_timeout_s: How long it may take from being told to stop to the end.
        deletions: What is deleted meanwhile of what was stored.

    Raises:
        PlantainError: If a worker cannot be made.
    """
    engine = Engine(graph, starts, deletions=deletions)
    num_removed, removed = 0, Book()
    stop_at_s: float | None = None
    given_up: list[Stream] = []
    stepped_s: dict[HealthState, float] = {}
    stop = threading.Event()
    saver = Saver(checkpoints, executor.wake)
    try:
        with _draining(stop):
            executor.start(graph)
            if control is not None:
                control.attach(engine, executor, checkpoints, clock)
            begin = clock()
            reported = begin
            while not engine.is_done or _is_held(control, stop):
                if stop.is_set() or (control is not None and control.is_stopped):
                    engine.drain()
                    if stop_at_s is None:
                        stop_at_s = clock() + stop_timeout_s
                    if clock() > stop_at_s - (1 - DRAIN_SHARE) * stop_timeout_s:
                        given_up = engine.give_up()
                        break
                if control is not None:
                    control.serve(engine)
                turned_s = _turn(engine, executor, clock)
                if not engine.is_done or _is_held(control, stop):
                    _wait(
                        engine, executor, clock, MAX_WAIT_S if control is None else control.rest_s(), turned_s
                    )
                gone: dict[str, Stream] = {}
                while engine.lives.departed:
                    stream = engine.lives.departed.popleft()
                    gone[stream.stream_id] = stream
                    if stream.start.is_recording:
                        tell_recording(stream)
                    num_removed += 1
                    removed.add(stream.account)
                    if control is not None:
                        control.forget(stream)
                _save(engine, saver)
                while engine.lives.events:
                    event = engine.lives.events.popleft()
                    if isinstance(event, HealthEvent):
                        about = engine.streams.get(event.stream_id) or gone.get(event.stream_id)
                        tell_health(event, about, stepped_s, clock())
                    if control is not None:
                        control.tell(event)
                if clock() - reported >= PROGRESS_EVERY_S:
                    reported = clock()
                    executor.entitle({name: doing(each, reported) for name, each in engine.streams.items()})
                    if on_progress is not None:
                        on_progress(engine)
            saver.close()
            _save(engine, saver)
            if control is not None:
                control.serve(engine)
        wall_s = clock() - begin
    finally:
        if control is not None:
            control.detach()
        saver.close()
        executor.close(None if stop_at_s is None else max(0.0, stop_at_s - clock()))
    left = _say_left(engine, given_up)
    if on_progress is not None:
        on_progress(engine)
    streams = tuple(engine.streams.values())
    return Outcome(streams, stop.is_set(), wall_s, engine.busy_s, num_removed, removed, left, len(given_up))


def _say_left(engine: Engine, given_up: list[Stream]) -> tuple[Backlog, ...]:
    """Says what a run leaves to the next start: streams that were not drained in time, and what sinks keep on disk."""
    if given_up:
        log.warning(
            "gave up",
            streams=len(given_up),
            first=given_up[0].stream_id,
            what="not drained in time; the next start goes on where they are durable",
        )
    left = tuple(backlog for backlog in engine.backlogs.all if backlog.messages)
    for backlog in left:
        log.warning(
            "left",
            sink=backlog.sink,
            messages=backlog.messages,
            bytes=backlog.size,
            what="waits on disk; the next start with the same output folder passes it on",
            error=backlog.trouble,
        )
    return left


def _is_held(control: Control | None, stop: threading.Event) -> bool:
    """Whether a run goes on, though there is nothing to do."""
    return control is not None and control.holds_run and not stop.is_set()


def _turn(engine: Engine, executor: Executor, clock: Callable[[], float]) -> float:
    """Gives workers what they can do now; how long that took, seconds."""
    begin = clock()
    for stage, worker in engine.restarts():
        log.warning("worker died", stage=stage, worker=worker)
        executor.restart(stage, worker)
    calls = engine.dispatch(clock())
    for scaling in engine.scalings():
        _scale(scaling, executor)
    for call in calls:
        executor.submit(call)
    return clock() - begin


def _wait(
    engine: Engine, executor: Executor, clock: Callable[[], float], rest_s: float, turned_s: float
) -> None:
    """Takes what workers have done; waits no longer than `rest_s` for it.

    A turn looks at every stream. With hundreds of them it lasts milliseconds; what comes meanwhile is taken together.
    """
    if turned_s > LONG_TURN_S:
        time.sleep(min(PAUSE * turned_s, LONGEST_PAUSE_S))
    wait_s = min(IDLE_WAIT_S if engine.is_done else MAX_WAIT_S, max(0.001, rest_s))
    if (deadline := engine.deadline()) is not None:
        wait_s = min(wait_s, max(0.001, deadline - clock()))
    for completion in executor.wait(wait_s):
        engine.complete(completion, clock())


def _scale(scaling: Scaling, executor: Executor) -> None:
    """Makes a further copy of the model, or lets one go."""
    if scaling.is_added:
        log.info("copy added", stage=scaling.stage, worker=scaling.worker)
        executor.add(scaling.stage, scaling.worker)
        return
    if scaling.error:
        log.warning("copy failed", stage=scaling.stage, worker=scaling.worker, error=scaling.error)
    else:
        log.info("copy removed", stage=scaling.stage, worker=scaling.worker)
    executor.remove(scaling.stage, scaling.worker)


def _save(engine: Engine, saver: Saver) -> None:
    """Has what is durable stored; a stream for which that fails ends, since nobody could go on with it."""
    while engine.flow.durables:
        saver.put(engine.flow.durables.popleft())
    for saved in saver.take():
        if saved.error:
            engine.fail(saved.durable.stream_id, saved.error)
        else:
            engine.flow.saved(saved.durable)


@contextmanager
def _draining(stop: threading.Event) -> Iterator[None]:
    """Turns the first SIGINT or SIGTERM into `stop`; only in the main thread, where signals arrive."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # the next one ends the process

    for number in signals:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
