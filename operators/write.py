"""The last step: results to sinks, segment by segment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

from plantain.operators.following import Follower
from plantain.operators.health import REMARKS, HealthEvent
from plantain.operators.redaction import shown
from plantain.operators.render.looks import Look, Picture
from plantain.operators.render.pictures import Artist
from plantain.operators.retry import retry
from plantain.operators.segments import Backlog, Barrier, Durable
from plantain.operators.sinks.base import Forgetting, Segment, Sink, Spooling, Telling, Together
from plantain.operators.sinks.gaps import Sight
from plantain.operators.sinks.rows import Rows
from plantain.operators.streams import Start
from plantain.operators.types import Event, Result


@dataclass(slots=True)
class _Open:
    """A stream that is being written.

    Attributes:
        durable: What is durable of it.
        segment: What its results belong to now.
        source: Where its pixels are, without secrets.
        has_results: The segment has some.
        sight: What of a camera was not seen; None for a file.
    """

    durable: Durable
    segment: Segment
    source: str = ""
    has_results: bool = False
    sight: Sight | None = None

    @property
    def seen_ns(self) -> int | None:
        """See `Durable`."""
        return None if self.sight is None else self.sight.seen_ns


class Write(Follower):
    """Makes rows, gives them to all sinks, and has those commit where a barrier says that a segment ends.

    Args:
        sinks: Where rows go; all see the same segments.
        run_id: Written into each row.
        sleep: How to wait for a sink that cannot take more just now.
        wall_ns: Dates how long a camera is away, ns since 1970 UTC.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        run_id: str = "",
        sleep: Callable[[float], None] = time.sleep,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__()
        self._sinks = tuple(sinks)
        self._run_id = run_id
        self._sleep = sleep
        self._wall_ns = wall_ns
        self._artist = Artist()
        self._streams: dict[str, _Open] = {}
        self._told: dict[str, HealthEvent] = {}  # how cameras were last

    def open(self, start: Start) -> None:
        """Starts or restarts a stream where it is durable; what came after is forgotten."""
        stream_id, durable = start.spec.stream_id, start.durable
        is_resumed = durable.position.frame_index > 0 or durable.epoch > 0
        for sink in self._sinks:
            sink.begin(stream_id, is_resumed=is_resumed)
        segment = Segment(stream_id, durable.epoch, start.segment, is_live=start.is_live)
        sight = Sight(start, self._told.get(stream_id)) if start.is_live else None
        self._streams[stream_id] = _Open(durable, segment, shown(start.spec.url), sight=sight)

    def __call__(self, results: Sequence[Result]) -> Iterator[Result | Durable | Event | Picture]:
        """Takes results of streams in order; gives pictures to show, and events when the sinks have them."""
        yield from self._artist.draw(results)
        for stream_id, group in groupby(results, lambda result: result.header.stream_id):
            batch = list(group)
            stream = self._streams[stream_id]
            self._write(stream, self._with_gaps(batch, stream.sight))
            yield from (event for result in batch for event in result.events)

    def cut(self, barriers: Sequence[Barrier]) -> list[Durable]:
        """Commits the segments that end, together, and begins the next ones."""
        ending = [self._streams[barrier.stream_id] for barrier in barriers]
        for stream in ending:
            self._look(stream)
        self._commit(ending)
        promises = []
        for barrier in barriers:
            stream = self._streams[barrier.stream_id]
            promise = stream.durable = replace(barrier.promise, seen_ns=stream.seen_ns)
            promises.append(promise)
            stream.segment = Segment(
                barrier.stream_id, promise.epoch, barrier.following, is_live=stream.segment.is_live
            )
        return promises

    def change(self, start: Start) -> None:
        """Something else is asked of a stream: of what is not seen of it, too."""
        if (stream := self._streams.get(start.spec.stream_id)) is not None and stream.sight is not None:
            stream.sight.prompts = start.prompts

    def watch(self, stream_id: str, looks: Sequence[Look]) -> None:
        """Draws pictures of a stream from now on, or no more."""
        self._artist.watch(stream_id, looks)

    def tell(self, event: HealthEvent) -> None:
        """Passes an event on to the sinks that want to know."""
        if event.state == "removed":
            self._told.pop(event.stream_id, None)
        elif event.state not in REMARKS:
            self._told[event.stream_id] = event
        stream = self._streams.get(event.stream_id)
        if stream is not None and stream.sight is not None:
            stream.sight.tell(event)
        for sink in self._sinks:
            if isinstance(sink, Telling):
                sink.tell(event)

    def finish(self, stream_id: str, promise: Durable | None) -> Durable | None:
        """Commits what is left of a stream.

        Args:
            stream_id: The stream.
            promise: What is durable then, if it was read to its end. If it was not, its last segment is visible but
                will be made again.
        """
        self._artist.watch(stream_id, ())
        stream = self._streams.pop(stream_id)
        self._look(stream)
        self._commit([stream])
        if promise is None:
            return stream.durable
        for sink in self._sinks:
            sink.finish(stream_id)
        return replace(promise, state=stream.durable.state, seen_ns=stream.seen_ns)

    def backlogs(self) -> list[Backlog]:
        """What sinks keep on disk."""
        told = [sink.backlog() for sink in self._sinks if isinstance(sink, Spooling)]
        return [backlog for backlog in told if backlog is not None]

    def close(self, stream_id: str | None = None) -> None:
        """Forgets one stream, with what was not committed of it, or closes all sinks."""
        if stream_id is None:
            for sink in self._sinks:
                sink.close()
            return
        self._streams.pop(stream_id, None)
        self._artist.watch(stream_id, ())
        for sink in self._sinks:
            if isinstance(sink, Forgetting):
                sink.forget(stream_id)

    def _with_gaps(self, results: Sequence[Result], sight: Sight | None) -> list[Result]:
        """Results of one stream with the gaps between them."""
        if sight is None:
            return [*results]
        now_ns = self._wall_ns()
        pairs = [(sight.see(result, now_ns), result) for result in results]
        return [each for pair in pairs for each in pair if each is not None]

    def _look(self, stream: _Open) -> None:
        """Says of a camera that is away that nothing was seen until now; where it has results, it is too early."""
        if stream.sight is None or stream.has_results:
            return
        if (gap := stream.sight.look(self._wall_ns())) is not None:
            self._write(stream, [gap])

    def _write(self, stream: _Open, results: Sequence[Result]) -> None:
        rows = Rows(results, self._run_id, stream.source)
        for sink in self._sinks:
            self._patiently(partial(sink.write, stream.segment, rows))
        stream.has_results = True

    def _commit(self, streams: Sequence[_Open]) -> None:
        filled = [stream for stream in streams if stream.has_results]
        for sink in self._sinks:
            if isinstance(sink, Together) and len(filled) > 1:
                self._patiently(partial(sink.commit_together, [stream.segment for stream in filled]))
                continue
            for stream in filled:
                self._patiently(partial(sink.commit, stream.segment))
        for stream in filled:
            stream.has_results = False

    def _patiently(self, work: Callable[[], None]) -> None:
        """One call of one sink, repeated by itself: what the other sinks took they must not be given again."""
        retry(work, "write", self._sleep)
