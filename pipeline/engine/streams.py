"""The streams of a run: from being added to being forgotten, and what may be done to each meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from plantain.operators.errors import UsageError
from plantain.operators.health import REMARKS, HealthEvent, HealthState
from plantain.operators.render.looks import Look
from plantain.operators.segments import Durable, Position
from plantain.operators.streams import Start
from plantain.operators.types import Event
from plantain.pipeline.calls import Change, Close, Finish, Open, Tell, Watch
from plantain.pipeline.engine.binding import Binding
from plantain.pipeline.engine.easing import Easing
from plantain.pipeline.engine.meter import Meter
from plantain.pipeline.engine.segments import Segments
from plantain.pipeline.engine.stream import ENDED, IDLE, OpenSegment, Phase, Stream
from plantain.pipeline.engine.workers import Workers
from plantain.pipeline.graph import Graph

# A camera whose results could not be stored is begun again after pauses that double up to the last, seconds.
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 5.0
# Overload is judged over seconds: cameras are not looked at for it at every turn.
EASE_EVERY_S = 0.1


class UnknownStreamError(UsageError):
    """There is no stream of this name."""


class Streams:
    """See the module.

    Args:
        graph: The stages.
        streams: By name; those of the run, shared with whoever looks them up.
        workers: Who works for them.
        meter: Counts them.
        wall_ns: Dates what happens to them, ns since 1970 UTC.

    Attributes:
        segments: Where their segments end.
        events: How their health has changed, what was done to them, and what analytics tell, since somebody looked.
        departed: Those that were removed and are forgotten, since somebody looked.
    """

    def __init__(
        self,
        graph: Graph,
        streams: dict[str, Stream],
        workers: Workers,
        meter: Meter,
        wall_ns: Callable[[], int],
    ) -> None:
        self._graph = graph
        self._streams = streams
        self._workers = workers
        self._meter = meter
        self._wall_ns = wall_ns
        self._next_generation = 0
        self._followers = graph.followers
        self._binding = Binding(graph, streams)
        self._easing = Easing(graph, workers, self.say)
        self._eased_s = float("-inf")
        self.segments = Segments(graph, workers)
        self.events: deque[HealthEvent | Event] = deque()
        self.departed: deque[Stream] = deque()

    # -- what may be done to a stream ----------------------------------------------------------------------

    def find(self, stream_id: str) -> Stream:
        """A stream by its name.

        Raises:
            UnknownStreamError: If there is none.
        """
        stream = self._streams.get(stream_id)
        if stream is None or stream.is_leaving:
            raise UnknownStreamError(f"there is no stream '{stream_id}'")
        return stream

    def add(self, start: Start) -> Stream:
        """A further stream, which begins as soon as a reader is free.

        Raises:
            UsageError: If its name is taken.
        """
        name = start.spec.stream_id
        if name in self._streams:
            raise UsageError(f"there is a stream '{name}' already; remove it first, or choose another name")
        stream = self._streams[name] = Stream.of(start, self._graph.join_s)
        stream.generation = self._next_generation
        self.say(stream, "added", "added")
        return stream

    def pause(self, stream_id: str) -> Stream:
        """Lets a stream rest: what is in flight is finished and stored, and its source is closed.

        Raises:
            UsageError: If it has ended.
        """
        stream = self.find(stream_id)
        if stream.phase in ENDED:
            raise UsageError(f"stream '{stream_id}' has ended ({stream.phase}); it cannot be paused")
        if stream.phase in (Phase.WAITING, Phase.RETRYING):
            stream.move(Phase.PAUSED)
            stream.error = ""
        elif stream.phase is not Phase.PAUSED:
            _stop(stream, Phase.PAUSED)
        self.say(stream, "paused", "paused")
        return stream

    def resume(self, stream_id: str) -> Stream:
        """Lets a paused stream go on, and one that failed try again.

        Raises:
            UsageError: If it is done, or refused.
        """
        stream = self.find(stream_id)
        if stream.phase in (Phase.DONE, Phase.INTERRUPTED):
            raise UsageError(f"stream '{stream_id}' has ended ({stream.phase}); remove it and add it again")
        if stream.start.refusal:
            raise UsageError(stream.start.refusal)
        if stream.phase in (Phase.PAUSED, Phase.RETRYING, Phase.FAILED):
            _begin_again(stream)
        elif stream.then is Phase.PAUSED:
            stream.then = Phase.WAITING
        else:
            return stream
        self.say(stream, "resumed", "resumed")
        return stream

    def change(self, start: Start) -> Stream:
        """Goes on with other prompts, sampling or options.

        New prompts count from the next frame that is read. For the rest, what is in flight is finished and stored, and
        the source is opened again.

        Args:
            start: The stream's start as it should be, whatever it says of what is durable.
        """
        stream = self.find(start.spec.stream_id)
        is_same_source = start.spec == stream.start.spec
        stream.start = replace(
            stream.start, spec=start.spec, prompts=start.prompts, cadences=start.cadences, pools=start.pools
        )
        if stream.phase is Phase.READING:
            if is_same_source:
                for stage in (self._graph.source, *self._followers[-1:]):
                    self._workers.order(stage, stream, Change(stream.start))
            else:
                _stop(stream, Phase.WAITING)
        elif stream.phase not in IDLE and not is_same_source and stream.then is None:
            stream.then = Phase.WAITING
        self.say(stream, "reconfigured", f"now asked {', '.join(stream.prompts)}")
        return stream

    def remove(self, stream_id: str, *, drain: bool = True) -> Stream:
        """Ends a stream and forgets it; what is stored stays.

        Args:
            stream_id: The stream.
            drain: Whether what is in flight is finished and stored; if not, it is dropped.
        """
        stream = self.find(stream_id)
        stream.is_leaving = True
        if stream.phase in (Phase.WAITING, Phase.PAUSED, Phase.RETRYING):
            stream.move(Phase.INTERRUPTED)
        elif stream.phase not in ENDED and drain:
            _stop(stream, Phase.INTERRUPTED)
        elif stream.phase not in ENDED:
            stream.let_go("removed")
            stream.move(Phase.INTERRUPTED)
            self.close(stream)
        self.say(stream, "removed", "removed")
        return stream

    def watch(self, stream_id: str, looks: tuple[Look, ...]) -> None:
        """Has pictures of a stream drawn where its sinks are, and the pixels for them brought there."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        stream.looks = looks
        for stage in (self._graph.source, *self._followers[-1:]):
            if stage.name in stream.workers and stream.phase not in IDLE:
                self._workers.order(stage, stream, Watch(looks))

    def drain(self) -> None:
        """Reads nothing more; what is in flight is finished and stored."""
        for stream in self._streams.values():
            if stream.phase in (Phase.WAITING, Phase.PAUSED):
                stream.move(Phase.INTERRUPTED)
            elif stream.phase is Phase.RETRYING:
                stream.move(Phase.FAILED)
            elif stream.phase not in ENDED:
                _stop(stream, Phase.INTERRUPTED)

    def fail(self, stream: Stream, error: str, *, keep: bool) -> None:
        """Ends a stream for a reason; with `keep` what is in flight is still finished and stored.

        A camera that cannot store its results any more (a full disk, a broker that refuses) loses what is not durable,
        and is begun again soon, for ever: what fills a disk at night is often gone in the morning.
        """
        if stream.phase in ENDED | {Phase.RETRYING}:
            return
        stream.error = stream.error or error
        if keep:
            if stream.phase is Phase.READING:
                stream.move(Phase.DRAINING)
            return
        has_worked = stream.has_results  # what never did needs somebody to look at it
        stream.let_go("stream ended", is_failure=True)
        is_wanted = stream.then in (None, Phase.WAITING) and not stream.is_leaving
        stream.move(Phase.RETRYING if stream.is_live and has_worked and is_wanted else Phase.FAILED)
        stream.then = stream.retry_s = None
        self._say_failed(stream)
        self.close(stream)

    # -- a turn --------------------------------------------------------------------------------------------

    def turn(self, now: float) -> None:
        """Moves streams on whose phase is over, ends segments whose time has come, and binds those that wait."""
        waiting: list[Stream] = []
        filling: list[Stream] = []
        if is_easing := now >= self._eased_s + EASE_EVERY_S:
            self._eased_s = now
        for stream in list(self._streams.values()):
            if stream.phase is not Phase.READING or stream.has_ended:  # hardly one in a thousand
                self._advance(stream)
            match stream.phase:
                case Phase.RETRYING:
                    self._retry(stream, now)
                case Phase.READING if stream.is_live:
                    if is_easing:
                        self._easing.step(stream, now)
                    if self.segments.is_filling(stream, now):
                        filling.append(stream)
                case _:
                    pass
            if stream.phase is Phase.WAITING:
                waiting.append(stream)
        self.segments.end(filling, now)
        for stream in self._binding.bind(waiting) if waiting else ():
            stream.move(Phase.READING)
            self.open(stream)

    def deadlines(self) -> Iterator[float]:
        """When `turn` should be called, in the engine's clock; at once for news nobody has looked at."""
        if self.departed or self.events:
            yield 0.0
        for stream in self._streams.values():
            if stream.phase is Phase.RETRYING and stream.retry_s is not None:
                yield stream.retry_s
            else:
                yield from self.segments.deadlines(stream)

    def open(self, stream: Stream) -> None:
        """Tells every stage that keeps something about a stream where it begins."""
        start = stream.start
        stream.account.begin(start.durable)
        if not stream.is_live:
            start = replace(start, segment=self.segments.number_of(start.durable.position.frame_index))
        stream.segment = OpenSegment(start.segment, start.durable.epoch)
        for stage in self._binding.stages:
            self._workers.order(stage, stream, Open(start))
        self.reopen_reader(stream)
        if stream.looks:
            for stage in self._followers[-1:]:
                self._workers.order(stage, stream, Watch(stream.looks))

    def reopen_reader(self, stream: Stream) -> None:
        """What a stream's reader must know beside its start."""
        self._easing.again(stream)
        if stream.looks:
            self._workers.order(self._graph.source, stream, Watch(stream.looks))

    def close(self, stream: Stream) -> None:
        """Lets every stage forget a stream."""
        for stage in self._binding.stages:
            if stage.name in stream.workers:
                self._workers.order(stage, stream, Close())

    # -- what is told --------------------------------------------------------------------------------------

    def say(self, stream: Stream, what: HealthState, sentence: str) -> None:
        """Tells of something that somebody did to a stream."""
        epoch = max(stream.epoch, stream.start.durable.epoch)
        said = f"stream '{stream.stream_id}': {sentence}"
        self.tell(HealthEvent(stream.stream_id, epoch, what, said, self._wall_ns()))

    def tell(self, event: HealthEvent) -> None:
        """Passes an event on to whoever listens, and to the sinks of its stream."""
        self.events.append(event)
        stream = self._streams.get(event.stream_id)
        if stream is not None and event.state not in REMARKS:
            stream.told = event
        for stage in self._followers[-1:]:
            if stream is not None:
                self._binding.bind_to(stage, stream)
                self._workers.tell(stage, stream, Tell(event))

    def _say_failed(self, stream: Stream) -> None:
        if stream.health != "failed":  # a camera has said so itself
            self.say(stream, "failed", stream.error)

    # -- how it is done ------------------------------------------------------------------------------------

    def _advance(self, stream: Stream) -> None:
        """Moves a stream on when the phase it is in is over."""
        if stream.phase is Phase.READING and stream.has_ended:
            stream.move(Phase.DRAINING)
        if stream.phase is Phase.DRAINING and stream.is_quiet:
            if stream.is_live and stream.segment.num_items:
                self.segments.cut(stream)
            else:
                self._finish(stream)
        elif stream.phase is Phase.FINISHING and not stream.num_calls:
            self._end(stream)
        if stream.is_leaving and stream.phase in ENDED and stream.is_quiet and not stream.num_tells:
            del self._streams[stream.stream_id]
            self._next_generation = max(self._next_generation, stream.generation + 1)
            self.departed.append(stream)
            self._meter.left(stream.stream_id)

    def _finish(self, stream: Stream) -> None:
        """Everything of a stream is where the sinks are."""
        account = stream.account
        if account.failed and not account.results:
            stream.error = stream.error or f"not one frame was answered; the last one: {stream.last_failure}"
        stream.move(Phase.FINISHING)
        # A camera's last segment will not be made again: it is complete as it is, whatever ended it.
        promise = None
        if stream.is_live or (stream.has_ended and not stream.error):
            known = stream.start.durable
            epoch = max(known.epoch, stream.segment.epoch)
            promise = stream.ledger.promise(
                Durable(
                    stream.stream_id,
                    epoch,
                    Position(known.position.frame_index),
                    is_complete=True,
                    unread_bytes=stream.unread_bytes,
                )
            )
        for stage in self._binding.behind:
            self._workers.order(stage, stream, Finish(promise))
        self._workers.order(self._graph.source, stream, Close())

    def _end(self, stream: Stream) -> None:
        """What follows when everything of a stream is stored."""
        then, stream.then = stream.then, None
        if stream.start.durable.is_complete and not stream.is_live:
            then = None  # it came to its end all the same
        if stream.error:
            stream.move(Phase.FAILED)
            self._say_failed(stream)
        elif then is Phase.WAITING:
            _begin_again(stream)
        else:
            stream.move(then or Phase.DONE)
        if stream.phase in (Phase.FAILED, Phase.INTERRUPTED) and stream.is_leaving:
            self.close(stream)

    def _retry(self, stream: Stream, now: float) -> None:
        """Begins a camera again that could not store its results, when its pause is over."""
        if stream.retry_s is None:
            stream.retry_s = now + min(LAST_RETRY_S, FIRST_RETRY_S * 2**stream.num_retries)
            stream.num_retries += 1
        elif now >= stream.retry_s:
            _begin_again(stream)
            self.say(stream, "resumed", "tries again to store its results")


def _stop(stream: Stream, then: Phase) -> None:
    """Ends reading; what is in flight goes on."""
    if stream.phase is Phase.READING and not stream.has_ended:
        stream.move(Phase.DRAINING)
        stream.then = then
    elif stream.then is not None:  # it is on its way to another end
        stream.then = then


def _begin_again(stream: Stream) -> None:
    """Waits for a reader, to go on where it is durable."""
    stream.rewinds = 0
    stream.rewind("stopped")
    stream.move(Phase.WAITING)
