"""Where the segments of streams end: a barrier goes through all that follow them, and the sinks commit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from plantain.operators.segments import Barrier, Durable, Position
from plantain.operators.types import Header
from plantain.pipeline.calls import Cut
from plantain.pipeline.engine.stream import OpenSegment, Phase, Stream
from plantain.pipeline.engine.workers import Workers
from plantain.pipeline.graph import Graph

# Of a camera that is away it is said so often that nothing was seen, seconds: each such minute has a row.
GAP_S = 60.0


class Segments:
    """A file's end by number, wherever its reading began; a camera's by time and number.

    Args:
        graph: The stages.
        workers: Who is told.
    """

    def __init__(self, graph: Graph, workers: Workers) -> None:
        self._graph = graph
        self._workers = workers

    def is_filling(self, stream: Stream, now: float) -> bool:
        """Whether a camera's segment holds something, or has to say that there was nothing."""
        segment = stream.segment
        if not stream.is_away or segment.since_s is not None:
            segment.away_s = None
        elif segment.away_s is None:
            segment.away_s = now
        return segment.since_s is not None or _is_long_away(stream, now)

    def end(self, filling: Sequence[Stream], now: float) -> None:
        """Where the time of one camera's segment has come all of them end, so that their sinks commit once."""
        if any(self._is_due(stream, now) for stream in filling):
            for stream in filling:
                self.cut(stream)

    def deadlines(self, stream: Stream) -> Iterator[float]:
        """When `end` should be called, in the engine's clock."""
        if stream.phase is Phase.READING and stream.is_live and stream.segment.since_s is not None:
            yield stream.segment.since_s + self._graph.segment_s
        elif stream.segment.away_s is not None and stream.is_away:
            yield stream.segment.away_s + GAP_S

    def follow(self, stream: Stream, header: Header, now: float) -> None:
        """An item is handed on; where the segment before it ends, a barrier goes ahead."""
        segment = stream.segment
        if stream.is_live:
            ends = header.epoch > segment.epoch or segment.num_items >= self._graph.segment_frames
        else:
            ends = self.number_of(header.frame_index) != segment.index
        if ends:
            self.cut(stream, header)
        stream.segment.num_items += 1
        if stream.segment.since_s is None:
            stream.segment.since_s = now

    def cut(self, stream: Stream, following: Header | None = None) -> None:
        """Ends a stream's segment: a barrier goes through all that follow it.

        Args:
            stream: The stream.
            following: The first item of the next segment; None where a camera's ends by time.
        """
        if not self._graph.followers:
            return
        index, epoch = stream.segment.index + 1, stream.segment.epoch
        if following is not None and not stream.is_live:
            index = self.number_of(following.frame_index)
        elif following is not None and following.epoch > epoch:
            index, epoch = 0, following.epoch
        at = stream.next_index if following is None else following.frame_index
        position = Position(at, None if following is None else following.pts)
        promise = Durable(stream.stream_id, epoch, position)
        if len(self._graph.followers) == 1:
            promise = stream.ledger.promise(promise)
        stream.segment = OpenSegment(index, epoch)
        self._workers.order(self._graph.followers[0], stream, Cut((Barrier(index, promise),)))

    def number_of(self, frame_index: int) -> int:
        """Number of the segment that a file's frame belongs to, whatever was read before it."""
        return frame_index // self._graph.segment_frames

    def _is_due(self, stream: Stream, now: float) -> bool:
        """Whether a camera's segment ends by time."""
        since_s = stream.segment.since_s
        return _is_long_away(stream, now) if since_s is None else now >= since_s + self._graph.segment_s


def _is_long_away(stream: Stream, now: float) -> bool:
    away_s = stream.segment.away_s
    return away_s is not None and now >= away_s + GAP_S
