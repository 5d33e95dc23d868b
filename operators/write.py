"""The last step: results to sinks, segment by segment."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from plantain.operators.errors import redact
from plantain.operators.render.looks import Look, Picture
from plantain.operators.render.pictures import Artist
from plantain.operators.retry import retry
from plantain.operators.sinks.base import Forgetting, Segment, Sink, Telling
from plantain.operators.sinks.rows import Rows
from plantain.operators.streams import Start
from plantain.operators.types import Durable, HealthEvent, Position, Result


@dataclass(slots=True)
class _Open:
    """A stream that is being written."""

    durable: Durable
    segment: Segment | None = None
    delivered: int = 0
    last_pts: int | None = None
    failed: Counter[str] = field(default_factory=Counter)
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    source: str = ""

    @classmethod
    def at(cls, durable: Durable, source: str) -> _Open:
        answers = Counter({(prompt, stage): count for prompt, stage, count in durable.answers})
        position, failed = durable.position, Counter(dict(durable.failed))
        return cls(durable, None, position.delivered, position.previous_pts, failed, answers, source)

    def count(self, results: Sequence[Result]) -> None:
        self.delivered += len(results)
        self.last_pts = results[-1].info.pts
        for result in results:
            stage = result.failed_in
            if stage is not None:
                self.failed[stage] += 1
            for prediction in result.predictions:
                self.answers[str(prediction.prompt), stage or ""] += 1
            if not result.predictions:
                self.answers["", ""] += 1

    def durable_at(self, position: Position, state: str | None, *, is_complete: bool = False) -> Durable:
        failed = tuple(sorted(self.failed.items()))
        answers = tuple((*asked, count) for asked, count in sorted(self.answers.items()))
        epoch = self.durable.epoch if self.segment is None else self.segment.epoch
        return Durable(self.durable.stream_id, epoch, position, state, failed, is_complete, answers)


class Write:
    """Makes rows, cuts each stream into segments, and commits each one to all sinks before it says that it is durable.

    Args:
        sinks: Where rows go; all see the same segments.
        segment_frames: Frame indexes in a segment.
        run_id: Written into each row.
        sleep: How to wait for a sink that cannot take more just now.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        segment_frames: int,
        run_id: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sinks = tuple(sinks)
        self._run_id = run_id
        self._segment_frames = segment_frames
        self._sleep = sleep
        self._artist = Artist()
        self._streams: dict[str, _Open] = {}

    def open(self, start: Start) -> None:
        """Starts or restarts a stream where it is durable; what came after is forgotten."""
        stream_id, durable = start.spec.stream_id, start.durable
        is_resumed = durable.position.frame_index > 0 or durable.epoch > 0
        for sink in self._sinks:
            sink.begin(stream_id, is_resumed=is_resumed)
        self._streams[stream_id] = _Open.at(durable, redact(start.spec.url))

    def __call__(self, results: Sequence[Result]) -> Iterator[Durable | Picture]:
        """Takes results of one stream in frame order; gives pictures to show, and what becomes durable, at once.

        What was given counts, also where an error follows.
        """
        yield from self._artist.draw(results)
        for segment, group in groupby(results, self._segment_of):
            batch = list(group)
            stream = self._streams[segment.stream_id]
            if stream.segment is not None and stream.segment != segment:
                self._commit(stream.segment)
                first, stream.segment = batch[0], segment
                position = Position(
                    first.header.frame_index, first.info.pts, stream.delivered, stream.last_pts
                )
                stream.durable = stream.durable_at(position, first.state_before)
                yield stream.durable
            rows = Rows(batch, self._run_id, stream.source)
            for sink in self._sinks:
                self._patiently(partial(sink.write, segment, rows))
            stream.segment = segment
            stream.count(batch)

    def watch(self, stream_id: str, looks: Sequence[Look]) -> None:
        """Draws pictures of a stream from now on, or no more."""
        self._artist.watch(stream_id, looks)

    def tell(self, event: HealthEvent) -> None:
        """Passes an event on to the sinks that want to know."""
        for sink in self._sinks:
            if isinstance(sink, Telling):
                sink.tell(event)

    def finish(self, stream_id: str, *, is_complete: bool) -> Durable:
        """Commits what is left of a stream.

        Args:
            stream_id: The stream.
            is_complete: Whether it was read to its end. If not, its last segment is visible but will be made again.
        """
        self._artist.watch(stream_id, ())
        stream = self._streams.pop(stream_id)
        if stream.segment is not None:
            self._commit(stream.segment)
        if not is_complete:
            return stream.durable
        for sink in self._sinks:
            sink.finish(stream_id)
        position = Position(stream.durable.position.frame_index, None, stream.delivered)
        return stream.durable_at(position, None, is_complete=True)

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

    def _segment_of(self, result: Result) -> Segment:
        header = result.header
        return Segment(header.stream_id, header.epoch, header.frame_index // self._segment_frames)

    def _commit(self, segment: Segment) -> None:
        for sink in self._sinks:
            self._patiently(partial(sink.commit, segment))

    def _patiently(self, work: Callable[[], None]) -> None:
        """One call of one sink, repeated by itself: what the other sinks took they must not be given again."""
        retry(work, "write", self._sleep)
